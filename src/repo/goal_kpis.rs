//! `goal_kpis`: which KPIs measure which goal, and how much each counts.

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Double, Nullable, Text};

use super::{Kpi, changed, debug_by_name, found, given, present};
use crate::connection::PgConnection;
use crate::error::{Error, Result};
use crate::id::{GoalId, GoalKpiId, KpiId, WorkspaceId};
use crate::observe::{counted, if_some, operation};
use crate::schema::{goal_kpis, goals, kpis};
use crate::tenancy::{InWorkspace, TenantConnection};
use crate::value::{Finite, Invalid, Weight};

debug_by_name!(GoalKpiRepository);

/// The link of a KPI to a goal.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = goal_kpis, check_for_backend(Pg))]
#[non_exhaustive]
pub struct GoalKpi {
    /// Its id.
    pub id: GoalKpiId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// The goal.
    pub goal_id: GoalId,
    /// The KPI.
    pub kpi_id: KpiId,
    /// How much the KPI counts, relative to the goal's others.
    pub weight: f64,
    /// Where progress starts, in the KPI's unit; 0 where absent.
    pub baseline: Option<f64>,
}

/// A link with its KPI.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct LinkedKpi {
    /// The link.
    pub link: GoalKpi,
    /// The KPI.
    pub kpi: Kpi,
}

/// A link to make.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewGoalKpi {
    /// Its id, made here.
    #[serde(skip, default = "GoalKpiId::generate")]
    pub id: GoalKpiId,
    /// The goal.
    #[serde(alias = "goalId")]
    pub goal_id: GoalId,
    /// The KPI.
    #[serde(alias = "kpiId")]
    pub kpi_id: KpiId,
    /// How much the KPI counts; 1 by default.
    #[serde(default)]
    pub weight: Weight,
    /// Where progress starts; above the target for a KPI that should fall.
    pub baseline: Option<Finite>,
}

impl NewGoalKpi {
    /// A link of weight 1 from a baseline of 0.
    #[must_use]
    pub fn new(goal_id: GoalId, kpi_id: KpiId) -> Self {
        Self {
            id: GoalKpiId::generate(),
            goal_id,
            kpi_id,
            weight: Weight::default(),
            baseline: None,
        }
    }
}

/// What to change of a link.
#[derive(Debug, Clone, Default, PartialEq, AsChangeset, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = goal_kpis)]
#[serde(deny_unknown_fields, default)]
pub struct GoalKpiChanges {
    /// How much the KPI counts.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// Where progress starts.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Option<Finite>>,
}

/// The links of a workspace. A link is addressed by its goal and its KPI.
pub struct GoalKpiRepository<'g> {
    conn: &'g mut PgConnection,
    workspace: &'g WorkspaceId,
}

impl TenantConnection {
    /// Which KPIs measure which goal.
    pub fn goal_kpis(&mut self) -> GoalKpiRepository<'_> {
        let InWorkspace { conn, workspace, .. } = self.parts();
        GoalKpiRepository { conn, workspace }
    }
}

/// A goal's links with their KPIs, deleted KPIs left out.
#[diesel::dsl::auto_type(no_type_alias)]
fn linked<'q>(workspace: &'q WorkspaceId, goal: &'q GoalId) -> _ {
    let workspace_id: &'q WorkspaceId = workspace;
    let goal_id: &'q GoalId = goal;
    goal_kpis::table
        .inner_join(
            kpis::table.on(kpis::workspace_id
                .eq(goal_kpis::workspace_id)
                .and(kpis::id.eq(goal_kpis::kpi_id))),
        )
        .filter(goal_kpis::workspace_id.eq(workspace_id))
        .filter(goal_kpis::goal_id.eq(goal_id))
        .filter(kpis::deleted_at.is_null())
}

