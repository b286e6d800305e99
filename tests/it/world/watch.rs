//! Listens to the log: warnings that nobody expected, and personal data above debug level.

use std::cell::RefCell;
use std::fmt::{Debug, Write as _};
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

thread_local! {
    static HEARD: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
}

/// Parts of what the people of the world would not like to see in a log: their numbers, their
/// JIDs, their addresses.
pub const PERSONAL: [&str; 6] = [
    "5551234567",
    "5557654321",
    "5550001000",
    "juliet",
    "192.0.2.10",
    "192.0.2.20",
];

struct Watch;

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, " {field}={value}");
    }
}

fn hear(level: Level, text: Text) {
    HEARD.with_borrow_mut(|heard| heard.push((level, text.0)));
}

impl<S: Subscriber> Layer<S> for Watch {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= Level::INFO && metadata.target().starts_with("offhook")
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        hear(*event.metadata().level(), text);
    }

    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        let mut text = Text::default();
        attributes.record(&mut text);
        hear(*attributes.metadata().level(), text);
    }
}

/// Begins to listen, on this thread, for a world that begins.
pub fn start() {
    static GLOBAL: Once = Once::new();
    GLOBAL.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Watch);
        // A fuzzer's process may have another one.
        let _ = tracing::subscriber::set_global_default(subscriber);
    });
    HEARD.with_borrow_mut(Vec::clear);
}

/// What was heard on this thread since [`start`], at info and above.
pub fn heard() -> Vec<(Level, String)> {
    HEARD.with_borrow(Clone::clone)
}

/// Fails on a warning that none of `expected` is a part of, and on personal data.
pub fn assert_nothing_bad(expected: &[&str], story: &str) {
    for (level, text) in heard() {
        if level <= Level::WARN {
            let is_expected = expected.iter().any(|part| text.contains(part));
            assert!(is_expected, "nobody expected {level}{text}\n{story}");
        }
        for part in PERSONAL {
            assert!(!text.contains(part), "personal at {level}:{text}\n{story}");
        }
    }
}
