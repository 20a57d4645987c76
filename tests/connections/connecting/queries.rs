//! What diesel does on the connection.

use std::time::{Duration, Instant};

use diesel::connection::{LoadConnection, SimpleConnection as _};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel::row::{Field as _, Row as _};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text};
use sesari_db::PgConnection;

use super::servers::Servers;
use super::{connect, value};

/// A connection that cannot see what others leave.
fn open(servers: &Servers) -> PgConnection {
    let mut conn = connect(servers, "postgres@localhost:$A/db?options=-csearch_path%3Dpg_temp");
    conn.batch_execute("SET client_min_messages = warning").unwrap();
    conn
}

#[derive(Debug, PartialEq, QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

#[derive(Debug, diesel::sql_types::SqlType, diesel::query_builder::QueryId)]
#[diesel(postgres_type(name = "mood", schema = "moods"))]
pub struct MoodType;

#[derive(Debug, Clone, Copy, PartialEq, AsExpression, FromSqlRow)]
#[diesel(sql_type = MoodType)]
enum Mood {
    Calm,
    Glad,
}

impl ToSql<MoodType, Pg> for Mood {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        std::io::Write::write_all(out, if *self == Self::Calm { b"calm" } else { b"glad" })?;
        Ok(IsNull::No)
    }
}

impl FromSql<MoodType, Pg> for Mood {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes() {
            b"calm" => Ok(Self::Calm),
            b"glad" => Ok(Self::Glad),
            _ => Err("an unknown mood".into()),
        }
    }
}

diesel::table! {
    use diesel::sql_types::{Integer, Nullable, Text};
    use super::MoodType;
    moods (id) {
        id -> Integer,
        mood -> MoodType,
        note -> Nullable<Text>,
    }
}

/// The type's number is the server's, and asked for by its name.
#[test]
fn a_type_of_the_consumers_own_is_found_by_its_name() {
    let servers = Servers::shared();
    let mut conn = open(&servers);
    let unknown = diesel::select(Mood::Calm.into_sql::<MoodType>()).get_result::<Mood>(&mut conn);
    assert!(matches!(unknown, Err(Error::SerializationError(_))), "{unknown:?}");
    conn.batch_execute(
        "CREATE SCHEMA moods; CREATE TYPE moods.mood AS ENUM ('calm', 'glad'); \
         CREATE TEMP TABLE moods (id int PRIMARY KEY, mood moods.mood NOT NULL, note text)",
    )
    .unwrap();
    let rows = [(1, Mood::Calm, Some("a")), (2, Mood::Glad, None)];
    let rows: Vec<_> = rows
        .iter()
        .map(|(id, mood, note)| (moods::id.eq(id), moods::mood.eq(mood), moods::note.eq(note)))
        .collect();
    assert_eq!(diesel::insert_into(moods::table).values(&rows).execute(&mut conn), Ok(2));
    for _ in 0..3 {
        let glad = moods::table.filter(moods::mood.eq(Mood::Glad));
        let found = glad.load::<(i32, Mood, Option<String>)>(&mut conn).unwrap();
        assert_eq!(found, [(2, Mood::Glad, None)]);
    }
    let streamed: Vec<(i32, Mood)> = moods::table
        .select((moods::id, moods::mood))
        .order(moods::id)
        .load_iter::<(i32, Mood), _>(&mut conn)
        .unwrap()
        .collect::<QueryResult<_>>()
        .unwrap();
    assert_eq!(streamed, [(1, Mood::Calm), (2, Mood::Glad)]);
}

#[test]
fn queries_in_text_take_values_and_give_rows() {
    let servers = Servers::shared();
    let mut conn = open(&servers);
    for round in 0..3 {
        let found: Vec<Line> = sql_query(
            "SELECT concat_ws('-', $1, $2, $3 IS NULL) AS line FROM generate_series(1, $1)",
        )
        .bind::<Integer, _>(round)
        .bind::<Text, _>("it's \u{e9}")
        .bind::<Nullable<Text>, _>(None::<&str>)
        .load(&mut conn)
        .unwrap();
        let expected = format!("{round}-it's \u{e9}-t");
        assert_eq!(found.len(), usize::try_from(round).unwrap());
        assert!(found.iter().all(|line| line.line == expected), "{found:?}");
    }
    let rows = sql_query("SELECT 'x' AS line, 1 AS n").load_iter(&mut conn);
    let rows: Vec<Line> = rows.unwrap().collect::<QueryResult<_>>().unwrap();
    assert_eq!(rows, [Line { line: "x".into() }]);
    let missing = sql_query("SELECT 1 AS other").load::<Line>(&mut conn);
    assert!(matches!(missing, Err(Error::DeserializationError(_))), "{missing:?}");
    assert_eq!(sql_query("CREATE TEMP TABLE t (n int)").execute(&mut conn), Ok(0));
    assert_eq!(sql_query("INSERT INTO t SELECT generate_series(1, 7)").execute(&mut conn), Ok(7));
    assert_eq!(sql_query("UPDATE t SET n = 1 WHERE n > 2").execute(&mut conn), Ok(5));
    assert_eq!(sql_query("SELECT n FROM t").execute(&mut conn), Ok(7));
}

