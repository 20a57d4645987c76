//! The steps, and what each must answer.
#![allow(clippy::unnecessary_wraps, reason = "every step has the same form")]
#![allow(clippy::struct_excessive_bools, reason = "they come in any combination")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use sesari_db::PgConnection;
use sesari_db::repo::NewKpi;
use sesari_db::tenancy::Actor;
use sesari_db::testing::TestDatabase;
use sesari_db::value::Role;
use sesari_db::{Database, Error, TenantConnection};

use super::canary::{MESS, no_traces, pid, sees_raw, sees_typed};
use crate::support::random::Random;
use crate::support::{Tenant, World, add_member, service};

const POOL: usize = 3;

type Step = Result<(), String>;

struct Place {
    /// Of the KPIs that were committed.
    kpis: i64,
    /// Whether the member is one at present.
    member: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    Owner,
    Member,
    Service,
    /// The owner of the other workspace.
    Foreigner,
}

struct Open {
    guard: TenantConnection,
    place: usize,
    who: Who,
    /// KPIs that a commit would store.
    writes: i64,
    /// Holds locks that another writer would wait for.
    wrote: bool,
    /// What it is asked from now on is refused.
    failed: bool,
    /// A panic has left a savepoint open, or the transaction was ended by hand.
    uncommittable: bool,
    dead: bool,
    /// The caller's SQL has ended the transaction: the server takes the connection for an idle one.
    idle: bool,
    /// The caller's SQL has changed what is seen.
    messed: bool,
}

pub(crate) struct Model {
    open: Vec<Open>,
    db: Database,
    /// For what others do meanwhile.
    arranging: Database,
    admin: PgConnection,
    places: [Place; 2],
    forgotten: usize,
    random: Random,
    /// How often each step was taken.
    pub(crate) taken: BTreeMap<&'static str, usize>,
    world: World,
}

