//! SIP networks: where their servers are, whether they answer, who calls by them and under which
//! name.

pub mod digest;
pub mod health;
pub mod identity;
pub mod register;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::config::{CallerId, TrunkConfig};
use crate::config::{Dtmf, values::TrunkUri};
use crate::id::TokenMaker;
use crate::leg::{End, EndReason};
use crate::net::{NetOutput, SipTransport};

use super::locate::{self, Locator, Place, literal};
use super::session::call::Order;
use super::transaction::drive::{Hop, SizeRule};
use super::uri::Uri;
use super::wire::{Message, Name};
use super::{Sip, TimerKey};

use digest::Digest;
use health::{Down, Health};
use register::Registration;

pub use identity::caller;

/// One SIP network.
#[derive(Debug)]
pub struct Trunk {
    /// Its name.
    pub name: String,
    /// Calls at the moment.
    pub calls: u32,
    host: String,
    port: Option<u16>,
    size: SizeRule,
    /// The transport that it is spoken to by, if the configuration says so.
    transport: Option<SipTransport>,
    /// Its number in the locator.
    target: usize,
    networks: Vec<(IpAddr, u8)>,
    max_calls: Option<u32>,
    options: Duration,
    /// How keys go there.
    pub dtmf: Dtmf,
    /// What our calls ask for as the session timer; zero asks for none.
    pub session_timer: Duration,
    /// Texts go there and come from there.
    pub messages: bool,
    from_domain: Option<String>,
    health: Health,
    digest: Option<Digest>,
    registration: Option<Registration>,
    caller_id: CallerId,
    /// The outbound proxy, as a Route value.
    route: Option<String>,
    /// The host that requests go to: the proxy's, if there is one.
    server: String,
    /// What was last told about it: see [`Sip::poll_trunk`].
    told_up: bool,
    /// What the log has last said of it.
    logged: Option<Down>,
    /// Servers that failed, and until when the others are tried first.
    failed: Vec<(Place, Instant)>,
    /// Where the health check under way went.
    checked: Option<Place>,
}

/// How long a server that failed comes last, if it does not say.
const PENALTY: Duration = Duration::from_secs(60);
/// The longest Retry-After that we follow.
const MAX_RETRY_AFTER: u32 = 3_600;

impl Trunk {
    /// As configured.
    pub fn new(
        config: &TrunkConfig,
        spoken: &[SipTransport],
        locator: &mut Locator,
        tokens: &mut TokenMaker,
    ) -> Self {
        let (host, port, transport) = match &config.outbound_proxy {
            Some(proxy) => (&proxy.host, proxy.port, proxy.transport),
            None => (&config.host, config.port, config.transport),
        };
        Self {
            name: config.name.clone(),
            calls: 0,
            host: config.host.clone(),
            port: config.port,
            size: match transport {
                Some(_) => SizeRule::Keep,
                None => SizeRule::TcpIfLarge,
            },
            target: locator.add(host, port, transport, spoken),
            networks: config.from_networks.clone(),
            max_calls: config.max_calls,
            options: config.options,
            dtmf: config.dtmf,
            session_timer: config.session_timer,
            messages: config.messages,
            transport,
            from_domain: config.from_domain.clone(),
            health: Health::Unknown,
            digest: Digest::new(config),
            registration: Registration::new(config, tokens),
            caller_id: config.caller_id,
            route: config.outbound_proxy.as_ref().and_then(route_value),
            server: host.clone(),
            told_up: true,
            logged: None,
            failed: Vec::new(),
            checked: None,
        }
    }

    /// True for the user part that calls to our registered Contact have.
    pub fn is_our_account(&self, user: &str) -> bool {
        self.registration
            .as_ref()
            .is_some_and(|registration| registration.user() == user)
    }

    /// The URI of an address at this trunk.
    pub fn uri_of(&self, address: &Address) -> Option<Uri> {
        Uri::of(address, &self.host, self.port)
    }

    /// The outbound proxy as a Route value, if there is one.
    pub fn route(&self) -> Option<&str> {
        self.route.as_deref()
    }

