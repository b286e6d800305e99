//! The whole, pure: hands what one room tells to the others until all are quiet.
//!
//! Wiring only. No protocol word stands here, and nothing is kept: bytes in, a few calls, bytes
//! out, all within one [`Gateway::handle`].

mod phones;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jid::{DomainPart, Jid, ResourcePart};
use minidom::Element;

use crate::address::Address;
use crate::address::contact::{self, Spelling};
use crate::border::{MediaCommand, MediaEvent};
use crate::call::record::CallRecord;
use crate::call::{CallCensus, CallOutput, Calls, MediaFacts, TextStats};
use crate::config::{ChannelConfig, Config, MixConfig, NumberConfig, RouteMatch};
use crate::id::{Room, TokenMaker, WorkerId};
use crate::leg::EndReason;
use crate::mix::archive::{Answer, Question};
use crate::mix::store::{Change, Snapshot};
use crate::mix::{self, Mix, MixCensus, MixRoomConfig, StaticChannel};
use crate::net::{NetInput, NetOutput};
use crate::observe::ladder::{Ladder, Rung};
use crate::sip::{Sip, SipCensus, SipStats};
use crate::store::{Gate, StoreEvent};
use crate::xmpp::jingle::Protection;
use crate::xmpp::{Identity, Xmpp, XmppCensus, XmppRoomConfig};

/// Turns of handing over within one input. One stanza causes fewer than ten; the limit only turns
/// an endless conversation between rooms, which would be a bug, into an error in the log.
const MAX_TURNS: usize = 10_000;

/// What happens to the gateway.
#[derive(Debug)]
pub enum Input {
    /// The XMPP server sent a stanza.
    Stanza(Element),
    /// The link to the XMPP server is there.
    LinkUp,
    /// The link to the XMPP server is lost.
    LinkDown,
    /// The XMPP server sent a stanza for the MIX service.
    MixStanza(Element),
    /// The link of the MIX service is there.
    MixUp,
    /// The link of the MIX service is lost.
    MixDown,
    /// The SIP network brought something.
    Net(NetInput),
    /// A media worker told something.
    Media(MediaEvent),
    /// A new configuration.
    Config(Arc<Config>),
    /// What was to be kept has been, or cannot be.
    Store(StoreEvent),
    /// The answer to [`Output::Ask`].
    Answer(u64, Answer),
    /// A deadline has come.
    Timeout,
    /// Take no more calls.
    Drain,
    /// End every call.
    EndCalls,
}

/// What the gateway wants done.
#[derive(Debug)]
pub enum Output {
    /// Send a stanza.
    Stanza(Element),
    /// Send a stanza on the link of the MIX service.
    MixStanza(Element),
    /// Send or ask something on the SIP network.
    Net(NetOutput),
    /// Tell a media worker.
    Media(WorkerId, MediaCommand),
    /// Keep a change; [`StoreEvent::Kept`] with its number says that it is.
    Store(u64, Box<Change>),
    /// Read what was kept; [`Input::Answer`] brings it.
    Ask(u64, Question),
    /// A call is over.
    Record(Box<CallRecord>),
    /// Something to show on the ladder, if it is watched.
    Rung(Rung),
}

/// What all rooms hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    /// The call table.
    pub calls: CallCensus,
    /// The SIP room.
    pub sip: SipCensus,
    /// The XMPP room.
    pub xmpp: XmppCensus,
    /// The MIX service, if there is one.
    pub mix: Option<MixCensus>,
}

/// The gateway without its sockets.
pub struct Gateway {
    xmpp: Xmpp,
    sip: Sip,
    calls: Calls,
    mix: Option<Mix>,
    /// Holds the MIX service's stanzas back until what they tell of is kept; `None` if nothing is.
    gate: Option<Gate<Element>>,
    ladder: Option<Ladder>,
    outputs: VecDeque<Output>,
}

impl Gateway {
    /// Builds every room; `seed` is the only source of randomness. Fails if the configured domain
    /// or resource cannot stand in a JID. Nothing is kept.
    pub fn new(config: Arc<Config>, facts: MediaFacts, seed: [u8; 32]) -> Result<Self, jid::Error> {
        Self::restore(config, facts, None, seed)
    }

