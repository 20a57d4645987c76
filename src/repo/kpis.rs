//! `kpis`: what a workspace measures.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool};

use super::{
    Deleted, changed, contains, debug_by_name, found, given, name_of, not_deleted, page_of,
    present, replace, sorted_list, strpos, text_or, this_moment, translate,
};
use crate::connection::PgConnection;
use crate::error::Result;
use crate::id::{KpiId, WorkspaceId};
use crate::observe::{counted, if_some, operation};
use crate::page::{KpiKey, Order, Page, PageRequest};
use crate::schema::kpis;
use crate::tenancy::{InWorkspace, TenantConnection};
use crate::value::{Aggregation, Category, Description, Finite, Invalid, KpiName, Unit};

debug_by_name!(KpiRepository);

/// A KPI.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = kpis, check_for_backend(Pg))]
#[non_exhaustive]
pub struct Kpi {
    /// Its id.
    pub id: KpiId,
    /// Its workspace.
    pub workspace_id: WorkspaceId,
    /// Display name.
    pub name: KpiName,
    /// Free text.
    pub description: Option<Description>,
    /// Value to reach, in [`unit`](Self::unit).
    pub target_value: Option<f64>,
    /// Value of the newest data point. 0 stands for none while nothing was measured, which
    /// [`current_value_at`](Self::current_value_at) tells.
    pub current_value: f64,
    /// Time of the newest data point; `None` while nothing was measured.
    pub current_value_at: Option<DateTime<Utc>>,
    /// Unit of the values.
    pub unit: Option<Unit>,
    /// Group.
    pub category: Option<Category>,
    /// What the points of a period come to. [`current_value`](Self::current_value) is the newest point
    /// under each.
    pub aggregation: Aggregation,
    /// Whether it is shown.
    pub is_active: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was deleted.
    pub deleted_at: Option<DateTime<Utc>>,
}

/// A KPI to create.
#[derive(Debug, Clone, PartialEq, Insertable, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = kpis, treat_none_as_default_value = false)]
#[serde(deny_unknown_fields)]
pub struct NewKpi {
    /// Its id, made here.
    #[serde(skip, default = "KpiId::generate")]
    pub id: KpiId,
    /// Display name.
    pub name: KpiName,
    /// Free text.
    pub description: Option<Description>,
    /// Value to reach.
    #[serde(alias = "targetValue")]
    pub target_value: Option<Finite>,
    /// Unit of the values.
    pub unit: Option<Unit>,
    /// Group.
    pub category: Option<Category>,
    /// What the points of a period come to; the last by default.
    #[serde(default)]
    pub aggregation: Aggregation,
    /// Whether it is shown; on by default.
    #[serde(alias = "isActive", default = "shown")]
    pub is_active: bool,
}

fn shown() -> bool {
    true
}

impl NewKpi {
    /// An active KPI with a new id and nothing but a name.
    #[must_use]
    pub fn new(name: KpiName) -> Self {
        Self {
            id: KpiId::generate(),
            name,
            description: None,
            target_value: None,
            unit: None,
            category: None,
            aggregation: Aggregation::default(),
            is_active: true,
        }
    }
}

/// What to change of a KPI.
#[derive(Debug, Clone, Default, PartialEq, AsChangeset, serde::Serialize, serde::Deserialize)]
#[diesel(table_name = kpis)]
#[serde(deny_unknown_fields, default)]
pub struct KpiChanges {
    /// Display name.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub name: Option<KpiName>,
    /// Free text.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub description: Option<Option<Description>>,
    /// Value to reach.
    #[serde(
        alias = "targetValue",
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    pub target_value: Option<Option<Finite>>,
    /// Unit of the values.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub unit: Option<Option<Unit>>,
    /// Group.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub category: Option<Option<Category>>,
    /// What the points of a period come to.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub aggregation: Option<Aggregation>,
    /// Whether it is shown.
    #[serde(
        alias = "isActive",
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    pub is_active: Option<bool>,
}

