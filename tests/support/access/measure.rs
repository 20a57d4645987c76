//! Tries everything on every table as every actor, and says what must not have happened.

use std::collections::BTreeMap;

use diesel::connection::SimpleConnection;
use diesel::deserialize::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Text};
use diesel::{Connection, QueryResult, RunQueryDsl};
use sesari_db::PgConnection;

use super::cast::{ACTORS, Actor, Login, Moment, Stage, Standing};
use super::tables::{TABLES, Table};
use crate::support::Tenant;

/// What became of the own workspace's rows, and of all others.
pub struct Cell {
    pub table: &'static str,
    pub actor: &'static Actor,
    pub verb: &'static str,
    pub own: String,
    pub other: String,
}

#[derive(QueryableByName)]
struct Counts {
    #[diesel(sql_type = BigInt)]
    own: i64,
    #[diesel(sql_type = BigInt)]
    other: i64,
}

#[derive(QueryableByName)]
struct Names {
    #[diesel(sql_type = Array<Text>)]
    names: Vec<String>,
}

#[derive(QueryableByName)]
struct Now {
    #[diesel(sql_type = BigInt)]
    now: i64,
    #[diesel(sql_type = Integer)]
    pid: i32,
}

/// One database, the two physical connections that serve all cells, and the administrator's, whom
/// no policy holds back.
pub struct Matrix {
    stage: Stage,
    tenant: PgConnection,
    service: PgConnection,
    admin: PgConnection,
    /// How many rows each table has, and the keys of the own ones.
    rows: BTreeMap<&'static str, (Vec<String>, i64)>,
    /// Rows of no workspace in the audit log, which the service scope may read.
    unowned_entries: i64,
}

impl Matrix {
    /// Furnishes a database; `prepare` changes it before anything is measured. Fails when a table
    /// is not covered.
    pub fn new(prepare: &str) -> Result<Self, String> {
        let stage = Stage::new();
        let test = &stage.world.test;
        let mut admin = test.admin().unwrap();
        if !prepare.is_empty() {
            admin.batch_execute(prepare).unwrap();
        }
        let tenant = PgConnection::establish(&test.tenant_url()).unwrap();
        let service = PgConnection::establish(&test.service_url()).unwrap();
        let mut matrix =
            Self { stage, tenant, service, admin, rows: BTreeMap::new(), unowned_entries: 0 };
        matrix.cover()?;
        Ok(matrix)
    }

    /// Every table of the catalogue is in the list, and has rows of both workspaces.
    fn cover(&mut self) -> Result<(), String> {
        let in_catalogue = names(
            &mut self.admin,
            "SELECT array_agg(relname::text ORDER BY relname COLLATE \"C\") AS names
             FROM pg_catalog.pg_class
             WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f')
               AND relname <> 'kpi_points' -- read with kpi_packed_points",
        );
        let covered: Vec<_> = TABLES.iter().map(|table| table.name.to_owned()).collect();
        if in_catalogue != covered {
            return Err(format!(
                "the matrix covers {covered:?}, the catalogue has {in_catalogue:?}"
            ));
        }
        for table in TABLES {
            let (own, name, key) = (self.own_rows(table), table.name, table.key);
            let keys = names(
                &mut self.admin,
                &format!(
                    "SELECT coalesce(array_agg({key}::text ORDER BY {key}), '{{}}') AS names
                     FROM public.{name} WHERE {own}"
                ),
            );
            let others: Counts = diesel::sql_query(format!(
                "SELECT 0::bigint AS own, count(*) AS other FROM public.{name} WHERE NOT ({own})"
            ))
            .get_result(&mut self.admin)
            .unwrap();
            if keys.is_empty() || others.other == 0 {
                return Err(format!("no rows of both workspaces in {name}"));
            }
            self.rows.insert(name, (keys, others.other));
        }
        let unowned: Counts = diesel::sql_query(
            "SELECT 0::bigint AS own, count(*) AS other FROM audit_log WHERE workspace_id = ''",
        )
        .get_result(&mut self.admin)
        .unwrap();
        self.unowned_entries = unowned.other;
        Ok(())
    }

    fn own_rows(&self, table: &Table) -> String {
        self.aim(table.own, &self.stage.world.a, &self.stage.world.b)
    }

    fn aim(&self, sql: &str, at: &Tenant, there: &Tenant) -> String {
        let Stage { co_owner, both, world, .. } = &self.stage;
        let a = &world.a;
        let members = [&a.owner, &a.admin, &a.member, co_owner, both]
            .map(|user| format!("'{user}'"))
            .join(",");
        sql.replace("{ws}", at.workspace.as_str())
            .replace("{kpi}", at.kpi.as_str())
            .replace("{goal}", at.goal.as_str())
            .replace("{owner}", at.owner.as_str())
            .replace("{member}", at.member.as_str())
            .replace("{there}", there.workspace.as_str())
            .replace("{their_user}", there.admin.as_str())
            .replace("{stranger}", world.stranger.as_str())
            .replace("{members}", &members)
    }

