//! A telephone of the simulated world: a small SIP user agent written apart from the gateway's,
//! with RFC 3261's retransmissions and little else.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What the phone does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Rings, answers after so long, and hangs up after so long again, if it says so.
    Answer {
        after: Duration,
        hangup_after: Option<Duration>,
    },
    /// Answers with this final status after having rung for so long.
    Refuse { after: Duration, status: u16 },
    /// Rings for ever.
    Ring,
    /// Says nothing at all.
    Silent,
}

/// What a phone does beside its plan, once somebody talks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Habits {
    /// Asks for a password with this status, 401 or 407, before it takes a call.
    pub challenge: Option<u16>,
    /// Puts the call on hold this long after it was answered.
    pub hold_after: Option<Duration>,
    /// Takes it up again after so long.
    pub hold_for: Option<Duration>,
    /// Presses a key this long after the answer, told by INFO.
    pub press_after: Option<Duration>,
    /// Wants the gateway to refresh each call within so many seconds (RFC 4028).
    pub session_expires: Option<u32>,
    /// Takes REFER, and tells a second later that this became of it. Without it, REFER is not
    /// allowed.
    pub refers: Option<u16>,
    /// Answers texts with this status.
    pub refuses_texts: Option<u16>,
    /// Writes within a call this long after it was answered.
    pub writes_after: Option<Duration>,
    /// Has pictures where it is offered some.
    pub shows: bool,
    /// Hears nothing, and says nothing but what it had begun to say.
    pub is_deaf: bool,
}

/// What the phone wants to send or to be reminded of.
#[derive(Debug)]
pub enum Act {
    Send(Vec<u8>),
    Wake(Duration, Wake),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The next step of the plan of a call.
    Step(String),
    /// Hang up.
    Hangup(String),
    /// Send the final answer again, after this interval, unless it was acknowledged.
    RepeatFinal(String, Duration),
    /// Send a request again, after this interval, unless it was answered.
    RepeatRequest(String, Duration),
    /// Offer anew within the call: on hold, or not.
    Offer(String, bool),
    /// Press a key.
    Press(String),
    /// Tell what became of the transfer.
    Notify(String),
    /// Write within the call.
    Write(String),
    /// Send a text again, after this interval, unless it was answered.
    RepeatText(String, Duration),
}

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);
/// Longer than the gateway lets anybody ring.
const RING_LIMIT: Duration = Duration::from_secs(180);
/// Longer than the gateway lets anybody talk. Each BYE of a call may be lost eleven times, once in
/// 100,000 worlds: then somebody must notice the silence.
const TALK_LIMIT: Duration = Duration::from_secs(5 * 3600);
const GIVE_UP: Duration = Duration::from_secs(32);

#[derive(Debug)]
struct Call {
    invite: String,
    state: State,
    /// Our dialog's other tag, and what is sent again until it is answered.
    pending: Option<String>,
    since_pending: Duration,
    cseq: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// We call; nothing was heard yet.
    Calling,
    /// We call; a provisional response came.
    Waiting,
    Ringing,
    Answered,
    Talking,
    Refused,
    Ending,
    Over,
}

#[derive(Debug)]
pub struct Phone {
    pub plan: Plan,
    pub habits: Habits,
    calls: BTreeMap<String, Call>,
    /// Calls that were answered and ended by a BYE, either way.
    pub hung_up: usize,
    pub cancelled: usize,
    pub acked: usize,
    pub answered: usize,
    pub challenged: usize,
    pub offered: usize,
    /// Requests to register, with and without a password.
    pub registered: usize,
    /// INVITEs within calls.
    pub refreshed: usize,
    /// Whom it was asked to call.
    pub referred: Vec<String>,
    /// Where it was told to send sound, each place once.
    pub told: Vec<u16>,
    /// The same of pictures.
    pub told_pictures: Vec<u16>,
    /// Texts that came, each once, with who wrote them.
    pub texts: Vec<(String, String)>,
    heard: BTreeSet<String>,
    /// Texts of ours that nobody has answered, and how long they wait.
    writing: BTreeMap<String, (String, Duration)>,
    /// What our texts were answered, each time that something came.
    pub fates: Vec<(String, u16)>,
}

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
    m=audio 30000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-16\r\na=sendrecv\r\n";