#[test]
fn transactions_nest() {
    let servers = Servers::shared();
    let mut conn = open(&servers);
    conn.batch_execute("CREATE TEMP TABLE t (n int PRIMARY KEY)").unwrap();
    let insert = |conn: &mut PgConnection, n: i32| {
        sql_query("INSERT INTO t VALUES ($1)").bind::<Integer, _>(n).execute(conn)
    };
    conn.transaction(|conn| {
        insert(conn, 1)?;
        let undone = conn.transaction(|conn| {
            insert(conn, 2)?;
            insert(conn, 1)
        });
        let duplicate = DatabaseErrorKind::UniqueViolation;
        assert!(matches!(undone, Err(Error::DatabaseError(kind, _)) if kind == duplicate));
        conn.transaction(|conn| conn.transaction(|conn| insert(conn, 3)))
    })
    .unwrap();
    let outer = conn.transaction(|conn| {
        insert(conn, 4)?;
        Err::<(), _>(Error::RollbackTransaction)
    });
    assert_eq!(outer, Err(Error::RollbackTransaction));
    let failed = conn.transaction(|conn| {
        assert!(insert(conn, 1).is_err());
        insert(conn, 5)
    });
    assert!(failed.is_err());
    assert_eq!(value(&mut conn, "SELECT string_agg(n::text, ',' ORDER BY n) FROM t"), "1,3");
    let serializable =
        conn.build_transaction().serializable().read_only().run(|conn| {
            Ok::<_, Error>(value(conn, "SELECT current_setting('transaction_isolation')"))
        });
    assert_eq!(serializable.unwrap(), "serializable");
}

#[test]
fn text_with_a_nul_in_it_is_refused_and_nothing_is_cut_off() {
    let servers = Servers::shared();
    let mut conn = open(&servers);
    let simple = conn.batch_execute("SELECT 1\0; SELECT 1/0");
    assert!(matches!(simple, Err(Error::InvalidCString(_))), "{simple:?}");
    let query = sql_query("SELECT 'a\0b' AS line").load::<Line>(&mut conn);
    assert!(matches!(query, Err(Error::InvalidCString(_))), "{query:?}");
    let bound = sql_query("SELECT $1 AS line").bind::<Text, _>("a\0b").load::<Line>(&mut conn);
    assert!(matches!(bound, Err(Error::DatabaseError(..))), "{bound:?}");
    assert_eq!(value(&mut conn, "SELECT 1"), "1");
}

#[test]
fn more_values_than_the_protocol_counts_are_refused_and_as_many_are_sent() {
    let servers = Servers::shared();
    let mut conn = open(&servers);
    let many = |count: usize| {
        let list: Vec<_> = (1..=count).map(|n| format!("${n}::int")).collect();
        let text = format!("SELECT cardinality(ARRAY[{}])::text AS line", list.join(","));
        let mut query = sql_query(text).into_boxed::<Pg>();
        for _ in 0..count {
            query = query.bind::<Integer, _>(1);
        }
        query
    };
    let refused = many(65_536).load::<Line>(&mut conn).unwrap_err();
    let kind = DatabaseErrorKind::UnableToSendCommand;
    assert!(matches!(&refused, Error::DatabaseError(found, _) if *found == kind), "{refused:?}");
    assert_eq!(many(65_535).get_result::<Line>(&mut conn).unwrap().line, "65535");
    assert_eq!(value(&mut conn, "SELECT 1"), "1");
}

#[test]
fn a_value_of_a_hundred_megabytes_goes_there_and_back() {
    let servers = Servers::shared();
    for way in ["sslmode=require", "sslmode=disable"] {
        let mut conn = connect(&servers, &format!("postgres@localhost:$A/db?{way}"));
        let large = vec![b'x'; 100 << 20];
        let (length, back): (i32, Vec<u8>) = diesel::select((
            diesel::dsl::sql::<Integer>("length(").bind::<Binary, _>(&large).sql(")"),
            diesel::dsl::sql::<Binary>("").bind::<Binary, _>(&large),
        ))
        .get_result(&mut conn)
        .unwrap();
        assert_eq!(usize::try_from(length).unwrap(), large.len());
        assert!(back == large, "{way}");
        assert_eq!(value(&mut conn, "SELECT 1"), "1");
    }
}