/// Refuses an answer of which one row more than this was read.
pub(super) fn check_links(read: usize, most: i64) -> Result<()> {
    if i64::try_from(read).is_ok_and(|read| read <= most) {
        return Ok(());
    }
    Err(Invalid::new("goal", "has more KPIs than are read at once").into())
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl GoalKpiRepository<'_> {
    /// The most links that are read at once.
    pub const MAX_LISTED: i64 = 10_000;

    /// Links a KPI to a goal. `NotFound` unless both exist and neither is deleted; `Conflict` when
    /// they are linked already.
    pub fn link(&mut self, new: &NewGoalKpi) -> Result<GoalKpi> {
        operation("goal_kpi.link", || {
            let both = goals::table
                .inner_join(kpis::table.on(kpis::workspace_id.eq(goals::workspace_id)))
                .filter(goals::workspace_id.eq(self.workspace))
                .filter(goals::id.eq(&new.goal_id))
                .filter(goals::deleted_at.is_null())
                .filter(kpis::id.eq(&new.kpi_id))
                .filter(kpis::deleted_at.is_null())
                .select((
                    goals::workspace_id,
                    (&new.id).into_sql::<Text>(),
                    goals::id,
                    kpis::id,
                    new.weight.into_sql::<Double>(),
                    new.baseline.into_sql::<Nullable<Double>>(),
                ));
            let row = diesel::insert_into(goal_kpis::table)
                .values(both)
                .into_columns((
                    goal_kpis::workspace_id,
                    goal_kpis::id,
                    goal_kpis::goal_id,
                    goal_kpis::kpi_id,
                    goal_kpis::weight,
                    goal_kpis::baseline,
                ))
                .returning(GoalKpi::as_returning())
                .get_result(self.conn);
            found(row, "goal or kpi")
        })
    }

    /// The link of a KPI to a goal, also where either is deleted.
    pub fn find(&mut self, goal: &GoalId, kpi: &KpiId) -> Result<Option<GoalKpi>> {
        counted("goal_kpi.find", if_some, || {
            Ok(goal_kpis::table
                .filter(goal_kpis::workspace_id.eq(self.workspace))
                .filter(goal_kpis::goal_id.eq(goal))
                .filter(goal_kpis::kpi_id.eq(kpi))
                .select(GoalKpi::as_select())
                .first(self.conn)
                .optional()?)
        })
    }

    /// The link of a KPI to a goal, or [`NotFound`](crate::Error::NotFound).
    pub fn get(&mut self, goal: &GoalId, kpi: &KpiId) -> Result<GoalKpi> {
        self.find(goal, kpi)?.ok_or(crate::Error::not_found(GoalKpiId::ENTITY))
    }

    /// A goal's links with their KPIs, deleted KPIs left out, oldest KPI first. Not in pages: a
    /// goal is measured by a handful. `Invalid` where it has more than
    /// [`MAX_LISTED`](Self::MAX_LISTED).
    pub fn list(&mut self, goal: &GoalId) -> Result<Vec<LinkedKpi>> {
        counted("goal_kpi.list", Vec::len, || {
            let rows: Vec<(GoalKpi, Kpi)> = linked(self.workspace, goal)
                .order((kpis::created_at, kpis::id))
                .select((GoalKpi::as_select(), Kpi::as_select()))
                .limit(Self::MAX_LISTED + 1)
                .load(self.conn)?;
            check_links(rows.len(), Self::MAX_LISTED)?;
            Ok(rows.into_iter().map(|(link, kpi)| LinkedKpi { link, kpi }).collect())
        })
    }

    /// How many KPIs [`list`](Self::list) would show.
    pub fn count(&mut self, goal: &GoalId) -> Result<i64> {
        operation("goal_kpi.count", || {
            Ok(linked(self.workspace, goal).count().get_result(self.conn)?)
        })
    }

    /// Changes a link. Without changes, only reads it.
    pub fn update(
        &mut self,
        goal: &GoalId,
        kpi: &KpiId,
        changes: &GoalKpiChanges,
    ) -> Result<GoalKpi> {
        if *changes == GoalKpiChanges::default() {
            return self.find(goal, kpi)?.ok_or(Error::not_found(GoalKpiId::ENTITY));
        }
        operation("goal_kpi.update", || {
            let row = diesel::update(goal_kpis::table)
                .filter(goal_kpis::workspace_id.eq(self.workspace))
                .filter(goal_kpis::goal_id.eq(goal))
                .filter(goal_kpis::kpi_id.eq(kpi))
                .set(changes)
                .returning(GoalKpi::as_returning())
                .get_result(self.conn);
            found(row, GoalKpiId::ENTITY)
        })
    }

    /// Changes how much a KPI counts.
    pub fn reweigh(&mut self, goal: &GoalId, kpi: &KpiId, weight: Weight) -> Result<GoalKpi> {
        self.update(goal, kpi, &GoalKpiChanges { weight: Some(weight), baseline: None })
    }

    /// Takes a KPI off a goal.
    pub fn unlink(&mut self, goal: &GoalId, kpi: &KpiId) -> Result<()> {
        operation("goal_kpi.unlink", || {
            let rows = diesel::delete(goal_kpis::table)
                .filter(goal_kpis::workspace_id.eq(self.workspace))
                .filter(goal_kpis::goal_id.eq(goal))
                .filter(goal_kpis::kpi_id.eq(kpi))
                .execute(self.conn);
            changed(rows, GoalKpiId::ENTITY)
        })
    }
}
