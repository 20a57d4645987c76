//! Tokens of invitations: what is sent to an address, and opens a workspace to whoever has both.
//!
//! A token is made here, and leaves by [`InvitationToken::expose`] alone. The database stores the
//! SHA-256 of its secret, in a table that no role reads, and answers a wrong token like one that
//! never was. Guarded by `tests/data/invitations.rs`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::id::{InvitationId, WorkspaceId};
use crate::value::Invalid;

/// Bytes of a token's secret.
const SECRET_LEN: usize = 32;

/// The token of one invitation: 256 random bits, and where to look.
///
/// Its text is `<workspace>.<invitation>.<secret in base64url>`, up to 109 characters that need no
/// escaping in an address. `Debug` does not show the secret, there is no `Display`, no `Serialize` and
/// no `Clone`, and it is wiped on drop.
///
/// ```
/// use sesari_db::invitation::InvitationToken;
///
/// let token: InvitationToken =
///     "wacme.i1.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".parse()?;
/// assert_eq!(token.workspace_id().as_str(), "wacme");
/// assert!(!format!("{token:?}").contains("AAECAw"));
/// # Ok::<(), sesari_db::value::Invalid>(())
/// ```
#[derive(serde::Deserialize)]
#[serde(try_from = "String")]
pub struct InvitationToken {
    workspace: WorkspaceId,
    invitation: InvitationId,
    secret: Zeroizing<[u8; SECRET_LEN]>,
}

impl InvitationToken {
    pub(crate) fn generate(
        workspace: WorkspaceId,
        invitation: InvitationId,
    ) -> Result<Self, InvitationError> {
        let mut secret = Zeroizing::new([0; SECRET_LEN]);
        SystemRandom::new().fill(&mut *secret).map_err(|_| InvitationError::Randomness)?;
        Ok(Self { workspace, invitation, secret })
    }

    /// The workspace invited to, as the token says.
    #[must_use]
    pub fn workspace_id(&self) -> &WorkspaceId {
        &self.workspace
    }

    /// The invitation, as the token says.
    #[must_use]
    pub fn invitation_id(&self) -> &InvitationId {
        &self.invitation
    }

    /// The token as text, for the message to the invited and for nothing else.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(*self.secret));
        Zeroizing::new(format!("{}.{}.{}", self.workspace, self.invitation, &*secret))
    }

    pub(crate) fn secret(&self) -> &[u8] {
        &*self.secret
    }
}

impl FromStr for InvitationToken {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let parse = || {
            let mut parts = text.split('.');
            let (workspace, invitation) = (parts.next()?, parts.next()?);
            let encoded = parts.next().filter(|_| parts.next().is_none())?;
            let mut secret = Zeroizing::new([0; SECRET_LEN]);
            let len = URL_SAFE_NO_PAD.decode_slice(encoded, &mut *secret).ok()?;
            (len == SECRET_LEN).then_some(())?;
            Some(Self {
                workspace: workspace.parse().ok()?,
                invitation: invitation.parse().ok()?,
                secret,
            })
        };
        parse().ok_or_else(|| Invalid::new("token", "expected the token of an invitation"))
    }
}

impl TryFrom<String> for InvitationToken {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        Zeroizing::new(text).parse()
    }
}

impl ZeroizeOnDrop for InvitationToken {}

impl fmt::Debug for InvitationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InvitationToken")
            .field("workspace", &self.workspace)
            .field("invitation", &self.invitation)
            .finish_non_exhaustive()
    }
}

