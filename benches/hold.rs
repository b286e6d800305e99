//! Many calls at a time through the SIP room alone, and scanners against the whole program.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use offhook::leg::{End, EndReason, LegCommand};

use crate::gateway::{Gateway, free_port};
use crate::rooms::{Side, description, exchange, leg, offer, ours, theirs};
use crate::table::{Table, short};
use crate::{Failure, machine};

const OPEN: u64 = 10_000;
/// Between two calls on the room's clock: 500 a second.
const PACE: Duration = Duration::from_millis(2);
const HELD: Duration = Duration::from_secs(120);
/// Longer than any transaction lingers (RFC 3261 §17).
const REST: Duration = Duration::from_secs(40);

/// Calls that are all up at the same time, held, and hung up.
pub fn hold(_offhook: &Path, table: &mut Table) -> Result<(), Failure> {
    let mut now = Instant::now();
    let before = machine::resident(std::process::id())?;
    let mut sides = [
        Side::new(ours(), theirs(), now)?,
        Side::new(theirs(), ours(), now)?,
    ];
    for count in 1..=OPEN {
        pass(&mut sides, &mut now, PACE);
        sides[0].does(|sip| sip.command(now, leg(count), offer()));
        exchange(&mut sides, now);
        let (far, _) = sides[1].events.pop_front().ok_or("the call did not come")?;
        sides[1].does(|sip| sip.command(now, far, LegCommand::Answer(description(5000))));
        exchange(&mut sides, now);
        for side in &mut sides {
            side.events.clear();
        }
    }
    let open = sides[1].sip.census().legs;
    if open as u64 != OPEN {
        return Err(format!("{open} of {OPEN} calls are up").into());
    }
    let grown = machine::resident(std::process::id())?.saturating_sub(before);
    let set_up = sides[1].spent;
    let mut held = Duration::ZERO;
    while held < HELD {
        pass(&mut sides, &mut now, Duration::from_millis(100));
        held += Duration::from_millis(100);
    }
    let holding = sides[1].spent - set_up;
    for count in 1..=OPEN {
        pass(&mut sides, &mut now, PACE);
        let end = LegCommand::End(End::from(EndReason::Hangup));
        sides[0].does(|sip| sip.command(now, leg(count), end));
        exchange(&mut sides, now);
        for side in &mut sides {
            side.events.clear();
        }
    }
    let hanging_up = sides[1].spent - set_up - holding;
    pass(&mut sides, &mut now, REST);
    let left = sides[1].sip.census();

    let percent = |cpu: Duration, of: Duration| cpu.as_secs_f64() / of.as_secs_f64() * 100.0;
    let span = PACE * u32::try_from(OPEN)?;
    let what = "10,000 calls at a time, SIP room alone";
    table.at_most(
        &format!("{what}: set up at 500/s, of one core"),
        percent(set_up, span),
        10.0,
        "%",
    );
    table.at_most(
        &format!("{what}: held for 120 s, of one core"),
        percent(holding, HELD),
        1.0,
        "%",
    );
    table.at_most(
        &format!("{what}: hung up at 500/s, of one core"),
        percent(hanging_up, span),
        10.0,
        "%",
    );
    // Both ends of each call live in this process.
    let per_call = grown as f64 / 2.0 / OPEN as f64 / 1024.0;
    table.note(
        &format!("{what}: memory of each"),
        format!("{} KiB", short(per_call)),
    );
    table.at_most(
        &format!("{what}: legs, transactions and timers left"),
        (left.legs + left.sessions + left.servers + left.clients + left.timers) as f64,
        0.0,
        "",
    );
    Ok(())
}

/// Lets so much time pass.
fn pass(sides: &mut [Side; 2], now: &mut Instant, span: Duration) {
    *now += span;
    loop {
        let mut is_quiet = true;
        for side in sides.iter_mut() {
            if side.sip.poll_timeout().is_some_and(|at| at <= *now) {
                side.does(|sip| sip.handle_timeout(*now));
                is_quiet = false;
            }
        }
        exchange(sides, *now);
        if is_quiet {
            return;
        }
    }
}

const SCAN: Duration = Duration::from_secs(10);
/// Requests of strangers in each millisecond.
const A_MILLISECOND: u32 = 10;
/// Addresses that they come from.
const STRANGERS: u8 = 200;

