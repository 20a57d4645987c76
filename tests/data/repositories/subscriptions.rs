//! `subscriptions`, as billing reports them.

use sesari_db::id::{SubscriptionId, UserId};
use sesari_db::repo::{Applied, BillingEvent, SubscriptionFilter};
use sesari_db::value::{Plan, SubscriptionStatus, Timestamp};

use super::tools::{assert_missing, walk};
use crate::support::{World, hour, sign_up};

fn event(user: &UserId, hours: i64, status: SubscriptionStatus, plan_type: Plan) -> BillingEvent {
    BillingEvent {
        user_id: user.clone(),
        status,
        plan_type,
        current_period_end: None,
        cancel_at_period_end: false,
        occurred_at: Timestamp::new(hour(hours)).unwrap(),
        sequence: None,
    }
}

#[test]
fn events_in_any_order_lead_to_the_newest() {
    let world = World::new();
    let user = &world.stranger;
    let events = [
        event(user, 1, SubscriptionStatus::Active, Plan::Starter),
        BillingEvent {
            current_period_end: Some(Timestamp::new(hour(700)).unwrap()),
            cancel_at_period_end: true,
            ..event(user, 2, SubscriptionStatus::PastDue, Plan::Pro)
        },
        event(user, 3, SubscriptionStatus::Canceled, Plan::Free),
    ];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut service = world.as_service();
        let mut newest = 0;
        for i in order {
            let applied = service.subscriptions().apply(&events[i]).unwrap();
            assert_eq!(applied.newest().is_some(), i >= newest, "{order:?}: {i}");
            newest = newest.max(i);
            let stored = service.subscriptions().find_by_user(user).unwrap().unwrap();
            let expected = &events[newest];
            assert_eq!(stored.status, expected.status);
            assert_eq!(stored.plan_type, expected.plan_type);
            assert_eq!(stored.current_period_end, expected.current_period_end);
            assert_eq!(stored.cancel_at_period_end, expected.cancel_at_period_end);
            assert_eq!(stored.last_event_at, expected.occurred_at);
        }
        // Rolled back: the next order starts without a subscription.
        drop(service);
    }
}

#[test]
fn an_event_applied_twice_is_applied_once() {
    let world = World::new();
    let mut service = world.as_service();
    let event = event(&world.stranger, 1, SubscriptionStatus::Active, Plan::Pro);
    let first = service.subscriptions().apply(&event).unwrap();
    assert!(matches!(first, Applied::Newest(_)));
    assert_eq!(service.subscriptions().apply(&event).unwrap(), first);
    assert_eq!(service.subscriptions().count(&SubscriptionFilter::default()).unwrap(), 1);
}

/// A checkout makes several events in a second, and the provider's times are in seconds.
#[test]
fn events_of_one_time_are_settled_by_their_sequence_or_answered_as_a_tie() {
    let world = World::new();
    let mut service = world.as_service();
    let mut apply = |event: &BillingEvent| {
        let applied = service.subscriptions().apply(event).unwrap();
        let stored = service.subscriptions().find_by_user(&event.user_id).unwrap().unwrap();
        (applied, stored.status)
    };
    let with = |sequence, event: &BillingEvent| BillingEvent { sequence, ..event.clone() };
    let paid = event(&world.stranger, 1, SubscriptionStatus::Active, Plan::Pro);
    let unpaid = event(&world.stranger, 1, SubscriptionStatus::PastDue, Plan::Free);
    // Nothing tells which is newer, whichever of them was numbered.
    let _ = apply(&paid);
    for tie in [with(None, &unpaid), with(Some(1), &unpaid)] {
        assert_eq!(apply(&tie), (Applied::Tie, paid.status.clone()));
    }
    let user = sign_up(&world.db, "payer");
    let [paid, unpaid] =
        [paid, unpaid].map(|event| BillingEvent { user_id: user.clone(), ..event });
    let _ = apply(&with(Some(2), &paid));
    assert_eq!(apply(&with(Some(1), &unpaid)), (Applied::Late, paid.status.clone()));
    assert_eq!(apply(&with(None, &unpaid)), (Applied::Tie, paid.status.clone()));
    assert_eq!(apply(&with(Some(2), &unpaid)), (Applied::Tie, paid.status.clone()));
    for repeat in [Some(2), None] {
        assert!(matches!(apply(&with(repeat, &paid)).0, Applied::Newest(_)));
    }
    let (applied, status) = apply(&with(Some(3), &unpaid));
    assert!(matches!(applied, Applied::Newest(_)));
    assert_eq!(status, unpaid.status);
    // A later time counts for more than any number.
    let later = BillingEvent { occurred_at: Timestamp::new(hour(2)).unwrap(), ..paid };
    assert!(matches!(apply(&later).0, Applied::Newest(_)));
}

