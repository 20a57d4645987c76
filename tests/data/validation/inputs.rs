//! What a client sends: fields that are not known, ids of its own, and either spelling.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sesari_db::page::{ListRequest, PageRequest};
use sesari_db::progress::{KpiProgressInput, PaceInput};
use sesari_db::repo::*;
use sesari_db::series::GoalLink;

/// Types that this crate writes and somebody reads back, perhaps with an older version: there a field
/// that is not known is a newer one.
const READ_BACK: &[&str] = &[
    "AuditEntry",
    "Breach",
    "Bucket",
    "Change",
    "Claim",
    "Comparison",
    "Counted",
    "DataPoint",
    "Entry",
    "Goal",
    "GoalAsOf",
    "GoalKpi",
    "GoalMoment",
    "GoalProgress",
    "GoalWithKpis",
    "Integration",
    "Invitation",
    "InvitationPreview",
    "KeyUsage",
    "Kpi",
    "KpiProgress",
    "KpiTarget",
    "LinkedKpi",
    "Member",
    "Membership",
    "MyWorkspace",
    "Pace",
    "Page",
    "Profile",
    "Progress",
    "Recorded",
    "Resealed",
    "Rotation",
    "Sample",
    "Series",
    "SoleOwnership",
    "Statistics",
    "Subscription",
    "Summary",
    "SyncSchedule",
    "User",
    "Workspace",
];

/// Every input with every field that a client may send.
#[allow(clippy::too_many_lines, reason = "a list")]
fn samples() -> Vec<(&'static str, Value, Reader)> {
    let at = "2026-01-02T03:04:05Z";
    let series = json!({"kpi_id": "k1", "buckets": []});
    vec![
        of::<NewKpi>(
            "NewKpi",
            json!({
                "name": "Revenue", "description": "x", "target_value": 5.0, "unit": "EUR",
                "category": "Sales", "aggregation": "sum", "is_active": false,
            }),
        ),
        of::<KpiChanges>(
            "KpiChanges",
            json!({
                "name": "Revenue", "description": null, "target_value": 5.0, "unit": "EUR",
                "category": null, "aggregation": "mean", "is_active": false,
            }),
        ),
        of::<KpiFilter>(
            "KpiFilter",
            json!({
                "is_active": true, "category": "Sales", "name_contains": "x", "deleted": "only",
                "order": "-name",
            }),
        ),
        of::<NewGoal>("NewGoal", json!({"title": "Grow", "description": "x", "target_date": at})),
        of::<GoalChanges>(
            "GoalChanges",
            json!({
                "title": "Grow", "description": "x", "target_date": at, "status": "paused",
            }),
        ),
        of::<GoalFilter>(
            "GoalFilter",
            json!({
                "status": "active", "due_from": at, "due_before": at, "deleted": "include",
                "title_contains": "x", "order": "title",
            }),
        ),
        of::<NewGoalKpi>(
            "NewGoalKpi",
            json!({
                "goal_id": "g1", "kpi_id": "k1", "weight": 2.0, "baseline": 1.0,
            }),
        ),
        of::<NewKpiTarget>(
            "NewKpiTarget",
            json!({
                "kpi_id": "k1", "period": "month", "effective_from": "2026-01-01", "value": 5.0,
                "baseline": 1.0,
            }),
        ),
        of::<PaceInput>(
            "PaceInput",
            json!({
                "aggregation": "sum", "actual": 1.0, "target": 2.0, "baseline": null,
                "elapsed": 0.5,
            }),
        ),
        of::<GoalKpiChanges>("GoalKpiChanges", json!({"weight": 2.0, "baseline": null})),
        of::<NewIntegration>("NewIntegration", json!({"provider": "stripe"})),
        of::<IntegrationFilter>(
            "IntegrationFilter",
            json!({
                "provider": "stripe", "is_active": true, "sync_status": "error",
            }),
        ),
        of::<InvitationFilter>("InvitationFilter", json!({"state": "open"})),
        of::<MemberFilter>(
            "MemberFilter",
            json!({"role": "admin", "name_contains": "x", "order": "name"}),
        ),
        of::<NewDataPoint>(
            "NewDataPoint",
            json!({
                "kpi_id": "k1", "value": 1.0, "timestamp": at, "source": "stripe",
            }),
        ),
        of::<PointKey>("PointKey", json!({"kpi_id": "k1", "timestamp": at, "source": "stripe"})),
        of::<TimeRange>("UncheckedRange", json!({"from": at, "to": at})),
        of::<PageRequest>("UncheckedPage", json!({"limit": 5, "after": "00000001.0.ab1"})),
        of::<BillingEvent>(
            "BillingEvent",
            json!({
                "user_id": "u1", "status": "active", "plan_type": "pro", "current_period_end": at,
                "cancel_at_period_end": true, "occurred_at": at, "sequence": 1,
            }),
        ),
        of::<SubscriptionFilter>(
            "SubscriptionFilter",
            json!({"status": "active", "plan_type": "pro"}),
        ),
        of::<NewUser>(
            "NewUser",
            json!({
                "email": "a@b.example", "name": "Ada", "image": "https://a.example/a.png",
                "provider": "google", "provider_id": "1",
            }),
        ),
        of::<UserChanges>(
            "UserChanges",
            json!({
                "email": "a@b.example", "name": "Ada", "image": "https://a.example/a.png",
            }),
        ),
        of::<UserFilter>(
            "UserFilter",
            json!({"provider": "google", "created_from": at, "name_contains": "x", "order": "name"}),
        ),
        of::<ProfileChanges>("ProfileChanges", json!({"name": "Ada", "image": null})),
        of::<NewWorkspace>(
            "NewWorkspace",
            json!({"name": "Acme", "slug": "acme", "time_zone": "Europe/Berlin"}),
        ),
        of::<WorkspaceChanges>(
            "WorkspaceChanges",
            json!({"name": "Acme", "slug": "acme", "time_zone": "Europe/Berlin"}),
        ),
        of::<AuditFilter>(
            "AuditFilter",
            json!({
                "action": "kpi.purge", "actor_id": "u1", "row_id": "k1", "from": at, "before": at,
            }),
        ),
        of::<KpiProgressInput>(
            "KpiProgressInput",
            json!({
                "kpi_id": "k1", "current": 1.0, "target": 2.0, "baseline": 0.5, "weight": 1.0,
            }),
        ),
        of::<GoalLink>(
            "GoalLink",
            json!({
                "series": series, "target": 2.0, "baseline": 0.5, "weight": 1.0,
            }),
        ),
    ]
}

