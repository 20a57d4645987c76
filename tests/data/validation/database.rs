//! The database's side: one value in one column, and what it says to that.

use diesel::connection::SimpleConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::QueryId;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::serialize::ToSql;
use diesel::sql_types::{Array, HasSqlType, SingleValue, Text};
use sesari_db::PgConnection;

use sesari_db::id::KpiId;
use sesari_db::repo::NewKpi;

use crate::support::World;

/// What the database says to a value.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    Accepted,
    /// By the constraint of this name.
    Refused(String),
    /// By the type, before any constraint: a NUL in a text, a time out of PostgreSQL's range.
    Impossible,
}

/// A world, and a superuser's connection to it.
pub(crate) struct Judge {
    // Dropped first: the database goes with the world.
    conn: PgConnection,
    world: World,
    unlinked: KpiId,
}

impl Judge {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
        let unlinked = tenant.kpis().create(&NewKpi::new("Unlinked".parse().unwrap())).unwrap().id;
        tenant.commit().unwrap();
        let mut conn = world.test.admin().unwrap();
        conn.batch_execute(include_str!("verdicts.sql")).unwrap();
        Self { conn, world, unlinked }
    }

    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.conn
    }

    /// A superuser's connection to another database of the server.
    pub(crate) fn connect_to(&self, database: &str) -> PgConnection {
        let test = &self.world.test;
        PgConnection::establish(&test.admin_url().replace(test.name(), database)).unwrap()
    }

    /// Runs an INSERT of a row with this value and takes it back.
    pub(crate) fn verdict<ST, T>(&mut self, insert: &str, value: T) -> Verdict
    where
        Pg: HasSqlType<ST>,
        ST: QueryId + SingleValue + 'static,
        T: ToSql<ST, Pg>,
    {
        let sql = self.fill(insert);
        self.judge(|conn| diesel::sql_query(sql).bind::<ST, _>(value).execute(conn))
    }

    /// The verdict on each text, by one statement for all but those that no text of PostgreSQL can be.
    pub(crate) fn verdicts(&mut self, insert: &str, texts: &[&str]) -> Vec<Verdict> {
        let possible: Vec<_> = texts.iter().filter(|text| !text.contains('\0')).collect();
        let refused_by: Vec<String> = diesel::select(
            diesel::dsl::sql::<Array<Text>>("pg_temp.verdicts(")
                .bind::<Text, _>(self.fill(insert))
                .sql(", ")
                .bind::<Array<Text>, _>(&possible)
                .sql(")"),
        )
        .get_result(&mut self.conn)
        .unwrap();
        assert_eq!(refused_by.len(), possible.len());
        let mut refused_by = refused_by.into_iter();
        let verdict = |text: &&str| {
            if text.contains('\0') {
                return self.verdict::<Text, _>(insert, *text);
            }
            match refused_by.next().unwrap() {
                by if by.is_empty() => Verdict::Accepted,
                by => Verdict::Refused(by),
            }
        };
        texts.iter().map(verdict).collect()
    }

    /// Runs an INSERT with this literal in the value's place and takes it back.
    pub(crate) fn verdict_on_literal(&mut self, insert: &str, literal: &str) -> Verdict {
        let sql = self.fill(&insert.replace("$1", literal));
        self.judge(|conn| diesel::sql_query(sql).execute(conn))
    }

    /// Puts the world's ids into a statement.
    fn fill(&self, insert: &str) -> String {
        insert
            .replace("{workspace}", self.world.a.workspace.as_str())
            .replace("{user}", self.world.stranger.as_str())
            .replace("{kpi}", self.world.a.kpi.as_str())
            .replace("{goal}", self.world.a.goal.as_str())
            .replace("{unlinked kpi}", self.unlinked.as_str())
    }

    fn judge(&mut self, run: impl FnOnce(&mut PgConnection) -> QueryResult<usize>) -> Verdict {
        let mut verdict = None;
        let _: Result<(), Error> = self.conn.transaction(|conn| {
            verdict = Some(match run(conn) {
                Ok(rows) => {
                    assert_eq!(rows, 1);
                    Verdict::Accepted
                }
                Err(Error::DatabaseError(DatabaseErrorKind::CheckViolation, info)) => {
                    Verdict::Refused(info.constraint_name().unwrap().to_owned())
                }
                Err(Error::DatabaseError(_, info))
                    if info.message().contains("invalid byte sequence")
                        || info.message().contains("out of range") =>
                {
                    Verdict::Impossible
                }
                Err(error) => panic!("{error:?}"),
            });
            Err(Error::RollbackTransaction)
        });
        verdict.unwrap()
    }
}