/// Which KPIs to list.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KpiFilter {
    /// Only active, or only inactive ones.
    #[serde(alias = "isActive")]
    pub is_active: Option<bool>,
    /// Only of this group.
    pub category: Option<Category>,
    /// Only those whose name contains this text, in upper or lower case, whatever the server's locale.
    /// `ss` is `ß`, and the Turkish letters i are one.
    #[serde(alias = "nameContains")]
    pub name_contains: Option<String>,
    /// Whether to list deleted ones.
    pub deleted: Deleted,
    /// In which order to list them.
    pub order: Order<KpiKey>,
}

/// The KPIs of a workspace.
pub struct KpiRepository<'g> {
    conn: &'g mut PgConnection,
    workspace: &'g WorkspaceId,
}

impl TenantConnection {
    /// The workspace's KPIs.
    pub fn kpis(&mut self) -> KpiRepository<'_> {
        let InWorkspace { conn, workspace, .. } = self.parts();
        KpiRepository { conn, workspace }
    }
}

#[expect(clippy::missing_errors_doc, reason = "described once, in the module `repo`")]
impl<'g> KpiRepository<'g> {
    /// The most KPIs that one call creates or changes.
    pub const MAX_BATCH: usize = 1000;

    fn matching<'q>(&self, filter: &'q KpiFilter) -> kpis::BoxedQuery<'q, Pg>
    where
        'g: 'q,
    {
        let mut query = kpis::table.filter(kpis::workspace_id.eq(self.workspace)).into_boxed();
        if let Some(is_active) = filter.is_active {
            query = query.filter(kpis::is_active.eq(is_active));
        }
        if let Some(category) = &filter.category {
            query = query.filter(kpis::category.eq(category));
        }
        if let Some(text) = &filter.name_contains {
            query = query.filter(contains!(kpis::name, text));
        }
        match filter.deleted {
            Deleted::Exclude => query.filter(not_deleted!(kpis::deleted_at)),
            Deleted::Only => query.filter(kpis::deleted_at.is_not_null()),
            Deleted::Include => query,
        }
    }

    /// A KPI that is not deleted.
    pub fn find(&mut self, id: &KpiId) -> Result<Option<Kpi>> {
        counted("kpi.find", if_some, || {
            Ok(kpis::table
                .filter(kpis::workspace_id.eq(self.workspace))
                .filter(kpis::id.eq(id))
                .filter(kpis::deleted_at.is_null())
                .select(Kpi::as_select())
                .first(self.conn)
                .optional()?)
        })
    }

    /// A KPI that is not deleted, or [`NotFound`](crate::Error::NotFound).
    pub fn get(&mut self, id: &KpiId) -> Result<Kpi> {
        self.find(id)?.ok_or(crate::Error::not_found(KpiId::ENTITY))
    }

    /// KPIs in the filter's order, oldest first unless it says otherwise.
    pub fn list(&mut self, filter: &KpiFilter, page: &PageRequest) -> Result<Page<Kpi>> {
        let list = ["kpi", self.workspace.as_str(), &name_of(filter)];
        counted("kpi.list", Page::len, || {
            sorted_list!(self.conn, kpis: Kpi, self.matching(filter), filter.order, page, &list, {
                KpiKey::CreatedAt => of(kpis::created_at), |kpi| kpi.created_at;
                KpiKey::UpdatedAt => of(kpis::updated_at), |kpi| kpi.updated_at;
                KpiKey::Name => by_text(kpis::name), |kpi| kpi.name.as_str();
                KpiKey::Category => by_text(text_or(kpis::category, "")),
                    |kpi| kpi.category.as_ref().map_or("", Category::as_str);
            })
        })
    }

    /// How many KPIs match.
    pub fn count(&mut self, filter: &KpiFilter) -> Result<i64> {
        operation("kpi.count", || Ok(self.matching(filter).count().get_result(self.conn)?))
    }

    /// Creates a KPI. `Conflict` when its id is taken in this workspace.
    pub fn create(&mut self, new: &NewKpi) -> Result<Kpi> {
        operation("kpi.create", || {
            Ok(diesel::insert_into(kpis::table)
                .values((new, kpis::workspace_id.eq(self.workspace)))
                .returning(Kpi::as_returning())
                .get_result(self.conn)?)
        })
    }

    /// Creates up to [`MAX_BATCH`](Self::MAX_BATCH) KPIs in one statement, all or none, and answers with
    /// them in the same order. `Invalid` names the place of one whose id another of the batch has;
    /// `Conflict` when an id is taken in this workspace.
    pub fn create_many(&mut self, new: &[NewKpi]) -> Result<Vec<Kpi>> {
        counted("kpi.create_many", Vec::len, || {
            let places = places("kpis", ".id", new.iter().map(|new| &new.id))?;
            if new.is_empty() {
                return Ok(Vec::new());
            }
            let rows: Vec<_> =
                new.iter().map(|new| (new, kpis::workspace_id.eq(self.workspace))).collect();
            let mut created: Vec<Kpi> = diesel::insert_into(kpis::table)
                .values(rows)
                .returning(Kpi::as_returning())
                .get_results(self.conn)?;
            created.sort_by_key(|kpi| places.get(&kpi.id));
            Ok(created)
        })
    }

    /// Changes up to [`MAX_BATCH`](Self::MAX_BATCH) KPIs alike in one statement, all or none, and answers
    /// with them in the same order. Nothing is changed and `Invalid` names the place, such as `ids[3]`, where
    /// one is not found or deleted, or there twice. Without changes, only reads them.
    pub fn update_many(&mut self, ids: &[KpiId], changes: &KpiChanges) -> Result<Vec<Kpi>> {
        counted("kpi.update_many", Vec::len, || {
            let places = places("ids", "", ids.iter())?;
            let mut rows: Vec<Kpi> = if *changes == KpiChanges::default() {
                live(self.workspace, ids).select(Kpi::as_select()).load(self.conn)?
            } else {
                let all = diesel::dsl::sql::<Bool>("(SELECT count(*) FROM live) = ")
                    .bind::<BigInt, _>(i64::try_from(ids.len()).unwrap_or(i64::MAX));
                let update = diesel::update(kpis::table)
                    .filter(kpis::workspace_id.eq(self.workspace))
                    .filter(kpis::id.eq_any(ids))
                    .filter(all)
                    .set(changes)
                    .returning(Kpi::as_returning());
                Locked {
                    live: live(self.workspace, ids).order(kpis::id).select(kpis::id).for_update(),
                    update,
                }
                .load(self.conn)?
            };
            if rows.len() < ids.len() {
                let there: HashSet<KpiId> = live(self.workspace, ids)
                    .select(kpis::id)
                    .load(self.conn)?
                    .into_iter()
                    .collect();
                let missing = ids.iter().position(|id| !there.contains(id)).unwrap_or_default();
                return Err(Invalid::new(format!("ids[{missing}]"), NOT_THERE).into());
            }
            rows.sort_by_key(|kpi| places.get(&kpi.id));
            Ok(rows)
        })
    }

    /// Changes a KPI that is not deleted. Without changes, only reads it.
    pub fn update(&mut self, id: &KpiId, changes: &KpiChanges) -> Result<Kpi> {
        if *changes == KpiChanges::default() {
            return self.find(id)?.ok_or(crate::Error::not_found(KpiId::ENTITY));
        }
        operation("kpi.update", || {
            let row = diesel::update(kpis::table)
                .filter(kpis::workspace_id.eq(self.workspace))
                .filter(kpis::id.eq(id))
                .filter(kpis::deleted_at.is_null())
                .set(changes)
                .returning(Kpi::as_returning())
                .get_result(self.conn);
            found(row, KpiId::ENTITY)
        })
    }

    /// Shows a KPI.
    pub fn activate(&mut self, id: &KpiId) -> Result<Kpi> {
        self.update(id, &KpiChanges { is_active: Some(true), ..KpiChanges::default() })
    }

    /// Hides a KPI.
    pub fn deactivate(&mut self, id: &KpiId) -> Result<Kpi> {
        self.update(id, &KpiChanges { is_active: Some(false), ..KpiChanges::default() })
    }

    /// Deletes a KPI, keeping it and its history for a [`restore`](Self::restore).
    pub fn delete(&mut self, id: &KpiId) -> Result<()> {
        operation("kpi.delete", || {
            let rows = diesel::update(kpis::table)
                .filter(kpis::workspace_id.eq(self.workspace))
                .filter(kpis::id.eq(id))
                .filter(kpis::deleted_at.is_null())
                .set(kpis::deleted_at.eq(this_moment()))
                .execute(self.conn);
            changed(rows, KpiId::ENTITY)
        })
    }

    /// Brings a deleted KPI back.
    pub fn restore(&mut self, id: &KpiId) -> Result<Kpi> {
        operation("kpi.restore", || {
            let row = diesel::update(kpis::table)
                .filter(kpis::workspace_id.eq(self.workspace))
                .filter(kpis::id.eq(id))
                .filter(kpis::deleted_at.is_not_null())
                .set(kpis::deleted_at.eq(None::<DateTime<Utc>>))
                .returning(Kpi::as_returning())
                .get_result(self.conn);
            found(row, KpiId::ENTITY)
        })
    }

    /// Removes a deleted KPI for good, with its history and its links to goals. For owners and
    /// admins; to anybody else, and while the KPI is not deleted, it is not found.
    pub fn purge(&mut self, id: &KpiId) -> Result<()> {
        operation("kpi.purge", || {
            let rows = diesel::delete(kpis::table)
                .filter(kpis::workspace_id.eq(self.workspace))
                .filter(kpis::id.eq(id))
                .filter(kpis::deleted_at.is_not_null())
                .execute(self.conn);
            changed(rows, KpiId::ENTITY)
        })
    }
}