impl Model {
    pub(crate) fn new(random: Random) -> Self {
        // Panics are part of the schedule.
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&"scheduled") {
                usual(info);
            }
        }));
        let world = World::new();
        let place = || Place { kpis: 1, member: true };
        Self {
            open: Vec::new(),
            db: database(&world.test),
            arranging: world.test.builder().pool_size(1).build().unwrap(),
            admin: world.test.admin().unwrap(),
            places: [place(), place()],
            forgotten: 0,
            random,
            taken: BTreeMap::new(),
            world,
        }
    }

    fn tenant(&self, place: usize) -> &Tenant {
        [&self.world.a, &self.world.b][place]
    }

    fn allowed(&self, place: usize, who: Who) -> bool {
        match who {
            Who::Owner | Who::Service => true,
            Who::Member => self.places[place].member,
            Who::Foreigner => false,
        }
    }

    pub(crate) fn step(&mut self) -> Step {
        if self.open.is_empty()
            || (self.random.one_in(4) && self.open.len() + self.forgotten < POOL)
        {
            return self.check_out();
        }
        let index = self.random.below(self.open.len());
        let chance = self.random.below(1000);
        let (name, done) = match chance {
            0..=199 => ("read", self.read(index)),
            200..=349 => ("write", self.write(index)),
            350..=419 => ("savepoint kept", self.savepoint(index, true)),
            420..=489 => ("savepoint undone", self.savepoint(index, false)),
            490..=509 => ("panic in a savepoint", self.panic_in_savepoint(index)),
            510..=549 => ("failing statement", self.fail(index)),
            550..=599 => ("mess", self.mess(index)),
            600..=609 => ("rollback by hand", self.roll_back_by_hand(index)),
            610..=629 => ("kill", self.kill(index)),
            630..=639 => ("kill of all that idle", self.kill_idle()),
            640..=659 => ("cancel", self.cancel(index)),
            660..=699 => ("revocation", self.revoke()),
            700..=709 => ("forgotten", self.forget(index)),
            710..=739 => ("dropped by a panic", self.panic(index)),
            740..=799 => ("dropped", self.drop_one(index)),
            800..=849 => ("rolled back", self.roll_back(index)),
            _ => ("commit", self.commit(index)),
        };
        *self.taken.entry(name).or_default() += 1;
        done.map_err(|fault| format!("{name}: {fault}"))
    }

    fn check_out(&mut self) -> Step {
        if self.forgotten == POOL {
            // A forgotten guard keeps its connection for good: nothing is left but another pool.
            self.db = database(&self.world.test);
            self.forgotten = 0;
        }
        let place = self.random.below(2);
        let who = *self.random.pick(&[Who::Owner, Who::Member, Who::Service, Who::Foreigner]);
        let own = self.tenant(place);
        let actor: Actor = match who {
            Who::Owner => (&own.owner).into(),
            Who::Member => (&own.member).into(),
            Who::Service => service().into(),
            Who::Foreigner => (&self.tenant(1 - place).owner).into(),
        };
        let guard = self.db.tenant(actor, &own.workspace);
        let guard = guard.map_err(|error| format!("check-out: {error:?}"))?;
        let (writes, wrote, failed, uncommittable) = (0, false, false, false);
        let (dead, idle, messed) = (false, false, false);
        let open =
            Open { guard, place, who, writes, wrote, failed, uncommittable, dead, idle, messed };
        self.open.push(open);
        *self.taken.entry("check-out").or_default() += 1;
        if self.random.one_in(2) {
            let guard = &mut self.open.last_mut().unwrap().guard;
            no_traces(guard).map_err(|fault| format!("check-out: {fault}"))?;
        }
        let last = self.open.len() - 1;
        self.read(last).map_err(|fault| format!("check-out as {who:?} in {place}: {fault}"))
    }

    fn read(&mut self, index: usize) -> Step {
        let raw = self.random.one_in(3);
        let (place, who) = (self.open[index].place, self.open[index].who);
        let allowed = self.allowed(place, who);
        let committed = self.places[place].kpis;
        let tenants = [&self.world.a, &self.world.b];
        let open = &mut self.open[index];
        if open.messed {
            return Ok(());
        }
        if open.failed {
            return match open.guard.kpis().find(&tenants[place].kpi) {
                Err(Error::TransactionAborted) if !open.dead => Ok(()),
                Err(Error::ConnectionLost(_)) if open.dead => Ok(()),
                other => Err(format!("in a failed transaction: {other:?}")),
            };
        }
        let kpis = allowed.then_some(committed + open.writes);
        if raw {
            sees_raw(&mut open.guard, allowed.then_some(tenants[place]))
        } else {
            sees_typed(&mut open.guard, tenants[place], tenants[1 - place], kpis)
        }
    }

    /// Whether the guard can be asked to write without waiting for another one of this thread.
    fn may_write(&self, index: usize) -> bool {
        let Open { place, failed, messed, .. } = self.open[index];
        let others = self.open.iter().enumerate();
        !failed
            && !messed
            && !others.into_iter().any(|(i, o)| i != index && o.place == place && o.wrote)
    }

    fn write(&mut self, index: usize) -> Step {
        if !self.may_write(index) {
            return Ok(());
        }
        let allowed = self.allowed(self.open[index].place, self.open[index].who);
        let open = &mut self.open[index];
        open.wrote = true;
        match (create(&mut open.guard), allowed) {
            (Ok(()), true) => open.writes += 1,
            (Err(Error::Denied), false) => open.failed = true,
            (other, _) => return Err(format!("allowed {allowed}: {other:?}")),
        }
        Ok(())
    }

    fn savepoint(&mut self, index: usize, keep: bool) -> Step {
        if !self.may_write(index) || self.open[index].uncommittable {
            return Ok(());
        }
        let allowed = self.allowed(self.open[index].place, self.open[index].who);
        let open = &mut self.open[index];
        open.wrote = true;
        let answer = open.guard.transaction(|guard| {
            create(guard)?;
            if keep { Ok(()) } else { Err(Error::LastOwner) }
        });
        match (answer, allowed) {
            (Ok(()), true) => open.writes += 1,
            (Err(Error::LastOwner), true) | (Err(Error::Denied), false) => {}
            (other, _) => return Err(format!("allowed {allowed}: {other:?}")),
        }
        self.read(index)
    }

    fn panic_in_savepoint(&mut self, index: usize) -> Step {
        let open = &mut self.open[index];
        if open.failed || open.messed {
            return Ok(());
        }
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            open.guard
                .transaction(|_| -> Result<(), Error> { resume_unwind(Box::new("scheduled")) })
        }));
        open.uncommittable = true;
        if panicked.is_err() { self.read(index) } else { Err("no panic".into()) }
    }

    fn fail(&mut self, index: usize) -> Step {
        let open = &mut self.open[index];
        let failed = open.guard.connection().batch_execute("SELECT 1/0");
        open.failed |= !open.idle;
        if failed.is_err() { Ok(()) } else { Err("no error".into()) }
    }

    fn mess(&mut self, index: usize) -> Step {
        let mess = *self.random.pick(MESS);
        let open = &mut self.open[index];
        open.messed = true;
        open.failed |= open.guard.connection().batch_execute(mess).is_err() && !open.idle;
        Ok(())
    }

    fn roll_back_by_hand(&mut self, index: usize) -> Step {
        let open = &mut self.open[index];
        if !open.dead {
            open.guard.connection().batch_execute("ROLLBACK").map_err(|e| e.to_string())?;
            (open.writes, open.wrote, open.failed, open.idle) = (0, false, false, true);
        }
        (open.messed, open.uncommittable) = (true, true);
        Ok(())
    }

    fn kill(&mut self, index: usize) -> Step {
        let open = &mut self.open[index];
        let Some(pid) = pid(&mut open.guard) else { return Ok(()) };
        terminate(&mut self.admin, &format!("pid = {pid}"));
        (open.dead, open.failed, open.wrote) = (true, true, false);
        Ok(())
    }

    fn kill_idle(&mut self) -> Step {
        terminate(&mut self.admin, "state = 'idle'");
        for open in self.open.iter_mut().filter(|open| open.idle) {
            (open.dead, open.failed) = (true, true);
        }
        Ok(())
    }

    fn cancel(&mut self, index: usize) -> Step {
        let Some(pid) = pid(&mut self.open[index].guard) else { return Ok(()) };
        diesel::sql_query(format!("SELECT pg_cancel_backend({pid})"))
            .execute(&mut self.admin)
            .map_err(|e| e.to_string())?;
        // Between two statements there is nothing to cancel; give it the time to come too late.
        std::thread::sleep(Duration::from_millis(2));
        Ok(())
    }

    /// Takes the member out of a workspace, or back in, while guards of theirs are open.
    fn revoke(&mut self) -> Step {
        let place = self.random.below(2);
        if self.open.iter().any(|open| open.place == place && open.wrote) {
            return Ok(());
        }
        let tenant = [&self.world.a, &self.world.b][place];
        let member = &mut self.places[place].member;
        if *member {
            let mut guard = self.arranging.tenant(&tenant.owner, &tenant.workspace).unwrap();
            guard.members().remove(&tenant.member).unwrap();
            guard.commit().unwrap();
        } else {
            add_member(&self.arranging, &tenant.workspace, &tenant.member, Role::Member);
        }
        *member = !*member;
        Ok(())
    }

    fn forget(&mut self, index: usize) -> Step {
        let mut open = self.open.swap_remove(index);
        let pid = pid(&mut open.guard);
        std::mem::forget(open.guard);
        self.forgotten += 1;
        // What it holds would be held until the server's limit for idle transactions.
        match pid {
            Some(pid) => terminate(&mut self.admin, &format!("pid = {pid}")),
            None if open.dead => {}
            None => terminate(&mut self.admin, "state = 'idle in transaction (aborted)'"),
        }
        for other in &mut self.open {
            if pid.is_none() && !open.dead && other.failed {
                (other.dead, other.wrote) = (true, false);
            }
        }
        Ok(())
    }

    fn panic(&mut self, index: usize) -> Step {
        let open = self.open.swap_remove(index);
        let panicked = catch_unwind(AssertUnwindSafe(move || {
            let _guard = open.guard;
            resume_unwind(Box::new("scheduled"))
        }));
        let _: Result<(), _> = panicked;
        Ok(())
    }

    fn drop_one(&mut self, index: usize) -> Step {
        drop(self.open.swap_remove(index));
        Ok(())
    }

    fn roll_back(&mut self, index: usize) -> Step {
        let open = self.open.swap_remove(index);
        match open.guard.rollback() {
            Ok(()) if !open.dead => Ok(()),
            Err(Error::ConnectionLost(_)) if open.dead => Ok(()),
            other => Err(format!("dead {}: {other:?}", open.dead)),
        }
    }

    fn commit(&mut self, index: usize) -> Step {
        let open = self.open.swap_remove(index);
        let place = &mut self.places[open.place];
        match open.guard.commit() {
            Ok(()) if !open.dead && !open.failed && !open.uncommittable => {
                place.kpis += open.writes;
            }
            Err(Error::TransactionAborted) if open.uncommittable => {}
            Err(Error::TransactionAborted) if open.failed => {}
            Err(Error::OutcomeUnknown(_)) if open.dead => {}
            other => {
                let Open { dead, failed, uncommittable, messed, .. } = open;
                return Err(format!(
                    "{other:?}; dead {dead}, failed {failed}, not to be committed {uncommittable}, messed {messed}"
                ));
            }
        }
        Ok(())
    }

    /// Ends everything, and counts.
    pub(crate) fn finish(&mut self) -> Step {
        self.open.clear();
        for place in 0..2 {
            let (tenant, other) = (self.tenant(place), self.tenant(1 - place));
            let mut guard = self.arranging.tenant(&tenant.owner, &tenant.workspace).unwrap();
            sees_typed(&mut guard, tenant, other, Some(self.places[place].kpis))?;
            no_traces(&mut guard)?;
        }
        Ok(())
    }
}

fn database(test: &TestDatabase) -> Database {
    test.builder().pool_size(u32::try_from(POOL).unwrap()).build().unwrap()
}

fn create(guard: &mut TenantConnection) -> Result<(), Error> {
    guard.kpis().create(&NewKpi::new("Made".parse()?)).map(drop)
}

/// Ends backends of the tenants' login, and waits until they are gone.
fn terminate(admin: &mut PgConnection, which: &str) {
    diesel::sql_query(format!(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
          WHERE datname = current_database() AND usename = 'sesari_test_tenant' AND {which}"
    ))
    .execute(admin)
    .unwrap();
}
