//! `invitations`: asking somebody to join, for owners and admins, and answering, for the invited.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::data_types::PgInterval;
use diesel::dsl::now;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Binary, Interval, Nullable, Text, Timestamptz};

use super::{Membership, debug_by_name, found, name_of, page_of, statement};
use crate::connection::PgConnection;
use crate::error::Result;
use crate::id::{InvitationId, MembershipId, UserId, WorkspaceId};
use crate::invitation::InvitationToken;
use crate::observe::{counted, if_some, operation};
use crate::page::{Page, PageRequest};
use crate::schema::invitations;
use crate::tenancy::{InWorkspace, TenantConnection, UserConnection};
use crate::value::{Email, Invalid, PersonName, Role, WorkspaceName};

debug_by_name!(InvitationRepository, MyInvitationRepository);

/// An invitation, as owners and admins see one.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = invitations, check_for_backend(Pg))]
#[non_exhaustive]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// Address of whoever may accept.
    pub email: Email,
    /// What the invited becomes.
    pub role: Role,
    /// Who sent it last.
    pub invited_by: UserId,
    /// When it was first sent.
    pub created_at: DateTime<Utc>,
    /// Until when it can be accepted.
    pub expires_at: DateTime<Utc>,
    /// When it was last sent again.
    pub resent_at: Option<DateTime<Utc>>,
    /// When it was taken back, or another one to the same address took its place after it had expired.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When the invited declined.
    pub declined_at: Option<DateTime<Utc>>,
    /// When the invited accepted.
    pub accepted_at: Option<DateTime<Utc>>,
    /// Who accepted.
    pub accepted_by: Option<UserId>,
}

/// How long an invitation is valid: 1 minute to 30 days, 7 days by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity(Duration);

impl Validity {
    /// So long from the moment of sending.
    ///
    /// # Errors
    /// [`Invalid`] unless it is 1 minute to 30 days.
    pub fn new(duration: Duration) -> Result<Self, Invalid> {
        if (Duration::from_mins(1)..=Duration::from_hours(30 * 24)).contains(&duration) {
            Ok(Self(duration))
        } else {
            Err(Invalid::new("expires_at", "expected 1 minute to 30 days from now"))
        }
    }

    fn interval(self) -> PgInterval {
        // At most 2.6e12, see above.
        PgInterval::from_microseconds(i64::try_from(self.0.as_micros()).unwrap_or(i64::MAX))
    }
}

impl Default for Validity {
    /// 7 days.
    fn default() -> Self {
        Self(Duration::from_hours(7 * 24))
    }
}

/// Somebody to invite.
#[derive(Debug, Clone, PartialEq)]
pub struct NewInvitation {
    /// Address of whoever may accept.
    pub email: Email,
    /// What the invited becomes.
    pub role: Role,
    /// How long the invitation is valid.
    pub validity: Validity,
}

impl NewInvitation {
    /// An invitation for 7 days.
    #[must_use]
    pub fn new(email: Email, role: Role) -> Self {
        Self { email, role, validity: Validity::default() }
    }
}

/// An invitation to be delivered, with the token that nobody can read again afterwards.
#[derive(Debug)]
#[non_exhaustive]
pub struct SentInvitation {
    /// The invitation.
    pub invitation: Invitation,
    /// What the message to the invited must carry, see [`InvitationToken::expose`].
    pub token: InvitationToken,
}

/// Where an invitation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvitationState {
    /// It can be accepted, if whoever sent it still may invite to its role.
    Open,
    /// It was neither answered nor revoked in time.
    Expired,
    /// The workspace took it back.
    Revoked,
    /// The invited declined.
    Declined,
    /// The invited accepted.
    Accepted,
}

/// Which invitations to list.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InvitationFilter {
    /// Only those that stand so at the beginning of the transaction.
    pub state: Option<InvitationState>,
}

/// The invitations of a workspace, for its owners and admins. Others see none.
pub struct InvitationRepository<'g> {
    conn: &'g mut PgConnection,
    workspace: &'g WorkspaceId,
}