    /// True if it is spoken to by a transport that regulates its load (RFC 3428 §8).
    pub fn regulates_load(&self) -> bool {
        self.transport.is_some_and(SipTransport::is_reliable)
    }

    /// True if it may have no further call.
    pub fn is_full(&self) -> bool {
        self.max_calls.is_some_and(|most| self.calls >= most)
    }

    fn has_failed(&self, place: Place) -> bool {
        self.failed.iter().any(|(failed, _)| *failed == place)
    }

    fn covers(&self, ip: IpAddr) -> bool {
        self.networks
            .iter()
            .any(|(network, length)| contains(*network, *length, ip))
    }
}

/// How long a response asks us to wait.
pub(super) fn retry_after(response: &Message) -> Option<Duration> {
    let value = response.header(Name::RetryAfter)?;
    let digits: String = value
        .trim()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let seconds: u32 = digits.parse().ok()?;
    Some(Duration::from_secs(seconds.min(MAX_RETRY_AFTER).into()))
}

/// RFC 3261 §8.1.2: a configured proxy is a route of one, and a loose router.
fn route_value(proxy: &TrunkUri) -> Option<String> {
    let mut uri = Uri::sip("", &proxy.host, proxy.port)?;
    if let Some(transport) = proxy.transport {
        uri = uri.with_param("transport", Some(transport.scheme()));
    }
    Some(format!("<{}>", uri.with_param("lr", None)))
}

