//! The MIX service through the real process: what channels and their participants take in memory,
//! what a presence costs, and how fast IQs are relayed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::gateway::{Gateway, MIX, free_port};
use crate::server::{Link, attribute};
use crate::table::{Table, short};
use crate::{Failure, machine};

/// A silence this long means that all is said.
const QUIET: Duration = Duration::from_millis(500);
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Requests that are on their way at once while a channel is filled.
const WINDOW: usize = 500;

const CHANNELS: usize = 1_000;
const MEMBERS: usize = 100;
const PEOPLE: usize = 500;
const CHANGES: usize = 50;
const RATE: usize = 5_000;
const SECONDS: usize = 60;

/// What most clients say of themselves.
const PRESENCE: &str = "<show>away</show><priority>5</priority><c xmlns='http://jabber.org/protocol/caps' \
    hash='sha-1' node='https://client.example' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>";

/// All three.
pub fn mix(offhook: &Path, table: &mut Table) -> Result<(), Failure> {
    memory(offhook, table)?;
    let mut service = Service::start(offhook)?;
    service.create("big")?;
    let ids = service.join("big", PEOPLE, true)?;
    service.presence(table)?;
    service.relay(&ids, table)
}

fn memory(offhook: &Path, table: &mut Table) -> Result<(), Failure> {
    let mut service = Service::start(offhook)?;
    let before = machine::resident(service.gateway.pid())?;
    for channel in 0..CHANNELS {
        let channel = format!("room{channel}");
        service.create(&channel)?;
        // Nobody hears of anybody: filling would take the square of the participants.
        service.join(&channel, MEMBERS, false)?;
        for user in 0..MEMBERS {
            for client in ["phone", "laptop"] {
                service.send(&available(&channel, user, client));
            }
        }
        service.settle(Duration::ZERO)?;
    }
    service.settle(QUIET)?;
    let used = machine::resident(service.gateway.pid())?;
    let all = CHANNELS * MEMBERS;
    let what = format!("memory of {all} participants with 2 clients each in {CHANNELS} channels");
    table.at_most(&what, used as f64 / 1e6, 300.0, "MB");
    let each = (used - before) as f64 / all as f64;
    table.note("… each", format!("{} bytes", short(each)));
    Ok(())
}

fn available(channel: &str, user: usize, client: &str) -> String {
    format!(
        "<presence from='user{user}@users.bench/{client}' to='{channel}@{MIX}'>{PRESENCE}</presence>"
    )
}

/// The program and the server's end of its second link.
struct Service {
    gateway: Gateway,
    asked: u64,
}

impl Service {
    fn start(offhook: &Path) -> Result<Self, Failure> {
        let gateway = Gateway::start_with_mix(offhook, free_port()?)?;
        Ok(Self { gateway, asked: 0 })
    }

    fn link(&mut self) -> Result<&mut Link, Failure> {
        self.gateway.mix.as_mut().ok_or_else(|| "no link".into())
    }

    fn send(&mut self, stanza: &str) {
        if let Ok(link) = self.link() {
            link.send(stanza);
        }
    }

    fn id(&mut self) -> String {
        self.asked += 1;
        format!("b{}", self.asked)
    }

