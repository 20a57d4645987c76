//! Error texts of outside services, which like to quote the credentials that they refused.

use super::Secret;

/// Values shorter than this, in characters, are left alone: they would black out half the text.
const MIN_LEN: usize = 4;
/// What stands in for a value.
const REDACTED: &str = "[redacted]";

/// The text without any of the secret's values, without NUL, and of at most `max_chars` characters.
///
/// Taken out are the secret as a whole and, where it is JSON, each string and number in it, as they
/// are; not what somebody made of them, such as their base64 or a part. A value under 4 characters
/// stays.
#[must_use]
pub fn scrub(text: &str, secret: &Secret, max_chars: usize) -> String {
    let mut values = Vec::new();
    if let Ok(whole) = std::str::from_utf8(secret.expose()) {
        values.push(zeroize::Zeroizing::new(whole.trim().to_owned()));
        if let Ok(json) = serde_json::from_str(whole) {
            leaves(&json, &mut values);
        }
    }
    values.retain(|value| value.chars().count() >= MIN_LEN);
    // The longest first: one value may contain another.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let mut clean = text.replace('\0', "");
    for value in &values {
        clean = clean.replace(value.as_str(), REDACTED);
    }
    clean.chars().take(max_chars).collect()
}

fn leaves(json: &serde_json::Value, values: &mut Vec<zeroize::Zeroizing<String>>) {
    use serde_json::Value;
    match json {
        Value::String(text) => values.push(zeroize::Zeroizing::new(text.clone())),
        Value::Number(number) => values.push(zeroize::Zeroizing::new(number.to_string())),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, values)),
        Value::Object(fields) => fields.values().for_each(|field| leaves(field, values)),
        Value::Null | Value::Bool(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_secret_are_taken_out() {
        let secret = Secret::from(
            r#"{"token":"sk_live_123","nested":["hunter2","ab"],"pin":9917}"#.to_owned(),
        );
        let text = "401 for sk_live_123 (hunter2, 9917, ab)\0";
        assert_eq!(scrub(text, &secret, 100), "401 for [redacted] ([redacted], [redacted], ab)");
    }

    #[test]
    fn a_secret_that_is_no_json_is_taken_out_whole() {
        let secret = Secret::from("plain-token\n".to_owned());
        assert_eq!(scrub("refused: plain-token", &secret, 100), "refused: [redacted]");
    }

    #[test]
    fn a_value_within_another_hides_neither() {
        let secret = Secret::from(r#"["token", "token-with-more"]"#.to_owned());
        assert_eq!(scrub("token-with-more", &secret, 100), "[redacted]");
    }

    #[test]
    fn the_text_is_cut_after_it_is_cleaned() {
        let secret = Secret::from("abcdefgh".to_owned());
        assert_eq!(scrub("xxabcdefgh", &secret, 4), "xx[r");
    }
}