/// 10,000 requests a second of unknown sources, and what a call notices of it.
pub fn scanner(offhook: &Path, table: &mut Table) -> Result<(), Failure> {
    let phone = free_port()?;
    let trunk = UdpSocket::bind(phone)?;
    trunk.set_nonblocking(true)?;
    let mut gateway = Gateway::start(offhook, phone)?;
    // The link is up; nobody talks on it.
    let _link = gateway.link.take();
    let sip = gateway.sip;
    trunk.connect(sip)?;
    let strangers: Vec<UdpSocket> = (1..=STRANGERS)
        .map(|last| UdpSocket::bind(SocketAddr::from(([127, 0, 1, last], 0))))
        .collect::<Result<_, _>>()?;
    for stranger in &strangers {
        stranger.connect(sip)?;
    }
    let mut calls = Calls::default();
    let quiet = calls.run(&trunk, Duration::from_secs(3), |_| Ok(()))?;
    let before = machine::cpu(gateway.pid())?;
    let mut sent = 0u32;
    let scanned = calls.run(&trunk, SCAN, |since| {
        let due = u32::try_from(since.as_millis())? * A_MILLISECOND;
        while sent < due {
            let method = ["INVITE", "REGISTER", "OPTIONS"][sent as usize % 3];
            let stranger = &strangers[sent as usize % strangers.len()];
            // A full buffer is the gateway's way of not listening.
            let _ = stranger.send(request(method, &format!("scan{sent}")).as_bytes());
            sent += 1;
        }
        Ok(())
    })?;
    let cpu = machine::cpu(gateway.pid())? - before;
    let percent = cpu.as_secs_f64() / SCAN.as_secs_f64() * 100.0;
    let rate = f64::from(sent) / SCAN.as_secs_f64();
    table.at_most(
        &format!("CPU while strangers ask {}/s, of one core", short(rate)),
        percent,
        10.0,
        "%",
    );
    let delay = (scanned.ms(0.99) - quiet.ms(0.99)).max(0.0);
    table.at_most(
        "… and how much later a call is answered, p99",
        delay,
        5.0,
        "ms",
    );
    table.note(
        "… INVITE to final response, p50, p99, longest",
        format!(
            "{}, {}, {} ms",
            short(scanned.ms(0.5)),
            short(scanned.ms(0.99)),
            short(scanned.ms(1.0))
        ),
    );
    table.at_most("… calls without an answer", scanned.lost as f64, 0.0, "");
    Ok(())
}

/// Calls of the trunk, one after the other, to a number that nobody has.
#[derive(Default)]
struct Calls {
    count: u32,
}

struct Answers {
    times: Vec<Duration>,
    lost: usize,
}

impl Answers {
    fn ms(&self, share: f64) -> f64 {
        let last = self.times.len().saturating_sub(1);
        let index = (last as f64 * share).round() as usize;
        self.times.get(index).map_or(0.0, |t| t.as_secs_f64() * 1e3)
    }
}

impl Calls {
    /// A call each 10 ms for so long; `beside` is done all the while.
    fn run(
        &mut self,
        trunk: &UdpSocket,
        span: Duration,
        mut beside: impl FnMut(Duration) -> Result<(), Failure>,
    ) -> Result<Answers, Failure> {
        let start = Instant::now();
        let mut next = start;
        let mut open: BTreeMap<String, Instant> = BTreeMap::new();
        let mut times = Vec::new();
        let mut buffer = [0; 2048];
        let end = start + span;
        while Instant::now() < end + Duration::from_millis(200) {
            let now = Instant::now();
            if now < end {
                beside(now - start)?;
                if now >= next {
                    next += Duration::from_millis(10);
                    self.count += 1;
                    let id = format!("call{}", self.count);
                    trunk.send(request("INVITE", &id).as_bytes())?;
                    open.insert(id, now);
                }
            }
            let Ok(length) = trunk.recv(&mut buffer) else {
                std::thread::sleep(Duration::from_micros(100));
                continue;
            };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let is_final = text.starts_with("SIP/2.0 ") && !text.starts_with("SIP/2.0 1");
            if let Some(id) = field(&text, "Call-ID: ").filter(|_| is_final) {
                if let Some(asked) = open.remove(id) {
                    times.push(Instant::now() - asked);
                }
                let to = field(&text, "To: ").unwrap_or_default();
                trunk.send(acknowledge(id, to).as_bytes())?;
            }
        }
        times.sort();
        let lost = open.len();
        Ok(Answers { times, lost })
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name))
}

fn head(method: &str, id: &str, to: &str) -> String {
    format!(
        "{method} sip:+15550009999@127.0.0.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bK{id};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:+15557654321@127.0.0.1>;tag={id}\r\nTo: {to}\r\n\
         Call-ID: {id}\r\nCSeq: 1 {method}\r\n"
    )
}

fn request(method: &str, id: &str) -> String {
    let body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                m=audio 9 RTP/AVP 0\r\n";
    format!(
        "{}Contact: <sip:x@127.0.0.1:9>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        head(method, id, "<sip:+15550009999@127.0.0.1>"),
        body.len()
    )
}

fn acknowledge(id: &str, to: &str) -> String {
    format!("{}Content-Length: 0\r\n\r\n", head("ACK", id, to))
}