impl Phone {
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            habits: Habits::default(),
            calls: BTreeMap::new(),
            hung_up: 0,
            cancelled: 0,
            acked: 0,
            answered: 0,
            challenged: 0,
            offered: 0,
            registered: 0,
            refreshed: 0,
            referred: Vec::new(),
            told: Vec::new(),
            told_pictures: Vec::new(),
            texts: Vec::new(),
            heard: BTreeSet::new(),
            writing: BTreeMap::new(),
            fates: Vec::new(),
        }
    }

    /// Calls that are not over.
    pub fn open_calls(&self) -> usize {
        self.calls
            .values()
            .filter(|c| c.state != State::Over)
            .count()
    }

    pub fn receive(&mut self, bytes: &[u8]) -> Vec<Act> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if self.habits.is_deaf {
            return Vec::new();
        }
        for (kind, told) in [
            ("m=audio ", &mut self.told),
            ("m=video ", &mut self.told_pictures),
        ] {
            let line = text.lines().find_map(|line| line.strip_prefix(kind));
            let port = line.and_then(|rest| rest.split(' ').next()?.parse().ok());
            told.extend(port.filter(|p| !told.contains(p)));
        }
        if text.starts_with("SIP/2.0 ") {
            return self.response(&text);
        }
        let method = text.split(' ').next().unwrap_or_default().to_owned();
        let id = header(&text, "Call-ID");
        match method.as_str() {
            "OPTIONS" => vec![Act::Send(reply(&text, 200, "", None))],
            "REGISTER" => self.register(&text),
            "INVITE" => self.invite(&id, text),
            "MESSAGE" => self.message(&text),
            "ACK" => {
                let mut acts = Vec::new();
                let number = header(&text, "CSeq").replace("ACK", "INVITE");
                if let Some(call) = self.calls.get_mut(&id)
                    // Not the late ACK of a refusal that asked for a password.
                    && header(&call.invite, "CSeq") == number
                {
                    match call.state {
                        State::Answered => {
                            call.pending = None;
                            call.state = State::Talking;
                            self.acked += 1;
                            acts.extend(habitual(self.habits, &id));
                        }
                        State::Refused => {
                            call.pending = None;
                            call.state = State::Over;
                        }
                        // It may hang up before the ACK comes: then the BYE is pending.
                        _ => {}
                    }
                }
                acts
            }
            "CANCEL" => self.cancel(&id, &text),
            "BYE" => {
                let mut known = false;
                if let Some(call) = self.calls.get_mut(&id) {
                    known = true;
                    if call.state != State::Over {
                        call.state = State::Over;
                        call.pending = None;
                        self.hung_up += 1;
                    }
                }
                let status = if known { 200 } else { 481 };
                vec![Act::Send(reply(&text, status, "", None))]
            }
            "REFER" if self.habits.refers.is_some() => self.refer(&id, &text),
            _ => vec![Act::Send(reply(&text, 405, "", None))],
        }
    }

    fn refer(&mut self, id: &str, text: &str) -> Vec<Act> {
        let talks = self
            .calls
            .get(id)
            .is_some_and(|c| c.state == State::Talking);
        if !talks {
            return vec![Act::Send(reply(text, 481, "", None))];
        }
        self.referred.push(header(text, "Refer-To"));
        let later = Duration::from_secs(1);
        vec![
            Act::Send(reply(text, 202, "", None)),
            Act::Wake(later, Wake::Notify(id.to_owned())),
        ]
    }

    /// Tells what became of a transfer (RFC 3515 §2.4.5).
    fn notify(&mut self, id: &str) -> Vec<Act> {
        let status = self.habits.refers.unwrap_or(503);
        let Some(call) = self.calls.get_mut(id).filter(|c| c.state == State::Talking) else {
            return Vec::new();
        };
        call.cseq += 1;
        let line = format!("SIP/2.0 {status} Because\r\n");
        let body = Some(("message/sipfrag", line.as_str()));
        let notify = within(&call.invite, id, "NOTIFY", call.cseq, "notify", body);
        let state = "Event: refer\r\nSubscription-State: terminated;reason=noresource";
        vec![Act::Send(with_header(notify.as_bytes(), state))]
    }

    fn register(&mut self, text: &str) -> Vec<Act> {
        self.registered += 1;
        let (status, more) = match header(text, "Authorization").is_empty() {
            true => {
                let nonce = self.registered;
                let realm = "Digest realm=\"carrier\", algorithm=MD5";
                let asks = format!("WWW-Authenticate: {realm}, nonce=\"r{nonce}\"");
                (401, asks)
            }
            false => (200, format!("Expires: {}", header(text, "Expires"))),
        };
        vec![Act::Send(with_header(
            &reply(text, status, "registrar", None),
            &more,
        ))]
    }

    fn invite(&mut self, id: &str, text: String) -> Vec<Act> {
        if header(&text, "To").contains("tag=") {
            self.refreshed += 1;
        }
        if let Some(call) = self.calls.get(id) {
            // A repeated INVITE; a re-INVITE has a To tag and is answered as it stands.
            return match call.state {
                State::Ringing => vec![Act::Send(reply(&call.invite, 180, id, None))],
                _ if header(&text, "To").contains("tag=") => {
                    let sdp = along(&text, self.habits);
                    let answer = reply(&text, 200, id, Some(&sdp));
                    vec![Act::Send(timed(self.habits, answer, "uac"))]
                }
                _ => Vec::new(),
            };
        }
        if self.plan == Plan::Silent {
            return Vec::new();
        }
        if let Some(challenge) = self.challenge(&text) {
            return vec![Act::Send(challenge)];
        }
        let call = Call {
            invite: text.clone(),
            state: State::Ringing,
            pending: None,
            since_pending: Duration::ZERO,
            cseq: 1,
        };
        self.calls.insert(id.to_owned(), call);
        let mut acts = vec![
            Act::Send(reply(&text, 100, "", None)),
            Act::Send(reply(&text, 180, id, None)),
        ];
        match self.plan {
            Plan::Answer { after, .. } | Plan::Refuse { after, .. } => {
                acts.push(Act::Wake(after, Wake::Step(id.to_owned())));
            }
            Plan::Ring => acts.push(Act::Wake(RING_LIMIT, Wake::Step(id.to_owned()))),
            Plan::Silent => {}
        }
        acts
    }

    /// The answer to a request without a password, if one is wanted.
    fn challenge(&mut self, text: &str) -> Option<Vec<u8>> {
        let status = self.habits.challenge?;
        let (asks, tells) = match status {
            401 => ("WWW-Authenticate", "Authorization"),
            _ => ("Proxy-Authenticate", "Proxy-Authorization"),
        };
        if !header(text, tells).is_empty() {
            return None;
        }
        self.challenged += 1;
        let nonce = self.challenged;
        let value = format!("{asks}: Digest realm=\"carrier\", nonce=\"n{nonce}\", algorithm=MD5");
        Some(with_header(&reply(text, status, "wall", None), &value))
    }

    /// A text (RFC 3428).
    fn message(&mut self, text: &str) -> Vec<Act> {
        if self.plan == Plan::Silent {
            return Vec::new();
        }
        if let Some(challenge) = self.challenge(text) {
            return vec![Act::Send(challenge)];
        }
        assert!(header(text, "Contact").is_empty(), "RFC 3428 §4: {text}");
        assert!(text.len() <= 1_300, "RFC 3428 §8: {} bytes", text.len());
        let mark = header(text, "Call-ID") + &header(text, "CSeq");
        if self.heard.insert(mark) && self.habits.refuses_texts.is_none() {
            let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            self.texts.push((header(text, "From"), body.to_owned()));
        }
        let status = self.habits.refuses_texts.unwrap_or(200);
        vec![Act::Send(reply(text, status, "reader", None))]
    }

    /// Writes to one of our numbers.
    pub fn write(&mut self, id: &str, number: &str, body: &str) -> Vec<Act> {
        let message = format!(
            "MESSAGE sip:{number}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;\
             branch=z9hG4bK{id};rport\r\nMax-Forwards: 70\r\n\
             From: \"Romeo\" <sip:+15557654321@192.0.2.10>;tag=writer\r\n\
             To: <sip:{number}@192.0.2.1>\r\nCall-ID: {id}\r\nCSeq: 1 MESSAGE\r\n\
             Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.writing
            .insert(id.to_owned(), (message.clone(), Duration::ZERO));
        vec![
            Act::Send(message.into_bytes()),
            Act::Wake(T1, Wake::RepeatText(id.to_owned(), T1)),
        ]
    }

    fn repeat_text(&mut self, id: &str, interval: Duration) -> Vec<Act> {
        let Some((message, waited)) = self.writing.get_mut(id) else {
            return Vec::new();
        };
        *waited += interval;
        if *waited >= GIVE_UP {
            self.writing.remove(id);
            return Vec::new();
        }
        let next = (interval * 2).min(T2);
        vec![
            Act::Send(message.clone().into_bytes()),
            Act::Wake(next, Wake::RepeatText(id.to_owned(), next)),
        ]
    }

    /// Writes within a call, once.
    fn write_within(&mut self, id: &str) -> Vec<Act> {
        let Some(call) = self.calls.get_mut(id) else {
            return Vec::new();
        };
        call.cseq += 1;
        let body = Some(("text/plain", "Are you still there?"));
        let message = within(&call.invite, id, "MESSAGE", call.cseq, "text", body);
        vec![Act::Send(message.into_bytes())]
    }

    fn cancel(&mut self, id: &str, text: &str) -> Vec<Act> {
        let Some(call) = self.calls.get_mut(id) else {
            return vec![Act::Send(reply(text, 481, "", None))];
        };
        let mut acts = vec![Act::Send(reply(text, 200, id, None))];
        if call.state == State::Ringing {
            self.cancelled += 1;
            call.state = State::Refused;
            let final_answer = reply(&call.invite, 487, id, None);
            acts.extend(start_final(call, id, final_answer));
        }
        acts
    }

    /// Calls one of our numbers; hangs up after so long, if it says so.
    pub fn call(&mut self, id: &str, number: &str, end_after: Option<Duration>) -> Vec<Act> {
        let invite = timed(self.habits, invite(id, number), "uas");
        let call = Call {
            invite: String::from_utf8_lossy(&invite).into_owned(),
            state: State::Calling,
            pending: Some(String::from_utf8_lossy(&invite).into_owned()),
            since_pending: Duration::ZERO,
            cseq: 1,
        };
        self.calls.insert(id.to_owned(), call);
        let mut acts = vec![
            Act::Send(invite),
            Act::Wake(T1, Wake::RepeatRequest(id.to_owned(), T1)),
        ];
        if let Some(after) = end_after {
            acts.push(Act::Wake(after, Wake::Hangup(id.to_owned())));
        }
        acts
    }

    /// A response to an INVITE of ours (RFC 3261 §13.2.2, §17.1.1.3).
    fn invite_answered(&mut self, id: &str, text: &str) -> Vec<Act> {
        let Some(call) = self.calls.get_mut(id) else {
            return Vec::new();
        };
        let status: u16 = text[8..11].parse().unwrap_or(0);
        match status {
            100..=199 => {
                if call.state == State::Calling {
                    call.state = State::Waiting;
                    call.pending = None;
                }
                Vec::new()
            }
            200..=299 => {
                if matches!(call.state, State::Calling | State::Waiting) {
                    call.state = State::Talking;
                    call.pending = None;
                    self.answered += 1;
                    // Where the BYE will find the other tag.
                    let to = format!("\r\nX-To: {}\r\nFrom:", header(text, "To"));
                    call.invite = call.invite.replacen("\r\nFrom:", &to, 1);
                    let mut acts = vec![Act::Send(ack(&call.invite, text, true))];
                    acts.extend(habitual(self.habits, id));
                    return acts;
                }
                vec![Act::Send(ack(&call.invite, text, true))]
            }
            _ => {
                if matches!(call.state, State::Calling | State::Waiting) {
                    call.state = State::Over;
                    call.pending = None;
                }
                vec![Act::Send(ack(&call.invite, text, false))]
            }
        }
    }

    fn response(&mut self, text: &str) -> Vec<Act> {
        let id = header(text, "Call-ID");
        let method = header(text, "CSeq")
            .split(' ')
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        if method == "MESSAGE" {
            self.writing.remove(&id);
            let status = text[8..11].parse().unwrap_or(0);
            self.fates.push((id, status));
            return Vec::new();
        }
        if method == "INVITE" && header(text, "Via").contains("offer") {
            return self.offer_answered(&id, text);
        }
        if method == "INVITE" {
            return self.invite_answered(&id, text);
        }
        if let ("BYE", Some(call)) = (method.as_str(), self.calls.get_mut(&id))
            && !text.starts_with("SIP/2.0 1")
            && call.state == State::Ending
        {
            call.state = State::Over;
            call.pending = None;
            self.hung_up += 1;
        }
        Vec::new()
    }

    pub fn wake(&mut self, wake: Wake) -> Vec<Act> {
        match wake {
            Wake::Step(id) => self.step(&id),
            Wake::Hangup(id) => self.hangup(&id),
            Wake::RepeatFinal(id, interval) => self.repeat(&id, interval, true),
            Wake::RepeatRequest(id, interval) => self.repeat(&id, interval, false),
            Wake::Offer(id, hold) => self.offer(&id, hold),
            Wake::Press(id) => self.press(&id),
            Wake::Notify(id) => self.notify(&id),
            Wake::Write(id) => self.write_within(&id),
            Wake::RepeatText(id, interval) => self.repeat_text(&id, interval),
        }
    }

    /// Offers within the call (RFC 3264 §8.4).
    fn offer(&mut self, id: &str, hold: bool) -> Vec<Act> {
        let Some(call) = self.calls.get_mut(id) else {
            return Vec::new();
        };
        if call.state != State::Talking || call.pending.is_some() {
            return Vec::new();
        }
        call.cseq += 1;
        let mut sdp = along(&call.invite, self.habits);
        if hold {
            sdp = sdp.replace("sendrecv", "sendonly");
        }
        let body = Some(("application/sdp", sdp.as_str()));
        let offer = within(&call.invite, id, "INVITE", call.cseq, "offer", body);
        call.pending = Some(offer.clone());
        call.since_pending = Duration::ZERO;
        vec![
            Act::Send(offer.into_bytes()),
            Act::Wake(T1, Wake::RepeatRequest(id.to_owned(), T1)),
        ]
    }

    fn offer_answered(&mut self, id: &str, text: &str) -> Vec<Act> {
        let Some(call) = self.calls.get_mut(id) else {
            return Vec::new();
        };
        if call.state == State::Talking {
            call.pending = None;
        }
        if text.starts_with("SIP/2.0 1") {
            return Vec::new();
        }
        let cseq = header(text, "CSeq");
        let cseq = cseq.split(' ').next().and_then(|n| n.parse().ok());
        if text.starts_with("SIP/2.0 2") {
            self.offered += 1;
        }
        // RFC 3261 §17.1.1.3: only the ACK of a success has a branch of its own.
        let mark = if text.starts_with("SIP/2.0 2") {
            "ack"
        } else {
            "offer"
        };
        let ack = within(&call.invite, id, "ACK", cseq.unwrap_or(0), mark, None);
        vec![Act::Send(ack.into_bytes())]
    }

    fn press(&mut self, id: &str) -> Vec<Act> {
        let Some(call) = self.calls.get_mut(id) else {
            return Vec::new();
        };
        if call.state != State::Talking || call.pending.is_some() {
            return Vec::new();
        }
        call.cseq += 1;
        let body = Some(("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"));
        let info = within(&call.invite, id, "INFO", call.cseq, "info", body);
        vec![Act::Send(info.into_bytes())]
    }

    fn step(&mut self, id: &str) -> Vec<Act> {
        let plan = self.plan;
        let habits = self.habits;
        let Some(call) = self.calls.get_mut(id).filter(|c| c.state == State::Ringing) else {
            return Vec::new();
        };
        match plan {
            Plan::Answer { hangup_after, .. } => {
                call.state = State::Answered;
                self.answered += 1;
                let sdp = along(&call.invite, habits);
                let answer = reply(&call.invite, 200, id, Some(&sdp));
                let answer = timed(habits, answer, "uac");
                let mut acts = start_final(call, id, answer);
                if let Some(after) = hangup_after {
                    acts.push(Act::Wake(after, Wake::Hangup(id.to_owned())));
                }
                acts
            }
            Plan::Refuse { status, .. } => {
                call.state = State::Refused;
                let answer = reply(&call.invite, status, id, None);
                start_final(call, id, answer)
            }
            // Nobody came to the phone, and nobody cancelled: the last CANCEL was lost for good.
            Plan::Ring => {
                call.state = State::Refused;
                let answer = reply(&call.invite, 480, id, None);
                start_final(call, id, answer)
            }
            Plan::Silent => Vec::new(),
        }
    }

    fn hangup(&mut self, id: &str) -> Vec<Act> {
        let Some(call) = self.calls.get_mut(id) else {
            return Vec::new();
        };
        match call.state {
            State::Talking | State::Answered => {}
            // Before the answer a caller cancels.
            State::Waiting => {
                let cancel = cancel_of(&call.invite);
                return vec![Act::Send(cancel.into_bytes())];
            }
            State::Calling | State::Ringing | State::Refused | State::Ending | State::Over => {
                return Vec::new();
            }
        }
        call.state = State::Ending;
        call.cseq += 1;
        let bye = within(&call.invite, id, "BYE", call.cseq, "bye", None);
        call.pending = Some(bye.clone());
        call.since_pending = Duration::ZERO;
        vec![
            Act::Send(bye.into_bytes()),
            Act::Wake(T1, Wake::RepeatRequest(id.to_owned(), T1)),
        ]
    }

    fn repeat(&mut self, id: &str, interval: Duration, is_final: bool) -> Vec<Act> {
        let Some(call) = self.calls.get_mut(id) else {
            return Vec::new();
        };
        let fits = match call.state {
            State::Answered | State::Refused => is_final,
            State::Ending | State::Calling | State::Talking => !is_final,
            State::Waiting | State::Ringing | State::Over => false,
        };
        let Some(message) = call.pending.clone().filter(|_| fits) else {
            return Vec::new();
        };
        call.since_pending += interval;
        if call.since_pending >= GIVE_UP && call.state == State::Talking {
            // RFC 3261 §14.1: the session stands as before.
            call.pending = None;
            return Vec::new();
        }
        if call.since_pending >= GIVE_UP {
            call.state = State::Over;
            call.pending = None;
            return Vec::new();
        }
        let next = (interval * 2).min(T2);
        let wake = if is_final {
            Wake::RepeatFinal(id.to_owned(), next)
        } else {
            Wake::RepeatRequest(id.to_owned(), next)
        };
        vec![Act::Send(message.into_bytes()), Act::Wake(next, wake)]
    }
}

