//! One repository for each table, obtained from a guard.
//!
//! # Verbs
//! `find` answers `None` for a row that does not exist or is not the actor's to see; `get` and a write on
//! such a row are [`Error::NotFound`]. `list` and `count` take the same
//! filter and cannot disagree. Lists come in [pages](crate::page), oldest first unless said
//! otherwise. `update` takes a `...Changes`, where `None` leaves a column alone and, for a column
//! that can be null, `Some(None)` empties it. Every method runs one statement, and may fail with
//! any [`Error`] of a query.
//!
//! `CONTRIBUTING.md` is the recipe for a new table and its repository.

mod audit_log;
mod data_points;
mod diagnosis;
mod goal_kpis;
mod goals;
mod idempotency_keys;
mod integration_queue;
mod integrations;
mod invitations;
mod kpi_targets;
mod kpis;
mod members;
mod memberships;
mod series;
mod subscriptions;
mod users;
mod workspaces;

pub use audit_log::{
    AuditEntry, AuditFilter, AuditLogRepository, DeletedWorkspaceAuditLogRepository, NewAuditEntry,
    Refusal, RefusalRepository,
};
pub use data_points::{
    DataPoint, DataPointRepository, NewDataPoint, OnExisting, PointIter, PointKey, Recorded,
    TimeRange,
};
pub use diagnosis::{Cause, ContextCause, DiagnosisRepository, Wanted};
pub use goal_kpis::{GoalKpi, GoalKpiChanges, GoalKpiRepository, LinkedKpi, NewGoalKpi};
pub use goals::{Goal, GoalAsOf, GoalChanges, GoalFilter, GoalRepository, GoalWithKpis, NewGoal};
pub use integration_queue::{Claim, IntegrationQueueRepository, KeyUsage};
pub use integrations::{
    Integration, IntegrationFilter, IntegrationRepository, NewIntegration, Resealed, SyncSchedule,
};
pub use invitations::{
    Invitation, InvitationFilter, InvitationPreview, InvitationRepository, InvitationState,
    MyInvitationRepository, NewInvitation, SentInvitation, Validity,
};
pub use kpi_targets::{
    KpiPace, KpiTarget, KpiTargetRepository, NewKpiTarget, PaceQuery, TargetSource,
};
pub use kpis::{Kpi, KpiChanges, KpiFilter, KpiRepository, NewKpi};
pub use members::{Member, MemberFilter, MemberRepository, Membership};
pub use memberships::{MembershipRepository, SoleOwnership, Succession};
pub use series::{SeriesQuery, SeriesRepository};
pub use subscriptions::{
    Applied, BillingEvent, MySubscriptionRepository, Subscription, SubscriptionFilter,
    SubscriptionRepository,
};
pub use users::{
    MeRepository, NewUser, Profile, ProfileChanges, User, UserChanges, UserFilter, UserRepository,
};
pub use workspaces::{
    MyWorkspace, MyWorkspaceRepository, NewWorkspace, Workspace, WorkspaceChanges,
    WorkspaceRepository,
};

use diesel::result::{OptionalExtension, QueryResult};
use diesel::sql_types::{Nullable, Text, Timestamptz};

use crate::error::{Error, Result};

/// Which rows of a table with soft deletes to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deleted {
    /// Only rows that are not deleted.
    #[default]
    Exclude,
    /// Only deleted rows.
    Only,
    /// Both.
    Include,
}

/// The row that a write returned, or that there is none.
fn found<T>(row: QueryResult<T>, entity: &'static str) -> Result<T> {
    row.optional()?.ok_or(Error::not_found(entity))
}

/// That a write changed its row, or that there is none.
fn changed(rows: QueryResult<usize>, entity: &'static str) -> Result<()> {
    if rows? == 0 { Err(Error::not_found(entity)) } else { Ok(()) }
}

/// A field that is absent is `None`; one that is null is `Some(None)`.
#[expect(clippy::option_option, reason = "three states: leave, empty, set")]
fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    serde::Deserialize::deserialize(deserializer).map(Some)
}

/// A field that is absent is `None`; one that is null is refused, as of a column that cannot be.
fn given<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: serde::Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

diesel::define_sql_function! {
    /// PostgreSQL's: cuts a time to a unit. Nullable as the columns are that it is set to.
    fn date_trunc(unit: diesel::sql_types::Text, at: diesel::sql_types::Timestamptz)
        -> diesel::sql_types::Nullable<diesel::sql_types::Timestamptz>;
}

/// When the transaction started, to the millisecond. The column's type would round it, and half of all
/// times would be in the future.
#[diesel::dsl::auto_type(no_type_alias)]
fn this_moment() -> _ {
    let now: diesel::dsl::now = diesel::dsl::now;
    date_trunc("milliseconds", now)
}

