//! An XMPP client of the simulated world, speaking message initiation and Jingle as
//! Conversations does (or plain Jingle), written apart from the gateway's room.

use std::time::Duration;

use minidom::Element;

use super::dialect::{self, CallsOffBy, Dialect, HangsUpBy};

/// What the user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Calls, and ends the call after so long, whatever its state.
    Call {
        plain_jingle: bool,
        end_after: Option<Duration>,
    },
    /// Answers a call after so long, and hangs up after so long again, if it says so.
    Answer {
        after: Duration,
        hangup_after: Option<Duration>,
    },
    /// Declines a call after so long.
    Decline { after: Duration },
    /// Lets it ring.
    Ignore,
}

#[derive(Debug)]
pub enum Act {
    Send(Element),
    Wake(Duration, Wake),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    Answer,
    Decline,
    End,
    Vanish,
    Return,
    RestartIce,
    Move,
    Transfer,
    /// Holds the call, or takes it up again.
    Hold(bool),
    /// Its patience of this number is at an end.
    Impatient(u32),
}

/// What a client does beside its plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Habits {
    /// Goes offline this long after it dialled or began to ring, and forgets everything.
    pub vanish_after: Option<Duration>,
    /// Comes back after so long.
    pub return_after: Option<Duration>,
    /// Restarts ICE this long after the answer.
    pub restart_ice_after: Option<Duration>,
    /// Takes the call to another device of its user this long after the answer (XEP-0353 §6.2).
    pub move_after: Option<Duration>,
    /// Hands the call on to another number this long after the answer, or connects it with that of its
    /// device's other line, if it has one (XEP-0251).
    pub transfer_after: Option<Duration>,
    /// Holds the call this long after the answer, if it can.
    pub hold_after: Option<Duration>,
    /// Takes it up again after so long.
    pub hold_for: Option<Duration>,
    /// Confirms the texts that come (XEP-0184).
    pub confirms: bool,
    /// Calls with pictures.
    pub shows: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Idle,
    Proposed,
    Initiated,
    Ringing,
    Proceeded,
    Talking,
    Over,
}

#[derive(Debug)]
pub struct Client {
    pub jid: String,
    pub plan: Plan,
    pub habits: Habits,
    pub dialect: Dialect,
    /// What was said to the user in words.
    pub read: Vec<String>,
    /// Texts of its own that were received, by id.
    pub receipts: Vec<String>,
    /// Conditions of those that came back.
    pub refused: Vec<String>,
    pub is_online: bool,
    pub state: State,
    /// How it ended, as the client would show it.
    pub ended: Option<String>,
    pub rang: bool,
    /// Whom another line of the same device calls, and in which session.
    pub other_line: Option<(&'static str, String)>,
    peer: String,
    sid: String,
    /// The name of the one content: the offerer's.
    content: String,
    next_id: u32,
    /// Which wait is the last one.
    patience: u32,
}

/// What most clients do, and no `finish`, so that ladders are short.
const DEFAULT: Dialect = Dialect {
    hangs_up_by: HangsUpBy::Terminate,
    ..dialect::CONVERSATIONS
};

const FINGERPRINT: &str = "AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:\
AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89";

/// VP9 is nobody's but ours.
const PICTURES: &str = "<payload-type id='99' name='VP9' clockrate='90000'/>\
<payload-type id='97' name='VP8' clockrate='90000'>\
<rtcp-fb xmlns='urn:xmpp:jingle:apps:rtp:rtcp-fb:0' type='nack' subtype='pli'/></payload-type>\
<payload-type id='98' name='H264' clockrate='90000'><parameter name='packetization-mode' value='1'/>\
<parameter name='profile-level-id' value='42e01f'/></payload-type>";

impl Client {
    pub fn new(jid: &str, plan: Plan) -> Self {
        Self {
            jid: jid.to_owned(),
            plan,
            habits: Habits::default(),
            dialect: DEFAULT,
            read: Vec::new(),
            receipts: Vec::new(),
            refused: Vec::new(),
            is_online: true,
            state: State::Idle,
            ended: None,
            rang: false,
            other_line: None,
            peer: String::new(),
            sid: String::new(),
            content: String::new(),
            next_id: 0,
            patience: 0,
        }
    }

