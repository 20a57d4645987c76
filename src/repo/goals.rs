//! `goals`: what a workspace wants to reach.

mod as_of;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;

use super::goal_kpis::{GoalKpi, GoalKpiRepository, LinkedKpi, check_links};
use super::{
    Deleted, Kpi, changed, contains, debug_by_name, found, given, name_of, not_deleted, page_of,
    present, replace, sorted_list, strpos, this_moment, time_or, translate,
};
use crate::connection::PgConnection;
use crate::error::{Error, Result};
use crate::id::{GoalId, KpiId, WorkspaceId};
use crate::observe::{counted, if_some, operation};
use crate::page::{GoalKey, Order, Page, PageRequest};
use crate::progress::{GoalProgress, InvalidInput, KpiProgressInput, goal_progress};
use crate::schema::{goal_kpis, goals, kpis};
use crate::tenancy::{InWorkspace, TenantConnection};
use crate::value::{Description, GoalStatus, GoalTitle, Timestamp};

pub use as_of::GoalAsOf;

debug_by_name!(GoalRepository);

/// A goal.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = goals, check_for_backend(Pg))]
#[non_exhaustive]
pub struct Goal {
    /// Its id.
    pub id: GoalId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Display name.
    pub title: GoalTitle,
    /// Free text.
    pub description: Option<Description>,
    /// When it is due.
    pub target_date: Option<Timestamp>,
    /// Where it stands.
    pub status: GoalStatus,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was deleted.
    pub deleted_at: Option<DateTime<Utc>>,
}

/// A goal with the KPIs that measure it.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct GoalWithKpis {
    /// The goal.
    pub goal: Goal,
    /// Its links with their KPIs, deleted KPIs left out, oldest KPI first.
    pub kpis: Vec<LinkedKpi>,
}

impl GoalWithKpis {
    /// The goal's progress, as [`GoalRepository::progress`] has it, with its KPIs in the same order.
    ///
    /// # Errors
    /// As [`goal_progress`]; values that were read cause none.
    pub fn progress(&self) -> Result<GoalProgress, InvalidInput> {
        let input = |linked: &LinkedKpi| KpiProgressInput {
            kpi_id: linked.kpi.id.clone(),
            current: linked.kpi.current_value_at.map(|_| linked.kpi.current_value),
            target: linked.kpi.target_value,
            baseline: linked.link.baseline,
            weight: linked.link.weight,
        };
        goal_progress(&self.kpis.iter().map(input).collect::<Vec<_>>())
    }
}

/// A goal to create. It starts out active.
#[derive(Debug, Clone, PartialEq, Insertable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = goals, treat_none_as_default_value = false)]
#[serde(deny_unknown_fields)]
pub struct NewGoal {
    /// Its id, made here.
    #[serde(skip, default = "GoalId::generate")]
    pub id: GoalId,
    /// Display name.
    pub title: GoalTitle,
    /// Free text.
    pub description: Option<Description>,
    /// When it is due.
    #[serde(alias = "targetDate")]
    pub target_date: Option<Timestamp>,
}

impl NewGoal {
    /// A goal with a new id and nothing but a title.
    #[must_use]
    pub fn new(title: GoalTitle) -> Self {
        Self { id: GoalId::generate(), title, description: None, target_date: None }
    }
}

/// What to change of a goal.
#[derive(Debug, Clone, Default, PartialEq, AsChangeset, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = goals)]
#[serde(deny_unknown_fields, default)]
pub struct GoalChanges {
    /// Display name.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub title: Option<GoalTitle>,
    /// Free text.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub description: Option<Option<Description>>,
    /// When it is due.
    #[serde(
        alias = "targetDate",
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub target_date: Option<Option<Timestamp>>,
    /// Where it stands.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub status: Option<GoalStatus>,
}

/// Which goals to list.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GoalFilter {
    /// Only where it stands so.
    pub status: Option<GoalStatus>,
    /// Only those due at this moment or later.
    #[serde(alias = "dueFrom")]
    pub due_from: Option<Timestamp>,
    /// Only those due before this moment.
    #[serde(alias = "dueBefore")]
    pub due_before: Option<Timestamp>,
    /// Only those whose title contains this text, as [`KpiFilter::name_contains`](super::KpiFilter::name_contains).
    #[serde(alias = "titleContains")]
    pub title_contains: Option<String>,
    /// Whether to list deleted ones.
    pub deleted: Deleted,
    /// In which order to list them.
    pub order: Order<GoalKey>,
}

/// Goals with their links to KPIs that are not deleted, or without any.
#[diesel::dsl::auto_type(no_type_alias)]
fn with_links() -> _ {
    goals::table.left_join(
        goal_kpis::table
            .inner_join(
                kpis::table.on(kpis::workspace_id
                    .eq(goal_kpis::workspace_id)
                    .and(kpis::id.eq(goal_kpis::kpi_id))
                    .and(kpis::deleted_at.is_null())),
            )
            .on(goal_kpis::workspace_id
                .eq(goals::workspace_id)
                .and(goal_kpis::goal_id.eq(goals::id))),
    )
}

