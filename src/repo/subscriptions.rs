//! `subscriptions`: what users pay for, as the billing provider reports it.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel::upsert::excluded;

use super::{changed, debug_by_name, name_of, page_of, statement};
use crate::connection::PgConnection;
use crate::error::Result;
use crate::id::{SubscriptionId, UserId};
use crate::observe::{counted, if_some, operation};
use crate::page::{Page, PageRequest};
use crate::schema::subscriptions;
use crate::tenancy::{ServiceConnection, UserConnection};
use crate::value::{Plan, SubscriptionStatus, Timestamp};

debug_by_name!(SubscriptionRepository, MySubscriptionRepository);

/// A subscription.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = subscriptions, check_for_backend(Pg))]
#[non_exhaustive]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Who pays.
    pub user_id: UserId,
    /// Where it stands.
    pub status: SubscriptionStatus,
    /// What it buys.
    pub plan_type: Plan,
    /// When the paid period ends.
    pub current_period_end: Option<Timestamp>,
    /// Whether it ends then for good.
    pub cancel_at_period_end: bool,
    /// When the newest event applied was made.
    pub last_event_at: Timestamp,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When the row last changed.
    pub updated_at: DateTime<Utc>,
}

impl Subscription {
    /// Whether it is as the event says.
    fn is_as(&self, event: &BillingEvent) -> bool {
        self.status == event.status
            && self.plan_type == event.plan_type
            && self.current_period_end == event.current_period_end
            && self.cancel_at_period_end == event.cancel_at_period_end
    }
}

/// The state of a subscription as an event of the billing provider gives it.
#[derive(Debug, Clone, PartialEq, Insertable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = subscriptions, treat_none_as_default_value = false)]
#[serde(deny_unknown_fields)]
pub struct BillingEvent {
    /// Who pays.
    #[serde(alias = "userId")]
    pub user_id: UserId,
    /// Where the subscription stands.
    pub status: SubscriptionStatus,
    /// What it buys.
    #[serde(alias = "planType")]
    pub plan_type: Plan,
    /// When the paid period ends.
    #[serde(alias = "currentPeriodEnd")]
    pub current_period_end: Option<Timestamp>,
    /// Whether it ends then for good.
    #[serde(alias = "cancelAtPeriodEnd")]
    pub cancel_at_period_end: bool,
    /// When the provider made the event.
    #[diesel(column_name = last_event_at)]
    #[serde(alias = "occurredAt")]
    pub occurred_at: Timestamp,
    /// Its place among events of the same time, if the caller knows it. Providers count time in seconds,
    /// and what a user does in one of them arrives in any order.
    #[serde(default)]
    #[diesel(column_name = last_event_sequence)]
    pub sequence: Option<i64>,
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use = "a tie is for the caller to settle"]
pub enum Applied {
    /// It is the newest: the subscription is as it says, now or since it was applied before.
    Newest(Subscription),
    /// A newer one was applied before. It changes nothing.
    Late,
    /// One of the same time that says otherwise was applied before, and no
    /// [`sequence`](BillingEvent::sequence) tells which is newer. It changes nothing: ask the provider for
    /// the subscription's state, and apply that.
    Tie,
}

impl Applied {
    /// The subscription as the event says, if that is the newest.
    #[must_use]
    pub fn newest(self) -> Option<Subscription> {
        match self {
            Self::Newest(subscription) => Some(subscription),
            Self::Late | Self::Tie => None,
        }
    }
}

/// Which subscriptions to list.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SubscriptionFilter {
    /// Only where it stands so.
    pub status: Option<SubscriptionStatus>,
    /// Only of this plan.
    #[serde(alias = "planType")]
    pub plan_type: Option<Plan>,
}

/// All subscriptions, for a [`ServiceConnection`](crate::ServiceConnection).
pub struct SubscriptionRepository<'g> {
    conn: &'g mut PgConnection,
}

