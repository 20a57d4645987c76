//! An audit log that shows when somebody has been at it, the database's administrator included.
//!
//! ```sh
//! cargo run --example audit_trail
//! ```
//!
//! Makes some history on a throw-away server, verifies it, takes a checkpoint out, and then tampers
//! as the superuser, whom no policy and no trigger stops, in each way there is. After each, the
//! verification names the entry.

#[macro_use]
#[path = "support/print.rs"]
mod print;

use diesel::connection::SimpleConnection;
use sesari_db::Database;
use sesari_db::PgConnection;
use sesari_db::audit::{Checkpoint, Verdict};
use sesari_db::id::{UserId, WorkspaceId};
use sesari_db::page::PageRequest;
use sesari_db::repo::{AuditFilter, NewInvitation, NewKpi, NewUser, NewWorkspace, Refusal};
use sesari_db::testing::TestDatabase;
use sesari_db::value::{AuthProvider, Role};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What an administrator might try: what it is meant to hide, and how.
const TAMPERING: [(&str, &str); 5] = [
    (
        "Bob was never made an admin: his entry is edited",
        "UPDATE audit_log SET changes = jsonb_set(changes, '{role,new}', '\"member\"') \
         WHERE workspace_id = '{workspace}' AND action = 'member.change_role'",
    ),
    (
        "the workspace was never renamed: the entry is deleted",
        "DELETE FROM audit_log WHERE workspace_id = '{workspace}' AND action = 'workspace.update'",
    ),
    (
        "it was somebody else: an entry is put in",
        "INSERT INTO audit_log SELECT (jsonb_populate_record(t, \
             jsonb_build_object('sequence', t.sequence + 1, 'id', 'forged', 'actor_id', 'mallory'))).* \
         FROM audit_log AS t WHERE workspace_id = '{workspace}' AND action = 'kpi.purge'",
    ),
    (
        "it happened in another order: two entries change places",
        "UPDATE audit_log SET sequence = -sequence WHERE workspace_id = '{workspace}' AND sequence IN (2, 3); \
         UPDATE audit_log SET sequence = 5 + sequence WHERE workspace_id = '{workspace}' AND sequence < 0",
    ),
    (
        "nothing happened lately: the end is cut off, and the recorded end set back",
        "DELETE FROM audit_log WHERE workspace_id = '{workspace}' AND sequence > 3; \
         UPDATE sesari.audit_heads AS h SET sequence = t.sequence, hash = t.hash, occurred_at = t.occurred_at \
           FROM audit_log AS t WHERE h.workspace_id = '{workspace}' \
            AND t.workspace_id = h.workspace_id AND t.sequence = 3",
    ),
];

fn main() -> Outcome<()> {
    println!("Starting PostgreSQL and running the migrations ...");
    let server = TestDatabase::new()?;
    let db = server.database()?;
    let (ada, bob) = (sign_in(&db, "ada")?, sign_in(&db, "bob")?);
    let workspace = make_history(&db, &ada, &bob)?;

    println!("\nWhat was done, as the log has it, newest first:\n");
    list(&db, &ada, &bob, &workspace)?;
    println!("\nVerified: {}.", verify(&db, &ada, &workspace, None)?);
    let checkpoint = checkpoint(&db, &ada, &workspace)?;
    println!(
        "A checkpoint, to be kept where the database's administrator cannot reach it:\n\n    {checkpoint}\n"
    );

    println!("Now the superuser, with triggers disabled:");
    let mut admin = server.admin()?;
    // Each attempt starts from the true log.
    admin.batch_execute(
        "CREATE TABLE public.kept AS SELECT * FROM audit_log; \
         CREATE TABLE public.kept_heads AS SELECT * FROM sesari.audit_heads",
    )?;
    for (what, sql) in TAMPERING {
        tamper(&mut admin, &sql.replace("{workspace}", workspace.as_str()))?;
        println!("\n  {what}");
        println!("    without the checkpoint: {}", verify(&db, &ada, &workspace, None)?);
        println!(
            "    with it:                {}",
            verify(&db, &ada, &workspace, Some(&checkpoint))?
        );
        tamper(
            &mut admin,
            "DELETE FROM audit_log; INSERT INTO audit_log SELECT * FROM public.kept; \
             DELETE FROM sesari.audit_heads; \
             INSERT INTO sesari.audit_heads SELECT * FROM public.kept_heads",
        )?;
    }
    let Verdict::Intact(_) = verify(&db, &ada, &workspace, Some(&checkpoint))? else {
        return Err("the true log should have been intact".into());
    };
    println!(
        "\nOnly the last one needs the checkpoint: whoever may write everything can also write a shorter\n\
         chain that fits together. Next: docs/audit.md for what is recorded and how long to keep it."
    );
    Ok(())
}