/// What it does with a call that was answered.
fn habitual(habits: Habits, id: &str) -> Vec<Act> {
    let Habits {
        challenge: _,
        hold_after,
        hold_for,
        press_after,
        session_expires: _,
        refers: _,
        refuses_texts: _,
        writes_after,
        shows: _,
        is_deaf: _,
    } = habits;
    let mut acts = vec![Act::Wake(TALK_LIMIT, Wake::Hangup(id.to_owned()))];
    if let Some(after) = hold_after {
        acts.push(Act::Wake(after, Wake::Offer(id.to_owned(), true)));
        if let Some(time) = hold_for {
            acts.push(Act::Wake(after + time, Wake::Offer(id.to_owned(), false)));
        }
    }
    if let Some(after) = writes_after {
        acts.push(Act::Wake(after, Wake::Write(id.to_owned())));
    }
    if let Some(after) = press_after {
        acts.push(Act::Wake(after, Wake::Press(id.to_owned())));
    }
    acts
}

fn start_final(call: &mut Call, id: &str, message: Vec<u8>) -> Vec<Act> {
    call.pending = Some(String::from_utf8_lossy(&message).into_owned());
    call.since_pending = Duration::ZERO;
    vec![
        Act::Send(message),
        Act::Wake(T1, Wake::RepeatFinal(id.to_owned(), T1)),
    ]
}