impl ServiceConnection {
    /// All subscriptions.
    pub fn subscriptions(&mut self) -> SubscriptionRepository<'_> {
        SubscriptionRepository { conn: self.conn() }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl SubscriptionRepository<'_> {
    fn matching(filter: &SubscriptionFilter) -> subscriptions::BoxedQuery<'_, Pg> {
        let mut query = subscriptions::table.into_boxed();
        if let Some(status) = &filter.status {
            query = query.filter(subscriptions::status.eq(status));
        }
        if let Some(plan) = &filter.plan_type {
            query = query.filter(subscriptions::plan_type.eq(plan));
        }
        query
    }

    /// A user's subscription.
    pub fn find_by_user(&mut self, user: &UserId) -> Result<Option<Subscription>> {
        counted("subscription.find_by_user", if_some, || {
            Ok(subscriptions::table
                .filter(subscriptions::user_id.eq(user))
                .select(Subscription::as_select())
                .first(self.conn)
                .optional()?)
        })
    }

    /// A subscription.
    pub fn find(&mut self, id: &SubscriptionId) -> Result<Option<Subscription>> {
        counted("subscription.find", if_some, || {
            Ok(subscriptions::table
                .find(id)
                .select(Subscription::as_select())
                .first(self.conn)
                .optional()?)
        })
    }

    /// A subscription, or [`NotFound`](crate::Error::NotFound).
    pub fn get(&mut self, id: &SubscriptionId) -> Result<Subscription> {
        self.find(id)?.ok_or(crate::Error::not_found(SubscriptionId::ENTITY))
    }

    /// Subscriptions, oldest first.
    pub fn list(
        &mut self,
        filter: &SubscriptionFilter,
        page: &PageRequest,
    ) -> Result<Page<Subscription>> {
        counted("subscription.list", Page::len, || {
            let page = page.of(&["subscription", &name_of(filter)])?;
            let query = page_of!(
                Self::matching(filter),
                page,
                subscriptions::created_at,
                subscriptions::id
            );
            let rows = query.select(Subscription::as_select()).load(self.conn)?;
            Ok(page.cut(rows, |row: &Subscription| (row.created_at.into(), row.id.as_str())))
        })
    }

    /// How many subscriptions match.
    pub fn count(&mut self, filter: &SubscriptionFilter) -> Result<i64> {
        operation("subscription.count", || {
            Ok(Self::matching(filter).count().get_result(self.conn)?)
        })
    }

    /// Applies an event: creates the user's subscription or brings it up to date, in one statement. One
    /// that changes nothing costs a second, which tells why. Applying an event twice is the same as once.
    ///
    /// `NotFound` when there is no such user.
    pub fn apply(&mut self, event: &BillingEvent) -> Result<Applied> {
        let rows = |applied: &Applied| usize::from(matches!(applied, Applied::Newest(_)));
        counted("subscription.apply", rows, || {
            let upsert = diesel::insert_into(subscriptions::table)
                .values((event, subscriptions::id.eq(SubscriptionId::generate())))
                .on_conflict(subscriptions::user_id)
                .do_update()
                .set((
                    subscriptions::status.eq(excluded(subscriptions::status)),
                    subscriptions::plan_type.eq(excluded(subscriptions::plan_type)),
                    subscriptions::current_period_end
                        .eq(excluded(subscriptions::current_period_end)),
                    subscriptions::cancel_at_period_end
                        .eq(excluded(subscriptions::cancel_at_period_end)),
                    subscriptions::last_event_at.eq(excluded(subscriptions::last_event_at)),
                    subscriptions::last_event_sequence
                        .eq(excluded(subscriptions::last_event_sequence)),
                ));
            let newer = subscriptions::last_event_at.lt(excluded(subscriptions::last_event_at)).or(
                subscriptions::last_event_at.eq(excluded(subscriptions::last_event_at)).and(
                    subscriptions::last_event_sequence
                        .lt(excluded(subscriptions::last_event_sequence)),
                ),
            );
            let stored = diesel::query_dsl::methods::FilterDsl::filter(upsert, newer)
                .returning(Subscription::as_returning())
                .get_result(self.conn)
                .optional()?;
            if let Some(subscription) = stored {
                return Ok(Applied::Newest(subscription));
            }
            let (subscription, sequence): (Subscription, Option<i64>) = subscriptions::table
                .filter(subscriptions::user_id.eq(&event.user_id))
                .select((Subscription::as_select(), subscriptions::last_event_sequence))
                .first(self.conn)?;
            let told_apart = sequence.is_some() && event.sequence.is_some();
            Ok(
                if subscription.last_event_at != event.occurred_at
                    || told_apart && sequence != event.sequence
                {
                    Applied::Late
                } else if subscription.is_as(event) {
                    Applied::Newest(subscription)
                } else {
                    Applied::Tie
                },
            )
        })
    }

    /// Deletes a user's subscription for good.
    pub fn delete(&mut self, user: &UserId) -> Result<()> {
        operation("subscription.delete", || {
            let rows = diesel::delete(subscriptions::table)
                .filter(subscriptions::user_id.eq(user))
                .execute(self.conn);
            changed(rows, SubscriptionId::ENTITY)
        })
    }
}

/// The subscription of a [`UserConnection`](crate::UserConnection)'s user.
pub struct MySubscriptionRepository<'g> {
    conn: &'g mut PgConnection,
    user: &'g UserId,
}

impl UserConnection {
    /// The user's subscription.
    pub fn my_subscription(&mut self) -> MySubscriptionRepository<'_> {
        let (conn, user) = self.parts();
        MySubscriptionRepository { conn, user }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl MySubscriptionRepository<'_> {
    /// The subscription, if the user has one.
    pub fn find(&mut self) -> Result<Option<Subscription>> {
        counted("my_subscription.find", if_some, || {
            Ok(MySubscription { user: self.user }.get_result(self.conn).optional()?)
        })
    }

    /// The subscription, or [`NotFound`](crate::Error::NotFound).
    pub fn get(&mut self) -> Result<Subscription> {
        self.find()?.ok_or(crate::Error::not_found(SubscriptionId::ENTITY))
    }
}

struct MySubscription<'a> {
    user: &'a UserId,
}

statement!(MySubscription: diesel::dsl::SqlTypeOf<diesel::dsl::AsSelect<Subscription, Pg>>, "SELECT id, user_id, status, plan_type, current_period_end, cancel_at_period_end, \
     last_event_at, created_at, updated_at FROM sesari.my_subscription() WHERE user_id = \
     $1", |query| [
    query.user => Text,
]);