fn contains(network: IpAddr, length: u8, ip: IpAddr) -> bool {
    match (network.to_canonical(), ip.to_canonical()) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            let mask = u32::MAX
                .checked_shl(32 - u32::from(length.min(32)))
                .unwrap_or(0);
            u32::from(network) & mask == u32::from(ip) & mask
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            let mask = u128::MAX
                .checked_shl(128 - u32::from(length.min(128)))
                .unwrap_or(0);
            u128::from(network) & mask == u128::from(ip) & mask
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

impl Sip {
    /// The trunk that an address belongs to: by its networks, else by its servers. Of several
    /// accounts there, it is the one that the Request-URI names.
    pub(super) fn trunk_of(&self, ip: IpAddr, asked: Option<&str>) -> Option<usize> {
        let first = |wanted: &dyn Fn(&Trunk) -> bool| self.trunks.iter().position(wanted);
        let one =
            first(&|trunk| trunk.covers(ip)).or_else(|| first(&|trunk| self.serves(trunk, ip)))?;
        let is_there = |trunk: &Trunk| trunk.covers(ip) || self.serves(trunk, ip);
        // What strangers ask for is not read, nor where there is no choice.
        if self.trunks.iter().filter(|t| is_there(t)).nth(1).is_none() {
            return Some(one);
        }
        let user = asked
            .and_then(|uri| Uri::parse(uri).ok())
            .map(|uri| uri.user());
        let is_named = |trunk: &Trunk| user.as_ref().is_some_and(|user| trunk.is_our_account(user));
        first(&|trunk| is_named(trunk) && is_there(trunk)).or(Some(one))
    }

    fn serves(&self, trunk: &Trunk, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let mut places = self.locator.places(trunk.target).iter();
        places.any(|place| place.remote.ip().to_canonical() == ip)
    }

    /// True if an address is one of the trunk's own, and not just where the trunk sends us.
    pub(super) fn is_of_trunk(&self, trunk: Option<usize>, ip: IpAddr) -> bool {
        let trunk = trunk.and_then(|index| self.trunks.get(index));
        trunk.is_some_and(|trunk| trunk.covers(ip) || self.serves(trunk, ip))
    }

    /// The server of a host name that a URI in the middle of something means: the one that has it
    /// already (RFC 3263 §4), else the first that has not failed lately.
    pub(super) fn server_of(
        &self,
        host: &str,
        asked: Option<SipTransport>,
        has_it: Option<SocketAddr>,
    ) -> Option<Place> {
        let failed = |place: &Place| self.trunks.iter().any(|trunk| trunk.has_failed(*place));
        let same_ip = |place: &Place| Some(place.remote.ip()) == has_it.map(|remote| remote.ip());
        let places = self.locator.known(host).iter();
        places.copied().min_by_key(|place| {
            (
                !same_ip(place),
                Some(place.remote) != has_it,
                asked.is_some_and(|asked| asked != place.transport),
                failed(place),
            )
        })
    }

    /// Asks for the addresses of a trunk, and again in a while.
    pub(super) fn locate_trunk(&mut self, now: Instant, index: usize) {
        let Some(trunk) = self.trunks.get_mut(index) else {
            return;
        };
        if let Some((query, question)) = self.locator.refresh(trunk.target) {
            self.transports.push(NetOutput::Resolve { query, question });
            self.timers
                .set(TimerKey::Locate(index), now + locate::REFRESH);
        }
    }

    /// Asks for our own address toward each server, if there is a choice.
    pub(super) fn ask_ways(&mut self) {
        if !self.transports.has_several_ways() {
            return;
        }
        let targets = self.trunks.iter().map(|trunk| trunk.target);
        let servers: BTreeSet<IpAddr> = targets
            .flat_map(|target| self.locator.places(target))
            .map(|place| place.remote.ip())
            .collect();
        self.transports
            .keep_ways(|remote| servers.contains(&remote));
        for server in servers {
            if !self.transports.knows_way(server) && !self.locator.asks_way(server) {
                let (query, question) = self.locator.ask_way(server);
                self.transports.push(NetOutput::Resolve { query, question });
            }
        }
    }

    /// A server failed: for a while, or as long as it says (`wait`), the others are tried first, and
    /// the other trunks if it has none (RFC 3263 §4.3, RFC 3261 §21.5.4).
    pub(super) fn server_failed(
        &mut self,
        now: Instant,
        trunk: Option<usize>,
        place: Place,
        wait: Option<Duration>,
    ) {
        let Some(index) = trunk else {
            return;
        };
        let Some(trunk) = self.trunks.get_mut(index) else {
            return;
        };
        let known = self.locator.places(trunk.target);
        trunk
            .failed
            .retain(|(failed, _)| known.contains(failed) && *failed != place);
        if known.contains(&place) {
            trunk.failed.push((place, now + wait.unwrap_or(PENALTY)));
        }
        self.set_penalty(index);
        self.note_trunk(index);
    }

    /// A server has answered: it is as good as the others.
    pub(super) fn server_answered(&mut self, index: usize, place: Place) {
        if let Some(trunk) = self.trunks.get_mut(index)
            && trunk.has_failed(place)
        {
            trunk.failed.retain(|(failed, _)| *failed != place);
            self.set_penalty(index);
            self.note_trunk(index);
        }
    }

    /// A server has been last for long enough.
    pub(super) fn end_penalty(&mut self, now: Instant, index: usize) {
        if let Some(trunk) = self.trunks.get_mut(index) {
            trunk.failed.retain(|(_, until)| *until > now);
            self.set_penalty(index);
            self.note_trunk(index);
        }
    }

    fn set_penalty(&mut self, index: usize) {
        let failed = self.trunks.get(index).map(|trunk| trunk.failed.iter());
        let soonest = failed.and_then(|failed| failed.map(|(_, until)| *until).min());
        match soonest {
            Some(until) => self.timers.set(TimerKey::Penalty(index), until),
            None => {
                self.timers.stop(&TimerKey::Penalty(index));
            }
        }
    }

    /// True if every server of a trunk has failed lately.
    fn all_failed(&self, trunk: &Trunk) -> bool {
        let places = self.locator.places(trunk.target);
        places.iter().all(|place| trunk.has_failed(*place))
    }

    /// The name that a TLS server at `place` must prove: that of the trunk it belongs to.
    pub(super) fn name_of(&self, place: Place) -> Option<String> {
        let serves = |trunk: &&Trunk| {
            let places = self.locator.places(trunk.target);
            places
                .iter()
                .any(|known| known.remote.ip() == place.remote.ip())
        };
        let trunk = match place.transport {
            SipTransport::Tls => self.trunks.iter().find(serves),
            SipTransport::Udp | SipTransport::Tcp => None,
        };
        trunk.map(|trunk| trunk.server.clone())
    }

    /// The servers of a trunk, those that failed last.
    pub(super) fn hops_of(&self, index: usize) -> VecDeque<Hop> {
        let Some(trunk) = self.trunks.get(index) else {
            return VecDeque::new();
        };
        let mut places: Vec<Place> = self
            .locator
            .places(trunk.target)
            .iter()
            .copied()
            .filter(|place| self.transports.knows_way(place.remote.ip()))
            .filter(|place| {
                place.transport.is_reliable()
                    || self.transports.listens(place.transport, place.remote)
            })
            .collect();
        places.sort_by_key(|place| trunk.has_failed(*place));
        places
            .into_iter()
            .map(|place| Hop {
                place,
                local: None,
                server_name: match place.transport {
                    SipTransport::Tls => Some(trunk.server.clone()),
                    SipTransport::Udp | SipTransport::Tcp => None,
                },
                size: trunk.size,
            })
            .collect()
    }

    /// The trunk and the servers for a call of ours.
    pub(super) fn route_call(&self, order: &Order) -> Result<(Option<usize>, VecDeque<Hop>), End> {
        let no_route = |text: &str| End::because(EndReason::NoRoute, text);
        let Some(name) = &order.trunk else {
            // Without a trunk only a literal address can be called: nobody waits for a resolver.
            let Address::Sip(to) = &order.to else {
                return Err(no_route("no trunk"));
            };
            let ip = literal(&to.host).ok_or(no_route("no trunk for a host name"))?;
            let transport = self.transports.preferred();
            let port = to.port.unwrap_or(transport.default_port());
            let hop = Hop {
                local: None,
                place: Place {
                    transport,
                    remote: (ip, port).into(),
                },
                server_name: None,
                size: SizeRule::TcpIfLarge,
            };
            return Ok((None, VecDeque::from([hop])));
        };
        let index = self
            .trunks
            .iter()
            .position(|trunk| trunk.name == *name)
            .ok_or(no_route("unknown trunk"))?;
        if self.trunks.get(index).is_some_and(Trunk::is_full) {
            return Err(End::because(EndReason::Overloaded, "trunk is full"));
        }
        let hops = self.hops_of(index);
        if hops.is_empty() {
            return Err(no_route(&self.why_no_hop(index)));
        }
        Ok((Some(index), hops))
    }

    /// Why no request can leave for a trunk.
    fn why_no_hop(&self, index: usize) -> String {
        let Some(trunk) = self.trunks.get(index) else {
            return "unknown trunk".to_owned();
        };
        let (host, places) = (&trunk.server, self.locator.places(trunk.target));
        match places.first() {
            None if self.locator.asks_for(trunk.target) => {
                format!("the address of {host} is not known yet")
            }
            None => format!("{host} has no address"),
            Some(place) if !self.transports.knows_way(place.remote.ip()) => {
                format!("the way to {host} is not known yet")
            }
            Some(place) => format!(
                "sip.listen has no address to reach {host} from by {}",
                place.transport.as_str()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::contains;

    #[test]
    fn networks_contain_their_addresses_and_no_others() {
        let ip = |text: &str| text.parse().unwrap();
        assert!(contains(ip("192.0.2.0"), 24, ip("192.0.2.255")));
        assert!(!contains(ip("192.0.2.0"), 24, ip("192.0.3.0")));
        assert!(contains(ip("192.0.2.7"), 32, ip("::ffff:192.0.2.7")));
        assert!(contains(ip("0.0.0.0"), 0, ip("198.51.100.1")));
        assert!(contains(ip("2001:db8::"), 32, ip("2001:db8:1::1")));
        assert!(!contains(ip("2001:db8::"), 32, ip("192.0.2.1")));
    }
}
