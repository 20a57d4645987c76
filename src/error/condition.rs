//! Names of SQLSTATEs, which say what is wrong with a caller's own SQL.

/// What the code means: its name in
/// [PostgreSQL's list](https://www.postgresql.org/docs/current/errcodes-appendix.html), or that of its
/// class. Never a text of the server's, which may quote values.
pub(super) fn name(sqlstate: &str) -> &'static str {
    match sqlstate {
        "0A000" => "feature_not_supported",
        "21000" => "cardinality_violation",
        "22001" => "string_data_right_truncation",
        "22003" => "numeric_value_out_of_range",
        "22004" => "null_value_not_allowed",
        "22007" => "invalid_datetime_format",
        "22008" => "datetime_field_overflow",
        "22012" => "division_by_zero",
        "22023" => "invalid_parameter_value",
        "22P02" => "invalid_text_representation",
        "25001" => "active_sql_transaction",
        "2BP01" => "dependent_objects_still_exist",
        "34000" => "invalid_cursor_name",
        "3B001" => "invalid_savepoint_specification",
        "3F000" => "invalid_schema_name",
        "42601" => "syntax_error",
        "42602" => "invalid_name",
        "42701" => "duplicate_column",
        "42702" => "ambiguous_column",
        "42703" => "undefined_column",
        "42704" => "undefined_object",
        "42710" => "duplicate_object",
        "42725" => "ambiguous_function",
        "42803" => "grouping_error",
        "42804" => "datatype_mismatch",
        "42809" => "wrong_object_type",
        "42830" => "invalid_foreign_key",
        "42846" => "cannot_coerce",
        "42883" => "undefined_function",
        "428C9" => "generated_always",
        "42P01" => "undefined_table",
        "42P02" => "undefined_parameter",
        "42P07" => "duplicate_table",
        "42P08" => "ambiguous_parameter",
        "42P10" => "invalid_column_reference",
        "42P17" => "invalid_object_definition",
        "42P18" => "indeterminate_datatype",
        "54000" => "program_limit_exceeded",
        "54001" => "statement_too_complex",
        "55000" => "object_not_in_prerequisite_state",
        "P0001" => "raise_exception",
        "XX000" => "internal_error",
        _ => class(sqlstate),
    }
}

fn class(sqlstate: &str) -> &'static str {
    match sqlstate.get(..2).unwrap_or_default() {
        "0A" => "feature_not_supported",
        "22" => "data_exception",
        "23" => "integrity_constraint_violation",
        "25" => "invalid_transaction_state",
        "40" => "transaction_rollback",
        "42" => "syntax_error_or_access_rule_violation",
        "53" => "insufficient_resources",
        "54" => "program_limit_exceeded",
        "55" => "object_not_in_prerequisite_state",
        "57" => "operator_intervention",
        "58" => "system_error",
        "P0" => "plpgsql_error",
        "XX" => "internal_error",
        _ => "error",
    }
}
