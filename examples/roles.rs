//! Who may do what in a workspace, tried rather than told.
//!
//! ```sh
//! cargo run --example roles
//! ```
//!
//! Every cell runs the action as that member and rolls it back. The database decides; the
//! repositories only pass its answer on.

#[macro_use]
#[path = "support/print.rs"]
mod print;

use sesari_db::id::{KpiId, UserId, WorkspaceId};
use sesari_db::page::PageRequest;
use sesari_db::repo::{AuditFilter, MemberFilter, NewInvitation, NewKpi, NewUser, NewWorkspace};
use sesari_db::tenancy::Actor;
use sesari_db::testing::TestDatabase;
use sesari_db::value::{AuthProvider, Role};
use sesari_db::{Database, Error, Result, TenantConnection};

/// What the actions are about.
struct Scene {
    workspace: WorkspaceId,
    kpi: KpiId,
    deleted_kpi: KpiId,
    member: UserId,
}

type Action = fn(&mut TenantConnection, &Scene) -> Result<()>;

/// Nothing to see counts as not allowed.
fn any(rows: i64) -> Result<()> {
    if rows > 0 { Ok(()) } else { Err(Error::NotFound { entity: "row" }) }
}

const ACTIONS: [(&str, Action); 10] = [
    ("read the KPIs", |tenant, scene| any(tenant.kpis().find(&scene.kpi)?.map_or(0, |_| 1))),
    ("see the members", |tenant, _| any(tenant.members().count(&MemberFilter::default())?)),
    ("create a KPI", |tenant, _| tenant.kpis().create(&NewKpi::new("New".parse()?)).map(drop)),
    ("delete a KPI", |tenant, scene| tenant.kpis().delete(&scene.kpi)),
    ("purge a KPI for good", |tenant, scene| tenant.kpis().purge(&scene.deleted_kpi)),
    ("invite a member", |tenant, _| {
        let new = NewInvitation::new("newcomer@example.com".parse()?, Role::Member);
        tenant.invitations().create(&new).map(drop)
    }),
    ("make an owner", |tenant, scene| {
        tenant.members().change_role(&scene.member, Role::Owner).map(drop)
    }),
    ("rename the workspace", |tenant, _| tenant.workspace().rename("Other".parse()?).map(drop)),
    ("read the audit log", |tenant, _| any(tenant.audit_log().count(&AuditFilter::default())?)),
    ("delete the workspace", |tenant, _| tenant.workspace().delete()),
];

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let server = TestDatabase::new()?;
    let db = server.database()?;
    let [owner, admin, member, stranger] =
        ["owner", "admin", "member", "stranger"].map(|name| sign_up(&db, name));
    let (owner, admin, member) = (owner?, admin?, member?);

    let mut user = db.user(&owner)?;
    let new = NewWorkspace::new("Acme".parse()?, "acme".parse()?);
    let workspace = user.my_workspaces().create(&new)?.id;
    user.commit()?;
    join(&db, &owner, &workspace, &admin, "admin", Role::Admin)?;
    join(&db, &owner, &workspace, &member, "member", Role::Member)?;
    let mut tenant = db.tenant(&owner, &workspace)?;
    let kpi = tenant.kpis().create(&NewKpi::new("Revenue".parse()?))?.id;
    let deleted_kpi = tenant.kpis().create(&NewKpi::new("Old".parse()?))?.id;
    tenant.kpis().delete(&deleted_kpi)?;
    tenant.commit()?;

    let scene = Scene { workspace, kpi, deleted_kpi, member: member.clone() };
    let actors: [(&str, Actor); 5] = [
        ("owner", owner.clone().into()),
        ("admin", admin.into()),
        ("member", member.into()),
        ("service", Actor::Service("nightly-sync".parse()?)),
        ("stranger", stranger?.into()),
    ];
    print!("{:<22}", "");
    for (name, _) in &actors {
        print!("{name:<10}");
    }
    println!();
    for (name, action) in ACTIONS {
        print!("{name:<22}");
        for (_, actor) in &actors {
            print!("{:<10}", verdict(&db, actor, &scene, action)?);
        }
        println!();
    }

    let mut tenant = db.tenant(&owner, &scene.workspace)?;
    println!("\nAnd the only owner tries to leave: {:?}", tenant.members().leave().err());
    drop(tenant);
    println!("\nThe audit log:");
    let mut tenant = db.tenant_read_only(&owner, &scene.workspace)?;
    for entry in tenant.audit_log().list(&AuditFilter::default(), &PageRequest::default())?.items {
        println!("  {:<18} by {} {}", entry.action, entry.actor_kind, entry.actor_id);
    }
    println!("\nNext: docs/tenancy.md for how PostgreSQL enforces this, and where it ends.");
    Ok(())
}

fn verdict(db: &Database, actor: &Actor, scene: &Scene, action: Action) -> Result<&'static str> {
    let mut tenant = db.tenant(actor.clone(), &scene.workspace)?;
    // Dropped without a commit: whatever it did is undone.
    match action(&mut tenant, scene) {
        Ok(()) => Ok("yes"),
        Err(Error::NotFound { .. }) => Ok("-"),
        Err(Error::Denied) => Ok("denied"),
        Err(error) => Err(error),
    }
}

/// The owner invites the address, and whoever has it agrees with the token that was sent there.
fn join(
    db: &Database,
    owner: &UserId,
    workspace: &WorkspaceId,
    user: &UserId,
    name: &str,
    role: Role,
) -> Result<()> {
    let mut tenant = db.tenant(owner, workspace)?;
    let new = NewInvitation::new(format!("{name}@example.com").parse()?, role);
    let sent = tenant.invitations().create(&new)?;
    tenant.commit()?;
    let mut invited = db.user(user)?;
    invited.invitations().accept(&sent.token)?;
    invited.commit()
}

fn sign_up(db: &Database, name: &str) -> Result<UserId> {
    let mut service = db.service(&"sign-in".parse()?)?;
    let email = format!("{name}@example.com").parse()?;
    let user =
        service.users().sign_in(&NewUser::new(email, AuthProvider::Google, name.parse()?))?;
    service.commit()?;
    Ok(user.id)
}
