//! Every error is reached on a real server, tells what it should, and nothing more.
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]

mod reach;

use std::collections::BTreeMap;

use crate::support::{World, hour, service};
use diesel::connection::SimpleConnection;
use sesari_db::database::IsolationReport;
use sesari_db::id::{GoalId, KpiId, UserId, WorkspaceId};
use sesari_db::maintenance::install_context_key;
use sesari_db::repo::{
    GoalKpiChanges, KpiChanges, KpiFilter, NewDataPoint, NewGoalKpi, NewInvitation, NewKpi,
    NewUser, NewWorkspace, OnExisting, PointKey,
};
use sesari_db::tenancy::ContextKey;
use sesari_db::value::{AuthProvider, Finite, Role, Timestamp, Weight};
use sesari_db::{Error, TenantConnection};

use reach::{SECRET, reach_all};

/// `Error::Conflict { .. }` gives `Conflict`.
fn variant(error: &Error) -> String {
    format!("{error:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

/// The variants that the source declares.
fn declared() -> Vec<String> {
    include_str!("../../src/error.rs")
        .lines()
        .skip_while(|line| !line.starts_with("pub enum Error {"))
        .skip(1)
        .take_while(|line| !line.starts_with('}'))
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|line| line.chars().take_while(char::is_ascii_alphanumeric).collect())
        .collect()
}

/// Whether the same transaction may succeed when it is run again.
const RETRYABLE: &[(&str, bool)] = &[
    ("Cancelled", false),
    ("Config", false),
    ("Conflict", false),
    ("Connect", false),
    ("ConnectionLost", true),
    ("CannotConnectNow", true),
    ("ContextExpired", true),
    ("ContextKeyUnknown", false),
    ("Database", false),
    ("DeadlineExceeded", false),
    ("Deadlock", true),
    ("Denied", false),
    ("Departure", false),
    ("ForeignKey", false),
    ("Idempotency", false),
    ("Import", false),
    ("Invalid", false),
    ("IdleInTransactionTimeout", true),
    ("Invitation", false),
    ("LastOwner", false),
    ("LockTimeout", true),
    ("Migration", false),
    ("NotFound", false),
    ("Open", false),
    ("OutcomeUnknown", false),
    ("Overloaded", true),
    ("PoolTimeout", true),
    ("ReadOnly", false),
    ("ReadOnlyServer", true),
    ("Seal", false),
    ("SerializationFailure", true),
    ("ServerFull", false),
    ("ShuttingDown", false),
    ("StatementTimeout", false),
    ("TooManyChanges", false),
    ("TooManyConnections", true),
    ("TransactionAborted", false),
    ("Unsafe", false),
];

/// Everything that a log could show of an error.
fn texts(error: &Error) -> String {
    let mut texts = vec![format!("{error} {error:?} {error:#?}")];
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        texts.push(format!("{error} {error:?}"));
        source = error.source();
    }
    texts.join(" ")
}

#[test]
fn every_error_is_reached_says_whether_to_retry_and_gives_nothing_away() {
    let world = World::shared();
    let reached = reach_all(&world);

    let mut missing = declared();
    assert!(missing.len() > 15, "{missing:?}");
    missing.retain(|name| !reached.iter().any(|error| variant(error) == *name));
    // What a standby says, which `tests/failures` has, and a server that is starting, which the
    // crate's own tests have.
    missing.retain(|name| name != "ReadOnlyServer" && name != "CannotConnectNow");
    assert!(missing.is_empty(), "not reached: {missing:?}");

    let table: BTreeMap<&str, bool> = RETRYABLE.iter().copied().collect();
    for error in &reached {
        let name = variant(error);
        assert_eq!(error.is_retryable(), table[name.as_str()], "{error:?}");
        assert_eq!(error.is_not_found(), name == "NotFound");
        assert_eq!(error.is_conflict(), name == "Conflict");
        assert_eq!(error.is_denied(), name == "Denied");
    }

    let (a, b) = (&world.a, &world.b);
    for error in &reached {
        let mut texts = texts(error).to_lowercase();
        if let Some(report) = IsolationReport::in_error(error) {
            // Anybody may know what the schema looks like.
            texts = texts.replace(report.fingerprint(), "");
        }
        for told in [
            SECRET,
            a.owner.as_str(),
            a.workspace.as_str(),
            a.kpi.as_str(),
            b.workspace.as_str(),
            b.kpi.as_str(),
        ] {
            assert!(!texts.contains(told), "{texts}");
        }
        // A signature or a password of ours would be one.
        let hex = |text: &str| text.len() >= 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(!texts.split(|c: char| !c.is_ascii_alphanumeric()).any(hex), "{texts}");
    }
}