#[test]
fn a_copy_from_or_to_the_client_is_refused_and_the_connection_goes_on() {
    let servers = Servers::shared();
    let mut conn = open(&servers);
    conn.batch_execute("CREATE TEMP TABLE t (n int)").unwrap();
    for copy in ["COPY t FROM STDIN", "COPY t FROM STDIN;", "COPY t FROM STDIN; SELECT 1"] {
        for round in 0..2 {
            let refused = conn.batch_execute(copy).unwrap_err();
            assert!(refused.to_string().contains("COPY"), "{copy}: {refused}");
            assert_eq!(value(&mut conn, &format!("SELECT {round}")), round.to_string());
            if !copy.contains(';') {
                let refused = sql_query(copy).execute(&mut conn).unwrap_err();
                assert!(refused.to_string().contains("COPY"), "{copy}: {refused}");
                assert_eq!(value(&mut conn, &format!("SELECT {round}")), round.to_string());
            }
            // In a transaction, which it fails like any statement.
            let within = conn.transaction(|conn| sql_query("COPY t FROM STDIN").execute(conn));
            assert!(within.is_err());
        }
    }
    // What is copied out is not read, and does not disturb.
    let _ = conn.batch_execute("COPY (SELECT generate_series(1, 9)) TO STDOUT");
    assert_eq!(value(&mut conn, "SELECT count(*) FROM t"), "0");
}

#[test]
fn several_statements_are_one_transaction_and_an_empty_one_is_none() {
    let servers = Servers::shared();
    let mut conn = open(&servers);
    for empty in ["", " ", ";", "-- nothing", "/* nothing */;;"] {
        conn.batch_execute(empty).unwrap_or_else(|error| panic!("{empty:?}: {error}"));
    }
    assert_eq!(sql_query("").execute(&mut conn), Ok(0));
    assert_eq!(sql_query("-- nothing").load::<Line>(&mut conn), Ok(vec![]));
    conn.batch_execute("CREATE TEMP TABLE t (n int)").unwrap();
    let failed =
        conn.batch_execute("INSERT INTO t VALUES (1); SELECT 1/0; INSERT INTO t VALUES (2)");
    assert!(failed.is_err());
    assert_eq!(value(&mut conn, "SELECT count(*) FROM t"), "0");
    let failed = conn.batch_execute("INSERT INTO t VALUES (1); COMMIT; SELECT 1/0; SELECT 2");
    assert!(failed.is_err());
    assert_eq!(value(&mut conn, "SELECT count(*) FROM t"), "1");
    // Diesel knows of no transaction that a text left open, and does not run into it.
    let failed = conn.batch_execute("BEGIN; SELECT 1/0");
    assert!(failed.is_err());
    conn.batch_execute("ROLLBACK").unwrap();
    conn.batch_execute("SELECT 1; SELECT 'two', 3 WHERE false; INSERT INTO t SELECT 5").unwrap();
    assert_eq!(value(&mut conn, "SELECT count(*) FROM t"), "2");
}

#[test]
fn notifications_and_notices_in_between_do_not_disturb() {
    let servers = Servers::shared();
    let (mut conn, mut other) = (open(&servers), open(&servers));
    conn.batch_execute("SET client_min_messages = debug1; LISTEN news").unwrap();
    for round in 0..20 {
        other.batch_execute("SELECT pg_notify('news', repeat('x', 7000)); NOTIFY news").unwrap();
        conn.batch_execute("NOTIFY news, 'own'").unwrap();
        let noisy = "DO $$ BEGIN RAISE NOTICE 'one'; RAISE WARNING 'two'; END $$";
        conn.batch_execute(noisy).unwrap();
        // A setting that the server reports.
        conn.batch_execute(&format!("SET application_name = 'round {round}'")).unwrap();
        assert_eq!(value(&mut conn, &format!("SELECT {round}")), round.to_string());
        conn.transaction(|conn| {
            sql_query("NOTIFY news, 'within'").execute(conn)?;
            assert_eq!(value(conn, "SELECT 1"), "1");
            Ok::<_, Error>(())
        })
        .unwrap();
    }
}

diesel::table! {
    changing (id) {
        id -> Integer,
        other -> Text,
    }
}

