//! [`Scope`]: as whom and where a unit of work runs, and how.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use super::Database;
use super::replica::{Source, WriteMark};
use crate::error::{Error, Result};
use crate::id::{UserId, WorkspaceId};
use crate::observe;
use crate::queue::{Permit, QueueKey};
use crate::tenancy::login_pool::LoginPool;
use crate::tenancy::transaction::{Access, BeginOptions, Transaction};
use crate::tenancy::{Actor, ServiceConnection, ServiceName, TenantConnection, UserConnection};
use crate::value::Role;

/// As whom and where a [unit of work](Database::run) runs, which says the guard it gets, and how.
///
/// ```
/// use std::time::Duration;
/// use sesari_db::Scope;
/// use sesari_db::id::{UserId, WorkspaceId};
///
/// # fn example(user: UserId, workspace: WorkspaceId) {
/// let scope = Scope::tenant(&user, &workspace).read_only().within(Duration::from_secs(2));
/// # }
/// ```
#[must_use = "a scope does nothing until a unit of work runs in it"]
pub struct Scope<G> {
    pub(super) actor: Actor,
    pub(super) workspace: Option<WorkspaceId>,
    pub(super) access: Access,
    pub(super) source: Source,
    pub(super) within: Option<Duration>,
    pub(super) attempts: Option<u32>,
    pub(super) is_single: bool,
    pub(super) required: Option<Role>,
    guard: PhantomData<fn() -> G>,
}

impl Scope<TenantConnection> {
    /// An actor in a workspace, as [`Database::tenant`].
    pub fn tenant(actor: impl Into<Actor>, workspace: &WorkspaceId) -> Self {
        Self::new(actor.into(), Some(workspace.clone()))
    }

    /// Asks before the body runs whether the actor is a member with this role or one that may more, as
    /// [`TenantConnection::require`] does: [`Error::NotFound`] for somebody who is no member, so that a
    /// service answers 404 and not an empty list, and [`Error::Denied`] for a lower role. It travels
    /// with the begin, and takes one round trip.
    pub fn require(self, role: Role) -> Self {
        Self { required: Some(role), ..self }
    }
}

impl Scope<UserConnection> {
    /// A signed-in user outside of any workspace, as [`Database::user`].
    pub fn user(user: &UserId) -> Self {
        Self::new(user.into(), None)
    }
}

impl Scope<ServiceConnection> {
    /// A service of yours outside of any workspace, as [`Database::service`].
    pub fn service(service: &ServiceName) -> Self {
        Self::new(service.into(), None)
    }
}

impl<G: Guard> Scope<G> {
    fn new(actor: Actor, workspace: Option<WorkspaceId>) -> Self {
        Self {
            actor,
            workspace,
            access: Access::ReadWrite,
            source: Source::Primary,
            within: None,
            attempts: None,
            is_single: false,
            required: None,
            guard: PhantomData,
        }
    }

    /// In a transaction that cannot write: a write is [`Error::ReadOnly`].
    pub fn read_only(self) -> Self {
        Self { access: Access::ReadOnly, ..self }
    }

    /// How long it may take until the commit is sent, attempts and waiting for a connection included.
    /// [`DatabaseBuilder::unit_deadline`](crate::DatabaseBuilder::unit_deadline) unless set.
    pub fn within(self, deadline: Duration) -> Self {
        Self { within: Some(deadline), ..self }
    }