    /// The same, going on from what has been `kept`; changes are [`Output::Store`].
    pub fn restore(
        config: Arc<Config>,
        facts: MediaFacts,
        kept: Option<Snapshot>,
        seed: [u8; 32],
    ) -> Result<Self, jid::Error> {
        let gate = kept.is_some().then(Gate::default);
        let mut tokens = TokenMaker::new(seed);
        let identity = Identity::Component {
            domain: DomainPart::new(&config.xmpp.domain)?.into_owned(),
            resource: ResourcePart::new(&config.xmpp.resource)?.into_owned(),
        };
        let room = room(&config);
        let (xmpp, sip, calls) = (tokens.fork(), tokens.fork(), tokens.fork());
        let mix = match &config.mix {
            Some(mix) => {
                let kept = kept.unwrap_or_default();
                let mut mix = Mix::restore(service(&config, mix)?, kept, tokens.fork());
                mix.set_archives(gate.is_some());
                Some(mix)
            }
            None => None,
        };
        Ok(Self {
            xmpp: Xmpp::new(identity, room, xmpp),
            sip: Sip::new(&config.sip, &config.trunks, sip),
            calls: Calls::new(config, facts, calls),
            mix,
            gate,
            ladder: None,
            outputs: VecDeque::new(),
        })
    }

    /// Shows every message of both protocols as [`Output::Rung`].
    pub fn watch_ladder(&mut self) {
        self.ladder = Some(Ladder::default());
    }

    /// Sets what the time is called on the wall, for texts that people read; `now` is so long
    /// after 1970-01-01 00:00 UTC.
    pub fn set_clock(&mut self, now: Instant, since_1970: Duration) {
        self.xmpp.set_clock(now, since_1970);
    }

    /// Starts what runs without being asked: trunk addresses and health.
    pub fn start(&mut self, now: Instant) {
        self.xmpp.link_down(now);
        self.sip.start(now);
        self.settle(now);
    }

    /// Takes one input; what comes of it is then at [`Self::poll_output`].
    pub fn handle(&mut self, now: Instant, input: Input) {
        self.show_input(now, &input);
        match input {
            Input::Stanza(stanza) => self.xmpp.handle(now, stanza),
            Input::LinkUp => self.xmpp.link_up(now),
            Input::LinkDown => self.xmpp.link_down(now),
            Input::MixStanza(stanza) => self.with_mix(|mix| mix.handle(now, stanza)),
            Input::MixUp => self.with_mix(|mix| mix.link_up(now)),
            Input::MixDown => self.with_mix(|mix| mix.link_down(now)),
            Input::Net(input) => self.sip.handle(now, input),
            Input::Media(event) => self.calls.media_event(now, event),
            Input::Config(config) => {
                if let (Some(mix), Some(written)) = (&mut self.mix, &config.mix)
                    && let Ok(room) = service(&config, written)
                {
                    mix.set_config(now, room);
                }
                self.xmpp.set_config(room(&config));
                self.calls.set_config(config);
                self.refresh_phones(now);
            }
            Input::Store(event) => {
                if let Some(gate) = &mut self.gate {
                    gate.handle(event, mix::taken_back);
                }
                if event == StoreEvent::Failing {
                    self.with_mix(Mix::fail_questions);
                }
            }
            Input::Answer(number, answer) => self.with_mix(|mix| mix.answer(number, answer)),
            Input::Timeout => {
                self.xmpp.handle_timeout(now);
                self.sip.handle_timeout(now);
                self.calls.handle_timeout(now);
                self.with_mix(|mix| mix.handle_timeout(now));
            }
            Input::Drain => {
                self.calls.drain();
                self.sip.unregister(now);
            }
            Input::EndCalls => {
                self.calls.end_all(now, EndReason::Shutdown);
                self.sip.unregister(now);
            }
        }
        self.settle(now);
    }