#[test]
fn the_search_for_what_must_not_be_told_finds_it() {
    let world = World::new();
    let hidden = reach_all(&world).iter().any(|error| match error {
        Error::Database(error) => format!("{:?}", error.diesel_error()).contains(SECRET),
        _ => false,
    });
    assert!(hidden, "no error had anything to hide");
}

/// The error of a call that runs in a savepoint of its own.
fn refusal<T>(
    tenant: &mut TenantConnection,
    call: impl FnOnce(&mut TenantConnection) -> Result<T, Error>,
) -> Error {
    match tenant.transaction(call) {
        Ok(_) => panic!("was not refused"),
        Err(error) => error,
    }
}

fn constraint(error: Error) -> String {
    match error {
        Error::Conflict { constraint } => constraint,
        other => panic!("no conflict: {other:?}"),
    }
}

#[test]
fn a_foreign_key_of_a_table_of_ones_own_is_no_conflict() {
    let world = World::new();
    let a = &world.a;
    let mut admin = world.test.admin().unwrap();
    admin
        .batch_execute(
            "CREATE TABLE customers (id int PRIMARY KEY); \
             CREATE TABLE invoices (id int PRIMARY KEY, customer_id int REFERENCES customers); \
             GRANT INSERT, DELETE, SELECT ON customers, invoices TO sesari_tenant",
        )
        .unwrap();
    let mut t = world.db.tenant(&a.owner, &a.workspace).unwrap();
    let mut refused = |sql: &str| {
        let error = refusal(&mut t, |t| Ok(t.connection().batch_execute(sql)?));
        assert!(!error.is_conflict(), "{error:?}");
        match error {
            Error::ForeignKey { constraint } => constraint,
            other => panic!("{other:?}"),
        }
    };
    let key = "invoices_customer_id_fkey";
    assert_eq!(refused("INSERT INTO invoices VALUES (1, 1)"), key);
    let still_there = "INSERT INTO customers VALUES (1); INSERT INTO invoices VALUES (1, 1); \
                       DELETE FROM customers";
    assert_eq!(refused(still_there), key);
    let own = refusal(&mut t, |t| Ok(t.connection().batch_execute("SELECT * FROM nowhere")?));
    assert!(
        own.to_string().starts_with("database error: undefined_table (SQLSTATE 42P01"),
        "{own}"
    );
    assert!(own.to_string().contains("at character 15"), "{own}");
}

#[test]
fn a_conflict_names_its_constraint() {
    let world = World::new();
    let a = &world.a;
    let mut t = world.db.tenant(&a.owner, &a.workspace).unwrap();
    let taken = NewKpi { id: a.kpi.clone(), ..NewKpi::new("Churn".parse().unwrap()) };
    assert_eq!(constraint(refusal(&mut t, |t| t.kpis().create(&taken))), "kpis_pkey");
    let point = NewDataPoint::new(a.kpi.clone(), 1.0, hour(0)).unwrap();
    let key = "kpi_data_points_pkey";
    assert_eq!(constraint(refusal(&mut t, |t| t.data_points().record(&point))), key);
    let batch = [point];
    let failed = refusal(&mut t, |t| t.data_points().record_many(&batch, OnExisting::Fail));
    assert_eq!(constraint(failed), key);
    let link = NewGoalKpi::new(a.goal.clone(), a.kpi.clone());
    let linked = refusal(&mut t, |t| t.goal_kpis().link(&link));
    assert_eq!(constraint(linked), "goal_kpis_workspace_id_goal_id_kpi_id_key");
    let slug = refusal(&mut t, |t| t.workspace().change_slug(world.b.slug.parse()?));
    assert_eq!(constraint(slug), "workspaces_slug_key");

    let mut user = world.db.user(&world.stranger).unwrap();
    let new = NewWorkspace::new("Another".parse().unwrap(), a.slug.parse().unwrap());
    let slug = user.my_workspaces().create(&new).unwrap_err();
    assert_eq!(constraint(slug), "workspaces_slug_key");

    let mut service = world.db.service(&service()).unwrap();
    let new = |email: &str, id: &str| {
        NewUser::new(email.parse().unwrap(), AuthProvider::Google, id.parse().unwrap())
    };
    let email = service.transaction(|s| s.users().create(&new("stranger@example.com", "other")));
    assert_eq!(constraint(email.unwrap_err()), "users_email_key");
    let account =
        service.transaction(|s| s.users().create(&new("other@example.com", "google-stranger")));
    assert_eq!(constraint(account.unwrap_err()), "users_provider_provider_id_key");

    let mut admin = world.test.admin().unwrap();
    let key = ContextKey::generate(world.test.context_key().id()).unwrap();
    let error = install_context_key(&mut admin, &key).unwrap_err();
    assert_eq!(constraint(error), "context_keys_pkey");
}

type Call = fn(&mut TenantConnection, &Rows) -> Result<(), Error>;

