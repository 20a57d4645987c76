//! `kpis`: what a workspace measures.

use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Text;

use super::{
    Deleted, changed, debug_by_name, found, given, not_deleted, page_of, present, this_moment,
};
use crate::connection::PgConnection;
use crate::error::Result;
use crate::id::{KpiId, WorkspaceId};
use crate::observe::{counted, if_some, operation};
use crate::page::{Page, PageRequest};
use crate::schema::kpis;
use crate::tenancy::{InWorkspace, TenantConnection};
use crate::value::{Aggregation, Category, Description, Finite, Folded, KpiName, Unit};

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
            let Folded { text, from, to } = Folded::new(text);
            let [small, capital] = Folded::SHARP_S;
            let name = replace(replace(kpis::name, small, "ss"), capital, "ss");
            query = query.filter(strpos(translate(name, from, to), text).gt(0));
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

    /// KPIs, oldest first.
    pub fn list(&mut self, filter: &KpiFilter, page: &PageRequest) -> Result<Page<Kpi>> {
        counted("kpi.list", Page::len, || {
            let page = page.of(&["kpi", self.workspace.as_str()])?;
            let query = page_of!(self.matching(filter), page, kpis::created_at, kpis::id);
            let rows = query.select(Kpi::as_select()).load(self.conn)?;
            Ok(page.cut(rows, |kpi: &Kpi| (kpi.created_at, kpi.id.as_str())))
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

diesel::define_sql_function! { fn replace(text: Text, from: Text, to: Text) -> Text; }
diesel::define_sql_function! { fn strpos(text: Text, part: Text) -> diesel::sql_types::Integer; }
diesel::define_sql_function! { fn translate(text: Text, from: Text, to: Text) -> Text; }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_tell_an_absent_field_from_a_null_one() {
        let changes: KpiChanges = serde_json::from_str(r#"{"unit": null}"#).unwrap();
        assert_eq!((changes.unit, changes.category), (Some(None), None));
    }
}