    /// The next thing to be done.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] wants to come.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let rooms = [
            self.xmpp.poll_timeout(),
            self.sip.poll_timeout(),
            self.calls.poll_timeout(),
            self.mix.as_ref().and_then(Mix::poll_timeout),
        ];
        rooms.into_iter().flatten().min()
    }

    /// True if no call runs and no text is under way.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty()
    }

    /// True if nothing more has to be told to any registrar.
    pub fn is_unregistered(&self) -> bool {
        self.sip.is_unregistered()
    }

    /// Whether calls may go to a trunk.
    pub fn trunk_is_up(&self, name: &str) -> bool {
        self.sip.trunk_is_up(name)
    }

    /// What the SIP room counted.
    pub fn sip_stats(&self) -> SipStats {
        self.sip.stats()
    }

    /// What became of the texts so far.
    pub fn text_stats(&self) -> TextStats {
        self.calls.text_stats()
    }

    /// What all rooms hold.
    pub fn census(&self) -> Census {
        Census {
            calls: self.calls.census(),
            sip: self.sip.census(),
            xmpp: self.xmpp.census(),
            mix: self.mix.as_ref().map(Mix::census),
        }
    }

    /// Hands events to the call table and its commands to the rooms until all are quiet.
    fn settle(&mut self, now: Instant) {
        for _ in 0..MAX_TURNS {
            if let Some((leg, event)) = self.xmpp.poll_event() {
                let event = self.revealed(event);
                self.calls.leg_event(now, leg, event);
            } else if let Some((leg, event)) = self.sip.poll_event() {
                self.calls.leg_event(now, leg, event);
            } else if let Some(event) = self.xmpp.poll_text() {
                let event = self.revealed_text(event);
                self.calls.text_event(now, event);
            } else if let Some(event) = self.sip.poll_text() {
                self.calls.text_event(now, event);
            } else if let Some((trunk, up)) = self.sip.poll_trunk() {
                self.calls.set_trunk_up(trunk, up);
                self.refresh_phones(now);
            } else if let Some(output) = self.calls.poll_output() {
                match output {
                    CallOutput::Leg(leg, command) => match leg.room {
                        Room::Xmpp => self.xmpp.command(now, leg, command),
                        Room::Sip => self.sip.command(now, leg, command),
                    },
                    CallOutput::Media(worker, command) => {
                        self.outputs.push_back(Output::Media(worker, command));
                    }
                    CallOutput::Record(record) => self.outputs.push_back(Output::Record(record)),
                    CallOutput::Text(command) => match command.room() {
                        Room::Xmpp => self.xmpp.text_command(now, command),
                        Room::Sip => self.sip.text_command(now, command),
                    },
                }
            } else if !self.exchange(now) {
                return self.collect(now);
            }
        }
        tracing::error!("the rooms did not come to rest");
        self.collect(now);
    }

    /// Sends what waits, and hands what the two XMPP rooms have for each other: phones take part in
    /// channels by their contact JIDs. True if there was such.
    fn exchange(&mut self, now: Instant) -> bool {
        let was_invited = self.answer_invitations(now);
        let (mut to_mix, mut to_xmpp, mut to_server) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(stanza) = self.xmpp.poll_stanza() {
            let mix = self.mix.as_ref();
            if mix.is_some_and(|mix| goes_to(&stanza, mix.domain().as_str())) {
                if !self.is_out_of_reach(&stanza) {
                    to_mix.push(stanza);
                }
                continue;
            }
            self.show(|ladder| ladder.stanza_out(now, &stanza));
            self.outputs.push_back(Output::Stanza(stanza));
        }
        // Before the phones hear from the channel that nobody is there to be told.
        let was_parted = self.see_off(now);
        if let Some(mix) = &mut self.mix {
            while let Some(stanza) = mix.poll_stanza() {
                match goes_to(&stanza, self.xmpp.domain()) {
                    true => to_xmpp.push(stanza),
                    false => to_server.push(stanza),
                }
            }
        }
        self.keep(to_server);
        let crossed = was_invited || was_parted || !to_mix.is_empty() || !to_xmpp.is_empty();
        for stanza in to_mix {
            self.with_mix(|mix| mix.handle(now, stanza));
        }
        for stanza in to_xmpp {
            self.xmpp.handle(now, stanza);
        }
        crossed
    }

    /// Gives what the MIX service changed to be kept, and sends what it says: what tells of a change
    /// not before it is kept.
    fn keep(&mut self, stanzas: Vec<Element>) {
        let Some(mix) = &mut self.mix else { return };
        let Some(gate) = &mut self.gate else {
            while mix.poll_change().is_some() {}
            let stanzas = stanzas.into_iter().map(Output::MixStanza);
            return self.outputs.extend(stanzas);
        };
        let mut promises = false;
        while let Some(change) = mix.poll_change() {
            promises |= change.is_promise();
            // Presence is asked for again after a start, so what of it is lost does no harm.
            if change.is_promise() || gate.is_open() {
                let number = gate.number();
                self.outputs
                    .push_back(Output::Store(number, Box::new(change)));
            }
        }
        while let Some((number, question)) = mix.poll_question() {
            self.outputs.push_back(Output::Ask(number, question));
        }
        for stanza in stanzas {
            let to = stanza.attr("to").unwrap_or_default().to_owned();
            let bare = to.split('/').next().unwrap_or_default();
            gate.send(bare, stanza, promises);
        }
        while let Some(stanza) = gate.poll() {
            self.outputs.push_back(Output::MixStanza(stanza));
        }
        mix.set_keeps(gate.is_open());
    }

    fn with_mix(&mut self, does: impl FnOnce(&mut Mix)) {
        if let Some(mix) = &mut self.mix {
            does(mix);
        }
    }

    fn collect(&mut self, now: Instant) {
        while let Some(output) = self.sip.poll_output() {
            self.show(|ladder| ladder.net_out(now, &output));
            self.outputs.push_back(Output::Net(output));
        }
    }

    fn show_input(&mut self, now: Instant, input: &Input) {
        match input {
            Input::Stanza(stanza) => self.show(|ladder| ladder.stanza_in(now, stanza)),
            Input::Net(input) => self.show(|ladder| ladder.net_in(now, input)),
            Input::LinkUp
            | Input::LinkDown
            | Input::MixStanza(_)
            | Input::MixUp
            | Input::MixDown
            | Input::Media(_)
            | Input::Config(_)
            | Input::Answer(..)
            | Input::Store(_)
            | Input::Timeout
            | Input::Drain
            | Input::EndCalls => {}
        }
    }

    fn show(&mut self, rung: impl FnOnce(&mut Ladder) -> Option<Rung>) {
        if let Some(rung) = self.ladder.as_mut().and_then(rung) {
            self.outputs.push_back(Output::Rung(rung));
        }
    }
}

