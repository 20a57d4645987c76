//! `users`: all of them in the service scope, and oneself in the user scope.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Text, Timestamptz};

use super::memberships::delete_user;
use super::{
    Succession, contains, debug_by_name, found, given, name_of, page_of, present, replace,
    sorted_list, statement, strpos, text_or, translate,
};
use crate::connection::PgConnection;
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::observe::{counted, if_some, operation};
use crate::page::{Order, Page, PageRequest, UserKey};
use crate::schema::users;
use crate::tenancy::{ServiceConnection, UserConnection};
use crate::value::{AuthProvider, Email, ImageUrl, PersonName, ProviderId, Timestamp};

debug_by_name!(UserRepository, MeRepository);

/// A user, as services see one.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = users, check_for_backend(Pg))]
#[non_exhaustive]
pub struct User {
    /// The user's id.
    pub id: UserId,
    /// E-mail address.
    pub email: Email,
    /// Display name.
    pub name: Option<PersonName>,
    /// Address of a picture.
    pub image: Option<ImageUrl>,
    /// Sign-in provider.
    pub provider: AuthProvider,
    /// The user's id at the provider.
    pub provider_id: ProviderId,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

/// A user to create or to sign in, as the provider describes one.
#[derive(Debug, Clone, PartialEq, Insertable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = users, treat_none_as_default_value = false)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The id, made here. Signing in keeps the one of a user who exists.
    #[serde(skip, default = "UserId::generate")]
    pub id: UserId,
    /// E-mail address.
    pub email: Email,
    /// Display name.
    pub name: Option<PersonName>,
    /// Address of a picture.
    pub image: Option<ImageUrl>,
    /// Sign-in provider.
    pub provider: AuthProvider,
    /// The user's id at the provider.
    #[serde(alias = "providerId")]
    pub provider_id: ProviderId,
}

impl NewUser {
    /// A user with a new id, without name and picture.
    #[must_use]
    pub fn new(email: Email, provider: AuthProvider, provider_id: ProviderId) -> Self {
        Self { id: UserId::generate(), email, name: None, image: None, provider, provider_id }
    }
}

/// What to change of a user.
#[derive(Debug, Clone, Default, PartialEq, AsChangeset, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = users)]
#[serde(deny_unknown_fields, default)]
pub struct UserChanges {
    /// E-mail address.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// Display name.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub name: Option<Option<PersonName>>,
    /// Address of a picture.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub image: Option<Option<ImageUrl>>,
}

/// Which users to list.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UserFilter {
    /// Only those of this provider.
    pub provider: Option<AuthProvider>,
    /// Only those made at this moment or later.
    #[serde(alias = "createdFrom")]
    pub created_from: Option<Timestamp>,
    /// Only those whose name or e-mail address contains this text, as
    /// [`KpiFilter::name_contains`](super::KpiFilter::name_contains). It reads all users.
    #[serde(alias = "nameContains")]
    pub name_contains: Option<String>,
    /// In which order to list them. An index has the default one alone: any other sorts all users.
    pub order: Order<UserKey>,
}

/// All users, for a [`ServiceConnection`](crate::ServiceConnection).
pub struct UserRepository<'g> {
    conn: &'g mut PgConnection,
}