struct Rows {
    kpi: KpiId,
    goal: GoalId,
    user: UserId,
}

/// Every call that is about a row that somebody has named.
const CALLS: &[(&str, Call)] = &[
    ("kpi.update", |t, r| {
        let changes = KpiChanges { is_active: Some(true), ..KpiChanges::default() };
        t.kpis().update(&r.kpi, &changes).map(drop)
    }),
    ("kpi.update without changes", |t, r| {
        t.kpis().update(&r.kpi, &KpiChanges::default()).map(drop)
    }),
    ("kpi.activate", |t, r| t.kpis().activate(&r.kpi).map(drop)),
    ("kpi.delete", |t, r| t.kpis().delete(&r.kpi)),
    ("kpi.restore", |t, r| t.kpis().restore(&r.kpi).map(drop)),
    ("kpi.purge", |t, r| t.kpis().purge(&r.kpi)),
    ("point.record", |t, r| {
        let point = NewDataPoint::new(r.kpi.clone(), 1.0, hour(50))?;
        t.data_points().record(&point).map(drop)
    }),
    ("point.record_many", |t, r| {
        let point = NewDataPoint::new(r.kpi.clone(), 1.0, hour(50))?;
        t.data_points().record_many(&[point], OnExisting::Replace).map(drop)
    }),
    ("point.correct", |t, r| {
        t.data_points().correct(&first_point(&r.kpi)?, Finite::new(1.0)?).map(drop)
    }),
    ("point.delete", |t, r| t.data_points().delete(&first_point(&r.kpi)?)),
    ("goal.update", |t, r| t.goals().complete(&r.goal).map(drop)),
    ("goal.delete", |t, r| t.goals().delete(&r.goal)),
    ("goal.restore", |t, r| t.goals().restore(&r.goal).map(drop)),
    ("goal.purge", |t, r| t.goals().purge(&r.goal)),
    ("goal.progress", |t, r| t.goals().progress(&r.goal).map(drop)),
    ("goal_kpi.link", |t, r| {
        t.goal_kpis().link(&NewGoalKpi::new(r.goal.clone(), r.kpi.clone())).map(drop)
    }),
    ("goal_kpi.reweigh", |t, r| {
        t.goal_kpis().reweigh(&r.goal, &r.kpi, Weight::default()).map(drop)
    }),
    ("goal_kpi.update without changes", |t, r| {
        t.goal_kpis().update(&r.goal, &r.kpi, &GoalKpiChanges::default()).map(drop)
    }),
    ("goal_kpi.unlink", |t, r| t.goal_kpis().unlink(&r.goal, &r.kpi)),
    ("member.change_role", |t, r| t.members().change_role(&r.user, Role::Member).map(drop)),
    ("member.remove", |t, r| t.members().remove(&r.user)),
];

fn first_point(kpi: &KpiId) -> Result<PointKey, Error> {
    Ok(PointKey { kpi_id: kpi.clone(), timestamp: Timestamp::new(hour(0))?, source: None })
}

#[test]
fn a_row_of_another_workspace_looks_like_one_that_does_not_exist() {
    let world = World::shared();
    let (a, b) = (&world.a, &world.b);
    let absent =
        Rows { kpi: KpiId::generate(), goal: GoalId::generate(), user: UserId::generate() };
    let of_b = Rows { kpi: b.kpi.clone(), goal: b.goal.clone(), user: b.member.clone() };
    let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
    for (name, call) in CALLS {
        let absent = refusal(&mut tenant, |t| call(t, &absent));
        let of_b = refusal(&mut tenant, |t| call(t, &of_b));
        assert!(absent.is_not_found(), "{name}: {absent:?}");
        assert_eq!(texts(&of_b), texts(&absent), "{name}");
    }
}

#[test]
fn a_row_that_the_role_forbids_looks_like_one_that_does_not_exist() {
    let world = World::shared();
    let a = &world.a;
    let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
    tenant.kpis().delete(&a.kpi).unwrap();
    tenant.goals().delete(&a.goal).unwrap();
    tenant.commit().unwrap();
    let forbidden = Rows { kpi: a.kpi.clone(), goal: a.goal.clone(), user: a.admin.clone() };
    let absent =
        Rows { kpi: KpiId::generate(), goal: GoalId::generate(), user: UserId::generate() };
    let mut member = world.db.tenant(&a.member, &a.workspace).unwrap();
    for (name, call) in CALLS {
        if matches!(*name, "kpi.purge" | "goal.purge" | "member.change_role" | "member.remove") {
            let forbidden = refusal(&mut member, |t| call(t, &forbidden));
            let absent = refusal(&mut member, |t| call(t, &absent));
            assert!(absent.is_not_found(), "{name}: {absent:?}");
            assert_eq!(texts(&forbidden), texts(&absent), "{name}");
        }
    }
    let renamed = refusal(&mut member, |t| t.workspace().rename("Mine".parse()?));
    drop(member);
    let mut nowhere = world.db.tenant(&a.member, &WorkspaceId::generate()).unwrap();
    let absent = refusal(&mut nowhere, |t| t.workspace().rename("Mine".parse()?));
    assert_eq!(texts(&renamed), texts(&absent));
}