/// PostgreSQL refuses a plan whose columns have changed. Nothing is read as what it no longer is.
#[test]
fn a_statement_whose_columns_have_changed_is_an_error_or_right() {
    let servers = Servers::shared();
    let mut conn = open(&servers);
    conn.batch_execute(
        "CREATE TEMP TABLE changing (id int, other text); \
         INSERT INTO changing VALUES (1, 'a')",
    )
    .unwrap();
    let all = |conn: &mut PgConnection| sql_query("SELECT * FROM changing").load::<Wide>(conn);
    assert_eq!(all(&mut conn).unwrap(), [Wide { id: 1, other: "a".into() }]);
    assert_eq!(changing::table.load::<(i32, String)>(&mut conn).unwrap(), [(1, "a".into())]);
    conn.batch_execute("ALTER TABLE changing DROP id; ALTER TABLE changing ADD id int DEFAULT 7")
        .unwrap();
    for _ in 0..3 {
        match all(&mut conn) {
            Ok(rows) => assert_eq!(rows, [Wide { id: 7, other: "a".into() }]),
            Err(Error::DatabaseError(_, information)) => {
                assert!(information.message().contains("cached plan"), "{}", information.message());
            }
            Err(error) => panic!("{error:?}"),
        }
        assert_eq!(changing::table.load::<(i32, String)>(&mut conn).unwrap(), [(7, "a".into())]);
    }
    conn.batch_execute("ALTER TABLE changing ALTER id TYPE bigint").unwrap();
    for _ in 0..3 {
        // Eight bytes are not read as four.
        assert!(changing::table.load::<(i32, String)>(&mut conn).is_err());
        assert_eq!(value(&mut conn, "SELECT 1"), "1");
    }
}

#[derive(Debug, PartialEq, QueryableByName)]
struct Wide {
    #[diesel(sql_type = Integer)]
    id: i32,
    #[diesel(sql_type = Text)]
    other: String,
}

#[test]
fn rows_have_any_number_of_columns() {
    let servers = Servers::shared();
    let mut conn = open(&servers);
    let columns: Vec<_> = (0..1600).map(|n| format!("{n} AS c{n}")).collect();
    for query in
        [format!("SELECT {}", columns.join(",")), "SELECT FROM generate_series(1, 3)".into()]
    {
        for _ in 0..2 {
            let rows: Vec<Vec<Option<i32>>> = conn
                .load(sql_query(&query))
                .unwrap()
                .map(|row| {
                    let row = row.unwrap();
                    let read = |at| {
                        let bytes = row.get(at).unwrap().value()?.as_bytes().to_vec();
                        Some(i32::from_be_bytes(bytes.try_into().unwrap()))
                    };
                    (0..row.field_count()).map(read).collect()
                })
                .collect();
            if query.contains("c0") {
                assert_eq!(rows, [(0..1600).map(Some).collect::<Vec<_>>()]);
            } else {
                assert_eq!(rows, [vec![], vec![], vec![]]);
            }
        }
    }
    let nulls = sql_query("SELECT NULL::int AS a, 5 AS b, NULL::text AS c");
    let row = conn.load(nulls).unwrap().next().unwrap().unwrap();
    assert!(row.get(0).unwrap().value().is_none() && row.get("c").unwrap().value().is_none());
    assert_eq!(row.get("b").unwrap().value().unwrap().as_bytes(), [0, 0, 0, 5]);
    assert!(row.get(3).is_none() && row.get("d").is_none());
}

#[test]
fn a_connection_whose_server_ends_it_says_so_once_and_for_all() {
    let servers = Servers::shared();
    let (mut conn, mut other) = (open(&servers), open(&servers));
    let pid: i32 = value(&mut conn, "SELECT pg_backend_pid()").parse().unwrap();
    let ended = sql_query("SELECT pg_terminate_backend($1, 30000)::text AS line");
    assert_eq!(ended.bind::<Integer, _>(pid).get_result::<Line>(&mut other).unwrap().line, "true");
    for _ in 0..3 {
        let lost =
            diesel::select(diesel::dsl::sql::<BigInt>("1::bigint")).get_result::<i64>(&mut conn);
        let closed = DatabaseErrorKind::ClosedConnection;
        assert!(
            matches!(&lost, Err(Error::DatabaseError(kind, _)) if *kind == closed)
                || matches!(&lost, Err(Error::BrokenTransactionManager)),
            "{lost:?}"
        );
    }
    let start = Instant::now();
    drop(conn);
    assert!(start.elapsed() < Duration::from_secs(30));
}