/// Our description along the one in `request`: VP8 where that has pictures and we do, or a refusal of
/// them (RFC 3264 §6).
fn along(request: &str, habits: Habits) -> String {
    let mut sdp = SDP.to_owned();
    if !request.contains("\r\nm=video ") {
        return sdp;
    }
    let named = request.lines().find(|line| line.ends_with(" VP8/90000"));
    let number = named
        .and_then(|line| line.strip_prefix("a=rtpmap:")?.split(' ').next())
        .unwrap_or("34");
    let port = if habits.shows { 31_000 } else { 0 };
    sdp += &format!("m=video {port} RTP/AVP {number}\r\n");
    if habits.shows {
        sdp += &format!("a=rtpmap:{number} VP8/90000\r\na=sendrecv\r\n");
    }
    sdp
}

/// What a 2xx or an INVITE says of session timers, and of what the phone takes.
fn timed(habits: Habits, message: Vec<u8>, refresher: &str) -> Vec<u8> {
    let message = match habits.refers {
        Some(_) => with_header(
            &message,
            "Allow: INVITE, ACK, BYE, CANCEL, REFER, NOTIFY\r\nSupported: replaces",
        ),
        None => message,
    };
    match habits.session_expires {
        Some(seconds) => {
            let timer =
                format!("Supported: timer\r\nSession-Expires: {seconds};refresher={refresher}");
            with_header(&message, &timer)
        }
        None => message,
    }
}