/// The goals of a workspace.
pub struct GoalRepository<'g> {
    conn: &'g mut PgConnection,
    workspace: &'g WorkspaceId,
}

impl TenantConnection {
    /// The workspace's goals.
    pub fn goals(&mut self) -> GoalRepository<'_> {
        let InWorkspace { conn, workspace, .. } = self.parts();
        GoalRepository { conn, workspace }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl<'g> GoalRepository<'g> {
    /// The most links to KPIs of which progress is computed at once.
    pub const MAX_LINKS: i64 = 100_000;

    fn matching<'q>(&self, filter: &'q GoalFilter) -> goals::BoxedQuery<'q, Pg>
    where
        'g: 'q,
    {
        let mut query = goals::table.filter(goals::workspace_id.eq(self.workspace)).into_boxed();
        if let Some(status) = &filter.status {
            query = query.filter(goals::status.eq(status));
        }
        if let Some(from) = filter.due_from {
            query = query.filter(goals::target_date.ge(from));
        }
        if let Some(before) = filter.due_before {
            query = query.filter(goals::target_date.lt(before));
        }
        if let Some(text) = &filter.title_contains {
            query = query.filter(contains!(goals::title, text));
        }
        match filter.deleted {
            Deleted::Exclude => query.filter(not_deleted!(goals::deleted_at)),
            Deleted::Only => query.filter(goals::deleted_at.is_not_null()),
            Deleted::Include => query,
        }
    }

    /// A goal that is not deleted.
    pub fn find(&mut self, id: &GoalId) -> Result<Option<Goal>> {
        counted("goal.find", if_some, || {
            Ok(goals::table
                .filter(goals::workspace_id.eq(self.workspace))
                .filter(goals::id.eq(id))
                .filter(goals::deleted_at.is_null())
                .select(Goal::as_select())
                .first(self.conn)
                .optional()?)
        })
    }

    /// A goal that is not deleted, with the KPIs that [`GoalKpiRepository::list`] has of it. `Invalid`
    /// where they are more than [`GoalKpiRepository::MAX_LISTED`].
    pub fn find_with_kpis(&mut self, id: &GoalId) -> Result<Option<GoalWithKpis>> {
        counted("goal.find_with_kpis", if_some, || {
            let rows: Vec<(Goal, Option<GoalKpi>, Option<Kpi>)> = with_links()
                .filter(goals::workspace_id.eq(self.workspace))
                .filter(goals::id.eq(id))
                .filter(goals::deleted_at.is_null())
                .order((kpis::created_at, kpis::id))
                .select(<(Goal, Option<GoalKpi>, Option<Kpi>)>::as_select())
                .limit(GoalKpiRepository::MAX_LISTED + 1)
                .load(self.conn)?;
            check_links(rows.len(), GoalKpiRepository::MAX_LISTED)?;
            let Some((goal, ..)) = rows.first() else { return Ok(None) };
            let goal = goal.clone();
            let linked = |(_, link, kpi)| Some(LinkedKpi { link: link?, kpi: kpi? });
            Ok(Some(GoalWithKpis { goal, kpis: rows.into_iter().filter_map(linked).collect() }))
        })
    }

    /// A goal that is not deleted, or [`NotFound`](crate::Error::NotFound).
    pub fn get(&mut self, id: &GoalId) -> Result<Goal> {
        self.find(id)?.ok_or(crate::Error::not_found(GoalId::ENTITY))
    }

    /// Goals in the filter's order, oldest first unless it says otherwise.
    pub fn list(&mut self, filter: &GoalFilter, page: &PageRequest) -> Result<Page<Goal>> {
        let list = ["goal", self.workspace.as_str(), &name_of(filter)];
        counted("goal.list", Page::len, || {
            sorted_list!(self.conn, goals: Goal, self.matching(filter), filter.order, page, &list, {
                GoalKey::CreatedAt => of(goals::created_at), |goal| goal.created_at;
                GoalKey::UpdatedAt => of(goals::updated_at), |goal| goal.updated_at;
                GoalKey::Title => by_text(goals::title), |goal| goal.title.as_str();
                GoalKey::TargetDate => of(time_or(goals::target_date, Timestamp::MAX)),
                    |goal| goal.target_date.unwrap_or(Timestamp::MAX).get();
            })
        })
    }

    /// How many goals match.
    pub fn count(&mut self, filter: &GoalFilter) -> Result<i64> {
        operation("goal.count", || Ok(self.matching(filter).count().get_result(self.conn)?))
    }

    /// Creates a goal. `Conflict` when its id is taken in this workspace.
    pub fn create(&mut self, new: &NewGoal) -> Result<Goal> {
        operation("goal.create", || {
            Ok(diesel::insert_into(goals::table)
                .values((new, goals::workspace_id.eq(self.workspace)))
                .returning(Goal::as_returning())
                .get_result(self.conn)?)
        })
    }

