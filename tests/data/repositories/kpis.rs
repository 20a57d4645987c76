//! `kpis`.

use sesari_db::id::KpiId;
use sesari_db::repo::{Deleted, Kpi, KpiChanges, KpiFilter, NewGoalKpi, NewKpi};
use sesari_db::value::Finite;
use sesari_db::{Error, TenantConnection};

use super::tools::{assert_conflict, assert_invalid, assert_missing, parse, walk};
use crate::support::{World, hour};

fn full() -> NewKpi {
    NewKpi {
        description: Some(parse("What comes in.\nEach month.")),
        target_value: Some(Finite::new(1e6).unwrap()),
        unit: Some(parse("€")),
        category: Some(parse("revenue")),
        is_active: false,
        ..NewKpi::new(parse("Income"))
    }
}

#[test]
fn a_kpi_is_created_with_all_or_with_nothing_but_a_name() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let new = full();
    let kpi = tenant.kpis().create(&new).unwrap();
    assert_eq!((&kpi.id, &kpi.workspace_id), (&new.id, &world.a.workspace));
    assert_eq!((&kpi.name, &kpi.description), (&new.name, &new.description));
    assert_eq!((kpi.target_value, kpi.is_active), (Some(1e6), false));
    assert_eq!((&kpi.unit, &kpi.category), (&new.unit, &new.category));
    assert_eq!((kpi.current_value, kpi.current_value_at, kpi.deleted_at), (0.0, None, None));
    assert_eq!(kpi.created_at, kpi.updated_at);
    assert_eq!(tenant.kpis().find(&kpi.id).unwrap(), Some(kpi));
    let bare = tenant.kpis().create(&NewKpi::new(parse("Bare"))).unwrap();
    assert_eq!((bare.description, bare.target_value, bare.is_active), (None, None, true));
    let again = tenant.kpis().create(&NewKpi { id: bare.id, ..full() });
    assert_conflict(again, "kpis_pkey");
}

/// A change, and what it does.
type Case = (KpiChanges, fn(&mut Kpi));

#[test]
fn changes_leave_empty_and_set_each_column() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let before = tenant.kpis().create(&full()).unwrap();
    let id = &before.id;
    assert_eq!(tenant.kpis().update(id, &KpiChanges::default()).unwrap(), before);
    let default = KpiChanges::default;
    let cases: Vec<Case> = vec![
        (KpiChanges { name: Some(parse("N")), ..default() }, |kpi| kpi.name = parse("N")),
        (KpiChanges { description: Some(Some(parse("D"))), ..default() }, |kpi| {
            kpi.description = Some(parse("D"));
        }),
        (KpiChanges { description: Some(None), ..default() }, |kpi| kpi.description = None),
        (KpiChanges { target_value: Some(Some(Finite::new(-1.5).unwrap())), ..default() }, |kpi| {
            kpi.target_value = Some(-1.5);
        }),
        (KpiChanges { target_value: Some(None), ..default() }, |kpi| kpi.target_value = None),
        (KpiChanges { unit: Some(Some(parse("%"))), ..default() }, |kpi| {
            kpi.unit = Some(parse("%"));
        }),
        (KpiChanges { unit: Some(None), ..default() }, |kpi| kpi.unit = None),
        (KpiChanges { category: Some(Some(parse("C"))), ..default() }, |kpi| {
            kpi.category = Some(parse("C"));
        }),
        (KpiChanges { category: Some(None), ..default() }, |kpi| kpi.category = None),
        (KpiChanges { is_active: Some(true), ..default() }, |kpi| kpi.is_active = true),
    ];
    let mut expected = before;
    for (changes, change) in cases {
        let changed = tenant.kpis().update(&expected.id.clone(), &changes).unwrap();
        assert!(changed.updated_at > expected.updated_at, "{changes:?}");
        change(&mut expected);
        expected.updated_at = changed.updated_at;
        assert_eq!(changed, expected, "{changes:?}");
    }
    assert!(!tenant.kpis().deactivate(&expected.id).unwrap().is_active);
    assert!(tenant.kpis().activate(&expected.id).unwrap().is_active);
}

