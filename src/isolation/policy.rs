//! Whether a policy's expression holds a row to the context's workspace.
//!
//! Judged by the text that `pg_get_expr` writes, which puts each operator into parentheses of its own
//! and names a schema wherever the name alone would find something else. What is not recognized does
//! not hold.

/// Verbs whose policy must read, and verbs whose policy must check what is written.
const READS: [&str; 4] = ["r", "w", "d", "*"];
const WRITES: [&str; 3] = ["a", "w", "*"];

/// Why a policy for this verb (as in `pg_policy.polcmd`) does not hold, or nothing.
pub(super) fn fault(verb: &str, reads: Option<&str>, writes: Option<&str>) -> Option<String> {
    let part = |name: &str, needed: bool, text: Option<&str>| match text {
        None if needed => Some(format!("has no {name} of its own")),
        Some(text) if !holds(text) => Some(format!(
            "{name} does not begin with workspace_id = (SELECT sesari.current_workspace_id()), or workspace_id_as: {text}"
        )),
        _ => None,
    };
    part("USING", READS.contains(&verb), reads)
        .or_else(|| part("WITH CHECK", WRITES.contains(&verb), writes))
}

/// Whether a policy that holds lets conditions of the caller's be asked before its own: the server asks
/// those that cost it less first, and sees to no order by policy among those that tell nothing by an error.
/// What runs in them can be seen, so that the rows that the policy hides are told by it.
pub(super) fn is_late(verb: &str, reads: Option<&str>) -> bool {
    fn looks_up(expression: &str) -> bool {
        match unwrap(expression).and_then(split) {
            Some(Parts::All(parts)) => parts.first().is_some_and(|first| is_look_up(first)),
            Some(Parts::Any(parts)) => parts.iter().all(|part| looks_up(part)),
            None => false,
        }
    }
    matches!(verb, "r" | "*") && reads.is_some_and(|reads| holds(reads) && !looks_up(reads))
}

/// A comparison with the workspace, after a look-up of it or not, that AND anything, or an OR of nothing but
/// such.
fn holds(expression: &str) -> bool {
    let Some(inner) = unwrap(expression) else { return false };
    if is_comparison(inner) {
        return true;
    }
    let Some(parts) = split(inner) else { return false };
    match parts {
        Parts::All(parts) => {
            let after = usize::from(parts.first().is_some_and(|first| is_look_up(first)));
            parts.get(after).is_some_and(|first| holds(first))
        }
        Parts::Any(parts) => parts.iter().all(|part| holds(part)),
    }
}

fn is_comparison(text: &str) -> bool {
    let Some(question) = text
        .strip_prefix("workspace_id = ( SELECT sesari.")
        .and_then(|rest| rest.strip_suffix(')'))
    else {
        return false;
    };
    let asks = |name: &str| question.strip_suffix(name).is_some_and(is_question);
    asks(" AS current_workspace_id") || asks(" AS workspace_id_as")
}

/// A look-up of the row's workspace in an object that has the context's: it costs the planner nothing, and
/// is asked before all that costs something.
fn is_look_up(part: &str) -> bool {
    unwrap(part)
        .and_then(|inner| {
            inner
                .strip_prefix("(( SELECT sesari.key_of(sesari.")?
                .strip_suffix(") AS key_of))[workspace_id] IS NOT NULL")
        })
        .is_some_and(is_question)
}

/// A call that answers with the context's workspace.
fn is_question(call: &str) -> bool {
    call == "current_workspace_id()"
        || call
            .strip_prefix("workspace_id_as('{")
            .and_then(|rest| rest.strip_suffix("}'::text[])"))
            .is_some_and(|roles| roles.bytes().all(|b| b.is_ascii_lowercase() || b == b','))
}

enum Parts<'a> {
    All(Vec<&'a str>),
    Any(Vec<&'a str>),
}

/// The operands of AND, or of OR, outside of all parentheses. Nothing where both stand.
fn split(text: &str) -> Option<Parts<'_>> {
    let (mut all, mut any) = (Vec::new(), Vec::new());
    let (mut depth, mut from_and, mut from_or) = (0_usize, 0, 0);
    for (at, character, quoted) in characters(text)? {
        match character {
            _ if quoted => {}
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            ' ' if depth == 0 && text[at..].starts_with(" AND ") => {
                all.push(&text[from_and..at]);
                from_and = at + " AND ".len();
            }
            ' ' if depth == 0 && text[at..].starts_with(" OR ") => {
                any.push(&text[from_or..at]);
                from_or = at + " OR ".len();
            }
            _ => {}
        }
    }
    match (depth, all.is_empty(), any.is_empty()) {
        (0, false, true) => {
            all.push(&text[from_and..]);
            Some(Parts::All(all))
        }
        (0, true, false) => {
            any.push(&text[from_or..]);
            Some(Parts::Any(any))
        }
        _ => None,
    }
}

