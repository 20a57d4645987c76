//! Every rule of the check: what it means and what to do. A test below holds the list against what the
//! check can say, and `tests/isolation/check` holds the table in `docs/tenancy.md` against the list.

use super::Severity::{self, Critical, Info, Warning};

/// A rule of the isolation check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Rule {
    /// Its name, such as `login-bypasses-rls`. Does not change between versions.
    pub id: &'static str,
    /// How much a finding of it matters.
    pub severity: Severity,
    /// What a finding of it means.
    pub meaning: &'static str,
    /// What to type. `{object}` stands for what the finding is about.
    pub remedy: &'static str,
}

/// All rules, by severity and name.
#[must_use]
pub fn rules() -> &'static [Rule] {
    RULES
}

/// The rule of this name.
#[must_use]
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

const fn rule_of(
    severity: Severity,
    id: &'static str,
    meaning: &'static str,
    remedy: &'static str,
) -> Rule {
    Rule { id, severity, meaning, remedy }
}

const RESTORE: &str = "undo the change, or restore the schema from its migrations";

#[rustfmt::skip]
const RULES: &[Rule] = &[
    rule_of(Critical, "activity-shown", "contexts could be read in pg_stat_activity", "ALTER SYSTEM SET track_activity_query_size = '64kB', and restart"),
    rule_of(Critical, "catalogue-granted", "a right to a table of PostgreSQL's own that a new database does not give", "REVOKE <right> ON {object} FROM <grantee>"),
    rule_of(Critical, "column-changed", "a column of this crate differs from its migration", RESTORE),
    rule_of(Critical, "constraint-changed", "a constraint of this crate differs from its migration", RESTORE),
    rule_of(Critical, "database-writable", "the login may create schemas or temporary tables, and shadow others with them", "REVOKE CREATE, TEMPORARY ON DATABASE {object} FROM PUBLIC, <login>"),
    rule_of(Critical, "fingerprint-changed", "the schema is not the one whose fingerprint was recorded", "find the change; if it is meant, record the new fingerprint"),
    rule_of(Critical, "function-changed", "a function of this crate differs from its migration", RESTORE),
    rule_of(Critical, "function-leakproof", "a function marked LEAKPROOF may be called on rows that a policy hides", "ALTER FUNCTION {object} NOT LEAKPROOF"),
    rule_of(Critical, "function-unpinned", "a SECURITY DEFINER function looks names up where its caller says", "ALTER FUNCTION {object} SET search_path = pg_catalog, pg_temp"),
    rule_of(Critical, "grant-changed", "a grant on what is this crate's differs from its migration", RESTORE),
    rule_of(Critical, "index-across-tenants", "an index in which a tenant's condition finds rows of all tenants, to be counted", "CREATE INDEX ON ... (workspace_id, ...), then DROP INDEX {object}; or REVOKE SELECT on its table FROM sesari_tenant"),
    rule_of(Critical, "index-changed", "an index of this crate differs from its migration", RESTORE),
    rule_of(Critical, "language-trusted", "a language that runs code as the server is open to whoever may use it", "UPDATE pg_catalog.pg_language SET lanpltrusted = false WHERE lanname = '{object}'"),
    rule_of(Critical, "login-bypasses-rls", "no policy binds the login, or a role that it can take", "ALTER ROLE <login> NOBYPASSRLS, or REVOKE {object} FROM <login>"),
    rule_of(Critical, "login-can-grant", "the login may give a role of its own to others", "REVOKE ADMIN OPTION FOR {object} FROM <login>"),
    rule_of(Critical, "login-can-make-roles", "the login can make roles or databases, or replicate", "ALTER ROLE <login> NOCREATEROLE NOCREATEDB NOREPLICATION, or REVOKE {object} FROM <login>"),
    rule_of(Critical, "login-has-both-roles", "one login for tenants and services is one wall less", "make a second login, and REVOKE sesari_service FROM {object}"),
    rule_of(Critical, "login-has-no-role", "the login has not the rights it needs", "GRANT sesari_tenant TO {object}, or sesari_service for the service's login"),
    rule_of(Critical, "login-is-privileged", "the login has a predefined role that reaches past a tenant", "REVOKE {object} FROM <login>"),
    rule_of(Critical, "login-is-superuser", "no policy binds a superuser", "check and serve with a plain login: CREATE ROLE sesari_app LOGIN IN ROLE sesari_tenant"),
    rule_of(Critical, "login-owns", "the login could change what it owns", "ALTER TABLE {object} OWNER TO sesari_owner, or REVOKE <owner> FROM <login>"),
    rule_of(Critical, "migration-pending", "the schema is older than this crate", "run the migrations: sesari_db::migrations::run"),
    rule_of(Critical, "migration-unknown", "the schema is newer than this crate", "upgrade the service"),
    rule_of(Critical, "migrations-unrecorded", "the schema is there and the record of its migrations is empty, as after a dump without data", "sesari_db::migrations::record, or sesari migrate --record"),
    rule_of(Critical, "parameter-granted", "the login may set a superuser's setting", "REVOKE SET, ALTER SYSTEM ON PARAMETER {object} FROM <login>"),
    rule_of(Critical, "policy-changed", "a policy of this crate differs from its migration", RESTORE),
    rule_of(Critical, "policy-restrictive", "a restrictive policy is silently lost on shards", "DROP POLICY on {object}, and AND its condition to the permissive one"),
    rule_of(Critical, "prepared-transactions", "a tenant could leave locks behind that outlive its session", "ALTER SYSTEM SET max_prepared_transactions = 0, and restart"),
    rule_of(Critical, "relation-outside-rls", "the login reads something that cannot have row-level security", "REVOKE ALL ON {object} FROM PUBLIC, sesari_tenant, sesari_service, <login>"),
    rule_of(Critical, "role-attributes", "a role that holds grants alone can log in, or is more than a tenant's", "ALTER ROLE {object} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION PASSWORD NULL"),
    rule_of(Critical, "rule-changed", "a rewriting rule on a table of this crate", RESTORE),
    rule_of(Critical, "schema-writable", "the login may create objects, and shadow others with them", "REVOKE CREATE ON SCHEMA {object} FROM PUBLIC, sesari_tenant, sesari_service, <login>"),
    rule_of(Critical, "server-granted", "the login may use or make a foreign server, with the rights of somebody else", "REVOKE USAGE ON FOREIGN SERVER {object} FROM <grantee>; DROP USER MAPPING FOR <login> SERVER {object}"),
    rule_of(Critical, "server-too-old", "the server has known holes in row-level security", "upgrade PostgreSQL"),
    rule_of(Critical, "setting-changed", "triggers, foreign keys, rights or policies would not be applied as they are", "ALTER ROLE <login> RESET <setting>; ALTER DATABASE <database> RESET <setting>"),
    rule_of(Critical, "statistics-across-tenants", "the planner's estimates tell of all tenants' values", "SELECT sesari.forget_statistics('{object}'), as its owner, or as a superuser once it has been analyzed"),
    rule_of(Critical, "statistics-extended", "the planner's estimates tell of all tenants' values", "DROP STATISTICS {object}"),
    rule_of(Critical, "stray-grant", "a right that row-level security does not bind", "REVOKE TRUNCATE, REFERENCES, TRIGGER ON {object} FROM PUBLIC, sesari_tenant, sesari_service, <login>"),
    rule_of(Critical, "system-function-changed", "a function of PostgreSQL's own was changed, or stands in its way", "ALTER FUNCTION {object} SECURITY INVOKER, RESET ALL or OWNER TO, as is needed; DROP FUNCTION {object}"),
    rule_of(Critical, "system-function-granted", "a function of PostgreSQL or of an extension that neither gives to the login", "REVOKE EXECUTE ON FUNCTION {object} FROM <grantee>"),
    rule_of(Critical, "system-operator-changed", "an operator of PostgreSQL's own calls a function that is not", "dump the database, and restore it into a new cluster"),
    rule_of(Critical, "table-changed", "a table of this crate differs from its migration", RESTORE),
    rule_of(Critical, "table-not-forced", "row-level security does not bind the table's owner", "ALTER TABLE {object} FORCE ROW LEVEL SECURITY"),
    rule_of(Critical, "table-undeclared", "the login reaches a table whose policies nobody judges", "declare it, as tenant_table(\"{object}\") or shared_table(\"{object}\"), or revoke the grant"),
    rule_of(Critical, "table-without-policy", "a grant without a policy for it", "CREATE POLICY ... ON {object}, or revoke the grant"),
    rule_of(Critical, "table-without-rls", "a table without row-level security", "ALTER TABLE {object} ENABLE ROW LEVEL SECURITY"),
    rule_of(Critical, "tenant-default", "a default that runs as its owner", "ALTER TABLE ... ALTER COLUMN {object} DROP DEFAULT"),
    rule_of(Critical, "tenant-foreign-key", "a foreign key that does not stay within the workspace", "FOREIGN KEY (workspace_id, x_id) REFERENCES x (workspace_id, id) instead of {object}; ALTER TABLE ... VALIDATE CONSTRAINT"),
    rule_of(Critical, "tenant-grant-option", "the login may give a right on to others", "REVOKE GRANT OPTION FOR ALL ON {object} FROM <grantee>"),
    rule_of(Critical, "tenant-inheritance", "a tenant's table that inherits, or is inherited from", "ALTER TABLE {object} NO INHERIT <parent>; use partitions"),
    rule_of(Critical, "tenant-key", "a unique key or exclusion over all tenants", "UNIQUE (workspace_id, ...) instead of {object}"),
    rule_of(Critical, "tenant-key-unenforced", "a foreign key that is not checked", "ALTER TABLE ... ENABLE TRIGGER ALL, for {object}"),
    rule_of(Critical, "tenant-owner", "who owns the table can log in, or is not bound by policies", "ALTER TABLE {object} OWNER TO sesari_owner"),
    rule_of(Critical, "tenant-policy", "a policy that does not hold rows to the workspace, or is not recognized", "USING and WITH CHECK (workspace_id = (SELECT sesari.current_workspace_id()) [AND ...]) for {object}"),
    rule_of(Critical, "tenant-policy-overlap", "several policies for one verb: the widest counts", "DROP POLICY ... ON {object}, until one is left for each verb"),
    rule_of(Critical, "tenant-rule", "a rewriting rule, which runs with its owner's rights", "DROP RULE {object}"),
    rule_of(Critical, "tenant-table-missing", "a declared table that is not there", "run your migrations, or correct the declaration of {object}"),
    rule_of(Critical, "tenant-workspace-column", "a declared table without workspace_id text NOT NULL", "ALTER TABLE {object} ADD COLUMN workspace_id text NOT NULL DEFAULT sesari.current_workspace_id()"),
    rule_of(Critical, "trigger-changed", "a trigger of this crate differs from its migration", RESTORE),
    rule_of(Critical, "view-without-invoker", "a view that reads with its owner's rights", "ALTER VIEW {object} SET (security_invoker = true)"),
    rule_of(Warning, "cast-added", "a conversion between types of PostgreSQL's own that nobody has to ask for", "DROP CAST ({object})"),
    rule_of(Warning, "default-grant", "a role grants the login rights on all that it will make, before any policy is there", "ALTER DEFAULT PRIVILEGES FOR ROLE {object} REVOKE ALL ON TABLES FROM PUBLIC, sesari_tenant, sesari_service"),
    rule_of(Warning, "definer-function", "a function that the login may call, and that runs with its owner's rights", "see that {object} holds to the context's workspace, or REVOKE EXECUTE ON FUNCTION {object} FROM PUBLIC, sesari_tenant"),
    rule_of(Warning, "event-trigger", "a function that runs in sessions of others when they change or enter the database", "ALTER EVENT TRIGGER {object} DISABLE"),
    rule_of(Warning, "extension-reaches-out", "functions of an extension that reach other sessions or servers", "REVOKE ALL ON ALL FUNCTIONS IN SCHEMA <schema of {object}> FROM PUBLIC"),
    rule_of(Warning, "publication-private", "a publication carries keys and salts of this crate", "ALTER PUBLICATION {object} DROP TABLE <table>"),
    rule_of(Warning, "sequence-granted", "a sequence that tells how many rows all tenants have made", "REVOKE ALL ON SEQUENCE {object} FROM PUBLIC, sesari_tenant, sesari_service; use sesari.new_id()"),
    rule_of(Warning, "setting-damaging", "a setting that is not known to be harmless, for all sessions to come", "ALTER ROLE <login> RESET <setting>; ALTER DATABASE <database> RESET <setting>"),
    rule_of(Warning, "subscription-writes", "a subscription writes into tenants' tables past triggers and foreign keys", "ALTER SUBSCRIPTION {object} DISABLE"),
    rule_of(Warning, "tablespace-granted", "the login may create in a tablespace", "REVOKE CREATE ON TABLESPACE {object} FROM <grantee>"),
    rule_of(Warning, "tenant-policy-function", "a policy that calls a function of your own", "see that the function tells nothing of the rows it is asked about, for {object}"),
    rule_of(Warning, "tenant-policy-late", "a policy that reads and does not begin with a look-up: what runs in a statement's own conditions tells of rows that it hides", "USING ((SELECT sesari.key_of(sesari.current_workspace_id()))[workspace_id] IS NOT NULL AND workspace_id = (SELECT sesari.current_workspace_id()) [AND ...]) for {object}"),
    rule_of(Warning, "tenant-sequence", "a column numbered over all tenants", "ALTER TABLE ... ALTER COLUMN {object} SET DEFAULT sesari.new_id()"),
    rule_of(Warning, "tenant-trigger-definer", "a trigger that runs with its owner's rights", "see that the function of {object} touches the row's own workspace alone, or make it SECURITY INVOKER"),
    rule_of(Warning, "tenant-trigger-unpinned", "a trigger whose function looks names up where its caller says", "ALTER FUNCTION ... SET search_path = pg_catalog, pg_temp, for {object}"),
    rule_of(Info, "hardening-activity", "sessions of one login show each other their statements", "ALTER ROLE <login> SET track_activities = off"),
    rule_of(Info, "hardening-advisory-locks", "one statement can fill the server's lock table, and hold locks beyond its transaction's end, until the guard's cleaning", "docs/revoke_locks.sql, as a superuser: it revokes every pg_advisory_* and pg_try_advisory_* from PUBLIC"),
    rule_of(Info, "hardening-connection-limit", "a service that runs away can take every connection", "ALTER ROLE <login> CONNECTION LIMIT <pool size x processes>"),
    rule_of(Info, "hardening-ddl", "a statement that is to be refused takes the lock of its table first, and everybody waits for it", "docs/refuse_ddl.sql, as a superuser: an event trigger that refuses such statements at once"),
    rule_of(Info, "hardening-isolation-level", "a stronger default level shows memberships as of the transaction's begin", "ALTER ROLE <login> RESET default_transaction_isolation"),
    rule_of(Info, "hardening-large-objects", "large objects know no tenant", "REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC"),
    rule_of(Info, "hardening-lock-table", "the server's lock table is filled in less than the five seconds that a watchdog needs: room for fewer than 200000 locks", "ALTER SYSTEM SET max_locks_per_transaction = <200000 / max_connections>, and restart"),
    rule_of(Info, "hardening-log-statements", "statements, contexts included, get into the server's log", "ALTER ROLE <login> SET log_statement = 'none'; ALTER ROLE <login> SET log_min_duration_statement = -1"),
    rule_of(Info, "hardening-log-values", "values of statements get into the server's log", "ALTER ROLE <login> SET log_parameter_max_length = 0"),
    rule_of(Info, "hardening-logical-messages", "a statement that writes no row can take a lock for each savepoint, and write what replicas and backups carry", "docs/revoke_locks.sql, as a superuser: it revokes pg_logical_emit_message from PUBLIC"),
    rule_of(Info, "hardening-messages", "a cancelled statement is told from one that timed out by the server's English text", "ALTER ROLE <login> SET lc_messages = 'C'"),
    rule_of(Info, "hardening-passwords", "a login with a password can change it by SQL", "cert, peer or IAM authentication in pg_hba.conf"),
    rule_of(Info, "hardening-reserved-connections", "services can take every connection, an administrator's too", "ALTER SYSTEM SET superuser_reserved_connections = 3, or reserved_connections from PostgreSQL 16 on, and restart"),
    rule_of(Info, "hardening-signals", "sessions of one login can end each other's statements", "REVOKE EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint), pg_cancel_backend(integer) FROM PUBLIC"),
    rule_of(Info, "hardening-statement-timeout", "what connects without the guard may run for ever", "ALTER ROLE <login> SET statement_timeout = '60s'"),
    rule_of(Info, "hardening-statements", "pg_stat_statements keeps each SET with its value, contexts included", "ALTER SYSTEM SET pg_stat_statements.track_utility = off"),
    rule_of(Info, "hardening-temp-files", "a statement can fill the server's disk", "ALTER ROLE <login> SET temp_file_limit = '2GB'"),
    rule_of(Info, "hardening-tls", "contexts and rows can be read on the way", "sslmode=verify-full in the URL"),
    rule_of(Info, "index-additional", "an index that this crate did not make and that breaks no rule", "nothing; DROP INDEX CONCURRENTLY if it is of no use"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Quoted names in the text of the check, such as 'login-owns'.
    fn named_in(text: &str, quote: char) -> BTreeSet<&str> {
        text.split(quote)
            .filter(|name| {
                name.contains('-')
                    && name.split('-').all(|word| {
                        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase())
                    })
            })
            .collect()
    }

    #[test]
    fn the_catalogue_lists_what_the_check_can_say_and_nothing_else() {
        let mut said = BTreeSet::new();
        for sql in [
            super::super::RULES_SQL,
            super::super::TENANT_SQL,
            super::super::SYSTEM_SQL,
            super::super::HARDENING_SQL,
        ] {
            let (_, sql) = sql.split_once("namespaces AS").unwrap_or(("", sql));
            said.extend(named_in(sql, '\'').into_iter().map(ToOwned::to_owned));
        }
        let source = include_str!("../isolation.rs");
        said.extend(named_in(source, '"').into_iter().map(ToOwned::to_owned));
        for line in super::super::MANIFEST.lines() {
            said.insert(format!("{}-changed", line.split(' ').next().unwrap_or_default()));
        }
        // None of ours has one, and a live catalogue may.
        said.insert("rule-changed".into());
        let listed: BTreeSet<String> = rules().iter().map(|rule| rule.id.to_owned()).collect();
        assert_eq!(said, listed);
    }

    #[test]
    fn the_catalogue_is_in_order_and_each_rule_is_there_once() {
        let keys: Vec<_> =
            rules().iter().map(|rule| (std::cmp::Reverse(rule.severity), rule.id)).collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
        for rule in rules() {
            assert!(!rule.meaning.is_empty() && !rule.remedy.is_empty(), "{rule:?}");
        }
    }
}