#[test]
fn an_event_for_nobody_is_not_found() {
    let world = World::new();
    let mut service = world.as_service();
    let event = event(&UserId::generate(), 1, SubscriptionStatus::Active, Plan::Pro);
    assert_missing(service.subscriptions().apply(&event), "user");
}

#[test]
fn a_subscription_is_found_listed_counted_and_deleted() {
    let world = World::new();
    let mut service = world.as_service();
    let statuses = SubscriptionStatus::ALL;
    for (i, status) in (0..).zip(statuses.iter().cycle().take(7)) {
        let user = sign_up(&world.db, &format!("payer-{i}"));
        let plan = Plan::ALL[i % 3].clone();
        let event = event(&user, 1, status.clone(), plan);
        service.subscriptions().apply(&event).unwrap().newest().unwrap();
    }
    let all = walk(1000, |page| service.subscriptions().list(&SubscriptionFilter::default(), page));
    assert_eq!(all.len(), 7);
    let some = |all: &[SubscriptionStatus]| {
        all.iter().cloned().map(Some).chain([None]).collect::<Vec<_>>()
    };
    for status in some(statuses) {
        for plan_type in Plan::ALL.iter().cloned().map(Some).chain([None]) {
            let filter = SubscriptionFilter { status: status.clone(), plan_type };
            let expected: Vec<_> = all
                .iter()
                .filter(|row| filter.status.as_ref().is_none_or(|status| *status == row.status))
                .filter(|row| filter.plan_type.as_ref().is_none_or(|plan| *plan == row.plan_type))
                .cloned()
                .collect();
            for limit in [1, 2, 7] {
                let listed = walk(limit, |page| service.subscriptions().list(&filter, page));
                assert_eq!(listed, expected, "{filter:?}");
            }
            let count = service.subscriptions().count(&filter).unwrap();
            assert_eq!(count, i64::try_from(expected.len()).unwrap(), "{filter:?}");
        }
    }
    let one = &all[3];
    assert_eq!(service.subscriptions().find(&one.id).unwrap().as_ref(), Some(one));
    assert_eq!(service.subscriptions().find(&SubscriptionId::generate()).unwrap(), None);
    service.subscriptions().delete(&one.user_id).unwrap();
    assert_eq!(service.subscriptions().find_by_user(&one.user_id).unwrap(), None);
    assert_missing(service.subscriptions().delete(&one.user_id), "subscription");
}

#[test]
fn a_user_sees_the_own_subscription_and_no_other() {
    let world = World::new();
    let mut service = world.as_service();
    let event = event(&world.a.owner, 1, SubscriptionStatus::Active, Plan::Pro);
    let stored = service.subscriptions().apply(&event).unwrap().newest();
    service.commit().unwrap();
    assert_eq!(world.as_user(&world.a.owner).my_subscription().find().unwrap(), stored);
    for other in [&world.a.admin, &world.b.owner, &world.stranger] {
        assert_eq!(world.as_user(other).my_subscription().find().unwrap(), None);
    }
}

#[test]
fn changes_are_in_the_services_audit_log() {
    let world = World::new();
    let mut service = world.as_service();
    for (hours, plan) in [(1, Plan::Starter), (2, Plan::Pro), (3, Plan::Pro), (0, Plan::Free)] {
        let event = event(&world.stranger, hours, SubscriptionStatus::Active, plan);
        let applied = service.subscriptions().apply(&event).unwrap();
        assert_eq!(applied == Applied::Late, hours == 0);
    }
    service.subscriptions().delete(&world.stranger).unwrap();
    service.commit().unwrap();
    // The third event changed nothing but its time, the fourth came late.
    for (action, expected) in [("create", 1), ("update", 1), ("delete", 1)] {
        let entries = format!(
            "audit_log WHERE workspace_id = '' AND action = 'subscription.{action}' \
             AND actor_kind = 'service' AND actor_id = 'test-service' \
             AND table_name = 'subscriptions'"
        );
        assert_eq!(world.rows(&entries), expected, "{action}");
    }
    let changed = r#"audit_log WHERE action = 'subscription.update'
        AND changes = '{"plan_type": {"old": "starter", "new": "pro"}}'"#;
    assert_eq!(world.rows(changed), 1);
}

#[test]
fn every_status_of_stripe_is_stored_as_it_is() {
    let world = World::new();
    let access = ["active", "trialing", "past_due"];
    let none = ["canceled", "incomplete", "incomplete_expired", "unpaid", "paused"];
    for (hours, status) in (1..).zip(access.into_iter().chain(none)) {
        let mut service = world.as_service();
        let parsed: SubscriptionStatus = status.parse().unwrap();
        assert_eq!(parsed.gives_access(), access.contains(&status), "{status}");
        let event = event(&world.stranger, hours, parsed.clone(), Plan::Pro);
        assert_eq!(service.subscriptions().apply(&event).unwrap().newest().unwrap().status, parsed);
    }
}