/// `Debug` for repositories: their connection has nothing to show.
macro_rules! debug_by_name {
    ($($name:ident),*) => {$(
        impl std::fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}
use debug_by_name;

/// Makes a struct of binds a query, with its SQL in parts: diesel keeps the prepared statement of
/// such a query, as it does not of `sql_query`, and a call stays one round trip.
macro_rules! static_query {
    ($name:ident: $row:ty, |$query:ident, $pass:ident| $body:block) => {
        impl diesel::query_builder::QueryId for $name<'_> {
            type QueryId = $name<'static>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl diesel::query_builder::Query for $name<'_> {
            type SqlType = $row;
        }

        impl diesel::RunQueryDsl<crate::connection::PgConnection> for $name<'_> {}

        impl diesel::query_builder::QueryFragment<diesel::pg::Pg> for $name<'_> {
            fn walk_ast<'b>(
                &'b self,
                mut $pass: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                let $query = self;
                $body
                Ok(())
            }
        }
    };
}
use static_query;

/// Makes a struct of binds a query of one text, with `$1` for the first bind: a literal, or a `.sql` file
/// beside the repository.
macro_rules! statement {
    ($name:ident: $row:ty, $sql:expr, |$query:ident| [$($bind:expr => $type:ty),* $(,)?]) => {
        $crate::repo::static_query!($name: $row, |$query, pass| {
            pass.push_sql($sql);
            $(pass.push_bind_param_value_only::<$type, _>($bind)?;)*
        });
    };
}
use statement;

/// The filter of a list on rows that are not deleted. Without statistics the planner expects one row in
/// two hundred to be null, and would read and sort a whole workspace for a page; of this form it expects
/// half.
macro_rules! not_deleted {
    ($deleted_at:expr) => {
        diesel::dsl::case_when::<_, _, diesel::sql_types::Bool>($deleted_at.is_null(), true)
            .otherwise(false)
    };
}
use not_deleted;

/// Adds "after the last row of the page before" and the order of a keyset page to a boxed query.
macro_rules! page_of {
    ($query:expr, $page:expr, $key:expr, $id:expr) => {{
        let mut query = $query;
        if let Some(last) = $page.after() {
            query = query.filter($key.ge(last.key)).filter($key.gt(last.key).or($id.gt(last.id)));
        }
        query.order(($key.asc(), $id.asc())).limit($page.fetch())
    }};
    (descending: $query:expr, $page:expr, $key:expr, $id:expr) => {{
        let mut query = $query;
        if let Some(last) = $page.after() {
            query = query.filter($key.le(last.key)).filter($key.lt(last.key).or($id.lt(last.id)));
        }
        query.order(($key.desc(), $id.desc())).limit($page.fetch())
    }};
}
use page_of;

/// Reads a page of the rows of a table that a query matches, sorted either way by the key of an order: for each
/// key how a page is read by it (`of` a time, `by_text`), its column, and its value in a row.
macro_rules! sorted_list {
    ($conn:expr, $table:ident: $type:ty, $query:expr, $order:expr, $page:ident, $list:expr, {
        $($key:path => $read:ident($column:expr), |$row:ident| $value:expr;)*
    }) => {{
        let (query, order) = ($query, $order);
        match order.by() {
            $($key => {
                let page = $page.$read($list)?;
                let rows: Vec<$type> = if order.is_descending() {
                    let query = page_of!(descending: query, page, $column, $table::id);
                    query.select(<$type>::as_select()).load($conn)?
                } else {
                    page_of!(query, page, $column, $table::id).select(<$type>::as_select()).load($conn)?
                };
                Ok(page.cut(rows, |$row: &$type| ($value.into(), $row.id.as_str())))
            })*
        }
    }};
}
use sorted_list;

/// A filter as a part of a list's name: a cursor of one is none of another's.
fn name_of(filter: &impl serde::Serialize) -> String {
    serde_json::to_string(filter).unwrap_or_default()
}

diesel::define_sql_function! {
    /// PostgreSQL's.
    fn replace(text: Text, from: Text, to: Text) -> Text;
}
diesel::define_sql_function! {
    /// PostgreSQL's: where the part begins, from 1; 0 where it is not there.
    fn strpos(text: Text, part: Text) -> diesel::sql_types::Integer;
}
diesel::define_sql_function! {
    /// PostgreSQL's: each character of `from` becomes the one at its place in `to`.
    fn translate(text: Text, from: Text, to: Text) -> Text;
}
diesel::define_sql_function! {
    /// A text, or another in place of none.
    #[sql_name = "coalesce"]
    fn text_or(text: Nullable<Text>, other: Text) -> Text;
}
diesel::define_sql_function! {
    /// A time, or another in place of none.
    #[sql_name = "coalesce"]
    fn time_or(at: Nullable<Timestamptz>, other: Timestamptz) -> Timestamptz;
}

/// Whether a text contains another, in upper or lower case, as [`Folded`](crate::value::Folded) has it.
macro_rules! contains {
    ($column:expr, $text:expr) => {{
        let crate::value::Folded { text, from, to } = crate::value::Folded::new($text);
        let [small, capital] = crate::value::Folded::SHARP_S;
        let name = replace(replace($column, small, "ss"), capital, "ss");
        strpos(translate(name, from, to), text).gt(0)
    }};
}
use contains;