/// A message with one more header, or several lines of them.
fn with_header(message: &[u8], line: &str) -> Vec<u8> {
    let with = format!("\r\n{line}\r\nCSeq:");
    String::from_utf8_lossy(message)
        .replacen("\r\nCSeq:", &with, 1)
        .into_bytes()
}

/// The first header of a name, long form only: the gateway writes no other.
fn header(text: &str, name: &str) -> String {
    let prefix = format!("{}:", name.to_ascii_lowercase());
    text.lines()
        .take_while(|line| !line.is_empty())
        .find(|line| line.to_ascii_lowercase().starts_with(&prefix))
        .and_then(|line| line.split_once(':'))
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default()
}

fn reply(request: &str, status: u16, tag: &str, sdp: Option<&str>) -> Vec<u8> {
    let mut to = header(request, "To");
    if !tag.is_empty() && !to.contains("tag=") {
        to = format!("{to};tag=phone");
    }
    let body = sdp.unwrap_or_default();
    let vias: String = request
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.to_ascii_lowercase().starts_with("via:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    let content = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "SIP/2.0 {status} Because\r\n{vias}From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:phone@192.0.2.10:5060>\r\n{content}Content-Length: {}\r\n\r\n{body}",
        header(request, "From"),
        header(request, "Call-ID"),
        header(request, "CSeq"),
        body.len()
    )
    .into_bytes()
}