impl ServiceConnection {
    /// All users.
    pub fn users(&mut self) -> UserRepository<'_> {
        UserRepository { conn: self.conn() }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl UserRepository<'_> {
    fn matching(filter: &UserFilter) -> users::BoxedQuery<'_, Pg> {
        let mut query = users::table.into_boxed();
        if let Some(provider) = &filter.provider {
            query = query.filter(users::provider.eq(provider));
        }
        if let Some(from) = filter.created_from {
            query = query.filter(users::created_at.ge(from));
        }
        if let Some(text) = &filter.name_contains {
            let name = text_or(users::name, "");
            query = query.filter(contains!(name, text).or(contains!(users::email, text)));
        }
        query
    }

    /// A user.
    pub fn find(&mut self, id: &UserId) -> Result<Option<User>> {
        counted("user.find", if_some, || {
            Ok(users::table.find(id).select(User::as_select()).first(self.conn).optional()?)
        })
    }

    /// A user, or [`NotFound`](crate::Error::NotFound).
    pub fn get(&mut self, id: &UserId) -> Result<User> {
        self.find(id)?.ok_or(crate::Error::not_found(UserId::ENTITY))
    }

    /// A user by e-mail address.
    pub fn find_by_email(&mut self, email: &Email) -> Result<Option<User>> {
        counted("user.find_by_email", if_some, || {
            Ok(users::table
                .filter(users::email.eq(email))
                .select(User::as_select())
                .first(self.conn)
                .optional()?)
        })
    }

    /// Users in the filter's order, oldest first unless it says otherwise.
    pub fn list(&mut self, filter: &UserFilter, page: &PageRequest) -> Result<Page<User>> {
        let list = ["user", &name_of(filter)];
        counted("user.list", Page::len, || {
            sorted_list!(self.conn, users: User, Self::matching(filter), filter.order, page, &list, {
                UserKey::CreatedAt => of(users::created_at), |user| user.created_at;
                UserKey::UpdatedAt => of(users::updated_at), |user| user.updated_at;
                UserKey::Email => by_text(users::email), |user| user.email.as_str();
                UserKey::Name => by_text(text_or(users::name, "")),
                    |user| user.name.as_ref().map_or("", PersonName::as_str);
            })
        })
    }

    /// How many users match.
    pub fn count(&mut self, filter: &UserFilter) -> Result<i64> {
        operation("user.count", || Ok(Self::matching(filter).count().get_result(self.conn)?))
    }

    /// Creates a user. `Conflict` when the e-mail address or the account at the provider is taken.
    pub fn create(&mut self, new: &NewUser) -> Result<User> {
        operation("user.create", || {
            Ok(diesel::insert_into(users::table)
                .values(new)
                .returning(User::as_returning())
                .get_result(self.conn)?)
        })
    }

    /// The user of an account at the provider, made if there is none, in one statement.
    ///
    /// The e-mail address follows the provider's; a name or picture fills an empty one and leaves
    /// the user's own choice alone. `Conflict` when another user has the address: accounts are
    /// never joined because their addresses are alike.
    pub fn sign_in(&mut self, account: &NewUser) -> Result<User> {
        operation("user.sign_in", || Ok(SignIn { account }.get_result::<User>(self.conn)?))
    }

    /// Changes a user. Without changes, only reads the row.
    pub fn update(&mut self, id: &UserId, changes: &UserChanges) -> Result<User> {
        if *changes == UserChanges::default() {
            return self.find(id)?.ok_or(Error::not_found(UserId::ENTITY));
        }
        operation("user.update", || {
            let row = diesel::update(users::table.find(id))
                .set(changes)
                .returning(User::as_returning())
                .get_result(self.conn);
            found(row, UserId::ENTITY)
        })
    }

    /// Gives a user another account at the provider, such as after the provider gave the person a new id:
    /// otherwise signing in with it would be a `Conflict` for ever, as the address is taken. That both are
    /// one person is the service's to know. `Conflict` when another user has the account.
    pub fn relink(
        &mut self,
        id: &UserId,
        provider: &AuthProvider,
        provider_id: &ProviderId,
    ) -> Result<User> {
        operation("user.relink", || {
            let row = diesel::update(users::table.find(id))
                .set((users::provider.eq(provider), users::provider_id.eq(provider_id)))
                .returning(User::as_returning())
                .get_result(self.conn);
            found(row, UserId::ENTITY)
        })
    }

    /// Deletes a user for good, with memberships and subscription.
    ///
    /// What nobody else owns goes to the heir decided on, or goes as well: see
    /// [`sole_ownerships`](super::MembershipRepository::sole_ownerships).
    /// [`DepartureError::Undecided`](crate::error::DepartureError::Undecided) lists the workspaces without a
    /// decision, and nothing was done then. A user in more than 500 workspaces leaves them first:
    /// [`DepartureError::TooManyMemberships`](crate::error::DepartureError::TooManyMemberships).
    pub fn delete(&mut self, id: &UserId, decisions: &[Succession]) -> Result<()> {
        operation("user.delete", || delete_user(self.conn, id, decisions))
    }
}