/// Reads a value, and shows what came of it or the error.
type Reader = fn(&Value) -> Result<String, String>;

fn of<T: DeserializeOwned + Debug>(
    name: &'static str,
    value: Value,
) -> (&'static str, Value, Reader) {
    (name, value, |value| read::<T>(value))
}

fn read<T: DeserializeOwned + Debug>(value: &Value) -> Result<String, String> {
    // Through text: a field that comes twice is an error there alone.
    match serde_json::from_str::<T>(&value.to_string()) {
        // Ids made on the way differ.
        Ok(read) => Ok(without_new_id(&format!("{read:?}"))),
        Err(error) => Err(error.to_string()),
    }
}

fn without_new_id(shown: &str) -> String {
    match (shown.find(" id: "), shown.find("), ")) {
        (Some(from), Some(to)) if from < to => format!("{}{}", &shown[..from], &shown[to..]),
        _ => shown.to_owned(),
    }
}

fn fields(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap()
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}

#[test]
fn every_input_refuses_a_field_that_it_does_not_know() {
    for (name, sample, read) in samples() {
        read(&sample).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut more = fields(&sample).clone();
        more.insert("surprise".into(), json!(1));
        let error = read(&Value::Object(more)).unwrap_err();
        assert!(error.contains("unknown field `surprise`"), "{name}: {error}");
    }
    for (decision, expected) in [
        (json!({"delete": {"workspace": "w1"}}), true),
        (json!({"delete": {"workspace": "w1", "x": 1}}), false),
    ] {
        assert_eq!(read::<Succession>(&decision).is_ok(), expected, "{decision}");
    }
}

#[test]
fn every_input_is_read_in_camel_case_and_never_in_both_spellings() {
    for (name, sample, read) in samples() {
        let camels = fields(&sample).iter().map(|(name, value)| (camel(name), value.clone()));
        assert_eq!(read(&camels.collect()), read(&sample), "{name}");
        for (field, value) in fields(&sample).iter().filter(|(field, _)| field.contains('_')) {
            let mut both = fields(&sample).clone();
            both.insert(camel(field), value.clone());
            let error = read(&Value::Object(both)).unwrap_err();
            assert!(error.contains(&format!("duplicate field `{field}`")), "{name}: {error}");
        }
    }
}

#[test]
fn no_input_takes_an_id_for_a_new_row() {
    for (name, sample, read) in samples().into_iter().filter(|(name, ..)| name.starts_with("New")) {
        let mut chosen = fields(&sample).clone();
        chosen.insert("id".into(), json!("admin"));
        let error = read(&Value::Object(chosen)).unwrap_err();
        assert!(error.contains("unknown field `id`"), "{name}: {error}");
    }
}

