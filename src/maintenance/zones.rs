//! Whether the server and this crate have the same rules of a time zone.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::connection::LoadConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, Integer, Nullable, Text, Timestamptz};

use crate::error::Result;
use crate::series::Zone;

/// A zone of which the server says something else than this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ZoneDifference {
    /// The zone.
    pub zone: Zone,
    /// The earliest moment of which they are known to show another time; `None` where the server does not
    /// know the zone, so that no workspace can have it.
    pub at: Option<DateTime<Utc>>,
}

/// Compares the server's rules of these zones with those compiled into this crate
/// ([`Zone::DATABASE`]), from 1970 until the end of 2037: every fifth day, and around every change that
/// this crate knows. Says nothing where they agree.
///
/// Where they differ no answer is wrong: buckets are cut by this crate, each rollup says of which span it
/// is, and where the two do not fit, a series reads points. It is slower, until crate and server have the
/// same database and [`Database::rezone_rollups`](crate::Database::rezone_rollups) has been there.
///
/// For any login. A zone takes some milliseconds.
///
/// ```no_run
/// # fn example(conn: &mut sesari_db::PgConnection) -> sesari_db::Result<()> {
/// use sesari_db::maintenance::verify_time_zones;
/// use sesari_db::series::Zone;
///
/// for difference in verify_time_zones(conn, Zone::all())? {
///     eprintln!("{}: {:?}", difference.zone, difference.at);
/// }
/// # Ok(()) }
/// ```
///
/// # Errors
/// Those of any query.
pub fn verify_time_zones(
    conn: &mut impl LoadConnection<Backend = Pg>,
    zones: impl IntoIterator<Item = Zone>,
) -> Result<Vec<ZoneDifference>> {
    let known: Vec<Name> =
        diesel::sql_query("SELECT name FROM pg_catalog.pg_timezone_names").load(conn)?;
    let mut differences = Vec::new();
    for zone in zones {
        if !known.iter().any(|row| row.name == zone.name()) {
            differences.push(ZoneDifference { zone, at: None });
            continue;
        }
        let (moments, offsets): (Vec<_>, Vec<_>) = samples(zone).into_iter().unzip();
        let first: First = diesel::sql_query(
            "SELECT pg_catalog.min(s.moment) AS at FROM ROWS FROM (\
             pg_catalog.unnest($1), pg_catalog.unnest($2)) AS s (moment, seconds) \
             WHERE s.moment AT TIME ZONE $3 - s.moment AT TIME ZONE 'UTC' \
                   <> pg_catalog.make_interval(secs => s.seconds)",
        )
        .bind::<Array<Timestamptz>, _>(moments)
        .bind::<Array<Integer>, _>(offsets)
        .bind::<Text, _>(zone.name())
        .get_result(conn)?;
        if first.at.is_some() {
            differences.push(ZoneDifference { zone, at: first.at });
        }
    }
    Ok(differences)
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    name: String,
}

#[derive(QueryableByName)]
struct First {
    #[diesel(sql_type = Nullable<Timestamptz>)]
    at: Option<DateTime<Utc>>,
}

/// Moments, each with the seconds east of UTC.
fn samples(zone: Zone) -> Vec<(DateTime<Utc>, i32)> {
    const STEP: TimeDelta = TimeDelta::days(5);
    /// The start of 2038.
    const END: i64 = 2_145_916_800;
    let mut samples = vec![(DateTime::UNIX_EPOCH, zone.offset_at(DateTime::UNIX_EPOCH))];
    let mut moment = DateTime::UNIX_EPOCH;
    while moment.timestamp() < END {
        let next = moment + STEP;
        if let Some(change) = zone.first_change(moment, next) {
            let before = change - TimeDelta::seconds(1);
            samples.extend([before, change].map(|moment| (moment, zone.offset_at(moment))));
        }
        samples.push((next, zone.offset_at(next)));
        moment = next;
    }
    samples
}
