//! Searching in a database whose locale knows ASCII alone.

use diesel::Connection;
use diesel::connection::SimpleConnection;
use sesari_db::PgConnection;
use sesari_db::page::PageRequest;
use sesari_db::repo::{KpiFilter, NewKpi};
use sesari_db::{Database, maintenance, migrations};

use crate::support::{World, create_workspace, sign_up};

#[test]
fn a_search_does_not_depend_on_the_servers_locale() {
    let world = World::new();
    let name = format!("{}_c", world.test.name());
    let mut admin = world.test.admin().unwrap();
    admin
        .batch_execute(&format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
        ))
        .unwrap();
    let there = |url: String| url.replace(&format!("/{}", world.test.name()), &format!("/{name}"));
    let mut deployer = PgConnection::establish(&there(world.test.admin_url())).unwrap();
    migrations::run(&mut deployer).unwrap();
    let key = world.test.context_key();
    maintenance::install_context_key(&mut deployer, key).unwrap();
    drop(deployer);
    let db = Database::builder(there(world.test.tenant_url()), key.clone())
        .service_url(there(world.test.service_url()))
        .build()
        .unwrap();
    let owner = sign_up(&db, "owner");
    let workspace = create_workspace(&db, &owner, "acme");
    let mut tenant = db.tenant(&owner, &workspace).unwrap();
    for name in ["Выручка", "Straße", "İstanbul", "50%_off"] {
        tenant.kpis().create(&NewKpi::new(name.parse().unwrap())).unwrap();
    }
    for (text, found) in [
        ("выручка", vec!["Выручка"]),
        ("ВЫРУЧ", vec!["Выручка"]),
        ("STRASSE", vec!["Straße"]),
        ("straße", vec!["Straße"]),
        ("istanbul", vec!["İstanbul"]),
        ("ıstan", vec!["İstanbul"]),
        ("%", vec!["50%_off"]),
        ("none", vec![]),
    ] {
        let filter = KpiFilter { name_contains: Some(text.into()), ..KpiFilter::default() };
        let page = tenant.kpis().list(&filter, &PageRequest::default()).unwrap();
        let names: Vec<_> = page.items.iter().map(|kpi| kpi.name.as_str()).collect();
        assert_eq!(names, found, "{text}");
    }
    drop((tenant, db));
    admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).unwrap();
}
