//! A listener that keeps everything, at the most talkative level.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// A span or an event.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Name of a span, text of an event.
    pub(crate) what: String,
    pub(crate) level: Level,
    pub(crate) target: String,
    /// Name of the span around it.
    pub(crate) within: Option<&'static str>,
    pub(crate) fields: BTreeMap<&'static str, String>,
}

impl Told {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

#[derive(Default)]
struct Kept {
    all: Vec<Told>,
    open: HashMap<u64, usize>,
}

#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Kept>>);

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        attributes.record(&mut Fields(&mut fields));
        let parent = context.span(id).and_then(|span| span.parent());
        let mut kept = self.0.lock().unwrap();
        let place = kept.all.len();
        kept.open.insert(id.into_u64(), place);
        kept.all.push(Told {
            what: attributes.metadata().name().into(),
            level: *attributes.metadata().level(),
            target: attributes.metadata().target().into(),
            within: parent.map(|parent| parent.name()),
            fields,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut kept = self.0.lock().unwrap();
        let place = kept.open[&id.into_u64()];
        values.record(&mut Fields(&mut kept.all[place].fields));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        self.0.lock().unwrap().all.push(Told {
            what: fields.remove("message").unwrap_or_default(),
            level: *event.metadata().level(),
            target: event.metadata().target().into(),
            within: context.event_span(event).map(|span| span.name()),
            fields,
        });
    }
}

/// Everything told while `body` ran, on this thread.
pub(crate) fn listen<T>(body: impl FnOnce() -> T) -> (T, Vec<Told>) {
    // While there has been one listener only, `tracing` asks that of the thread on which something is told for
    // the first time: another test's, which has none, and nobody is told.
    static SECOND: OnceLock<Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| Dispatch::new(Registry::default()));
    let recorder = Recorder::default();
    let subscriber = Registry::default().with(recorder.clone());
    let answer = tracing::subscriber::with_default(subscriber, body);
    let all = recorder.0.lock().unwrap().all.clone();
    (answer, all)
}

/// The spans of operations, by name and with their rows.
pub(crate) fn operations(told: &[Told]) -> Vec<(&str, Option<&str>)> {
    told.iter()
        .filter(|told| told.what == "sesari_db.operation")
        .map(|told| {
            let name = told.field("db.operation.name").unwrap();
            (name, told.field("db.response.returned_rows"))
        })
        .collect()
}

/// The events of this text, by the operation and the type of error.
pub(crate) fn events<'a>(told: &'a [Told], text: &str) -> Vec<(&'a str, Option<&'a str>)> {
    told.iter()
        .filter(|told| told.what == text)
        .map(|told| (told.field("db.operation.name").unwrap(), told.field("error.type")))
        .collect()
}