/// A change to null of what cannot be null is no change of nothing.
#[test]
fn null_is_a_change_or_an_error_and_never_passed_over() {
    for (name, sample, read) in samples().into_iter().filter(|(name, ..)| name.ends_with("Changes"))
    {
        let nothing = read(&json!({})).unwrap();
        for field in fields(&sample).keys() {
            if let Ok(changes) = read(&json!({field: null})) {
                assert_ne!(changes, nothing, "{name}: {field}");
            }
        }
    }
    assert!(serde_json::from_value::<KpiChanges>(json!({"is_active": null})).is_err());
    assert_eq!(
        serde_json::from_value::<KpiChanges>(json!({"unit": null})).unwrap().unit,
        Some(None)
    );
}

#[test]
fn a_filter_and_a_page_share_a_query() {
    for (name, sample, _) in samples().into_iter().filter(|(name, ..)| name.ends_with("Filter")) {
        let mut query = fields(&sample).clone();
        query.insert("limit".into(), json!(7));
        let query = Value::Object(query);
        let page = match name {
            "KpiFilter" => serde_json::from_value::<ListRequest<KpiFilter>>(query).map(|r| r.page),
            "GoalFilter" => {
                serde_json::from_value::<ListRequest<GoalFilter>>(query).map(|r| r.page)
            }
            _ => continue,
        };
        assert_eq!(page.unwrap(), PageRequest::first(7).unwrap(), "{name}");
    }
    let uri = "/?isActive=true&limit=7&nameContains=rev".parse().unwrap();
    let axum::extract::Query(request) =
        axum::extract::Query::<ListRequest<KpiFilter>>::try_from_uri(&uri).unwrap();
    assert_eq!(request.filter.is_active, Some(true));
    assert_eq!(request.page, PageRequest::first(7).unwrap());
    let uri = "/?limit=7&is_activ=true".parse().unwrap();
    assert!(axum::extract::Query::<ListRequest<KpiFilter>>::try_from_uri(&uri).is_err());
    let uri = "/?limit=7&after=00000001.0.ab1".parse().unwrap();
    assert!(axum::extract::Query::<PageRequest>::try_from_uri(&uri).is_ok());
}

/// A type of the source that serde reads field by field.
struct Found {
    fields: BTreeSet<String>,
    /// One whose variants have fields counts, one without has none to mistake.
    has_fields: bool,
}

/// Reads what rustfmt has laid out: attributes, then the type, then its fields.
fn deserialized(file: &Path, found: &mut BTreeMap<String, Found>) {
    let source = std::fs::read_to_string(file).unwrap();
    let (mut attributes, mut open) = (String::new(), 0_usize);
    let mut inside: Option<(String, bool)> = None;
    for line in source.lines() {
        let code = line.trim();
        if open > 0 || code.starts_with("#[") {
            attributes.push_str(code);
            open += code.matches(['[', '(']).count();
            open -= code.matches([']', ')']).count();
            continue;
        }
        if code.starts_with("///") {
            continue;
        }
        let words: Vec<_> = code.trim_end_matches('{').split_whitespace().collect();
        if let Some((name, is_struct)) = &inside {
            if line == "}" {
                inside = None;
            } else if code.ends_with('{') {
                found.get_mut(name).unwrap().has_fields = true;
            } else if let Some((field, _)) = code.split_once(": ")
                && *is_struct
                && !attributes.contains("(skip,")
            {
                let field = field.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
                found.get_mut(name).unwrap().fields.insert(field.to_owned());
            }
        } else if let Some(at) = words.iter().position(|word| ["struct", "enum"].contains(word))
            && line.ends_with('{')
            && !line.starts_with(' ')
            && attributes.contains("Deserialize")
            && !attributes.contains("try_from")
        {
            let name = words[at + 1].split('<').next().unwrap().to_owned();
            let is_struct = words[at] == "struct";
            found.insert(name.clone(), Found { fields: BTreeSet::new(), has_fields: is_struct });
            inside = Some((name, is_struct));
        }
        attributes.clear();
    }
}

fn walk(folder: &Path, found: &mut BTreeMap<String, Found>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            deserialized(&path, found);
        }
    }
}

#[test]
fn no_input_of_the_source_is_left_out() {
    let mut found = BTreeMap::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.retain(|_, found| found.has_fields);
    let sampled: BTreeMap<_, _> =
        samples().into_iter().map(|(name, sample, _)| (name, fields(&sample).clone())).collect();
    for (name, sample) in &sampled {
        let sent: BTreeSet<_> = sample.keys().cloned().collect();
        assert_eq!(found.get(*name).unwrap().fields, sent, "{name}");
    }
    let known: BTreeSet<_> =
        sampled.keys().chain(READ_BACK).chain(&["Succession"]).map(ToString::to_string).collect();
    assert_eq!(found.into_keys().collect::<BTreeSet<_>>(), known);
}
