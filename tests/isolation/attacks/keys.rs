//! Reading the keys, or what other sessions do.

use super::harness::{Attack, Form::*, Outcome::*};

pub const ATTACKS: &[Attack] = &[
    attack!(
        "the key table",
        Statement,
        Refused("permission denied for table context_keys"),
        "SELECT * FROM sesari.context_keys"
    ),
    attack!(
        "the key table as XML",
        Statement,
        Refused("permission denied for table context_keys"),
        "SELECT table_to_xml('sesari.context_keys', true, true, '')"
    ),
    attack!(
        "a key of one's own",
        Statement,
        Refused("permission denied for function"),
        "SELECT sesari.install_context_key('mine', decode(repeat('00', 32), 'hex'))"
    ),
    attack!(
        "a key straight into the table",
        Statement,
        Refused("permission denied for table"),
        "INSERT INTO sesari.context_keys VALUES ('mine', decode(repeat('00', 64), 'hex'),
             decode(repeat('00', 64), 'hex'))"
    ),
    attack!(
        "retiring the key",
        Statement,
        Refused("permission denied for function"),
        "SELECT sesari.retire_context_key('test')"
    ),
    attack!(
        "the verifier itself",
        Statement,
        Refused("permission denied for function"),
        "SELECT sesari.verified_context()"
    ),
    attack!(
        "the services' view of the context",
        Statement,
        Refused("permission denied for function"),
        "SELECT sesari.current_service()"
    ),
    attack!(
        "a guess at the key",
        Statement,
        Runs,
        "SELECT sesari.has_context_key('test', sha256('guess'))"
    ),
    attack!("passwords", Statement, Refused("permission denied"), "SELECT * FROM pg_authid"),
    attack!(
        "the statement of another session",
        Statement,
        Shows("insufficient privilege"),
        "SELECT query FROM pg_stat_activity WHERE pid = {pid}"
    ),
    attack!(
        "ending another session",
        Statement,
        Refused("permission denied to terminate|must be a member of the role"),
        "SELECT pg_terminate_backend({pid})"
    ),
    attack!(
        "cancelling another session",
        Statement,
        Refused("permission denied to cancel|must be a member of the role"),
        "SELECT pg_cancel_backend({pid})"
    ),
    attack!(
        "the keys by their file",
        Statement,
        Refused("permission denied for function"),
        "SELECT pg_read_binary_file(pg_relation_filepath('sesari.context_keys'))"
    ),
    attack!(
        "the keys by COPY",
        Batch,
        Refused("permission denied for table"),
        "COPY sesari.context_keys TO STDOUT"
    ),
    attack!(
        "the keys in a plan",
        Statement,
        Refused("permission denied for table"),
        "EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM sesari.context_keys"
    ),
    attack!(
        "one column of the keys",
        Statement,
        Refused("permission denied for table"),
        "SELECT count(inner_pad) FROM sesari.context_keys"
    ),
    attack!(
        "the salts that credentials are sealed with",
        Statement,
        Refused("permission denied for table"),
        "TABLE sesari.sealing_salts"
    ),
    attack!(
        "the statements of all sessions, by the function",
        Statement,
        Runs,
        "SELECT pid, query FROM pg_stat_get_activity(NULL)"
    ),
    attack!(
        "the context in another session of the login",
        Batch,
        Runs,
        "RESET ROLE;
         DO $$ BEGIN IF EXISTS (SELECT FROM pg_stat_get_activity(NULL)
         WHERE pid = {pid} AND query ~ '[.][0-9a-f]{64}') THEN RAISE 'globex'; END IF; END $$"
    ),
    attack!(
        "the statements that were recorded",
        Statement,
        Refused("does not exist"),
        "SELECT query FROM pg_stat_statements"
    ),
    attack!(
        "what a session keeps in memory",
        Statement,
        Refused("permission denied"),
        "SELECT * FROM pg_backend_memory_contexts"
    ),
    attack!(
        "what another session keeps in memory, into the log",
        Statement,
        Refused("permission denied"),
        "SELECT pg_log_backend_memory_contexts({pid})"
    ),
    attack!(
        "passwords, by the view",
        Statement,
        Refused("permission denied"),
        "SELECT passwd FROM pg_shadow"
    ),
    attack!(
        "passwords, by the view for everybody",
        Statement,
        Shows("****"),
        "SELECT rolpassword FROM pg_roles LIMIT 1"
    ),
    attack!(
        "who may log in from where",
        Statement,
        Refused("permission denied"),
        "SELECT * FROM pg_hba_file_rules"
    ),
    attack!(
        "what the configuration says",
        Statement,
        Refused("permission denied"),
        "SELECT * FROM pg_file_settings"
    ),
    attack!(
        "where subscriptions connect to",
        Statement,
        Refused("permission denied"),
        "SELECT subconninfo FROM pg_subscription"
    ),
];