    fn presence(&self, kind: &str) -> Act {
        let xml = format!(
            "<presence xmlns='jabber:component:accept' {kind} from='{}' to='{}'/>",
            self.jid, self.peer
        );
        Act::Send(xml.parse().expect("our own XML"))
    }

    /// What its habits do to a call that begins.
    fn habitual(&self) -> Vec<Act> {
        let wake = |after: Option<Duration>, wake| after.map(|after| Act::Wake(after, wake));
        let Habits {
            vanish_after,
            return_after,
            restart_ice_after: _,
            move_after: _,
            transfer_after: _,
            hold_after: _,
            hold_for: _,
            confirms: _,
            shows: _,
        } = self.habits;
        let back = vanish_after.zip(return_after).map(|(a, b)| a + b);
        [wake(vanish_after, Wake::Vanish), wake(back, Wake::Return)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Waits so long and no longer, if it is one of those.
    fn wait(&mut self, limit: Duration) -> Option<Act> {
        self.patience += 1;
        let wake = Act::Wake(limit, Wake::Impatient(self.patience));
        self.dialect.is_impatient.then_some(wake)
    }

    fn talk(&mut self) -> Vec<Act> {
        self.state = State::Talking;
        self.patience += 1;
        let hold = self.habits.hold_after.take().filter(|_| self.dialect.holds);
        let back = hold.zip(self.habits.hold_for).map(|(a, b)| a + b);
        let holds = [(hold, true), (back, false)]
            .into_iter()
            .filter_map(|(at, held)| Some(Act::Wake(at?, Wake::Hold(held))));
        let restart = self.habits.restart_ice_after.take();
        let restart = restart.map(|after| Act::Wake(after, Wake::RestartIce));
        let moves = self.habits.move_after.take();
        let moves = moves.map(|after| Act::Wake(after, Wake::Move));
        let transfer = self.habits.transfer_after.take();
        let transfer = transfer.map(|after| Act::Wake(after, Wake::Transfer));
        restart
            .into_iter()
            .chain(moves)
            .chain(holds)
            .chain(transfer)
            .collect()
    }

    fn id(&mut self) -> String {
        self.next_id += 1;
        match &self.other_line {
            Some(_) => format!("{}-{}", self.sid, self.next_id),
            None => format!("c{}", self.next_id),
        }
    }

    fn message(&mut self, to: &str, body: &str) -> Act {
        let id = self.id();
        let xml = format!(
            "<message xmlns='jabber:component:accept' type='chat' id='{id}' from='{}' to='{to}'>\
             {body}<store xmlns='urn:xmpp:hints'/></message>",
            self.jid
        );
        Act::Send(xml.parse().expect("our own XML"))
    }

    /// Writes to a contact, and wants to know whether it has come.
    pub fn write(&mut self, contact: &str, text: &str) -> Vec<Act> {
        let said = format!("<body>{text}</body><request xmlns='urn:xmpp:receipts'/>");
        vec![self.message(contact, &said)]
    }

    /// Confirms a text, or notes what is said of one of its own.
    fn receive_text(&mut self, stanza: &Element, from: &str) -> Vec<Act> {
        const RECEIPTS: &str = "urn:xmpp:receipts";
        let error = stanza.children().find(|c| c.name() == "error");
        let condition = error.and_then(|error| error.children().next());
        self.refused.extend(condition.map(|c| c.name().to_owned()));
        let received = stanza.get_child("received", RECEIPTS);
        let received = received.and_then(|received| received.attr("id"));
        self.receipts.extend(received.map(str::to_owned));
        match (stanza.get_child("request", RECEIPTS), stanza.attr("id")) {
            (Some(_), Some(id)) if self.habits.confirms => {
                let id = id.to_owned();
                let received = format!("<received xmlns='{RECEIPTS}' id='{id}'/>");
                vec![self.message(from, &received)]
            }
            _ => Vec::new(),
        }
    }

    fn jingle(&mut self, action: &str, inner: &str) -> Act {
        let id = self.id();
        let xml = format!(
            "<iq xmlns='jabber:component:accept' type='set' id='{id}' from='{}' to='{}'>\
             <jingle xmlns='urn:xmpp:jingle:1' action='{action}' sid='{}'>{inner}</jingle></iq>",
            self.jid, self.peer, self.sid
        );
        Act::Send(xml.parse().expect("our own XML"))
    }

    fn content(&self, setup: &str, payloads: &str) -> String {
        let Dialect {
            mux,
            groups,
            dtls,
            transport_first,
            ..
        } = self.dialect;
        let name = &self.content;
        let shows = self.habits.shows && self.state == State::Initiated;
        let second = if shows { "<content name='video'/>" } else { "" };
        let group = format!(
            "<group xmlns='urn:xmpp:jingle:apps:grouping:0' semantics='BUNDLE'>\
             <content name='{name}'/>{second}</group>"
        );
        let mux = if mux { "<rtcp-mux/>" } else { "" };
        let fingerprint = format!(
            "<fingerprint xmlns='urn:xmpp:jingle:apps:dtls:0' hash='sha-256' \
             setup='{setup}'>{FINGERPRINT}</fingerprint>"
        );
        let fingerprint = if dtls { fingerprint.as_str() } else { "" };
        let description = format!(
            "<description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'>{payloads}{mux}\
             </description>"
        );
        let transport = format!(
            "<transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' ufrag='r8tL' \
             pwd='88yXZajgGS00ziBDQ0yLtr9t'>{fingerprint}</transport>"
        );
        let inner = match transport_first {
            true => transport + &description,
            false => description + &transport,
        };
        let group = if groups { group.as_str() } else { "" };
        let pictures = match shows {
            true => {
                let own = match group.is_empty() {
                    true => inner.replace("r8tL", "v1d0"),
                    false => inner.clone(),
                };
                let own = own.replace("media='audio'", "media='video'");
                let own = own.replace(payloads, PICTURES);
                format!("<content creator='initiator' name='video'>{own}</content>")
            }
            false => String::new(),
        };
        format!("{group}<content creator='initiator' name='{name}'>{inner}</content>{pictures}")
    }

    fn initiate(&mut self) -> Act {
        let payloads = "<payload-type id='111' name='opus' clockrate='48000' channels='2'/>\
             <payload-type id='0' name='PCMU' clockrate='8000'/>\
             <payload-type id='110' name='telephone-event' clockrate='48000'/>\
             <payload-type id='126' name='telephone-event' clockrate='8000'/>";
        self.state = State::Initiated;
        self.dialect.content.clone_into(&mut self.content);
        let content = self.content("actpass", payloads);
        self.jingle("session-initiate", &content)
    }

    /// True if a stanza is about the session of this line.
    pub fn is_about(&self, stanza: &Element) -> bool {
        let named = |child: &Element| child.attr("sid").or(child.attr("id")) == Some(&*self.sid);
        !self.sid.is_empty() && stanza.children().any(named)
    }

    /// Dials a contact.
    pub fn dial(&mut self, contact: &str, sid: &str) -> Vec<Act> {
        self.sid = sid.to_owned();
        let Plan::Call {
            plain_jingle,
            end_after,
        } = self.plan
        else {
            return Vec::new();
        };
        let pictures = match self.habits.shows {
            true => "<description xmlns='urn:xmpp:jingle:apps:rtp:1' media='video'/>",
            false => "",
        };
        let mut acts = self.habitual();
        if plain_jingle {
            self.peer = format!("{contact}/phone");
            acts.push(self.initiate());
        } else {
            self.peer = contact.to_owned();
            self.state = State::Proposed;
            let propose = format!(
                "<propose xmlns='urn:xmpp:jingle-message:0' id='{sid}'>\
                 <description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/>{pictures}</propose>"
            );
            acts.push(self.message(contact, &propose));
            acts.extend(self.wait(Duration::from_secs(30)));
        }
        if let Some(after) = end_after {
            acts.push(Act::Wake(after, Wake::End));
        }
        acts
    }

    pub fn receive(&mut self, stanza: &Element) -> Vec<Act> {
        let mut acts = Vec::new();
        let from = stanza.attr("from").unwrap_or_default().to_owned();
        if !self.is_online {
            return self.bounce(stanza, &from);
        }
        match stanza.name() {
            "iq" if stanza.attr("type") == Some("set") || stanza.attr("type") == Some("get") => {
                let xml = format!(
                    "<iq xmlns='jabber:component:accept' type='result' id='{}' from='{}' \
                     to='{from}'/>",
                    stanza.attr("id").unwrap_or_default(),
                    self.jid
                );
                if self.dialect.acks {
                    acts.push(Act::Send(xml.parse().expect("our own XML")));
                }
                if let Some(jingle) = stanza.get_child("jingle", "urn:xmpp:jingle:1") {
                    acts.extend(self.receive_jingle(jingle, &from));
                }
            }
            "message" => {
                let payload = stanza
                    .children()
                    .find(|c| c.ns() == "urn:xmpp:jingle-message:0");
                if let Some(payload) = payload {
                    acts.extend(self.receive_message(payload, &from));
                }
                acts.extend(self.receive_text(stanza, &from));
                let body = stanza.children().find(|c| c.name() == "body");
                self.read.extend(body.map(Element::text));
            }
            _ => {}
        }
        acts
    }

    /// What the server of a client answers that is not there.
    fn bounce(&self, stanza: &Element, from: &str) -> Vec<Act> {
        if stanza.name() != "iq" || !matches!(stanza.attr("type"), Some("set" | "get")) {
            return Vec::new();
        }
        let xml = format!(
            "<iq xmlns='jabber:component:accept' type='error' id='{}' from='{}' to='{from}'>\
             <error type='cancel'><service-unavailable \
             xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
            stanza.attr("id").unwrap_or_default(),
            self.jid
        );
        vec![Act::Send(xml.parse().expect("our own XML"))]
    }

    fn receive_message(&mut self, payload: &Element, from: &str) -> Vec<Act> {
        let known = payload.attr("id") == Some(self.sid.as_str());
        let reason = payload
            .children()
            .find(|child| child.name() == "reason")
            .and_then(|reason| reason.children().next())
            .map_or("none", Element::name)
            .to_owned();
        if !self.dialect.invites {
            return Vec::new();
        }
        match (payload.name(), self.state) {
            ("propose", State::Idle | State::Over) => {
                self.sid = payload.attr("id").unwrap_or_default().to_owned();
                self.peer = from.to_owned();
                self.state = State::Ringing;
                let ringing = format!(
                    "<ringing xmlns='urn:xmpp:jingle-message:0' id='{}'/>",
                    self.sid
                );
                let mut acts = self.habitual();
                if self.dialect.rings {
                    acts.insert(0, self.message(from, &ringing));
                }
                match self.plan {
                    Plan::Answer { after, .. } => acts.push(Act::Wake(after, Wake::Answer)),
                    Plan::Decline { after } => acts.push(Act::Wake(after, Wake::Decline)),
                    Plan::Call { .. } | Plan::Ignore => {}
                }
                acts
            }
            ("ringing", State::Proposed) if known => {
                self.rang = true;
                self.wait(Duration::from_secs(45)).into_iter().collect()
            }
            ("proceed", State::Proposed) if known => {
                self.peer = from.to_owned();
                let patience = self.wait(Duration::from_secs(15));
                [Some(self.initiate()), patience]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            ("reject" | "retract" | "finish", state) if known && state != State::Over => {
                self.over(&format!("{} {reason}", payload.name()));
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn receive_jingle(&mut self, jingle: &Element, from: &str) -> Vec<Act> {
        if jingle.attr("sid") != Some(self.sid.as_str()) {
            return Vec::new();
        }
        let reason = jingle
            .children()
            .find(|child| child.name() == "reason")
            .and_then(|reason| reason.children().next())
            .map_or("none", Element::name)
            .to_owned();
        let action = jingle.attr("action").unwrap_or_default();
        if let Some(objection) = self.objection(action, jingle) {
            self.over(&format!("objects to {action}: {objection}"));
            let reason = "<reason><failed-application/></reason>";
            return vec![self.jingle("session-terminate", reason)];
        }
        match (action, self.state) {
            ("session-accept", State::Initiated) => self.talk(),
            ("session-info", State::Initiated) => {
                self.rang = true;
                Vec::new()
            }
            ("session-initiate", State::Proceeded) => {
                self.peer = from.to_owned();
                let content = jingle.children().find(|c| c.name() == "content");
                let name = content.and_then(|c| c.attr("name"));
                self.content = name.unwrap_or_default().to_owned();
                let payloads = "<payload-type id='0' name='PCMU' clockrate='8000'/>";
                let content = self.content("active", payloads);
                let mut acts = Vec::from([self.jingle("session-accept", &content)]);
                acts.extend(self.talk());
                if let Plan::Answer {
                    hangup_after: Some(after),
                    ..
                } = self.plan
                {
                    acts.push(Act::Wake(after, Wake::End));
                }
                acts
            }
            ("session-terminate", state) if state != State::Over => {
                let transferred = jingle
                    .children()
                    .flat_map(Element::children)
                    .any(|child| child.is("transferred", "urn:xmpp:jingle:transfer:0"));
                let how = if transferred { " transferred" } else { "" };
                self.over(&format!("terminate {reason}{how}"));
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// What a client of this family would break over: what their parsers and engines insist on.
    fn objection(&self, action: &str, jingle: &Element) -> Option<&'static str> {
        let dialect = self.dialect;
        let is_answer = match action {
            "session-accept" => true,
            "session-initiate" => false,
            "session-info" => {
                let rings = jingle.children().all(|c| c.name() == "ringing");
                return (!rings).then_some("no client needs that");
            }
            "session-terminate" => return None,
            "transport-info" => {
                let contents: Vec<_> = jingle.children().collect();
                let [content] = contents.as_slice() else {
                    return Some("not one content");
                };
                let transport = content.children().next()?;
                let named = ["ufrag", "pwd"]
                    .into_iter()
                    .all(|a| transport.attr(a).is_some());
                let few = transport.children().count() <= 1;
                return (!named || !few).then_some("credentials, and one candidate");
            }
            _ => return Some("an action that clients do not know"),
        };
        if is_answer && self.habits.shows {
            let wrong = self.objection_to_pictures(jingle);
            if wrong.is_some() {
                return wrong;
            }
        }
        let child =
            |element: &Element, name: &str| element.children().find(|c| c.name() == name).cloned();
        let content = child(jingle, "content")?;
        let (Some(description), Some(transport)) =
            (child(&content, "description"), child(&content, "transport"))
        else {
            return Some("no description or no transport");
        };
        let setup = child(&transport, "fingerprint")?.attr("setup")?.to_owned();
        let muxes = child(&description, "rtcp-mux").is_some();
        let grouped = child(jingle, "group").is_some();
        let payloads: Vec<_> = description
            .children()
            .filter(|c| c.name() == "payload-type")
            .collect();
        let candidates: Vec<_> = transport
            .children()
            .filter(|c| c.name() == "candidate")
            .collect();
        let components: Vec<_> = candidates
            .iter()
            .filter_map(|c| c.attr("component"))
            .collect();
        let whole = |candidate: &&&Element| {
            let number = |name| {
                candidate
                    .attr(name)
                    .is_some_and(|v| v.parse::<u32>().is_ok())
            };
            let numbers = ["foundation", "generation", "network", "port", "priority"];
            let known = candidate.attr("protocol") == Some("udp")
                && candidate.attr("ip").is_some()
                && candidate.attr("type").is_some();
            known && numbers.into_iter().all(number)
        };
        let first_is_sound = payloads
            .first()
            .is_some_and(|p| !["telephone-event", "CN"].contains(&p.attr("name").unwrap_or("CN")));
        let checks = [
            (
                is_answer && content.attr("name") != Some(dialect.content),
                "another content",
            ),
            (
                is_answer && setup == "actpass",
                "an answer that is undecided",
            ),
            (!is_answer && setup != "actpass", "an offer that is decided"),
            (is_answer && muxes != dialect.mux, "rtcp-mux"),
            (!is_answer && !muxes, "an offer without rtcp-mux"),
            (is_answer && grouped != dialect.groups, "the group"),
            (!first_is_sound, "telephone-event first"),
            (
                payloads.iter().any(|p| p.attr("clockrate").is_none()),
                "a payload without clockrate",
            ),
            (
                content.attr("senders").is_some_and(|s| s == "none"),
                "senders='none'",
            ),
            (!components.contains(&"1"), "no candidate"),
            (
                !dialect.mux && !components.contains(&"2"),
                "no candidate of component 2",
            ),
            (
                candidates.iter().filter(whole).count() != candidates.len(),
                "a candidate that is not whole",
            ),
        ];
        checks
            .into_iter()
            .find_map(|(broken, what)| broken.then_some(what))
    }

    /// The same of the second content: it is there, with one codec of ours, and with a transport that is
    /// the voice's exactly where we have bundled them.
    fn objection_to_pictures(&self, jingle: &Element) -> Option<&'static str> {
        let contents = jingle.children().filter(|c| c.name() == "content");
        let contents: Vec<_> = contents.collect();
        let [sound, pictures] = contents.as_slice() else {
            return Some("not the contents that were offered");
        };
        let part = |content: &Element, name: &str| {
            let found = content.children().find(|c| c.name() == name);
            found.cloned().unwrap_or_else(|| Element::bare("none", ""))
        };
        let ufrag = |content: &Element| part(content, "transport").attr("ufrag").map(str::to_owned);
        let payloads = part(pictures, "description");
        let payloads = payloads.children().filter(|c| c.name() == "payload-type");
        let ids: Vec<_> = payloads
            .filter_map(|p| p.attr("id"))
            .map(str::to_owned)
            .collect();
        let [id] = ids.as_slice() else {
            return Some("not one codec of pictures");
        };
        let checks = [
            (
                pictures.attr("name") != Some("video"),
                "another second content",
            ),
            (
                !["97", "98", "99"].contains(&id.as_str()),
                "a codec that was not offered",
            ),
            (
                (ufrag(sound) == ufrag(pictures)) != self.dialect.groups,
                "the transport of pictures",
            ),
            (pictures.attr("senders") != Some("both"), "pictures one way"),
        ];
        checks
            .into_iter()
            .find_map(|(broken, what)| broken.then_some(what))
    }

    pub fn wake(&mut self, wake: Wake) -> Vec<Act> {
        let sid = self.sid.clone();
        let jmi = |name: &str, reason: &str| {
            format!(
                "<{name} xmlns='urn:xmpp:jingle-message:0' id='{sid}'>\
                 <reason xmlns='urn:xmpp:jingle:1'><{reason}/></reason></{name}>"
            )
        };
        let peer = self.peer.clone();
        if !self.is_online && wake != Wake::Return {
            return Vec::new();
        }
        match (wake, self.state) {
            (Wake::Vanish, _) => {
                self.is_online = false;
                self.over("vanished");
                vec![self.presence("type='unavailable'")]
            }
            (Wake::Return, _) => {
                self.is_online = true;
                vec![self.presence("")]
            }
            (Wake::Move, State::Talking) => {
                self.sid = format!("{sid}-moved");
                self.state = State::Proposed;
                let bare = peer.split('/').next().unwrap_or_default().to_owned();
                self.peer.clone_from(&bare);
                let propose = format!(
                    "<propose xmlns='urn:xmpp:jingle-message:0' id='{}'>\
                     <description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></propose>",
                    self.sid
                );
                vec![self.message(&bare, &propose)]
            }
            (Wake::Transfer, State::Talking) => {
                const TRANSFER: &str = "xmlns='urn:xmpp:jingle:transfer:0'";
                let transfer = match &self.other_line {
                    Some((to, sid)) => {
                        let from = &self.jid;
                        format!("<transfer {TRANSFER} from='{from}' sid='{sid}' to='{to}'/>")
                    }
                    None => format!("<transfer {TRANSFER} to='+15559990000@phone.example.org'/>"),
                };
                vec![self.jingle("session-info", &transfer)]
            }
            (Wake::RestartIce, State::Talking) => {
                let content = format!(
                    "<content creator='initiator' name='{}'>\
                     <transport xmlns='urn:xmpp:jingle:transports:ice-udp:1' ufrag='neWf' \
                     pwd='another88yXZajgGS00ziBDQ'/></content>",
                    self.content
                );
                vec![self.jingle("transport-info", &content)]
            }
            (Wake::Hold(held), State::Talking) => {
                let word = if held { "hold" } else { "unhold" };
                let info = format!("<{word} xmlns='urn:xmpp:jingle:apps:rtp:info:1'/>");
                vec![self.jingle("session-info", &info)]
            }
            (Wake::Impatient(n), State::Proposed) if n == self.patience => {
                self.over("lost patience");
                vec![self.message(&peer, &jmi("retract", "timeout"))]
            }
            (Wake::Impatient(n), State::Initiated) if n == self.patience => {
                self.over("lost patience");
                let reason = "<reason><connectivity-error/></reason>";
                vec![
                    self.jingle("session-terminate", reason),
                    self.message(&peer, &jmi("finish", "connectivity-error")),
                ]
            }
            (Wake::Answer, State::Ringing) => {
                self.state = State::Proceeded;
                let body = format!("<proceed xmlns='urn:xmpp:jingle-message:0' id='{sid}'/>");
                vec![self.message(&peer, &body)]
            }
            (Wake::Decline, State::Ringing) => {
                self.over("declined");
                let said = self.dialect.declines.map(|reason| jmi("reject", reason));
                said.map(|said| self.message(&peer, &said))
                    .into_iter()
                    .collect()
            }
            (Wake::End, State::Proposed) => {
                self.over("retracted");
                let said = match self.dialect.calls_off_by {
                    CallsOffBy::Retract => jmi("retract", "cancel"),
                    CallsOffBy::Reject => {
                        format!("<reject xmlns='urn:xmpp:jingle-message:0' id='{sid}'/>")
                    }
                };
                vec![self.message(&peer, &said)]
            }
            (Wake::End, State::Initiated) => {
                self.over("cancelled");
                vec![self.jingle("session-terminate", "<reason><cancel/></reason>")]
            }
            (Wake::End, State::Talking) => {
                self.over("hung up");
                let terminate = self.jingle("session-terminate", "<reason><success/></reason>");
                let bare = peer.split('/').next().unwrap_or_default().to_owned();
                match self.dialect.hangs_up_by {
                    HangsUpBy::Terminate => vec![terminate],
                    HangsUpBy::TerminateAndFinish => {
                        vec![terminate, self.message(&peer, &jmi("finish", "success"))]
                    }
                    HangsUpBy::FinishBareAndTerminate => {
                        vec![self.message(&bare, &jmi("finish", "success")), terminate]
                    }
                }
            }
            _ => Vec::new(),
        }
    }

    fn over(&mut self, how: &str) {
        self.state = State::Over;
        self.ended = Some(how.to_owned());
    }
}
