//! The life of an integration, through its repository.

use sesari_db::Error;
use sesari_db::credentials::{MAX_SECRET_LEN, SealError, Secret};
use sesari_db::id::IntegrationId;
use sesari_db::repo::{Integration, IntegrationFilter, NewIntegration};
use sesari_db::value::{IntegrationProvider, SyncStatus};

use super::tools::{assert_missing, created, opened, page, sealed_world, secret, stripe};
use crate::support::World;

#[test]
fn an_integration_is_created_found_replaced_stopped_and_deleted() {
    let world = sealed_world();
    let mut tenant = world.db.tenant(&world.a.admin, &world.a.workspace).unwrap();
    let new = stripe();
    let made = tenant.integrations().create(&new, &secret("first")).unwrap();
    assert_eq!((&made.id, &made.provider), (&new.id, &IntegrationProvider::Stripe));
    assert_eq!(made.workspace_id, world.a.workspace);
    assert!(made.is_active);
    assert_eq!((&made.sync_status, &made.last_sync_at), (&SyncStatus::Pending, &None));
    assert_eq!(made.error_message, None);
    assert_eq!(tenant.integrations().find(&new.id).unwrap(), Some(made));

    let read = tenant.integrations().credentials(&new.id).unwrap();
    assert_eq!(read.expose(), b"first");
    tenant.integrations().replace_credentials(&new.id, &secret("second")).unwrap();
    assert_eq!(tenant.integrations().credentials(&new.id).unwrap().expose(), b"second");

    assert!(!tenant.integrations().deactivate(&new.id).unwrap().is_active);
    assert!(!tenant.integrations().deactivate(&new.id).unwrap().is_active);
    assert!(tenant.integrations().activate(&new.id).unwrap().is_active);
    tenant.integrations().delete(&new.id).unwrap();
    assert_eq!(tenant.integrations().find(&new.id).unwrap(), None);
    assert_missing(tenant.integrations().delete(&new.id));
    assert_missing(tenant.integrations().credentials(&new.id));
    assert_missing(tenant.integrations().replace_credentials(&new.id, &secret("x")));
    assert_missing(tenant.integrations().activate(&new.id));
    tenant.commit().unwrap();
}

#[test]
fn an_id_is_taken_once_in_a_workspace_and_again_in_another() {
    let world = sealed_world();
    let new = stripe();
    for tenant in [&world.a, &world.b] {
        let mut guard = world.db.tenant(&tenant.owner, &tenant.workspace).unwrap();
        guard.integrations().create(&new, &secret(&tenant.slug)).unwrap();
        guard.commit().unwrap();
    }
    for tenant in [&world.a, &world.b] {
        assert_eq!(opened(&world.db, &tenant.workspace, &new.id).unwrap(), tenant.slug);
        let mut guard = world.db.tenant(&tenant.owner, &tenant.workspace).unwrap();
        match guard.integrations().create(&new, &secret("again")) {
            Err(Error::Conflict { constraint }) => assert_eq!(constraint, "integrations_pkey"),
            other => panic!("{other:?}"),
        }
    }
}

fn furnished() -> (World, Vec<Integration>) {
    let world = sealed_world();
    let mut tenant = world.db.tenant(&world.a.owner, &world.a.workspace).unwrap();
    let providers = [
        IntegrationProvider::Stripe,
        IntegrationProvider::GoogleAnalytics,
        IntegrationProvider::Sheets,
    ];
    for i in 0..9 {
        let new = NewIntegration::new(providers[i % 3].clone());
        let made = tenant.integrations().create(&new, &secret("some secret")).unwrap();
        if i % 2 == 0 {
            tenant.integrations().deactivate(&made.id).unwrap();
        }
    }
    tenant.commit().unwrap();
    world.arrange("UPDATE integrations SET sync_status = 'error' WHERE provider = 'sheets'");
    created(&world.db, &world.b, "another tenant's");
    let mut tenant = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
    let all = tenant.integrations().list(&IntegrationFilter::default(), &page(100)).unwrap();
    assert_eq!((all.items.len(), all.next), (9, None));
    drop(tenant);
    (world, all.items)
}