/// Some KPIs that differ in everything a filter asks for.
fn furnish(world: &World) -> (TenantConnection, Vec<Kpi>) {
    let mut tenant = world.as_member(&world.a);
    let names = ["Café 100%", "cafe_1", "CAFÉ", r"back\slash", "plain", "Plain 2"];
    for (i, name) in names.into_iter().cycle().take(13).enumerate() {
        let new = NewKpi {
            category: [None, Some(parse("one")), Some(parse("two"))][i % 3].clone(),
            is_active: i % 2 == 0,
            ..NewKpi::new(parse(name))
        };
        let kpi = tenant.kpis().create(&new).unwrap();
        if i % 5 == 4 {
            tenant.kpis().delete(&kpi.id).unwrap();
        }
    }
    // Many of one moment: then the id decides.
    tenant.commit().unwrap();
    world.arrange(&format!(
        "UPDATE kpis SET created_at = '2026-01-01' WHERE is_active AND workspace_id = '{}'",
        world.a.workspace
    ));
    let mut tenant = world.as_member(&world.a);
    let all = KpiFilter { deleted: Deleted::Include, ..KpiFilter::default() };
    let kpis = walk(1000, |page| tenant.kpis().list(&all, page));
    (tenant, kpis)
}

#[test]
fn list_and_count_agree_on_every_filter_and_pages_give_each_kpi_once() {
    let world = World::new();
    let (mut tenant, all) = furnish(&world);
    assert_eq!(all.len(), 14);
    assert!(all.is_sorted_by_key(|kpi| (kpi.created_at, kpi.id.clone())));
    let names = ["", "caf", "CAFÉ", "é", "%", "_", r"\", "plain", "%a", "none", "'"];
    for is_active in [None, Some(true), Some(false)] {
        for category in [None, Some("one"), Some("three")] {
            for name in names.map(Some).into_iter().chain([None]) {
                for deleted in [Deleted::Exclude, Deleted::Only, Deleted::Include] {
                    let filter = KpiFilter {
                        is_active,
                        category: category.map(parse),
                        name_contains: name.map(String::from),
                        deleted,
                        ..KpiFilter::default()
                    };
                    let matches = |kpi: &&Kpi| {
                        is_active.is_none_or(|active| kpi.is_active == active)
                            && category.is_none_or(|category| {
                                kpi.category.as_ref().is_some_and(|own| own.as_str() == category)
                            })
                            && name.is_none_or(|text| {
                                kpi.name.as_str().to_lowercase().contains(&text.to_lowercase())
                            })
                            && match deleted {
                                Deleted::Exclude => kpi.deleted_at.is_none(),
                                Deleted::Only => kpi.deleted_at.is_some(),
                                Deleted::Include => true,
                            }
                    };
                    let expected: Vec<_> = all.iter().filter(matches).cloned().collect();
                    let listed = walk(3, |page| tenant.kpis().list(&filter, page));
                    assert_eq!(listed, expected, "{filter:?}");
                    let count = tenant.kpis().count(&filter).unwrap();
                    assert_eq!(count, i64::try_from(expected.len()).unwrap(), "{filter:?}");
                }
            }
        }
    }
    for limit in [1, 2, 13, 14, 15] {
        let filter = KpiFilter { deleted: Deleted::Include, ..KpiFilter::default() };
        assert_eq!(walk(limit, |page| tenant.kpis().list(&filter, page)), all);
    }
}

#[test]
fn many_kpis_are_created_at_once_or_none() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let new: Vec<_> = (0..1000).map(|i| NewKpi::new(parse(&format!("KPI {i}")))).collect();
    let created = tenant.kpis().create_many(&new).unwrap();
    assert!(created.iter().map(|kpi| &kpi.id).eq(new.iter().map(|new| &new.id)));
    assert_eq!(tenant.kpis().create_many(&[]).unwrap(), []);
    assert_eq!(tenant.kpis().create_many(&[full()]).unwrap()[0].target_value, Some(1e6));
    let before = tenant.kpis().count(&KpiFilter::default()).unwrap();
    let taken = [full(), NewKpi { id: new[7].id.clone(), ..full() }];
    assert_conflict(tenant.transaction(|tenant| tenant.kpis().create_many(&taken)), "kpis_pkey");
    let twice = full();
    assert_invalid(tenant.kpis().create_many(&[full(), twice.clone(), twice]), "kpis[2].id");
    let too_many: Vec<_> = (0..=1000).map(|_| full()).collect();
    assert_invalid(tenant.kpis().create_many(&too_many), "kpis");
    assert_eq!(tenant.kpis().count(&KpiFilter::default()).unwrap(), before);
}