/// Why an invitation was not sent or not answered.
///
/// Whoever has no token learns nothing: a wrong one, an invitation that never was, and one of a
/// workspace that was deleted are all [`Unknown`](Self::Unknown). The other answers are for whoever has
/// the token, or manages the workspace's invitations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvitationError {
    /// There is no invitation with this token: it is wrong, an older one from before a resend, or of a
    /// workspace that was deleted. To be handled as a 404.
    #[error("there is no invitation with this token: ask for a new one")]
    Unknown,
    /// The invitation is for another address than the signed-in user's.
    #[error("the invitation is for another address: sign in with that one")]
    WrongUser,
    /// It has expired. Resending gives it a new token.
    #[error("the invitation has expired: ask for a new one")]
    Expired,
    /// The workspace took it back.
    #[error("the invitation was revoked")]
    Revoked,
    /// The invited declined.
    #[error("the invitation was declined")]
    Declined,
    /// It was accepted; an invitation makes one membership, once.
    #[error("the invitation was accepted already")]
    Accepted,
    /// The user is a member of the workspace already, and stays what the user is.
    #[error("the user is a member of the workspace already")]
    AlreadyMember,
    /// Whoever sent it last has left the workspace, or may not invite to this role any more. Somebody
    /// who may can resend it.
    #[error("whoever sent the invitation may not invite to this role any more: ask for a new one")]
    InviterLacksRights,
    /// There is an open invitation for this address: resend it, or revoke it first.
    #[error("there is an open invitation for this address: resend or revoke it")]
    AlreadyOpen,
    /// The workspace has as many open invitations as one may have, 1000.
    #[error("the workspace has 1000 open invitations: revoke some, or wait until they expire")]
    TooMany,
    /// The system has no randomness to make a token of.
    #[error("the system's random generator failed")]
    Randomness,
}

impl InvitationError {
    /// What a constraint's name in a refusal of the database means.
    pub(crate) fn of(constraint: &str) -> Option<Self> {
        Some(match constraint {
            "invitations_unknown" => Self::Unknown,
            "invitations_wrong_user" => Self::WrongUser,
            "invitations_expired" => Self::Expired,
            "invitations_revoked" => Self::Revoked,
            "invitations_declined" => Self::Declined,
            "invitations_accepted" => Self::Accepted,
            "invitations_already_member" => Self::AlreadyMember,
            "invitations_inviter" => Self::InviterLacksRights,
            "invitations_open" => Self::AlreadyOpen,
            "invitations_too_many" => Self::TooMany,
            _ => return None,
        })
    }

    pub(crate) fn kind_and_status(self) -> (&'static str, u16) {
        match self {
            Self::Unknown => ("invitation_unknown", 404),
            Self::WrongUser => ("invitation_wrong_user", 403),
            Self::Expired => ("invitation_expired", 409),
            Self::Revoked => ("invitation_revoked", 409),
            Self::Declined => ("invitation_declined", 409),
            Self::Accepted => ("invitation_accepted", 409),
            Self::AlreadyMember => ("invitation_already_member", 409),
            Self::InviterLacksRights => ("invitation_inviter_lacks_rights", 409),
            Self::AlreadyOpen => ("invitation_already_open", 409),
            Self::TooMany => ("invitation_too_many", 409),
            Self::Randomness => ("invitation_randomness", 500),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_from_its_text_and_another_one_each_time() {
        let (workspace, id) = (WorkspaceId::generate(), InvitationId::generate());
        let token = InvitationToken::generate(workspace.clone(), id.clone()).unwrap();
        let again: InvitationToken = token.expose().parse().unwrap();
        assert_eq!((&again.workspace, &again.invitation), (&workspace, &id));
        assert_eq!(again.secret(), token.secret());
        let other = InvitationToken::generate(workspace, id).unwrap();
        assert_ne!(other.secret(), token.secret());
    }

    #[test]
    fn anything_else_is_refused_and_nothing_of_it_repeated() {
        let secret = "A".repeat(43);
        for bad in [
            String::new(),
            secret.clone(),
            format!("w1.i1.{secret}.x"),
            format!("w1.i1.{secret}A"),
            format!("w1.i1.{}", &secret[1..]),
            format!("w1.i1.{}B", &secret[1..]),
            format!("w1.i1.{}+", &secret[1..]),
            format!("W1.i1.{secret}"),
            format!("w1..{secret}"),
            "a.".repeat(1 << 20),
        ] {
            let error = bad.parse::<InvitationToken>().unwrap_err();
            assert!(!error.to_string().contains("AAAA"), "{bad:.60}");
        }
    }

    #[test]
    fn debug_shows_where_and_not_what() {
        let token: InvitationToken = format!("w1.i1.{}", "_".repeat(42) + "8").parse().unwrap();
        let shown = format!("{token:?}");
        assert!(shown.contains("w1") && shown.contains("i1") && !shown.contains("__"), "{shown}");
    }
}
