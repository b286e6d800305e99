//! What is counted, as OpenMetrics text. Names are promises: dashboards and alarms are built on them.
//! `docs/operator.md` lists them; the test beside this file holds the list against the code.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::View;
use crate::address::Address;
use crate::call::record::{CallRecord, EndedBy};

/// Which way a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From XMPP.
    Out,
    /// From SIP.
    In,
}

impl Direction {
    pub(super) fn of(record: &CallRecord) -> Self {
        match record.from {
            Address::Xmpp(_) => Self::Out,
            _ => Self::In,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

pub(super) fn ended_by(by: EndedBy) -> &'static str {
    match by {
        EndedBy::Caller => "caller",
        EndedBy::Callee => "callee",
        EndedBy::Gateway => "gateway",
    }
}

/// Trunk names come from the configuration and reasons from an enum, so no peer can make labels grow.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EndLabels {
    direction: &'static str,
    trunk: String,
    reason: String,
    ended_by: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DirectionLabel {
    direction: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TextLabels {
    direction: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct TrunkLabel {
    trunk: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LinkLabel {
    link: &'static str,
}

type Histograms = Family<DirectionLabel, Histogram, fn() -> Histogram>;

/// What is counted over time; the rest is asked for when somebody looks.
pub(super) struct Metrics {
    ended: Family<EndLabels, Counter>,
    ringing_after: Histograms,
    answered_after: Histograms,
    lasted: Histograms,
    received: Family<DirectionLabel, Counter>,
    lost: Family<DirectionLabel, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let setup: fn() -> Histogram =
            || Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0]);
        let length: fn() -> Histogram =
            || Histogram::new([1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 14400.0]);
        Self {
            ended: Family::default(),
            ringing_after: Family::new_with_constructor(setup),
            answered_after: Family::new_with_constructor(setup),
            lasted: Family::new_with_constructor(length),
            received: Family::default(),
            lost: Family::default(),
        }
    }
}

impl Metrics {
    /// Counts a call that is over.
    pub(super) fn ended(&self, record: &CallRecord) {
        let direction = DirectionLabel {
            direction: Direction::of(record).as_str(),
        };
        let labels = EndLabels {
            direction: direction.direction,
            trunk: record.trunk.clone().unwrap_or_default(),
            reason: record.end.reason.to_string(),
            ended_by: ended_by(record.ended_by),
        };
        self.ended.get_or_create(&labels).inc();
        if let Some(after) = record.rang_after {
            self.ringing_after
                .get_or_create(&direction)
                .observe(after.as_secs_f64());
        }
        if let Some(after) = record.answered_after {
            self.answered_after
                .get_or_create(&direction)
                .observe(after.as_secs_f64());
            let talked = record.duration.saturating_sub(after);
            self.lasted
                .get_or_create(&direction)
                .observe(talked.as_secs_f64());
        }
        let sides = [record.stats.caller, record.stats.callee];
        let total = |count: fn(&crate::border::SideStats) -> u64| sides.iter().map(count).sum();
        self.received
            .get_or_create(&direction)
            .inc_by(total(|side| side.received));
        self.lost
            .get_or_create(&direction)
            .inc_by(total(|side| side.lost));
    }

    /// Everything, as OpenMetrics text.
    pub(super) fn text(&self, view: &View) -> String {
        let mut registry = Registry::with_prefix("offhook");
        registry.register(
            "build",
            "The program",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        self.register_counted(&mut registry);
        register_seen(&mut registry, view);
        register_process(&mut registry, view.uptime);
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &registry);
        text
    }

    fn register_counted(&self, registry: &mut Registry) {
        registry.register(
            "calls_ended",
            "Calls that are over, by way, trunk, reason and who ended them",
            self.ended.clone(),
        );
        registry.register_with_unit(
            "call_ringing_after",
            "From the offer of a call to the first ringing",
            Unit::Seconds,
            self.ringing_after.clone(),
        );
        registry.register_with_unit(
            "call_answered_after",
            "From the offer of a call to its answer",
            Unit::Seconds,
            self.answered_after.clone(),
        );
        registry.register_with_unit(
            "call_lasted",
            "From the answer of a call to its end",
            Unit::Seconds,
            self.lasted.clone(),
        );
        registry.register(
            "rtp_received",
            "RTP packets received in calls that are over, both sides together",
            self.received.clone(),
        );
        registry.register(
            "rtp_lost",
            "RTP packets that never came in calls that are over, by their sequence numbers",
            self.lost.clone(),
        );
    }
}

/// What is so at this moment.
fn register_seen(registry: &mut Registry, view: &View) {
    let View {
        uptime: _,
        xmpp_up,
        mix_up,
        draining,
        trunks,
        census,
        sip,
        texts,
    } = view;
    let mut gauge = |name: &str, help: &str, value: usize| {
        registry.register(name, help, ConstGauge::new(value as i64));
    };
    gauge("calls", "Calls that are not over", census.calls.calls);
    gauge(
        "port_pairs",
        "Pairs of RTP ports in use",
        census.calls.ports,
    );
    gauge(
        "draining",
        "1 when no new calls are taken",
        usize::from(*draining),
    );
    let (clients, servers) = (census.sip.clients, census.sip.servers);
    gauge(
        "sip_client_transactions",
        "SIP client transactions",
        clients,
    );
    gauge(
        "sip_server_transactions",
        "SIP server transactions",
        servers,
    );
    gauge(
        "jingle_users",
        "Users with a resource that is known to be there",
        census.xmpp.users,
    );
    if let Some(mix) = &census.mix {
        gauge("mix_channels", "MIX channels", mix.channels);
        gauge(
            "mix_participants",
            "Participants of all channels",
            mix.participants,
        );
        gauge(
            "mix_clients",
            "Present clients of all channels",
            mix.clients,
        );
        gauge(
            "mix_pending",
            "Relayed requests that wait for their answers",
            mix.pending,
        );
    }
    let links = Family::<LinkLabel, Gauge>::default();
    let up = [("xmpp", Some(*xmpp_up)), ("mix", *mix_up)];
    for (link, up) in up.into_iter().filter_map(|(link, up)| Some((link, up?))) {
        links.get_or_create(&LinkLabel { link }).set(up.into());
    }
    registry.register("link_up", "1 when the XMPP server is linked", links);
    let states = Family::<TrunkLabel, Gauge>::default();
    for (trunk, up) in trunks {
        let label = TrunkLabel {
            trunk: trunk.clone(),
        };
        states.get_or_create(&label).set((*up).into());
    }
    registry.register("trunk_up", "1 when calls may go to the trunk", states);
    let of_texts = Family::<TextLabels, Counter>::default();
    for (direction, result, count) in [
        (Direction::Out, "taken", texts.out_taken),
        (Direction::Out, "failed", texts.out_failed),
        (Direction::In, "taken", texts.in_taken),
        (Direction::In, "failed", texts.in_failed),
    ] {
        let direction = direction.as_str();
        let labels = TextLabels { direction, result };
        of_texts.get_or_create(&labels).inc_by(count);
    }
    registry.register("texts", "Texts that were taken or failed", of_texts);
    let mut counter = |name: &str, help: &str, value: u64| {
        registry.register(name, help, counted(value));
    };
    counter(
        "sip_unknown_sources",
        "SIP requests from addresses that no trunk knows",
        sip.unknown_sources,
    );
    counter(
        "sip_unreadable",
        "SIP messages that could not be read",
        sip.unreadable,
    );
    counter(
        "sip_stray_responses",
        "SIP responses that belong to no transaction",
        sip.stray_responses,
    );
    counter(
        "sip_overloaded",
        "SIP requests refused because a limit was reached",
        sip.overloaded,
    );
}

/// The metrics that every process has, under the names that every dashboard knows.
fn register_process(registry: &mut Registry, uptime: Duration) {
    let uptime = ConstGauge::new(uptime.as_secs_f64());
    registry.register_with_unit("uptime", "Since the start", Unit::Seconds, uptime);
    if let Some((cpu, resident)) = process() {
        let cpu_s = Counter::<f64, AtomicU64>::default();
        cpu_s.inc_by(cpu.as_secs_f64());
        registry.register_with_unit("cpu", "CPU time used, all threads", Unit::Seconds, cpu_s);
        let resident = ConstGauge::new(resident as i64);
        registry.register_with_unit("resident_memory", "Resident memory", Unit::Bytes, resident);
    }
}

fn counted(value: u64) -> Counter {
    let counter = Counter::default();
    counter.inc_by(value);
    counter
}

/// CPU time of all threads, and resident bytes.
fn process() -> Option<(Duration, u64)> {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let cpu = Duration::new(used.tv_sec.try_into().ok()?, used.tv_nsec.try_into().ok()?);
    // proc(5)
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some((cpu, kib * 1024))
}
