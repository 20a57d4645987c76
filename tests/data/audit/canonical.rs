//! The form that is hashed: computed alike by three implementations, and never the same for two
//! entries.

use proptest::prelude::*;
use sesari_db::audit::{Chain, Checkpoint, Entry};

use crate::support::World;

fn vectors() -> Vec<Vec<Entry>> {
    serde_json::from_str(include_str!("../../vectors/audit.json")).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[test]
fn hashes_of_another_implementation_fit() {
    for entries in vectors() {
        let workspace = Some(&entries[0].workspace_id).filter(|id| !id.is_empty());
        let mut chain = Chain::of(workspace.map(|id| id.parse().unwrap()).as_ref());
        for entry in &entries {
            assert!(entry.is_whole(), "{entry:?}");
            chain.follow(entry).unwrap();
        }
        assert_eq!(chain.checkpoint().hash().to_vec(), entries.last().unwrap().hash);
    }
}

#[test]
fn the_database_computes_the_same_as_another_implementation() {
    let world = World::new();
    for entry in vectors().concat() {
        let texts = [
            entry.workspace_id,
            entry.sequence.to_string(),
            entry.microseconds.to_string(),
            entry.id,
            entry.actor_kind,
            entry.actor_id,
            entry.scope,
            entry.action,
            entry.table_name,
            entry.row_id,
            entry.changes,
            entry.transaction_id.to_string(),
        ];
        let texts = texts.map(|text| format!("'{}'", text.replace('\'', "''"))).join(", ");
        let previous = hex(&entry.previous_hash);
        let hash = world.ask(&format!("sesari.audit_hash({texts}, '\\x{previous}')"));
        assert_eq!(hash, format!("\\x{}", hex(&entry.hash)));
    }
}

#[test]
fn an_exported_log_is_verified_without_the_database() {
    let world = World::with_history(5);
    let json = serde_json::to_string(&world.export()).unwrap();
    let entries: Vec<Entry> = serde_json::from_str(&json).unwrap();
    let mut chain = Chain::of(Some(&world.a.workspace));
    for entry in &entries {
        chain.follow(entry).unwrap();
    }
    assert_eq!(chain.checkpoint(), world.checkpoint());
}

/// The form's parts, or `None` where it is no form.
fn taken_apart(mut form: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    while !form.is_empty() {
        let (length, rest) = form.split_once(':')?;
        let length: usize = length.parse().ok()?;
        parts.push(rest.get(..length)?.to_owned());
        form = rest.get(length..)?.strip_prefix(',')?;
    }
    Some(parts)
}

prop_compose! {
    fn any_entry()(
        texts in prop::collection::vec("(?s).{0,8}|[0-9]{1,2}:[a-z]{0,3},", 9),
        numbers in any::<[i64; 3]>(),
        hashes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 2),
    ) -> Entry {
        let mut texts = texts.into_iter();
        let mut text = || texts.next().unwrap();
        Entry {
            workspace_id: text(), sequence: numbers[0], microseconds: numbers[1], id: text(),
            actor_kind: text(), actor_id: text(), scope: text(), action: text(), table_name: text(),
            row_id: text(), changes: text(), transaction_id: numbers[2],
            previous_hash: hashes[0].clone(), hash: hashes[1].clone(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_canonical_form_can_be_taken_apart_again(entry in any_entry()) {
        let parts = taken_apart(&entry.canonical_form()).unwrap();
        let previous = hex(&entry.previous_hash);
        let (sequence, microseconds) = (entry.sequence.to_string(), entry.microseconds.to_string());
        let transaction = entry.transaction_id.to_string();
        prop_assert_eq!(parts, [
            "sesari.audit.v1", &entry.workspace_id, &sequence, &microseconds, &entry.id,
            &entry.actor_kind, &entry.actor_id, &entry.scope, &entry.action, &entry.table_name,
            &entry.row_id, &entry.changes, &transaction, &previous,
        ]);
    }

    #[test]
    fn no_rows_make_it_panic(entries in prop::collection::vec(any_entry(), 0..5), of_none: bool) {
        let workspace = "wa".parse().unwrap();
        let mut chain = Chain::of(Some(&workspace).filter(|_| !of_none));
        for entry in &entries {
            let before = chain.checkpoint();
            // Hashes at random do not fit.
            let breach = chain.follow(entry).unwrap_err();
            prop_assert!(!breach.to_string().is_empty());
            prop_assert_eq!(chain.checkpoint(), before);
        }
    }

    #[test]
    fn no_text_makes_a_checkpoint_panic(text in "(?s).{0,40}|v1\\.[a-z-]{1,3}\\.-?[0-9]{1,20}\\.-?[0-9]{1,3}\\.[0-9a-fA-F]{62,66}") {
        if let Ok(checkpoint) = text.parse::<Checkpoint>() {
            prop_assert_eq!(checkpoint.to_string(), text);
        }
    }
}

#[test]
fn a_checkpoint_survives_its_text_and_its_json() {
    let world = World::with_history(1);
    let of_none = world.service().audit_log().checkpoint().unwrap();
    for checkpoint in [world.checkpoint(), of_none] {
        assert!(checkpoint.sequence() > 0);
        assert_eq!(checkpoint.to_string().parse::<Checkpoint>().unwrap(), checkpoint);
        let json = serde_json::to_string(&checkpoint).unwrap();
        assert_eq!(serde_json::from_str::<Checkpoint>(&json).unwrap(), checkpoint);
    }
}