/// A request within the dialog of an INVITE, whichever way that went.
fn within(
    invite: &str,
    id: &str,
    method: &str,
    cseq: u32,
    mark: &str,
    body: Option<(&str, &str)>,
) -> String {
    let is_caller = header(invite, "From").contains("tag=caller");
    let (target, from, to) = if is_caller {
        let target = "sip:gateway@192.0.2.1".to_owned();
        (target, header(invite, "From"), header(invite, "X-To"))
    } else {
        let contact = header(invite, "Contact");
        let target = contact.trim_start_matches('<').split('>').next();
        let mut from = header(invite, "To");
        if !from.contains("tag=") {
            from = format!("{from};tag=phone");
        }
        (
            target.unwrap_or_default().to_owned(),
            from,
            header(invite, "From"),
        )
    };
    let (kind, body) = body.map_or((String::new(), ""), |(kind, body)| {
        (format!("Content-Type: {kind}\r\n"), body)
    });
    format!(
        "{method} {target} SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{id}{mark}{cseq};rport\r\n\
         Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {id}\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:phone@192.0.2.10:5060>\r\n{kind}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// An INVITE of the phone's network to one of our numbers.
pub fn invite(id: &str, number: &str) -> Vec<u8> {
    format!(
        "INVITE sip:{number}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;\
         branch=z9hG4bK{id};rport\r\nMax-Forwards: 70\r\n\
         From: \"Romeo\" <sip:+15557654321@192.0.2.10>;tag=caller\r\nTo: <sip:{number}@192.0.2.1>\r\n\
         Call-ID: {id}\r\nCSeq: 1 INVITE\r\nContact: <sip:phone@192.0.2.10:5060>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
        SDP.len()
    )
    .into_bytes()
}

/// The ACK of a final response: in the transaction's own branch, unless it is a 2xx.
fn ack(invite: &str, response: &str, is_success: bool) -> Vec<u8> {
    let id = header(invite, "Call-ID");
    let branch = if is_success {
        format!("{id}ack")
    } else {
        id.clone()
    };
    let target = if is_success {
        let contact = header(response, "Contact");
        contact
            .trim_start_matches('<')
            .split('>')
            .next()
            .unwrap_or_default()
            .to_owned()
    } else {
        invite.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    format!(
        "ACK {target} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK{branch};rport\r\n\
         Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {id}\r\nCSeq: 1 ACK\r\n\
         Content-Length: 0\r\n\r\n",
        header(invite, "From"),
        header(response, "To"),
    )
    .into_bytes()
}

fn cancel_of(invite: &str) -> String {
    let id = header(invite, "Call-ID");
    format!(
        "CANCEL {} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\n\
         Call-ID: {id}\r\nCSeq: 1 CANCEL\r\nContent-Length: 0\r\n\r\n",
        invite.split(' ').nth(1).unwrap_or_default(),
        header(invite, "Via"),
        header(invite, "From"),
        header(invite, "To"),
    )
}