impl TenantConnection {
    /// Invitations to the workspace. Shows them to owners and admins.
    pub fn invitations(&mut self) -> InvitationRepository<'_> {
        let InWorkspace { conn, workspace, .. } = self.parts();
        InvitationRepository { conn, workspace }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl<'g> InvitationRepository<'g> {
    fn matching(&self, filter: &InvitationFilter) -> invitations::BoxedQuery<'g, Pg> {
        let query =
            invitations::table.filter(invitations::workspace_id.eq(self.workspace)).into_boxed();
        let unanswered = invitations::revoked_at
            .is_null()
            .and(invitations::declined_at.is_null())
            .and(invitations::accepted_at.is_null());
        match filter.state {
            None => query,
            Some(InvitationState::Open) => {
                query.filter(unanswered).filter(invitations::expires_at.gt(now))
            }
            Some(InvitationState::Expired) => {
                query.filter(unanswered).filter(invitations::expires_at.le(now))
            }
            Some(InvitationState::Revoked) => query.filter(invitations::revoked_at.is_not_null()),
            Some(InvitationState::Declined) => query.filter(invitations::declined_at.is_not_null()),
            Some(InvitationState::Accepted) => query.filter(invitations::accepted_at.is_not_null()),
        }
    }

    /// An invitation.
    pub fn find(&mut self, id: &InvitationId) -> Result<Option<Invitation>> {
        counted("invitation.find", if_some, || {
            Ok(invitations::table
                .filter(invitations::workspace_id.eq(self.workspace))
                .filter(invitations::id.eq(id))
                .select(Invitation::as_select())
                .first(self.conn)
                .optional()?)
        })
    }

    /// An invitation, or [`NotFound`](crate::Error::NotFound).
    pub fn get(&mut self, id: &InvitationId) -> Result<Invitation> {
        self.find(id)?.ok_or(crate::Error::not_found(InvitationId::ENTITY))
    }

    /// Invitations, oldest first.
    pub fn list(
        &mut self,
        filter: &InvitationFilter,
        page: &PageRequest,
    ) -> Result<Page<Invitation>> {
        counted("invitation.list", Page::len, || {
            let page = page.of(&["invitation", self.workspace.as_str(), &name_of(filter)])?;
            let rows =
                page_of!(self.matching(filter), page, invitations::created_at, invitations::id)
                    .select(Invitation::as_select())
                    .load(self.conn)?;
            Ok(page.cut(rows, |row: &Invitation| (row.created_at.into(), row.id.as_str())))
        })
    }

    /// How many invitations match.
    pub fn count(&mut self, filter: &InvitationFilter) -> Result<i64> {
        operation("invitation.count", || Ok(self.matching(filter).count().get_result(self.conn)?))
    }

    /// Invites an address. For owners and admins, and to be an owner only by an owner; `Denied`
    /// otherwise. Whether a user has the address is not asked, and cannot be learnt.
    ///
    /// [`AlreadyOpen`](crate::invitation::InvitationError::AlreadyOpen) when there is an open
    /// invitation for the address, [`TooMany`](crate::invitation::InvitationError::TooMany) when the
    /// workspace has 1000 open ones. Send the token after the commit.
    pub fn create(&mut self, new: &NewInvitation) -> Result<SentInvitation> {
        operation("invitation.create", || {
            let token =
                InvitationToken::generate(self.workspace.clone(), InvitationId::generate())?;
            let invitation =
                CreateInvitation { new, interval: new.validity.interval(), token: &token }
                    .get_result(self.conn)?;
            Ok(SentInvitation { invitation, token })
        })
    }

    /// Gives an invitation a new token and a new expiry; the old token dies. From now on the invitation
    /// stands on the rights of whoever resends it. For owners and admins, and to be an owner only by an
    /// owner; `NotFound` otherwise. One that was answered or revoked is an
    /// [`InvitationError`](crate::invitation::InvitationError) that says so.
    pub fn resend(&mut self, id: &InvitationId, validity: Validity) -> Result<SentInvitation> {
        operation("invitation.resend", || {
            let token = InvitationToken::generate(self.workspace.clone(), id.clone())?;
            let row = ResendInvitation { interval: validity.interval(), token: &token }
                .get_result(self.conn);
            Ok(SentInvitation { invitation: found(row, InvitationId::ENTITY)?, token })
        })
    }

    /// Takes an invitation back. For owners and admins, and to be an owner only by an owner; `NotFound`
    /// otherwise. One that was answered or revoked is an
    /// [`InvitationError`](crate::invitation::InvitationError) that says so.
    pub fn revoke(&mut self, id: &InvitationId) -> Result<Invitation> {
        operation("invitation.revoke", || {
            found(RevokeInvitation { id }.get_result(self.conn), InvitationId::ENTITY)
        })
    }
}

/// What somebody is invited to.
#[derive(Debug, Clone, PartialEq, Queryable, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct InvitationPreview {
    /// Display name of the workspace.
    pub workspace_name: WorkspaceName,
    /// What the invited becomes.
    pub role: Role,
    /// Display name of whoever sent the invitation, if there is one.
    pub inviter_name: Option<PersonName>,
    /// Until when it can be accepted.
    pub expires_at: DateTime<Utc>,
}