/// True for a stanza to a JID of this domain.
fn goes_to(stanza: &Element, domain: &str) -> bool {
    let to = stanza.attr("to").and_then(|to| Jid::new(to).ok());
    to.is_some_and(|to| to.domain().as_str() == domain)
}

/// The XMPP room of a configuration.
fn room(config: &Config) -> XmppRoomConfig {
    let mut numbers = BTreeMap::new();
    for NumberConfig { number, ring } in &config.numbers {
        for user in ring {
            numbers
                .entry(user.clone())
                .or_insert_with(|| number.clone());
        }
    }
    XmppRoomConfig {
        name: "Phone".to_owned(),
        home: config.access.country,
        numbers,
        takes_texts: config.trunks.iter().any(|trunk| trunk.messages),
        video: pictures(config),
        protection: Protection::Required,
    }
}

/// Which routes take pictures. The first trunk of a route decides, since calls go there as long as it
/// is up.
fn pictures(config: &Config) -> Vec<(RouteMatch, bool)> {
    let has_video = |name: &String| {
        let named = config.trunk(name);
        named.is_some_and(|trunk| trunk.video)
    };
    let routes = config.routes.iter();
    let shown = routes.map(|route| {
        let first = route.trunks.first();
        (route.matches.clone(), first.is_some_and(has_video))
    });
    shown.collect()
}

/// The MIX service of a configuration.
fn service(config: &Config, mix: &MixConfig) -> Result<MixRoomConfig, jid::Error> {
    let MixConfig {
        server: _,
        domain,
        secret,
        create,
        ejabberd_domains,
        tigase_domains,
        legacy_presence,
        archive_days: _,
        archive_max: _,
        channels,
    } = mix;
    let phones = DomainPart::new(&config.xmpp.domain)?;
    let channels = channels.iter().map(|channel| {
        let ChannelConfig {
            name,
            owners,
            hidden,
            phones: numbers,
        } = channel;
        let contact = |number: &crate::address::E164| {
            let address = Address::Number(number.clone());
            let jid = contact::jid(&address, Spelling::default(), "", &phones).ok()?;
            Some((jid, number.to_string()))
        };
        StaticChannel {
            name: name.clone(),
            owners: owners.iter().cloned().collect(),
            hidden: *hidden,
            phones: numbers.iter().filter_map(contact).collect(),
        }
    });
    Ok(MixRoomConfig {
        domain: DomainPart::new(domain)?.into_owned(),
        phones: Some(phones.clone().into_owned()),
        // As long as nothing is kept, the same secret makes the same ids after a restart.
        key: mix::address::derived(secret.0.as_bytes(), "stable ids"),
        creators: create.iter().cloned().collect(),
        legacy_presence: *legacy_presence,
        ejabberd_domains: ejabberd_domains.iter().map(ToString::to_string).collect(),
        echo_error_domains: tigase_domains.iter().map(ToString::to_string).collect(),
        channels: channels.collect(),
    })
}
