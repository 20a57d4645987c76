//! No CHECK without a test.

use std::collections::BTreeSet;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Array, Text};

use super::database::Judge;
use super::{choices, numbers, texts, times};

/// CHECKs that no newtype stands before, and why.
const NO_NEWTYPE: &[(&str, &str)] = &[
    ("context_keys_inner_pad_check", "made by install_context_key, which checks the key"),
    ("context_keys_key_id_check", "checked with the key ring, in the tests of the context"),
    ("context_keys_outer_pad_check", "made by install_context_key, which checks the key"),
    ("idempotency_keys_actor_kind_check", "written from the kind of the guard's actor"),
    ("idempotency_keys_membership_check", "a default, from the context"),
    ("sync_queue_lease_id_leased_until_next_sync_at_check", "kept by the queue's functions"),
    ("sync_queue_leased_until_check", "the server's time and a lease that is checked"),
    (
        "sync_queue_next_sync_at_check",
        "bounded by the queue's functions; walked in tests/data/integrations",
    ),
    ("idempotency_keys_fingerprint_check", "a SHA-256, made by the library"),
    (
        "idempotency_keys_operation_check",
        "a name in the caller's source; walked in tests/data/idempotency",
    ),
    (
        "idempotency_keys_result_check",
        "measured before it is sent; walked in tests/data/idempotency",
    ),
    ("invitation_tokens_token_hash_check", "a SHA-256, made by the database"),
    ("invitations_expires_at_check", "the server's time and a validity that is checked"),
    ("integrations_credentials_check", "sealed text, made by no caller; walked beside the table"),
    ("integrations_error_message_check", "cut by whoever writes it; walked beside the table"),
    ("sealing_salts_salt_check", "made by the library, of its own length"),
    ("kpi_packed_points_point_sources_check", PACKED),
    ("kpi_packed_points_point_values_check", PACKED),
    ("kpi_packed_points_points_check", PACKED),
    ("kpi_packed_points_points_point_sources_check", PACKED),
    ("kpi_packed_points_points_point_values_check", PACKED),
    ("kpi_packed_points_starts_at_ends_at_check", PACKED),
    ("kpi_packed_points_points_point_offsets_starts_at_ends_at_check", PACKED),
    (
        "kpi_rollups_day_day_end_check",
        "kept by the triggers of the points; walked in tests/time_series",
    ),
    (
        "kpi_targets_effective_from_check",
        "a year that is checked; walked in tests/data/repositories/kpi_targets",
    ),
    (
        "kpi_targets_effective_from_period_check",
        "a date with its period; walked in tests/data/repositories/kpi_targets",
    ),
    ("kpis_current_value_at_check", "copied from a point's time, which is checked"),
];

const PACKED: &str = "made by sesari.pack_points; its points are checked before; walked in tests/time_series/packing";

#[test]
fn every_check_of_the_database_is_walked_or_excused() {
    let mut judge = Judge::new();
    let query = "ARRAY(SELECT conname::text FROM pg_constraint \
                 WHERE contype = 'c' AND connamespace IN ('public'::regnamespace, 'sesari'::regnamespace))";
    let stored: Vec<String> =
        diesel::select(sql::<Array<Text>>(query)).get_result(judge.conn()).unwrap();
    let walked = (texts::FIELDS.iter().map(|field| field.constraint))
        .chain(choices::FIELDS.iter().map(|field| field.constraint))
        .chain(numbers::FIELDS.iter().map(|field| field.0))
        .chain(times::FIELDS.iter().map(|field| field.0))
        .chain(NO_NEWTYPE.iter().map(|excused| excused.0));
    let walked: Vec<&str> = walked.collect();
    let once: BTreeSet<&str> = walked.iter().copied().collect();
    assert_eq!(walked.len(), once.len(), "a constraint is listed twice");
    assert_eq!(stored.iter().map(String::as_str).collect::<BTreeSet<_>>(), once);
}