#[test]
fn list_and_count_agree_on_every_filter_and_page() {
    let (world, all) = furnished();
    assert!(all.is_sorted_by_key(|row| (row.created_at, row.id.clone())));
    let mut tenant = world.db.tenant(&world.a.member, &world.a.workspace).unwrap();
    for provider in [None, Some(IntegrationProvider::Stripe), Some(IntegrationProvider::Sheets)] {
        for is_active in [None, Some(true), Some(false)] {
            for status in [None, Some(SyncStatus::Pending), Some(SyncStatus::Error)] {
                let filter = IntegrationFilter {
                    provider: provider.clone(),
                    is_active,
                    sync_status: status.clone(),
                };
                let expected: Vec<_> = all
                    .iter()
                    .filter(|row| provider.as_ref().is_none_or(|wanted| row.provider == *wanted))
                    .filter(|row| is_active.is_none_or(|wanted| row.is_active == wanted))
                    .filter(|row| status.as_ref().is_none_or(|wanted| row.sync_status == *wanted))
                    .cloned()
                    .collect();
                let (mut listed, mut next) = (Vec::new(), Some(page(2)));
                while let Some(page_at) = next {
                    let paged = tenant.integrations().list(&filter, &page_at).unwrap();
                    listed.extend(paged.items);
                    next = paged.next.map(|cursor| page(2).after(cursor));
                }
                assert_eq!(listed, expected, "{filter:?}");
                let count = tenant.integrations().count(&filter).unwrap();
                assert_eq!(count, i64::try_from(expected.len()).unwrap(), "{filter:?}");
            }
        }
    }
}

#[test]
fn secrets_of_every_length_and_byte_come_back() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "");
    assert_eq!(opened(&world.db, &world.a.workspace, &id).unwrap(), "");
    let mut tenant = world.db.tenant(&world.a.admin, &world.a.workspace).unwrap();
    let every_byte: Vec<u8> = (0..=u8::MAX).collect();
    for bytes in [vec![0], every_byte, vec![7; MAX_SECRET_LEN]] {
        tenant.integrations().replace_credentials(&id, &Secret::from(bytes.clone())).unwrap();
        assert!(tenant.integrations().credentials(&id).unwrap().expose() == bytes);
    }
    let too_long = Secret::from(vec![7; MAX_SECRET_LEN + 1]);
    let refused = tenant.integrations().replace_credentials(&id, &too_long);
    assert!(matches!(refused, Err(Error::Seal(SealError::TooLong))), "{refused:?}");
    // Nothing reached the server, so the transaction goes on.
    assert_eq!(tenant.integrations().credentials(&id).unwrap().expose().len(), MAX_SECRET_LEN);
}

#[test]
fn without_sealing_keys_everything_but_the_credentials_works() {
    let world = sealed_world();
    let id = created(&world.db, &world.a, "sealed before");
    let keyless = world.test.database().unwrap();
    let mut tenant = keyless.tenant(&world.a.owner, &world.a.workspace).unwrap();
    for refused in [
        tenant.integrations().create(&stripe(), &secret("x")).map(|_| ()),
        tenant.integrations().credentials(&id).map(|_| ()),
        tenant.integrations().replace_credentials(&id, &secret("x")),
        tenant.integrations().reseal(None, 9).map(|_| ()),
        keyless.rotate_sealing_key(&crate::support::service(), 9, |_| ()).map(|_| ()),
    ] {
        assert!(matches!(refused, Err(Error::Config(_))), "{refused:?}");
    }
    assert!(tenant.integrations().find(&id).unwrap().is_some());
    assert!(!tenant.integrations().deactivate(&id).unwrap().is_active);
    tenant.integrations().delete(&id).unwrap();
    assert_eq!(tenant.integrations().find(&IntegrationId::generate()).unwrap(), None);
}