    /// Everything on the named tables, or on all.
    pub fn measure(&mut self, only: Option<&str>) -> Vec<Cell> {
        let before = self.pids();
        let mut cells = Vec::new();
        for actor in ACTORS {
            for table in TABLES.iter().filter(|table| only.is_none_or(|name| table.name == name)) {
                self.try_all(actor, table, &mut cells);
            }
        }
        assert_eq!(before, self.pids(), "a connection was replaced; reuse is what is tested");
        let position = |cell: &Cell| TABLES.iter().position(|table| table.name == cell.table);
        cells.sort_by_key(position);
        cells
    }

    fn pids(&mut self) -> [i32; 2] {
        [moment(&mut self.tenant).pid, moment(&mut self.service).pid]
    }

    fn try_all(&mut self, actor: &'static Actor, table: &'static Table, cells: &mut Vec<Cell>) {
        let name = table.name;
        let own = self.own_rows(table);
        let other = format!("NOT ({own})");
        let (a, b) = (&self.stage.world.a, &self.stage.world.b);
        let sql = |sql: &str, to_a: bool| {
            let aimed = if to_a { self.aim(sql, a, b) } else { self.aim(sql, b, a) };
            aimed.replace("{rows}", if to_a { &own } else { &other })
        };
        let both = |text: &str| [sql(text, true), sql(text, false)];
        let insert = both(&format!("INSERT INTO public.{name} {}", table.insert));
        let update = format!("UPDATE public.{name} SET {}", table.update);
        let delete = format!("DELETE FROM public.{name}");
        let give = sql(&format!("UPDATE public.{name} SET {}", table.give), true);
        let take = sql(&format!("UPDATE public.{name} SET {} WHERE {other}", table.give), false);
        let extras: Vec<_> = table.extras.iter().map(|x| (x.name, both(x.sql))).collect();

        let mut push =
            |verb, (own, other)| cells.push(Cell { table: name, actor, verb, own, other });
        push("select", self.select(actor, name, &own));
        let result = insert.map(|sql| self.attempt(actor, &[sql], None));
        push("insert", (done(&result[0]), done(&result[1])));
        push("update", self.change(actor, table, &update, &other));
        push("delete", self.change(actor, table, &delete, &other));
        // A row given away is nothing of one's own any more: both are the other workspace's affair.
        push(
            "give away",
            (done(&self.attempt(actor, &[give], None)), done(&self.attempt(actor, &[take], None))),
        );
        for (verb, [own, other]) in extras {
            let (own, other) =
                (self.attempt(actor, &[own], None), self.attempt(actor, &[other], None));
            push(verb, (done(&own), done(&other)));
        }
    }

    /// Reads with no filter, and with one for the rows of others.
    fn select(&mut self, actor: &Actor, name: &str, own: &str) -> (String, String) {
        let (all_own, all_other) = (self.rows[name].0.len(), self.rows[name].1);
        let unfiltered = format!(
            "SELECT count(*) FILTER (WHERE {own}) AS own,
                    count(*) FILTER (WHERE NOT ({own})) AS other FROM public.{name}"
        );
        let filtered = format!(
            "SELECT 0::bigint AS own, count(*) AS other FROM public.{name} WHERE NOT ({own})"
        );
        let seen = self.within(actor, |conn| {
            let unfiltered: Counts = diesel::sql_query(&unfiltered).get_result(conn)?;
            let filtered: Counts = diesel::sql_query(&filtered).get_result(conn)?;
            Ok((unfiltered.own, unfiltered.other.max(filtered.other)))
        });
        match seen {
            Ok((own, other)) => (part(own, all_own), part(other, all_other)),
            Err(word) => (word.clone(), word),
        }
    }

    /// An update or a delete of each own row by its key; without any filter; and of the rows of
    /// others. What the second touched is seen from the locks it left, by the administrator.
    fn change(
        &mut self,
        actor: &Actor,
        table: &Table,
        statement: &str,
        other: &str,
    ) -> (String, String) {
        let (name, key) = (table.name, table.key);
        let (keys, others) = self.rows[name].clone();
        let each: Vec<_> =
            keys.iter().map(|id| format!("{statement} WHERE {key} = '{id}'")).collect();
        let own = self.attempt(actor, &each, None);
        let blind = self.attempt(actor, &[statement.to_owned()], Some((name, other)));
        let aimed = self.attempt(actor, &[format!("{statement} WHERE {other}")], None);
        let mut own_word = part(own.rows, keys.len());
        if let Some(error) = own.error {
            own_word = if own.rows == 0 { error } else { format!("{own_word}, {error}") };
        }
        let touched = others - blind.untouched;
        let other_word = match aimed.error {
            _ if touched > 0 || aimed.rows > 0 => part(touched.max(aimed.rows), others),
            Some(error) => error,
            None => "-".into(),
        };
        if blind.error.is_none() && other_word == "-" && blind.rows != own.rows {
            own_word = format!("error: {} rows by key, {} without a filter", own.rows, blind.rows);
        }
        (own_word, other_word)
    }