    /// Writes and reads until nothing has come for `quiet` and all is written; what has come.
    fn settle(&mut self, quiet: Duration) -> Result<Vec<String>, Failure> {
        let mut heard = Vec::new();
        let mut last = Instant::now();
        loop {
            let link = self.link()?;
            link.flush()?;
            link.read()?;
            let before = heard.len();
            while let Some(stanza) = link.next() {
                heard.push(stanza);
            }
            if heard.len() > before {
                last = Instant::now();
            } else if !link.is_behind() && last.elapsed() >= quiet {
                return Ok(heard);
            } else {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
    }

    /// Reads until `done` has taken enough.
    fn until(&mut self, mut done: impl FnMut(String) -> bool) -> Result<(), Failure> {
        let start = Instant::now();
        while start.elapsed() < LIMIT {
            let link = self.link()?;
            link.flush()?;
            link.read()?;
            while let Some(stanza) = link.next() {
                if done(stanza) {
                    return Ok(());
                }
            }
        }
        Err("an answer did not come".into())
    }

    fn create(&mut self, channel: &str) -> Result<(), Failure> {
        let id = self.id();
        self.send(&format!(
            "<iq type='set' id='{id}' from='user0@users.bench/phone' to='{MIX}'>\
             <create xmlns='urn:xmpp:mix:core:1' channel='{channel}'/></iq>"
        ));
        self.until(|stanza| {
            attribute(&stanza, "id") == Some(id.as_str())
                && attribute(&stanza, "type") == Some("result")
        })
        .map_err(|_| "a channel was not created".into())
    }

    /// Lets users join; their stable ids.
    fn join(&mut self, channel: &str, users: usize, hear: bool) -> Result<Vec<String>, Failure> {
        let nodes = match hear {
            true => "<subscribe node='urn:xmpp:mix:nodes:presence'/>",
            false => "",
        };
        let mut ids = BTreeMap::new();
        for first in (0..users).step_by(WINDOW) {
            let last = users.min(first + WINDOW);
            for user in first..last {
                self.send(&format!(
                    "<iq type='set' id='j{user}' from='user{user}@users.bench/phone' to='{channel}@{MIX}'>\
                     <join xmlns='urn:xmpp:mix:core:1'>{nodes}<nick>user {user}</nick></join></iq>"
                ));
            }
            self.until(|stanza| {
                if let Some((_, join)) = stanza.split_once("<join")
                    && let Some(id) = attribute(join, "id")
                    && let Some(user) = attribute(&stanza, "id").and_then(|id| id.strip_prefix('j'))
                    && let Ok(user) = user.parse::<usize>()
                {
                    ids.insert(user, id.to_owned());
                }
                ids.len() == last
            })?;
        }
        Ok(ids.into_values().collect())
    }

    /// Two clients of each come; then one changes its presence again and again.
    fn presence(&mut self, table: &mut Table) -> Result<(), Failure> {
        for client in ["phone", "laptop"] {
            for user in 0..PEOPLE {
                self.send(&available("big", user, client));
                self.hear(PEOPLE)?;
            }
        }
        let before = machine::cpu(self.gateway.pid())?;
        let mut slowest = Duration::ZERO;
        for change in 0..CHANGES {
            let status = format!("<status>{change}</status></presence>");
            let presence = available("big", change % PEOPLE, "phone");
            self.send(&presence.replace("</presence>", &status));
            let start = Instant::now();
            self.hear(PEOPLE)?;
            slowest = slowest.max(start.elapsed());
        }
        let cpu = machine::cpu(self.gateway.pid())? - before;
        let what = format!("CPU of a presence that goes to {PEOPLE} participants");
        let each = cpu.as_secs_f64() * 1e3 / CHANGES as f64;
        table.at_most(&what, each, 100.0, "ms");
        let slowest = slowest.as_secs_f64() * 1e3;
        table.note(
            "… and until all have it, at most",
            format!("{} ms", short(slowest)),
        );
        Ok(())
    }

    /// Waits for so many presences.
    fn hear(&mut self, count: usize) -> Result<(), Failure> {
        let mut heard = 0;
        self.until(|stanza| {
            heard += usize::from(
                stanza.starts_with("<presence") && attribute(&stanza, "type") != Some("probe"),
            );
            heard == count
        })
    }

    /// IQs at a steady rate, each answered at once.
    fn relay(&mut self, ids: &[String], table: &mut Table) -> Result<(), Failure> {
        self.settle(QUIET)?;
        let mut waiting: BTreeMap<String, (Instant, String, bool)> = BTreeMap::new();
        let mut there = Vec::new();
        let mut back = Vec::new();
        let mut wrong = 0;
        let all = RATE * SECONDS;
        let before = machine::cpu(self.gateway.pid())?;
        let start = Instant::now();
        let mut sent = 0;
        while there.len() < all || back.len() < all {
            if start.elapsed() > Duration::from_secs(SECONDS as u64) + LIMIT {
                break;
            }
            let due = (start.elapsed().as_secs_f64() * RATE as f64) as usize;
            while sent < due.min(all) {
                let (from, to) = (sent % PEOPLE, (sent * 7 + 1) % PEOPLE);
                let id = format!("r{sent}");
                let addressed = format!("{}#big@{MIX}/laptop", ids[to]);
                self.send(&format!(
                    "<iq type='get' id='{id}' from='user{from}@users.bench/phone' to='{addressed}'>\
                     <ping xmlns='urn:xmpp:ping'/></iq>"
                ));
                waiting.insert(id, (Instant::now(), addressed, false));
                sent += 1;
            }
            let link = self.link()?;
            link.flush()?;
            link.read()?;
            let mut heard = Vec::new();
            while let Some(stanza) = link.next() {
                heard.push(stanza);
            }
            for stanza in heard {
                let (Some(id), Some(from), Some(to)) = (
                    attribute(&stanza, "id"),
                    attribute(&stanza, "from"),
                    attribute(&stanza, "to"),
                ) else {
                    continue;
                };
                let is_request = stanza.contains("urn:xmpp:ping");
                let Some((at, addressed, answered)) = waiting.get_mut(id) else {
                    wrong += 1;
                    continue;
                };
                if is_request {
                    there.push(at.elapsed());
                    (*at, *answered) = (Instant::now(), true);
                    let answer = format!("<iq type='result' id='{id}' from='{to}' to='{from}'/>");
                    self.send(&answer);
                } else {
                    back.push(at.elapsed());
                    let fits = *answered
                        && from == addressed.as_str()
                        && attribute(&stanza, "type") == Some("result");
                    wrong += usize::from(!fits);
                    waiting.remove(id);
                }
            }
        }
        let cpu = machine::cpu(self.gateway.pid())? - before;
        let at = format!("at {RATE} a second for {SECONDS} s");
        for (what, times) in [("request", &mut there), ("answer", &mut back)] {
            times.sort_unstable();
            let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or(LIMIT);
            let p99 = p99.as_secs_f64() * 1e3;
            table.at_most(&format!("a relayed {what}, p99, {at}"), p99, 20.0, "ms");
        }
        let lost = waiting.len() + wrong;
        table.at_most(
            &format!("relayed IQs without their own answer, of {all}"),
            lost as f64,
            0.0,
            "",
        );
        let each = cpu.as_secs_f64() * 1e6 / all as f64;
        table.note(
            "CPU of a relayed IQ and its answer",
            format!("{} µs", short(each)),
        );
        Ok(())
    }
}
