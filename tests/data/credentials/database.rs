//! The table's check and the envelope agree on what an envelope is.

use diesel::prelude::*;
use diesel::sql_types::Text;
use sesari_db::PgConnection;
use sesari_db::credentials::{MAX_SECRET_LEN, Secret, seal};

use super::{Place, ring};
use crate::support::World;

fn store(admin: &mut PgConnection, world: &World, credentials: &str) -> QueryResult<usize> {
    diesel::sql_query(
        "INSERT INTO integrations (workspace_id, provider, credentials) VALUES ($1, 'stripe', $2)",
    )
    .bind::<Text, _>(&world.a.workspace)
    .bind::<Text, _>(credentials)
    .execute(admin)
}

#[test]
fn the_table_takes_every_envelope_and_no_plain_text() {
    let world = World::new();
    let mut admin = world.test.admin().unwrap();
    let place = Place::usual();
    for id in ["k", "0-_", &"k".repeat(32)] {
        for len in [0, 1, 2, 3, 4, 1000, MAX_SECRET_LEN - 1, MAX_SECRET_LEN] {
            let secret = Secret::from(vec![7; len]);
            let sealed = seal(&ring(&[(id, 1)]), &place.salt(), &place.binding(), &secret).unwrap();
            assert_eq!(store(&mut admin, &world, &sealed.to_string()), Ok(1), "{id} {len}");
        }
    }

    let envelope = place.seal("secret").to_string();
    for plain in [
        "",
        "sk_live_1",
        "{\"api_key\": \"sk_live_1\"}",
        &envelope[1..],
        &format!("{envelope}="),
        &format!("{envelope}\n"),
        &format!(" {envelope}"),
        &envelope.replacen("v1", "v2", 1),
        &format!("{envelope}{}", "A".repeat(100_000)),
    ] {
        let refused = store(&mut admin, &world, plain).unwrap_err();
        let diesel::result::Error::DatabaseError(_, info) = refused else { panic!("{refused}") };
        assert_eq!(info.constraint_name(), Some("integrations_credentials_check"), "{plain:.40}");
    }
}