    /// Runs each statement in a savepoint of its own. Rows of all that succeeded, and the last
    /// error; and, while the statement is not yet undone, how many rows `watched` it left alone.
    fn attempt(
        &mut self,
        actor: &Actor,
        statements: &[String],
        watched: Option<(&str, &str)>,
    ) -> Attempt {
        let mut admin = watched.map(|watched| (&mut self.admin, watched));
        let mut result = Attempt { rows: 0, error: None, untouched: 0 };
        begin(&self.stage, connection(actor, &mut self.tenant, &mut self.service), actor);
        let conn = connection(actor, &mut self.tenant, &mut self.service);
        for statement in statements {
            conn.batch_execute("SAVEPOINT attempt").unwrap();
            match diesel::sql_query(statement).execute(conn) {
                Ok(rows) => result.rows += i64::try_from(rows).unwrap(),
                Err(error) => result.error = Some(word(&error)),
            }
            if let Some((admin, (table, rows))) = &mut admin {
                // A change holds its row in a mode that excludes FOR SHARE, until it is undone.
                let free: Counts = diesel::sql_query(format!(
                    "SELECT 0::bigint AS own, count(*) AS other FROM
                     (SELECT FROM public.{table} WHERE {rows} FOR SHARE SKIP LOCKED) AS free"
                ))
                .get_result(*admin)
                .unwrap();
                result.untouched = free.other;
            }
            conn.batch_execute("ROLLBACK TO SAVEPOINT attempt").unwrap();
        }
        conn.batch_execute("ROLLBACK").unwrap();
        result
    }

    fn within<T>(
        &mut self,
        actor: &Actor,
        body: impl FnOnce(&mut PgConnection) -> QueryResult<T>,
    ) -> Result<T, String> {
        let conn = connection(actor, &mut self.tenant, &mut self.service);
        begin(&self.stage, conn, actor);
        let result = body(conn).map_err(|error| word(&error));
        conn.batch_execute("ROLLBACK").unwrap();
        result
    }

    /// What no table of results may say, however it was committed.
    pub fn leaks(&self, cells: &[Cell]) -> Vec<String> {
        cells.iter().filter(|cell| !self.is_allowed(cell)).map(Cell::to_string).collect()
    }

    fn is_allowed(&self, cell: &Cell) -> bool {
        let nothing = |word: &str| matches!(word, "-" | "denied");
        if cell.own.starts_with("error") || cell.other.starts_with("error") {
            return false;
        }
        match cell.actor.standing {
            // Users and their subscriptions are of no workspace; the log of the latter neither.
            Standing::ServiceDoor if matches!(cell.table, "users" | "subscriptions") => true,
            Standing::ServiceDoor if (cell.table, cell.verb) == ("audit_log", "select") => {
                nothing(&cell.own)
                    && cell.other == part(self.unowned_entries, self.rows["audit_log"].1)
            }
            Standing::Outside | Standing::ServiceDoor => nothing(&cell.own) && nothing(&cell.other),
            Standing::Inside if cell.verb == "give away" => {
                (nothing(&cell.own) || cell.own == "fixed") && nothing(&cell.other)
            }
            Standing::Inside => nothing(&cell.other),
        }
    }
}

struct Attempt {
    rows: i64,
    error: Option<String>,
    untouched: i64,
}

fn connection<'c>(
    actor: &Actor,
    tenant: &'c mut PgConnection,
    service: &'c mut PgConnection,
) -> &'c mut PgConnection {
    match actor.login {
        Login::Tenant => tenant,
        Login::Service => service,
    }
}

fn begin(stage: &Stage, conn: &mut PgConnection, actor: &Actor) {
    let role = match actor.login {
        Login::Tenant => "sesari_tenant",
        Login::Service => "sesari_service",
    };
    let context = actor.context.map_or(String::new(), |context| {
        format!("; SET LOCAL sesari.context = '{}'", context(stage, &moment(conn)))
    });
    conn.batch_execute(&format!("BEGIN; SET LOCAL ROLE {role}{context}")).unwrap();
}

fn moment(conn: &mut PgConnection) -> Moment {
    let Now { now, pid } = diesel::sql_query(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now,
                pg_backend_pid() AS pid",
    )
    .get_result(conn)
    .unwrap();
    Moment { now, pid }
}

fn names(conn: &mut PgConnection, query: &str) -> Vec<String> {
    diesel::sql_query(query).get_result::<Names>(conn).unwrap().names
}

/// diesel keeps the SQLSTATE to itself; the test servers speak English.
fn word(error: &diesel::result::Error) -> String {
    let text = error.to_string();
    if text.starts_with("permission denied") || text.contains("row-level security policy") {
        "denied".into()
    } else if text.contains("cannot be changed") {
        "fixed".into()
    } else if text.contains("keeps at least one owner") {
        "last owner".into()
    } else {
        format!("error: {text}")
    }
}

fn part<T: TryInto<i64>>(rows: i64, all: T) -> String {
    let all: i64 = all.try_into().ok().unwrap();
    match rows {
        0 => "-".into(),
        _ if rows == all => "all".into(),
        _ => format!("{rows} of {all}"),
    }
}

fn done(attempt: &Attempt) -> String {
    match &attempt.error {
        Some(error) => error.clone(),
        None if attempt.rows == 0 => "-".into(),
        None => "yes".into(),
    }
}