#[test]
fn a_workspace_of_others_looks_like_one_that_does_not_exist() {
    let world = World::shared();
    let a = &world.a;
    let rows = Rows { kpi: a.kpi.clone(), goal: a.goal.clone(), user: a.member.clone() };
    let mut of_a = world.db.tenant(&world.stranger, &a.workspace).unwrap();
    let mut nowhere = world.db.tenant(&world.stranger, &WorkspaceId::generate()).unwrap();
    for (name, call) in CALLS {
        let of_a = refusal(&mut of_a, |t| call(t, &rows));
        let nowhere = refusal(&mut nowhere, |t| call(t, &rows));
        assert_eq!(texts(&of_a), texts(&nowhere), "{name}");
        assert!(of_a.is_not_found() || of_a.is_denied(), "{name}: {of_a:?}");
    }
}

#[test]
fn invalid_input_names_its_field() {
    let world = World::shared();
    let a = &world.a;
    let mut tenant = world.db.tenant(&a.owner, &a.workspace).unwrap();
    for (sql, field) in [
        ("INSERT INTO public.kpis (name) VALUES ('')", "name"),
        ("INSERT INTO public.kpis (name) VALUES (NULL)", "name"),
        ("INSERT INTO public.kpis (name, target_value) VALUES ('x', 'NaN')", "target_value"),
        ("UPDATE public.kpis SET id = 'other'", "id"),
        ("UPDATE public.kpis SET workspace_id = 'other'", "id"),
        ("UPDATE public.kpis SET current_value = 7", "current_value"),
        ("UPDATE public.goal_kpis SET weight = -1", "weight"),
        ("UPDATE public.goals SET status = 'lost'", "status"),
        ("UPDATE public.workspaces SET slug = 'A B'", "slug"),
    ] {
        let error = refusal(&mut tenant, |t| Ok(t.connection().batch_execute(sql)?));
        let Error::Invalid(invalid) = &error else { panic!("{sql}: {error:?}") };
        assert_eq!(invalid.field(), field, "{sql}");
    }
    let role =
        refusal(&mut tenant, |t| t.members().change_role(&a.member, Role::Unknown("king".into())));
    assert!(matches!(&role, Error::Invalid(invalid) if invalid.field() == "role"), "{role:?}");
    let filter = KpiFilter { name_contains: Some("a\0b".into()), ..KpiFilter::default() };
    let nul = refusal(&mut tenant, |t| t.kpis().count(&filter));
    assert!(matches!(&nul, Error::Invalid(invalid) if invalid.field() == "text"), "{nul:?}");
}

#[test]
fn an_insert_that_is_not_allowed_is_denied() {
    let world = World::new();
    let a = &world.a;
    let mut member = world.db.tenant(&a.member, &a.workspace).unwrap();
    let invite = |role| NewInvitation::new("new@example.com".parse().unwrap(), role);
    let invited = refusal(&mut member, |t| t.invitations().create(&invite(Role::Member)));
    assert!(invited.is_denied(), "{invited:?}");
    let mut admin = world.db.tenant(&a.admin, &a.workspace).unwrap();
    let owner = refusal(&mut admin, |t| t.invitations().create(&invite(Role::Owner)));
    assert!(owner.is_denied(), "{owner:?}");
    for sql in [
        "INSERT INTO public.workspaces (name, slug) VALUES ('Mine', 'mine')",
        "INSERT INTO public.workspace_users (user_id) VALUES ('someone')",
        "INSERT INTO public.invitations (email) VALUES ('new@example.com')",
        "INSERT INTO public.audit_log (action) VALUES ('x')",
        "DELETE FROM public.audit_log",
        "DELETE FROM public.users",
        "TRUNCATE public.kpis",
        "SELECT * FROM sesari.context_keys",
    ] {
        let error = refusal(&mut admin, |t| Ok(t.connection().batch_execute(sql)?));
        assert!(error.is_denied(), "{sql}: {error:?}");
    }
}

#[test]
fn the_last_owner_stays() {
    let world = World::shared();
    let a = &world.a;
    let mut owner = world.db.tenant(&a.owner, &a.workspace).unwrap();
    let left = refusal(&mut owner, |t| t.members().leave());
    assert!(matches!(left, Error::LastOwner), "{left:?}");
    let demoted = refusal(&mut owner, |t| t.members().change_role(&a.owner, Role::Admin));
    assert!(matches!(demoted, Error::LastOwner), "{demoted:?}");
}