#[diesel::dsl::auto_type(no_type_alias)]
fn live<'q>(workspace: &'q WorkspaceId, ids: &'q [KpiId]) -> _ {
    kpis::table
        .filter(kpis::workspace_id.eq(workspace))
        .filter(kpis::id.eq_any(ids))
        .filter(kpis::deleted_at.is_null())
}

const NOT_THERE: &str = "expected a KPI of the workspace that is not deleted";

/// Where each id of a batch stands.
fn places<'a>(
    field: &str,
    of_one: &str,
    ids: impl ExactSizeIterator<Item = &'a KpiId>,
) -> Result<HashMap<&'a KpiId, usize>> {
    if ids.len() > KpiRepository::MAX_BATCH {
        return Err(Invalid::new(field.to_owned(), "expected at most 1000").into());
    }
    let mut places = HashMap::with_capacity(ids.len());
    for (place, id) in ids.enumerate() {
        if places.insert(id, place).is_some() {
            let field = format!("{field}[{place}]{of_one}");
            return Err(Invalid::new(field, "expected an id that no other of the batch has").into());
        }
    }
    Ok(places)
}

/// An update that knows as `live` the rows that it may change, locked in the order of their ids: another
/// such update waits for it, and the two cannot each wait for the other.
#[derive(QueryId)]
struct Locked<L, U> {
    live: L,
    update: U,
}

impl<L, U: Query> Query for Locked<L, U> {
    type SqlType = U::SqlType;
}

impl<L, U> RunQueryDsl<PgConnection> for Locked<L, U> {}

impl<L: QueryFragment<Pg>, U: QueryFragment<Pg>> QueryFragment<Pg> for Locked<L, U> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        pass.push_sql("WITH live AS MATERIALIZED (");
        self.live.walk_ast(pass.reborrow())?;
        pass.push_sql(") ");
        self.update.walk_ast(pass.reborrow())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_tell_an_absent_field_from_a_null_one() {
        let changes: KpiChanges = serde_json::from_str(r#"{"unit": null}"#).unwrap();
        assert_eq!((changes.unit, changes.category), (Some(None), None));
    }
}
