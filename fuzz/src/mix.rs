//! The MIX service: stanzas in, and whoever kept its changes has its state.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jid::{BareJid, DomainPart};
use minidom::Element;
use offhook::id::TokenMaker;
use offhook::mix::store::{Change, Snapshot};
use offhook::mix::{Mix, MixRoomConfig, StaticChannel, record};

/// More wakes than this after the last stanza would be a service that never rests.
const MOST_WAKES: usize = 10_000;

fn service() -> Mix {
    let jid = |text: &str| BareJid::new(text).expect("a literal of ours");
    let channel = |name: &str, hidden| StaticChannel {
        name: name.to_owned(),
        owners: BTreeSet::from([jid("hag66@shakespeare.example")]),
        hidden,
        phones: vec![(jid("+15551234567@phone.example"), "+15551234567".to_owned())],
    };
    let domain = |text| {
        DomainPart::new(text)
            .expect("a literal of ours")
            .into_owned()
    };
    let config = MixRoomConfig {
        domain: domain("mix.shakespeare.example"),
        phones: Some(domain("phone.example")),
        key: [9; 32],
        creators: BTreeSet::from([jid("shakespeare.example")]),
        legacy_presence: true,
        ejabberd_domains: BTreeSet::from(["shakespeare.example".to_owned()]),
        echo_error_domains: BTreeSet::new(),
        channels: vec![channel("coven", false), channel("veiled", true)],
    };
    Mix::new(config, TokenMaker::new([3; 32]))
}

/// Takes what the service wants kept, by way of how it would be written.
fn keep(mix: &mut Mix, kept: &mut Snapshot) {
    while mix.poll_stanza().is_some() {}
    while let Some(change) = mix.poll_change() {
        let read = match change {
            Change::Settings { channel, settings } => {
                let text = record::write_settings(&settings);
                let settings = record::read_settings(&text).expect("we can read what we write");
                Change::Settings {
                    channel,
                    settings: Box::new(settings),
                }
            }
            Change::Joined {
                channel,
                id,
                participant,
            } => {
                let text = record::write_participant(&participant);
                let read = record::read_participant(&text).expect("we can read what we write");
                Change::Joined {
                    channel,
                    id,
                    participant: Box::new(read),
                }
            }
            other => other,
        };
        kept.apply(read);
    }
}

/// Stanzas, one after the other, as the XMPP server could bring them; then time passes until nobody
/// is there any more.
#[allow(clippy::disallowed_methods)]
pub fn mix(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let stream = format!("<stream xmlns='jabber:component:accept'>{text}</stream>");
    let Ok(stream) = stream.parse::<Element>() else {
        return;
    };
    let mut now = Instant::now();
    let (mut mix, mut kept) = (service(), Snapshot::default());
    mix.link_up(now);
    keep(&mut mix, &mut kept);
    for stanza in stream.children() {
        now += Duration::from_millis(300);
        mix.handle(now, stanza.clone());
        keep(&mut mix, &mut kept);
    }
    assert_eq!(&kept, mix.snapshot(), "a change was not told");
    for _ in 0..MOST_WAKES {
        let Some(at) = mix.poll_timeout() else { break };
        now = now.max(at);
        mix.handle_timeout(now);
        keep(&mut mix, &mut kept);
    }
    assert_eq!(mix.poll_timeout(), None, "it never rests");
    assert_eq!((mix.census().pending, mix.census().clients), (0, 0));
    assert_eq!(&kept, mix.snapshot(), "a change was not told");
}