    /// Changes a goal that is not deleted. Without changes, only reads it.
    pub fn update(&mut self, id: &GoalId, changes: &GoalChanges) -> Result<Goal> {
        if *changes == GoalChanges::default() {
            return self.find(id)?.ok_or(Error::not_found(GoalId::ENTITY));
        }
        operation("goal.update", || {
            let row = diesel::update(goals::table)
                .filter(goals::workspace_id.eq(self.workspace))
                .filter(goals::id.eq(id))
                .filter(goals::deleted_at.is_null())
                .set(changes)
                .returning(Goal::as_returning())
                .get_result(self.conn);
            found(row, GoalId::ENTITY)
        })
    }

    fn set_status(&mut self, id: &GoalId, status: GoalStatus) -> Result<Goal> {
        self.update(id, &GoalChanges { status: Some(status), ..GoalChanges::default() })
    }

    /// Marks a goal as reached.
    pub fn complete(&mut self, id: &GoalId) -> Result<Goal> {
        self.set_status(id, GoalStatus::Completed)
    }

    /// Pauses a goal.
    pub fn pause(&mut self, id: &GoalId) -> Result<Goal> {
        self.set_status(id, GoalStatus::Paused)
    }

    /// Resumes a paused goal.
    pub fn resume(&mut self, id: &GoalId) -> Result<Goal> {
        self.set_status(id, GoalStatus::Active)
    }

    /// Deletes a goal, keeping it for a [`restore`](Self::restore).
    pub fn delete(&mut self, id: &GoalId) -> Result<()> {
        operation("goal.delete", || {
            let rows = diesel::update(goals::table)
                .filter(goals::workspace_id.eq(self.workspace))
                .filter(goals::id.eq(id))
                .filter(goals::deleted_at.is_null())
                .set(goals::deleted_at.eq(this_moment()))
                .execute(self.conn);
            changed(rows, GoalId::ENTITY)
        })
    }

    /// Restores a deleted goal.
    pub fn restore(&mut self, id: &GoalId) -> Result<Goal> {
        operation("goal.restore", || {
            let row = diesel::update(goals::table)
                .filter(goals::workspace_id.eq(self.workspace))
                .filter(goals::id.eq(id))
                .filter(goals::deleted_at.is_not_null())
                .set(goals::deleted_at.eq(None::<DateTime<Utc>>))
                .returning(Goal::as_returning())
                .get_result(self.conn);
            found(row, GoalId::ENTITY)
        })
    }

    /// Removes a deleted goal for good, with its links to KPIs. For owners and admins; to anybody
    /// else, and while the goal is not deleted, it is not found.
    pub fn purge(&mut self, id: &GoalId) -> Result<()> {
        operation("goal.purge", || {
            let rows = diesel::delete(goals::table)
                .filter(goals::workspace_id.eq(self.workspace))
                .filter(goals::id.eq(id))
                .filter(goals::deleted_at.is_not_null())
                .execute(self.conn);
            changed(rows, GoalId::ENTITY)
        })
    }

    /// The progress of a goal that is not deleted, from its KPIs that are not. A KPI without points
    /// is left out.
    pub fn progress(&mut self, id: &GoalId) -> Result<GoalProgress> {
        let progress = self.progress_of_many(std::slice::from_ref(id))?.remove(id);
        progress.ok_or(Error::not_found(GoalId::ENTITY))
    }

    /// The progress of many goals in one query. Goals that are not found are left out. `Invalid` where
    /// they have more than [`MAX_LINKS`](Self::MAX_LINKS) KPIs together.
    pub fn progress_of_many(&mut self, ids: &[GoalId]) -> Result<HashMap<GoalId, GoalProgress>> {
        counted("goal.progress", HashMap::len, || {
            type Link = (KpiId, f64, Option<DateTime<Utc>>, Option<f64>, Option<f64>, f64);
            type Row = (GoalId, Option<Link>);
            let rows: Vec<Row> = with_links()
                .filter(goals::workspace_id.eq(self.workspace))
                .filter(goals::id.eq_any(ids))
                .filter(goals::deleted_at.is_null())
                .order((goals::id, kpis::created_at, kpis::id))
                .select((
                    goals::id,
                    (
                        kpis::id,
                        kpis::current_value,
                        kpis::current_value_at,
                        kpis::target_value,
                        goal_kpis::baseline,
                        goal_kpis::weight,
                    )
                        .nullable(),
                ))
                .limit(Self::MAX_LINKS + 1)
                .load(self.conn)?;
            check_links(rows.len(), Self::MAX_LINKS)?;
            let mut inputs: HashMap<GoalId, Vec<KpiProgressInput>> = HashMap::new();
            for (goal, link) in rows {
                let kpis = inputs.entry(goal).or_default();
                if let Some((kpi_id, value, measured_at, target, baseline, weight)) = link {
                    let current = measured_at.map(|_| value);
                    kpis.push(KpiProgressInput { kpi_id, current, target, baseline, weight });
                }
            }
            inputs.into_iter().map(|(goal, kpis)| Ok((goal, goal_progress(&kpis)?))).collect()
        })
    }
}