    /// How often to try at most; 0 is taken as 1.
    /// [`DatabaseBuilder::unit_attempts`](crate::DatabaseBuilder::unit_attempts) unless set.
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts: Some(attempts), ..self }
    }

    /// The unit runs one statement, and that is all of it: its commit is sent along with it, so that the unit
    /// takes one round trip where it would take two. What fails is rolled back all the same; a second
    /// statement is [`Error::TransactionAborted`], as the first has been committed by then.
    ///
    /// Nor does it unpack what it would write to: a new point within [packed](crate::maintenance::pack_points)
    /// history is refused as a [`Conflict`](Error::Conflict), and one that is packed is not found.
    ///
    /// Where the connection is lost on the way, the outcome is
    /// [unknown](Error::OutcomeUnknown) as it is of a commit. An error of the body after the statement
    /// comes too late to undo it. Changes nothing of a read-only unit, nor of one that is
    /// [run once](Database::run_once) or [requires](Scope::require) a role, which take a statement of their own.
    pub fn single_statement(self) -> Self {
        Self { is_single: true, ..self }
    }

    /// Read-only, and from the replica, which may be behind. Where none is configured or it is gone, from
    /// the primary; so a service, which a replica has no login for.
    pub fn from_replica(self) -> Self {
        Self { access: Access::ReadOnly, source: Source::Replica, ..self }
    }

    /// Like [`from_replica`](Self::from_replica), and not before the replica has come as far as the
    /// mark, so that what was written then is seen. Where that takes longer than
    /// [`DatabaseBuilder::replica_timeout`](crate::DatabaseBuilder::replica_timeout), from the primary.
    pub fn from_replica_after(self, mark: WriteMark) -> Self {
        Self { access: Access::ReadOnly, source: Source::ReplicaAfter(mark), ..self }
    }

    pub(super) fn queue_key(&self) -> QueueKey {
        QueueKey { actor: self.actor.clone(), workspace: self.workspace.clone() }
    }

    /// The pool on the primary.
    pub(super) fn pool<'d>(&self, db: &'d Database) -> Result<&'d Arc<LoginPool>> {
        match (&self.workspace, &self.actor) {
            (None, Actor::Service(_)) => db.service_pool(),
            _ => Ok(&db.0.tenant),
        }
    }

    pub(super) fn begin(
        &self,
        pool: &LoginPool,
        permit: Permit,
        options: &BeginOptions,
    ) -> Result<Transaction> {
        Transaction::begin(pool, permit, options, &self.actor, self.workspace.as_ref())
            .inspect_err(|error| observe::refused("begin", error))
    }

    pub(super) fn guard(&self, transaction: Transaction, db: &Database) -> Result<G> {
        // Its constructors give each scope what its guard needs.
        G::of(transaction, self, db)
            .ok_or_else(|| Error::Config("the scope does not fit its guard".into()))
    }
}

impl<G> Clone for Scope<G> {
    fn clone(&self) -> Self {
        Self {
            actor: self.actor.clone(),
            workspace: self.workspace.clone(),
            required: self.required.clone(),
            ..*self
        }
    }
}

impl<G> fmt::Debug for Scope<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("actor", &self.actor)
            .field("workspace", &self.workspace)
            .field("access", &self.access)
            .field("source", &self.source)
            .field("within", &self.within)
            .field("attempts", &self.attempts)
            .field("is_single", &self.is_single)
            .field("required", &self.required)
            .finish()
    }
}

/// One of the three guards. Not to be implemented outside of this crate.
pub trait Guard: sealed::Sealed + Sized {}

impl Guard for TenantConnection {}
impl Guard for UserConnection {}
impl Guard for ServiceConnection {}

#[allow(private_interfaces, reason = "nobody outside can name the trait")]
pub(super) mod sealed {
    use super::{
        Actor, Database, Result, Role, Scope, ServiceConnection, TenantConnection, Transaction,
        UserConnection,
    };

    pub trait Sealed: Sized {
        const NAME: &'static str;
        /// Whether a replica has a login for it.
        const ON_REPLICA: bool;
        fn of(transaction: Transaction, scope: &Scope<Self>, db: &Database) -> Option<Self>;
        /// Refuses an actor who does not meet the scope's requirement.
        fn admit(&mut self, _: Option<&Role>) -> Result<()> {
            Ok(())
        }
        fn end(self) -> Result<()>;
    }

    impl Sealed for TenantConnection {
        const NAME: &'static str = "tenant";
        const ON_REPLICA: bool = true;

        fn of(transaction: Transaction, scope: &Scope<Self>, db: &Database) -> Option<Self> {
            let (actor, workspace) = (scope.actor.clone(), scope.workspace.clone()?);
            Some(Self::new(transaction, actor, workspace, db.0.sealing_keys.clone()))
        }

        fn admit(&mut self, required: Option<&Role>) -> Result<()> {
            required.map_or(Ok(()), |role| self.require(role).map(drop))
        }

        fn end(self) -> Result<()> {
            self.commit()
        }
    }

    impl Sealed for UserConnection {
        const NAME: &'static str = "user";
        const ON_REPLICA: bool = true;

        fn of(transaction: Transaction, scope: &Scope<Self>, _: &Database) -> Option<Self> {
            match &scope.actor {
                Actor::User(user) => Some(Self::new(transaction, user.clone())),
                Actor::Service(_) => None,
            }
        }

        fn end(self) -> Result<()> {
            self.commit()
        }
    }

    impl Sealed for ServiceConnection {
        const NAME: &'static str = "service";
        const ON_REPLICA: bool = false;

        fn of(transaction: Transaction, scope: &Scope<Self>, _: &Database) -> Option<Self> {
            match &scope.actor {
                Actor::Service(service) => Some(Self::new(transaction, service.clone())),
                Actor::User(_) => None,
            }
        }

        fn end(self) -> Result<()> {
            self.commit()
        }
    }
}