#[test]
fn many_kpis_are_changed_at_once_or_none() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let new: Vec<_> = (0..5).map(|_| full()).collect();
    let mut ids: Vec<_> =
        tenant.kpis().create_many(&new).unwrap().into_iter().map(|kpi| kpi.id).collect();
    ids.reverse();
    let changes = KpiChanges {
        category: Some(Some(parse("moved"))),
        unit: Some(None),
        ..KpiChanges::default()
    };
    let moved = tenant.kpis().update_many(&ids, &changes).unwrap();
    assert!(moved.iter().map(|kpi| &kpi.id).eq(&ids));
    assert!(moved.iter().all(|kpi| kpi.category == Some(parse("moved")) && kpi.unit.is_none()));
    assert_eq!(moved[0].target_value, Some(1e6));
    assert_eq!(tenant.kpis().update_many(&ids, &KpiChanges::default()).unwrap(), moved);
    assert_eq!(tenant.kpis().update_many(&[], &changes).unwrap(), []);
    // One that is deleted, another's and nobody's: nothing is changed, and all else goes on.
    tenant.kpis().delete(&ids[3]).unwrap();
    let rename = KpiChanges { name: Some(parse("Renamed")), ..KpiChanges::default() };
    for bad in [ids[3].clone(), world.b.kpi.clone(), KpiId::generate()] {
        let batch = [ids[0].clone(), ids[1].clone(), bad];
        for changes in [&rename, &KpiChanges::default()] {
            assert_invalid(tenant.kpis().update_many(&batch, changes), "ids[2]");
        }
        assert_eq!(tenant.kpis().get(&ids[0]).unwrap(), moved[0]);
    }
    let twice = [ids[0].clone(), ids[1].clone(), ids[0].clone()];
    assert_invalid(tenant.kpis().update_many(&twice, &rename), "ids[2]");
    let too_many: Vec<_> = (0..=1000).map(|_| KpiId::generate()).collect();
    assert_invalid(tenant.kpis().update_many(&too_many, &rename), "ids");
}

#[test]
fn rows_inserted_between_pages_neither_repeat_nor_hide_others() {
    let world = World::new();
    let (mut tenant, before) = furnish(&world);
    let filter = KpiFilter { deleted: Deleted::Include, ..KpiFilter::default() };
    let mut seen = Vec::new();
    let mut page = super::tools::page(2);
    loop {
        let paged = tenant.kpis().list(&filter, &page).unwrap();
        seen.extend(paged.items.into_iter().map(|kpi| kpi.id));
        let Some(next) = paged.next else { break };
        page = super::tools::page(2).after(next);
        let id = KpiId::generate();
        let sql = format!(
            "INSERT INTO kpis (workspace_id, id, name, created_at) VALUES ('{}', '{id}', 'New', '{}')",
            world.a.workspace,
            hour(-1).to_rfc3339()
        );
        world.arrange(&sql);
    }
    assert_eq!(seen, before.into_iter().map(|kpi| kpi.id).collect::<Vec<_>>());
}