/// What stands between the first parenthesis and the last, if they are a pair.
fn unwrap(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('(')?.strip_suffix(')')?;
    let mut depth = 0_usize;
    for (_, character, quoted) in characters(inner)? {
        match character {
            _ if quoted => {}
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    (depth == 0).then_some(inner)
}

/// Each character, and whether it is part of a quoted text or name. Nothing for text that escapes with
/// backslashes, or whose quote does not end.
fn characters(text: &str) -> Option<Vec<(usize, char, bool)>> {
    let mut quote = None;
    let mut characters = Vec::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        if character == '\\' {
            return None;
        }
        let was_quoted = quote.is_some();
        match (quote, character) {
            (None, '\'' | '"') => quote = Some(character),
            // A doubled quote closes and opens again, which comes to the same.
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
        characters.push((at, character, was_quoted || quote.is_some()));
    }
    quote.is_none().then_some(characters)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: &str =
        "(workspace_id = ( SELECT sesari.current_workspace_id() AS current_workspace_id))";
    const ASK_ROLE: &str = "(workspace_id = ( SELECT \
        sesari.workspace_id_as('{owner,admin}'::text[]) AS workspace_id_as))";

    const LOOK_UP: &str = "(((( SELECT sesari.key_of(sesari.current_workspace_id()) \
        AS key_of))[workspace_id] IS NOT NULL)";

    #[test]
    fn a_policy_that_does_not_look_up_first_is_late() {
        let first = format!("{LOOK_UP} AND {ASK})");
        assert!(holds(&first), "{first}");
        assert!(
            !is_late("r", Some(&first))
                && !is_late("r", Some(&format!("{LOOK_UP} AND {ASK} AND a)")))
        );
        for late in [ASK.to_owned(), format!("({ASK} AND a)"), format!("({first} OR {ASK})")] {
            assert!(is_late("r", Some(&late)) && !is_late("w", Some(&late)), "{late}");
        }
        // What only looks up is not held to the workspace by a comparison, which indexes need.
        for bad in [
            format!("{LOOK_UP} AND a)"),
            format!("{LOOK_UP} AND {LOOK_UP})"),
            first.replace("[workspace_id]", "[id]"),
            first.replace("sesari.key_of", "public.key_of"),
            first.replace("IS NOT NULL) AND", "IS NULL) AND"),
            first.replace(" AND ", " OR "),
        ] {
            assert!(!holds(&bad), "{bad}");
        }
    }

    #[test]
    fn what_begins_with_the_workspace_holds() {
        for good in [
            ASK.to_owned(),
            ASK_ROLE.to_owned(),
            format!("({ASK} AND (published OR (author = 'x'::text)))"),
            format!("({ASK} AND (note = ' OR '::text) AND flag)"),
            format!(
                "({ASK_ROLE} OR ({ASK} AND (user_id = ( SELECT sesari.current_user_id() AS current_user_id))))"
            ),
            format!("(({ASK} AND a) OR ({ASK_ROLE} AND b))"),
        ] {
            assert!(holds(&good), "{good}");
        }
    }

    #[test]
    fn everything_else_does_not() {
        for bad in [
            "true".to_owned(),
            "(true)".to_owned(),
            String::new(),
            format!("({ASK} OR true)"),
            format!("({ASK} OR (workspace_id IS NULL))"),
            format!("(true AND {ASK})"),
            format!("(NOT {ASK})"),
            format!("({ASK} IS NOT TRUE)"),
            format!("(({ASK} AND a) IS NOT TRUE)"),
            format!("({ASK} AND a OR b)"),
            format!("({ASK} AND a) OR (b)"),
            format!("(COALESCE({ASK}, true))"),
            format!("({ASK} = false)"),
            format!("({ASK} AND ('it''s' = '))"),
            ASK.replace("workspace_id = ", "other_id = "),
            ASK.replace(" = ", " <> "),
            ASK.replace(" = ", " OPERATOR(public.=) "),
            ASK.replace("sesari.", "public."),
            ASK.replace("sesari.", ""),
            ASK.replace(
                "( SELECT sesari.current_workspace_id() AS current_workspace_id)",
                "sesari.current_workspace_id()",
            ),
            ASK.replace("current_workspace_id", "current_user_id"),
            ASK.replace(
                "AS current_workspace_id)",
                "AS current_workspace_id UNION ALL SELECT 'w')",
            ),
            ASK_ROLE.replace("'{owner,admin}'::text[]", "ARRAY[role]"),
            ASK_ROLE.replace("'{owner,admin}'::text[]", "'{a}'::text[] || '{b}'::text[]"),
        ] {
            assert!(!holds(&bad), "{bad}");
        }
    }

    #[test]
    fn each_verb_needs_its_own_part() {
        assert_eq!(fault("r", Some(ASK), None), None);
        assert_eq!(fault("a", None, Some(ASK)), None);
        assert_eq!(fault("w", Some(ASK), Some(ASK)), None);
        for (verb, reads, writes) in [
            ("r", None, None),
            ("a", None, None),
            ("w", Some(ASK), None),
            ("*", Some(ASK), None),
            ("d", None, None),
            ("w", Some(ASK), Some("true")),
            ("w", Some("true"), Some(ASK)),
        ] {
            assert!(fault(verb, reads, writes).is_some(), "{verb} {reads:?} {writes:?}");
        }
    }
}