struct SignIn<'a> {
    account: &'a NewUser,
}

type UserColumns =
    (Text, Text, Nullable<Text>, Nullable<Text>, Text, Text, Timestamptz, Timestamptz);

statement!(SignIn: UserColumns, "SELECT id, email, name, image, provider, provider_id, created_at, updated_at FROM \
     sesari.sign_in($1, $2, $3, $4, $5, $6)", |query| [
    &query.account.id => Text,
    &query.account.email => Text,
    &query.account.name => Nullable<Text>,
    &query.account.image => Nullable<Text>,
    &query.account.provider => Text,
    &query.account.provider_id => Text,
]);

/// A user, as the user and fellow members see one.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = users, check_for_backend(Pg))]
#[non_exhaustive]
pub struct Profile {
    /// The user's id.
    pub id: UserId,
    /// E-mail address.
    pub email: Email,
    /// Display name.
    pub name: Option<PersonName>,
    /// Address of a picture.
    pub image: Option<ImageUrl>,
    /// When the user first signed in.
    pub created_at: DateTime<Utc>,
    /// When the profile last changed.
    pub updated_at: DateTime<Utc>,
}

/// What users may change of themselves.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileChanges {
    /// Display name.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub name: Option<Option<PersonName>>,
    /// Address of a picture.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub image: Option<Option<ImageUrl>>,
}

/// The user of a [`UserConnection`](crate::UserConnection).
pub struct MeRepository<'g> {
    conn: &'g mut PgConnection,
    user: &'g UserId,
}

impl UserConnection {
    /// The user's own row.
    pub fn me(&mut self) -> MeRepository<'_> {
        let (conn, user) = self.parts();
        MeRepository { conn, user }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl MeRepository<'_> {
    /// The user's own row, or `None` when it has been deleted.
    pub fn find(&mut self) -> Result<Option<Profile>> {
        counted("me.find", if_some, || {
            Ok(MyProfile { user: self.user }.get_result(self.conn).optional()?)
        })
    }

    /// The user's own row, or [`NotFound`](crate::Error::NotFound).
    pub fn get(&mut self) -> Result<Profile> {
        self.find()?.ok_or(crate::Error::not_found(UserId::ENTITY))
    }

    /// Changes name and picture. Without changes, only reads the row.
    pub fn update(&mut self, changes: &ProfileChanges) -> Result<Profile> {
        if *changes == ProfileChanges::default() {
            return self.find()?.ok_or(Error::not_found(UserId::ENTITY));
        }
        operation("me.update", || {
            let query = ChangeMyProfile {
                changes_name: changes.name.is_some(),
                name: changes.name.as_ref().and_then(Option::as_ref),
                changes_image: changes.image.is_some(),
                image: changes.image.as_ref().and_then(Option::as_ref),
            };
            found(query.get_result(self.conn), UserId::ENTITY)
        })
    }
}

type ProfileColumns = diesel::dsl::SqlTypeOf<diesel::dsl::AsSelect<Profile, Pg>>;

struct MyProfile<'a> {
    user: &'a UserId,
}

statement!(MyProfile: ProfileColumns, "SELECT id, email, name, image, created_at, updated_at FROM sesari.my_profile() WHERE \
     id = $1", |query| [
    query.user => Text,
]);

struct ChangeMyProfile<'a> {
    changes_name: bool,
    name: Option<&'a PersonName>,
    changes_image: bool,
    image: Option<&'a ImageUrl>,
}

statement!(ChangeMyProfile: ProfileColumns, "SELECT id, email, name, image, created_at, updated_at FROM \
     sesari.change_my_profile(changes_name => $1, new_name => $2, changes_image => $3, \
     new_image => $4)", |query| [
    &query.changes_name => Bool,
    &query.name => Nullable<Text>,
    &query.changes_image => Bool,
    &query.image => Nullable<Text>,
]);