#[test]
fn a_filter_with_a_nul_is_invalid_and_a_cursor_from_before_time_too() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let nul = KpiFilter { name_contains: Some("a\0b".into()), ..KpiFilter::default() };
    assert_invalid(tenant.transaction(|tenant| tenant.kpis().count(&nul)), "text");
    // Cursors come from clients: an odd one is the client's mistake.
    if let Ok(cursor) = "-8334601228800000000.ab".parse() {
        let page = super::tools::page(2).after(cursor);
        let listed = tenant.kpis().list(&KpiFilter::default(), &page);
        assert!(matches!(listed, Ok(_) | Err(Error::Invalid(_))), "{listed:?}");
    }
}

#[test]
fn a_deleted_kpi_is_gone_from_everything_and_comes_back_with_its_history() {
    let world = World::shared();
    let mut tenant = world.as_member(&world.a);
    let id = &world.a.kpi;
    let before = tenant.kpis().find(id).unwrap().unwrap();
    tenant.kpis().delete(id).unwrap();
    assert_eq!(tenant.kpis().find(id).unwrap(), None);
    assert!(walk(5, |page| tenant.kpis().list(&KpiFilter::default(), page)).is_empty());
    assert_eq!(tenant.kpis().count(&KpiFilter::default()).unwrap(), 0);
    let changes = KpiChanges { name: Some(parse("N")), ..KpiChanges::default() };
    assert_missing(tenant.kpis().update(id, &changes), "kpi");
    assert_missing(tenant.kpis().update(id, &KpiChanges::default()), "kpi");
    assert_missing(tenant.kpis().activate(id), "kpi");
    assert_missing(tenant.kpis().delete(id), "kpi");
    assert!(tenant.goal_kpis().list(&world.a.goal).unwrap().is_empty());
    assert_eq!(tenant.goal_kpis().count(&world.a.goal).unwrap(), 0);
    let goal = tenant.goals().create(&sesari_db::repo::NewGoal::new(parse("Other"))).unwrap().id;
    let link = NewGoalKpi::new(goal, id.clone());
    assert_missing(tenant.goal_kpis().link(&link), "goal or kpi");
    let point = sesari_db::repo::NewDataPoint::new(id.clone(), 1.0, hour(9)).unwrap();
    let recorded = tenant.transaction(|tenant| tenant.data_points().record(&point));
    assert_missing(recorded, "kpi");
    let restored = tenant.kpis().restore(id).unwrap();
    assert_eq!(restored.current_value, before.current_value);
    assert_eq!(restored.deleted_at, None);
    assert_eq!(tenant.data_points().latest(id).unwrap().unwrap().value, 30.0);
    assert_eq!(tenant.goal_kpis().count(&world.a.goal).unwrap(), 1);
    assert_missing(tenant.kpis().restore(id), "kpi");
}

#[test]
fn a_purge_takes_the_history_along_and_is_for_owners_and_admins() {
    let world = World::shared();
    let id = &world.a.kpi;
    assert_missing(world.as_owner(&world.a).kpis().purge(id), "kpi");
    let mut member = world.as_member(&world.a);
    member.kpis().delete(id).unwrap();
    assert_missing(member.kpis().purge(id), "kpi");
    member.commit().unwrap();
    let history = format!("kpi_data_points WHERE kpi_id = '{id}'");
    for purge in [World::as_admin, World::as_owner] {
        let mut tenant = purge(&world, &world.a);
        tenant.kpis().purge(id).unwrap();
        assert_missing(tenant.kpis().purge(id), "kpi");
        assert_missing(tenant.kpis().restore(id), "kpi");
        assert_eq!(tenant.data_points().latest(id).unwrap(), None);
        let conn = tenant.connection();
        assert_eq!(super::tools::count(conn, &history), 0);
        assert_eq!(super::tools::count(conn, &format!("goal_kpis WHERE kpi_id = '{id}'")), 0);
        assert_eq!(super::tools::count(conn, "goals"), 1);
    }
    assert_eq!(world.rows(&history), 3, "all of it was rolled back");
}
