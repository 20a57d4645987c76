//! `users`: all of them in the service scope, and oneself in the user scope.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Text, Timestamptz};

use super::memberships::delete_user;
use super::{Succession, debug_by_name, found, given, page_of, present, static_query};
use crate::connection::PgConnection;
use crate::error::{Error, Result};
use crate::id::UserId;
use crate::observe::operation;
use crate::page::{Page, PageRequest};
use crate::schema::users;
use crate::value::{AuthProvider, Email, ImageUrl, PersonName, ProviderId, Timestamp};

debug_by_name!(UserRepository, MeRepository);

/// A user, as services see one.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = users, check_for_backend(Pg))]
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
}

/// All users, for a [`ServiceConnection`](crate::ServiceConnection).
pub struct UserRepository<'g> {
    conn: &'g mut PgConnection,
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl<'g> UserRepository<'g> {
    pub(crate) fn new(conn: &'g mut PgConnection) -> Self {
        Self { conn }
    }

    fn matching(filter: &UserFilter) -> users::BoxedQuery<'_, Pg> {
        let mut query = users::table.into_boxed();
        if let Some(provider) = &filter.provider {
            query = query.filter(users::provider.eq(provider));
        }
        if let Some(from) = filter.created_from {
            query = query.filter(users::created_at.ge(from));
        }
        query
    }

    /// A user.
    pub fn find(&mut self, id: &UserId) -> Result<Option<User>> {
        operation("user.find", || {
            Ok(users::table.find(id).select(User::as_select()).first(self.conn).optional()?)
        })
    }

    /// A user, or [`NotFound`](crate::Error::NotFound).
    pub fn get(&mut self, id: &UserId) -> Result<User> {
        self.find(id)?.ok_or(crate::Error::not_found(UserId::ENTITY))
    }

    /// A user by e-mail address.
    pub fn find_by_email(&mut self, email: &Email) -> Result<Option<User>> {
        operation("user.find_by_email", || {
            Ok(users::table
                .filter(users::email.eq(email))
                .select(User::as_select())
                .first(self.conn)
                .optional()?)
        })
    }

    /// Users, oldest first.
    pub fn list(&mut self, filter: &UserFilter, page: &PageRequest) -> Result<Page<User>> {
        operation("user.list", || {
            let page = page.of(&["user"])?;
            let query = page_of!(Self::matching(filter), page, users::created_at, users::id);
            let rows = query.select(User::as_select()).load(self.conn)?;
            Ok(page.cut(rows, |user: &User| (user.created_at, user.id.as_str())))
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

static_query!(SignIn: UserColumns, |query, pass| {
    let NewUser { id, email, name, image, provider, provider_id } = query.account;
    pass.push_sql(
        "SELECT id, email, name, image, provider, provider_id, created_at, updated_at \
         FROM sesari.sign_in(",
    );
    pass.push_bind_param::<Text, _>(id)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Text, _>(email)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Nullable<Text>, _>(name)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Nullable<Text>, _>(image)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Text, _>(provider)?;
    pass.push_sql(", ");
    pass.push_bind_param::<Text, _>(provider_id)?;
    pass.push_sql(")");
});

/// A user, as the user and fellow members see one.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = users, check_for_backend(Pg))]
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

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl<'g> MeRepository<'g> {
    pub(crate) fn new(conn: &'g mut PgConnection, user: &'g UserId) -> Self {
        Self { conn, user }
    }

    /// The user's own row, or `None` when it has been deleted.
    pub fn find(&mut self) -> Result<Option<Profile>> {
        operation("me.find", || {
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

static_query!(MyProfile: ProfileColumns, |query, pass| {
    pass.push_sql(
        "SELECT id, email, name, image, created_at, updated_at FROM sesari.my_profile() WHERE id = ",
    );
    pass.push_bind_param::<Text, _>(query.user)?;
});

struct ChangeMyProfile<'a> {
    changes_name: bool,
    name: Option<&'a PersonName>,
    changes_image: bool,
    image: Option<&'a ImageUrl>,
}

static_query!(ChangeMyProfile: ProfileColumns, |query, pass| {
    pass.push_sql(
        "SELECT id, email, name, image, created_at, updated_at \
         FROM sesari.change_my_profile(changes_name => ",
    );
    pass.push_bind_param::<Bool, _>(&query.changes_name)?;
    pass.push_sql(", new_name => ");
    pass.push_bind_param::<Nullable<Text>, _>(&query.name)?;
    pass.push_sql(", changes_image => ");
    pass.push_bind_param::<Bool, _>(&query.changes_image)?;
    pass.push_sql(", new_image => ");
    pass.push_bind_param::<Nullable<Text>, _>(&query.image)?;
    pass.push_sql(")");
});
