//! What a unit of work sends, and what becomes of it when the line fails.
//!
//! The begin, the context and the first statement go together, and the commit too where that is all.
//! A line between the crate and the server counts how often the client waits for an answer; the same
//! line breaks, or goes silent, in the middle of each of these flights.
#![allow(clippy::unwrap_used, reason = "a test's set-up fails loudly")]
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

mod lost;
mod reading;
mod refused;
mod single;
mod trips;

use std::time::Duration;

use crate::support::line::Line;
use crate::support::{Tenant, World, number, until};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use sesari_db::{Database, DatabaseBuilder, Result, Scope, TenantConnection};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_mins(1);

/// A table that no policy protects: a statement on it that runs, runs whatever the context. Made after
/// the pool, which refuses to be near it.
const NOTES: &str = "CREATE TABLE notes (note text); GRANT SELECT, INSERT ON notes TO PUBLIC";

fn scope(tenant: &Tenant) -> Scope<TenantConnection> {
    Scope::tenant(&tenant.owner, &tenant.workspace)
}

/// A world, a line to it, and one connection through that.
struct Scene {
    line: Line,
    db: Database,
    world: World,
}

impl Scene {
    fn new() -> Self {
        Self::with(|builder| builder)
    }

    fn with(change: impl FnOnce(DatabaseBuilder) -> DatabaseBuilder) -> Self {
        let world = World::new();
        let line = Line::to_server_of(&world.test.tenant_url());
        let db = change(through(&line, &world)).build().unwrap();
        let scene = Self { line, db, world };
        scene.warm();
        scene.world.test.admin().unwrap().batch_execute(NOTES).unwrap();
        scene
    }

    fn warm(&self) {
        drop(self.db.tenant(&self.world.a.owner, &self.world.a.workspace).unwrap().role().unwrap());
        self.line.settle();
    }

    fn guard(&self) -> TenantConnection {
        self.db.tenant(&self.world.a.owner, &self.world.a.workspace).unwrap()
    }

    fn reader(&self) -> TenantConnection {
        self.db.tenant_read_only(&self.world.a.owner, &self.world.a.workspace).unwrap()
    }

    fn scope(&self) -> Scope<TenantConnection> {
        scope(&self.world.a)
    }

    fn notes(&self) -> i64 {
        number(&mut self.world.test.admin().unwrap(), "SELECT count(*) FROM notes")
    }

    /// Ends the pool's only connection as the server does it, and waits until it has.
    fn end_connection(&self) {
        self.line.settle();
        let mut admin = self.world.test.admin().unwrap();
        let ended = "SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity \
             WHERE usename = 'sesari_test_tenant' AND datname = current_database()";
        assert!(number(&mut admin, ended) > 0);
    }
}

fn through(line: &Line, world: &World) -> DatabaseBuilder {
    Database::builder(line.url(&world.test.tenant_url()), world.test.context_key().clone())
        .service_url(line.url(&world.test.service_url()))
        .workspace_share(1.0)
        .actor_share(1.0)
        .pool_size(1)
}

/// Writes a note, by a statement that goes in one flight.
fn note(tenant: &mut TenantConnection) -> Result<()> {
    let insert = diesel::sql_query("INSERT INTO notes VALUES ('x')");
    assert_eq!(insert.execute(tenant.connection())?, 1);
    Ok(())
}