/// Invitations to the user of a [`UserConnection`](crate::UserConnection), by their tokens.
///
/// Every method fails with an [`InvitationError`](crate::invitation::InvitationError) unless the token
/// is right, the invitation is for the user's own address, and it is open.
pub struct MyInvitationRepository<'g> {
    conn: &'g mut PgConnection,
}

impl UserConnection {
    /// Invitations to the user, by their tokens.
    pub fn invitations(&mut self) -> MyInvitationRepository<'_> {
        MyInvitationRepository { conn: self.conn() }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl MyInvitationRepository<'_> {
    /// What the user is invited to.
    pub fn look(&mut self, token: &InvitationToken) -> Result<InvitationPreview> {
        operation("my_invitation.look", || Ok(LookAtInvitation { token }.get_result(self.conn)?))
    }

    /// Makes the user a member, once, whoever races. The entries in the workspace's audit log name the
    /// user.
    ///
    /// [`InviterLacksRights`](crate::invitation::InvitationError::InviterLacksRights) when whoever sent
    /// it could not do so any more: an owner is made by an owner.
    pub fn accept(&mut self, token: &InvitationToken) -> Result<Membership> {
        operation("invitation.accept", || {
            let membership = MembershipId::generate();
            Ok(AcceptInvitation { token, membership: &membership }.get_result(self.conn)?)
        })
    }

    /// Closes the invitation without joining.
    pub fn decline(&mut self, token: &InvitationToken) -> Result<()> {
        operation("invitation.decline", || {
            DeclineInvitation { token }.execute(self.conn)?;
            Ok(())
        })
    }
}

type InvitationSql = diesel::dsl::SqlTypeOf<diesel::dsl::AsSelect<Invitation, Pg>>;

macro_rules! columns {
    () => {
        "SELECT id, workspace_id, email, role, invited_by, created_at, expires_at, resent_at, \
         revoked_at, declined_at, accepted_at, accepted_by FROM "
    };
}

struct CreateInvitation<'a> {
    new: &'a NewInvitation,
    interval: PgInterval,
    token: &'a InvitationToken,
}

statement!(CreateInvitation: InvitationSql, concat!(columns!(), "sesari.create_invitation($1, $2, $3, $4, $5)"), |query| [
    query.token.invitation_id() => Text,
    &query.new.email => Text,
    &query.new.role => Text,
    &query.interval => Interval,
    query.token.secret() => Binary,
]);

struct ResendInvitation<'a> {
    interval: PgInterval,
    token: &'a InvitationToken,
}

statement!(ResendInvitation: InvitationSql, concat!(columns!(), "sesari.resend_invitation($1, $2, $3)"), |query| [
    query.token.invitation_id() => Text,
    &query.interval => Interval,
    query.token.secret() => Binary,
]);

struct RevokeInvitation<'a> {
    id: &'a InvitationId,
}

statement!(RevokeInvitation: InvitationSql, concat!(columns!(), "sesari.revoke_invitation($1)"), |query| [
    query.id => Text,
]);

struct LookAtInvitation<'a> {
    token: &'a InvitationToken,
}

statement!(LookAtInvitation: (Text, Text, Nullable<Text>, Timestamptz), "SELECT workspace_name, role, inviter_name, expires_at FROM \
     sesari.look_at_invitation($1, $2, $3)", |query| [
    query.token.workspace_id() => Text,
    query.token.invitation_id() => Text,
    query.token.secret() => Binary,
]);

struct AcceptInvitation<'a> {
    token: &'a InvitationToken,
    membership: &'a MembershipId,
}

statement!(AcceptInvitation: diesel::dsl::SqlTypeOf<diesel::dsl::AsSelect<Membership, Pg>>, "SELECT id, workspace_id, user_id, role, joined_at FROM sesari.accept_invitation($1, \
     $2, $3, $4)", |query| [
    query.token.workspace_id() => Text,
    query.token.invitation_id() => Text,
    query.token.secret() => Binary,
    query.membership => Text,
]);

struct DeclineInvitation<'a> {
    token: &'a InvitationToken,
}

statement!(DeclineInvitation: (), "SELECT sesari.decline_invitation($1, $2, $3)", |query| [
    query.token.workspace_id() => Text,
    query.token.invitation_id() => Text,
    query.token.secret() => Binary,
]);
