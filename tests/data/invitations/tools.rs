//! What the modules share.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use sesari_db::id::UserId;
use sesari_db::invitation::{InvitationError, InvitationToken};
use sesari_db::repo::{NewInvitation, SentInvitation};
use sesari_db::value::Role;
use sesari_db::{Error, Result, TenantConnection};

use crate::support::{Tenant, World};

/// The address of the world's stranger.
pub(crate) const STRANGER: &str = "stranger@example.com";

impl World {
    pub(crate) fn guard(&self, user: &UserId, of: &Tenant) -> TenantConnection {
        self.db.tenant(user, &of.workspace).unwrap()
    }

    /// Invites an address to workspace A, and commits.
    pub(crate) fn invite(&self, by: &UserId, email: &str, role: Role) -> SentInvitation {
        let mut tenant = self.guard(by, &self.a);
        let sent = tenant.invitations().create(&to(email, role)).unwrap();
        tenant.commit().unwrap();
        sent
    }

    pub(crate) fn accept(&self, user: &UserId, token: &InvitationToken) -> Result<()> {
        let mut scoped = self.db.user(user)?;
        scoped.invitations().accept(token)?;
        scoped.commit()
    }

    pub(crate) fn count(&self, what: &str) -> i64 {
        let query = format!("(SELECT count(*) FROM {what})");
        diesel::select(sql::<BigInt>(&query)).get_result(&mut self.test.admin().unwrap()).unwrap()
    }

    pub(crate) fn role(&self, user: &UserId) -> Option<Role> {
        let mut tenant = self.guard(&self.a.owner, &self.a);
        tenant.members().find(user).unwrap().map(|member| member.membership.role)
    }
}

pub(crate) fn to(email: &str, role: Role) -> NewInvitation {
    NewInvitation::new(email.parse().unwrap(), role)
}

/// Why an invitation was not sent or answered.
#[track_caller]
pub(crate) fn reason<T: std::fmt::Debug>(result: Result<T>) -> InvitationError {
    match result {
        Err(Error::Invitation(reason)) => reason,
        other => panic!("expected an answer about an invitation, got {other:?}"),
    }
}