fn sign_in(db: &Database, name: &str) -> Outcome<UserId> {
    let mut service = db.service(&"sign-in".parse()?)?;
    let account =
        NewUser::new(format!("{name}@example.com").parse()?, AuthProvider::Google, name.parse()?);
    let user = service.users().sign_in(&account)?.id;
    service.commit()?;
    Ok(user)
}

fn make_history(db: &Database, ada: &UserId, bob: &UserId) -> Outcome<WorkspaceId> {
    let mut guard = db.user(ada)?;
    let workspace =
        guard.my_workspaces().create(&NewWorkspace::new("Acme".parse()?, "acme".parse()?))?.id;
    guard.commit()?;

    let mut tenant = db.tenant(ada, &workspace)?;
    let sent = tenant
        .invitations()
        .create(&NewInvitation::new("bob@example.com".parse()?, Role::Member))?;
    tenant.commit()?;
    let mut guard = db.user(bob)?;
    guard.invitations().accept(&sent.token)?;
    guard.commit()?;

    // Bob tries what a member may not. The refusal takes its transaction with it, so a service
    // records it afterwards.
    let mut tenant = db.tenant(bob, &workspace)?;
    let new = NewInvitation::new("carol@example.com".parse()?, Role::Member);
    let refused = tenant.invitations().create(&new);
    drop(tenant);
    if let Err(error) = refused
        && let Some(refusal) = Refusal::of(&error, bob, Some(&workspace), "invitation.create")
    {
        let mut service = db.service(&"watchman".parse()?)?;
        service.refusals().record(&refusal)?;
        service.commit()?;
    }

    let mut tenant = db.tenant(ada, &workspace)?;
    tenant.members().change_role(bob, Role::Admin)?;
    tenant.commit()?;
    let mut tenant = db.tenant(bob, &workspace)?;
    tenant.workspace().rename("Acme Analytics".parse()?)?;
    tenant.commit()?;
    let mut tenant = db.tenant(bob, &workspace)?;
    let kpi = tenant.kpis().create(&NewKpi::new("Embarrassing".parse()?))?.id;
    tenant.kpis().delete(&kpi)?;
    tenant.kpis().purge(&kpi)?;
    tenant.commit()?;
    Ok(workspace)
}

fn list(db: &Database, ada: &UserId, bob: &UserId, workspace: &WorkspaceId) -> Outcome<()> {
    let mut tenant = db.tenant_read_only(ada, workspace)?;
    let entries = tenant.audit_log().list(&AuditFilter::default(), &PageRequest::first(50)?)?;
    for entry in entries.items {
        let who = match entry.actor_id.as_str() {
            id if id == ada.as_str() => "Ada",
            id if id == bob.as_str() => "Bob",
            service => service,
        };
        println!(
            "  {:>2}  {}  {who:<8}  {:<18} {}",
            entry.sequence,
            entry.occurred_at.format("%H:%M:%S%.6f"),
            entry.action,
            entry.changes
        );
    }
    Ok(())
}

fn checkpoint(db: &Database, ada: &UserId, workspace: &WorkspaceId) -> Outcome<Checkpoint> {
    match verify(db, ada, workspace, None)? {
        Verdict::Intact(checkpoint) => Ok(checkpoint),
        verdict => Err(verdict.to_string().into()),
    }
}

fn verify(
    db: &Database,
    ada: &UserId,
    workspace: &WorkspaceId,
    noted: Option<&Checkpoint>,
) -> Outcome<Verdict> {
    let mut tenant = db.tenant_read_only(ada, workspace)?;
    Ok(tenant.audit_log().verify(noted)?)
}

/// What no login of a service can do, and nobody could prevent.
fn tamper(admin: &mut PgConnection, sql: &str) -> Outcome<()> {
    Ok(admin.batch_execute(&format!(
        "BEGIN; SET LOCAL session_replication_role = replica; {sql}; COMMIT"
    ))?)
}
