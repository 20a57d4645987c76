//! What is renamed before the answers are compared.

use chrono::{TimeDelta, Utc};

use crate::programs::normal::normal;

#[test]
#[expect(clippy::disallowed_methods, reason = "the times are to be of this run")]
fn names_are_given_and_all_else_is_kept() {
    let started = Utc::now();
    let steps = [started, started + TimeDelta::seconds(2)];
    let at = |seconds| (started + TimeDelta::seconds(seconds)).to_rfc3339();
    let texts = [
        format!("id KpiId(cjld2cjxh0000qzrmn831i7rn), at {}, was 2020-01-01 00:00:00+00", at(1)),
        format!("(cjld2cjxh0000qzrmn831i7rn,{},c0123456789abcdef0123456789abcd) {}", at(-5), at(9)),
        "Été 2026, kleft, on sesari_test_1_2_app, transaction_id: 17".to_owned(),
        format!("hash: {:?}", [7; 32]),
    ];
    assert_eq!(
        normal(texts.iter().map(String::as_str), "sesari_test_1_2", &steps),
        [
            "id KpiId(#1), at @1, was 2020-01-01 00:00:00+00",
            "(#1,@0,#2) @later",
            "Été 2026, kleft, on <db>_app, transaction_id: #3",
            "hash: [#4]",
        ]
    );
}
