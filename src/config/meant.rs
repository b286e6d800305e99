//! From [`Written`] to [`Config`]: fills the defaults in, checks every value, and tells of every
//! mistake in one go.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::values;
use super::written::{self, Written};
use super::{
    AccessConfig, AdminConfig, CallConfig, CertifiedFiles, Config, MediaConfig, Mistake,
    RouteConfig, Secret, SipConfig, TlsConfig, Transcode, TrunkConfig, Warning, XmppConfig,
};
use crate::address::country::Country;
use crate::net::SipTransport;

/// One for each CPU, but a host with many has other work too.
const MOST_DEFAULT_THREADS: usize = 8;
/// Each thread has an ICE port of its own, and more threads than that help no host of ours.
const MOST_THREADS: u64 = 256;
/// No time limit of a call makes sense beyond a week; and a typo with too many zeros is caught.
const MOST_SECONDS: u64 = 7 * 24 * 3600;

/// What a configuration means.
#[derive(Clone, Debug)]
pub struct Meaning {
    /// The configuration.
    pub config: Config,
    /// What the operator should know but may want.
    pub warnings: Vec<Warning>,
}

impl Written {
    /// Checks everything. `cpus` is the host's number, for the default of `media.threads`.
    pub fn meaning(self, cpus: usize) -> Result<Meaning, Vec<Mistake>> {
        let mut notes = Notes::default();
        let Self {
            xmpp,
            sip,
            media,
            trunk,
            route,
            number,
            access,
            call,
            mix,
            admin,
            store,
        } = self;
        let xmpp = notes.xmpp(xmpp);
        let keeps = store.is_some();
        let store = store.and_then(|store| notes.store(store, mix.is_some()));
        let mix = mix.map(|mix| notes.mix(mix, &xmpp, keeps));
        let admin = admin.and_then(|admin| notes.admin(admin));
        let sip = notes.sip(sip);
        let media = notes.media(media, cpus);
        notes.ports(&sip, &media);
        notes.listeners(&sip, admin.as_ref());
        let all_named = trunk.iter().all(|t| t.name.is_some());
        let trunks = notes.trunks(trunk);
        let routes = notes.routes(route, &trunks, all_named);
        let numbers = notes.numbers(number, &xmpp.domain);
        let max_call = notes.seconds("access.max_call_s", access.max_call_s, 14400);
        let access = notes.access(access, &xmpp.domain);
        let call = notes.call(call, max_call);
        notes.silence(&trunks, &routes, &access);
        notes.one_way(&sip, &trunks);
        if !notes.mistakes.is_empty() {
            return Err(notes.mistakes);
        }
        Ok(Meaning {
            config: Config {
                xmpp,
                sip,
                media,
                trunks,
                routes,
                numbers,
                access,
                call,
                mix,
                store,
                admin,
            },
            warnings: notes.warnings,
        })
    }
}

/// What was found on the way.
#[derive(Default)]
pub(super) struct Notes {
    mistakes: Vec<Mistake>,
    warnings: Vec<Warning>,
}

impl Notes {
    pub(super) fn wrong(&mut self, key: impl Into<String>, reason: impl Into<String>) {
        self.mistakes.push(Mistake::new(key, reason));
    }

    pub(super) fn warn(&mut self, key: impl Into<String>, reason: impl Into<String>) {
        self.warnings.push(Warning(Mistake::new(key, reason)));
    }

    /// The value, or `instead` and a mistake: the mistake keeps it from ever being used.
    pub(super) fn take<T>(&mut self, key: &str, read: Result<T, String>, instead: T) -> T {
        read.unwrap_or_else(|reason| {
            self.wrong(key, reason);
            instead
        })
    }

    /// The values that can be read.
    pub(super) fn take_all<T>(
        &mut self,
        key: &str,
        texts: &[String],
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match read(text) {
                Ok(value) => values.push(value),
                Err(reason) => self.wrong(format!("{key}[{index}]"), reason),
            }
        }
        values
    }

    pub(super) fn required(
        &mut self,
        key: &str,
        value: Option<String>,
        hint: &str,
    ) -> Option<String> {
        let value = value.filter(|text| !text.trim().is_empty());
        if value.is_none() {
            self.wrong(key, format!("is missing; {hint}"));
        }
        value
    }

    pub(super) fn number(&mut self, key: &str, value: Option<u64>, default: u64, most: u64) -> u64 {
        let value = value.unwrap_or(default);
        if value > most {
            self.wrong(key, format!("`{value}` is too much; the most is {most}"));
        }
        value
    }

    fn seconds(&mut self, key: &str, value: Option<u64>, default: u64) -> Duration {
        let seconds = self.number(key, value, default, MOST_SECONDS);
        if seconds == 0 {
            self.wrong(
                key,
                format!("0 seconds end every call; the default is {default}"),
            );
        }
        Duration::from_secs(seconds)
    }

    pub(super) fn secret(&mut self, key: &str, secret: Option<Secret>, whose: &str) -> Secret {
        let text = secret.as_ref().map_or("", |s| s.0.trim());
        if text.is_empty() {
            self.wrong(key, format!("is missing; {whose}, here or in {key}_file"));
        } else if ["…", "...", "<secret>", "<password>"].contains(&text) {
            self.wrong(key, format!("still holds the placeholder; {whose}"));
        }
        secret.unwrap_or_else(|| Secret(String::new()))
    }

    fn xmpp(&mut self, written: written::Xmpp) -> XmppConfig {
        let written::Xmpp {
            server,
            domain,
            secret,
            resource,
        } = written;
        let server = server.unwrap_or_else(|| "127.0.0.1:5347".to_owned());
        self.server("xmpp.server", &server);
        let domain = self.required(
            "xmpp.domain",
            domain,
            "it is the component's domain, such as phone.example.org",
        );
        let domain = domain.map_or(String::new(), |text| {
            let read = values::domain(&text).map(|domain| domain.to_string());
            self.take("xmpp.domain", read, String::new())
        });
        let secret = self.secret(
            "xmpp.secret",
            secret,
            "give the component secret that the XMPP server has",
        );
        let resource = resource.unwrap_or_else(|| "phone".to_owned());
        let fits = jid::ResourcePart::new(&resource).is_ok_and(|r| r.as_str() == resource);
        if !fits || resource.trim() != resource {
            self.wrong(
                "xmpp.resource",
                format!("`{resource}` is no resource; the default is phone"),
            );
        }
        XmppConfig {
            server,
            domain,
            secret,
            resource,
        }
    }

    pub(super) fn server(&mut self, key: &str, text: &str) {
        match values::host_and_port(text) {
            Ok((_, Some(_))) => {}
            Ok((_, None)) => self.wrong(
                key,
                format!("`{text}` has no port; write {text}:5347, or what the server listens on"),
            ),
            Err(reason) => self.wrong(key, format!("`{text}`: {reason}")),
        }
    }

    fn sip(&mut self, written: written::Sip) -> SipConfig {
        let written::Sip {
            listen,
            advertise,
            user_agent,
            nameserver,
            tls,
        } = written;
        let listen = listen.unwrap_or_else(|| {
            vec![
                "udp://0.0.0.0:5060".to_owned(),
                "tcp://0.0.0.0:5060".to_owned(),
            ]
        });
        if listen.is_empty() {
            self.wrong("sip.listen", "is empty; write [\"udp://0.0.0.0:5060\"]");
        }
        let listen = self.take_all("sip.listen", &listen, values::listener);
        for (index, one) in listen.iter().enumerate() {
            if listen[..index].contains(one) {
                self.wrong(
                    format!("sip.listen[{index}]"),
                    format!("{} {} is listed twice", one.0, one.1),
                );
            }
        }
        let advertise = self.advertise("sip.advertise", advertise);
        if let Some(ip) = advertise {
            let other = |(_, socket): &(SipTransport, SocketAddr)| {
                socket.is_ipv4() != ip.is_ipv4() && !socket.ip().is_unspecified()
            };
            if !listen.is_empty() && listen.iter().all(other) {
                self.wrong(
                    "sip.advertise",
                    format!("`{ip}` is of another IP version than every address in sip.listen"),
                );
            }
        }
        let user_agent = user_agent.unwrap_or_else(|| "Offhook".to_owned());
        // RFC 3261 §25.1: a header value is one line.
        if user_agent.is_empty() || user_agent.chars().any(char::is_control) {
            self.wrong("sip.user_agent", "is empty or has control characters");
        }
        let nameserver = nameserver.and_then(|text| {
            let read = values::nameserver(&text).map(Some);
            self.take("sip.nameserver", read, None)
        });
        let tls = self.tls(tls.unwrap_or_default());
        for (index, (transport, _)) in listen.iter().enumerate() {
            if *transport == SipTransport::Tls && tls.own.is_none() {
                self.wrong(
                    format!("sip.listen[{index}]"),
                    "tls:// needs a certificate; give cert and key in [sip.tls]",
                );
            }
        }
        SipConfig {
            listen,
            advertise,
            user_agent,
            nameserver,
            tls,
        }
    }

    fn tls(&mut self, written: written::Tls) -> TlsConfig {
        let written::Tls {
            cert,
            key,
            ca,
            verify_client,
        } = written;
        let own = match (cert, key) {
            (Some(cert), Some(key)) => Some(CertifiedFiles {
                cert: cert.into(),
                key: key.into(),
            }),
            (None, None) => None,
            (Some(_), None) => {
                self.wrong("sip.tls.key", "is missing, but cert is there; both or none");
                None
            }
            (None, Some(_)) => {
                self.wrong("sip.tls.cert", "is missing, but key is there; both or none");
                None
            }
        };
        if verify_client && ca.is_none() {
            self.wrong(
                "sip.tls.verify_client",
                "needs ca, the authority of those who may connect: the system's would let \
                 everybody in who has any certificate",
            );
        }
        TlsConfig {
            own,
            ca: ca.map(Into::into),
            verify_client,
        }
    }

    /// A request by UDP leaves from a listener of ours. A peer that answers over TCP or TLS may later
    /// open a connection of its own to our Contact.
    fn one_way(&mut self, sip: &SipConfig, trunks: &[TrunkConfig]) {
        // Whatever is wrong with it, it is not that.
        if self
            .mistakes
            .iter()
            .any(|m| m.key.starts_with("sip.listen"))
        {
            return;
        }
        let spoken = sip.listen.iter().map(|(kind, _)| *kind).min();
        for (index, trunk) in trunks.iter().enumerate() {
            let (name, host) = match &trunk.outbound_proxy {
                Some(proxy) => ("outbound_proxy", proxy.host.as_str()),
                None => ("uri", trunk.host.as_str()),
            };
            let Some(kind) = trunk.requested_transport().or(spoken) else {
                continue;
            };
            let key = format!("trunk[{index}].{name}");
            let scheme = kind.scheme();
            let what_then = match kind {
                SipTransport::Udp => "no request can go there",
                SipTransport::Tcp | SipTransport::Tls => {
                    "its calls come in only while the connection that we opened stands"
                }
            };
            let of_kind = || sip.listen.iter().filter(|(one, _)| *one == kind);
            if of_kind().next().is_none() {
                let kind = kind.as_str();
                self.warn(
                    key,
                    format!("goes by {kind}, but sip.listen has no {scheme}://: {what_then}"),
                );
            } else if let Ok(ip) = host.parse::<IpAddr>()
                && of_kind().all(|(_, ours)| ours.is_ipv4() != ip.is_ipv4())
            {
                let version = if ip.is_ipv4() { 4 } else { 6 };
                self.warn(
                    key,
                    format!(
                        "goes by IPv{version}, but no {scheme}:// in sip.listen is of it: {what_then}"
                    ),
                );
            }
        }
    }

    fn advertise(&mut self, key: &str, text: Option<String>) -> Option<IpAddr> {
        let read = text.map(|text| values::advertised(&text)).transpose();
        let ip = self.take(key, read, None);
        if ip.is_some_and(|ip| ip.is_loopback()) {
            self.warn(
                key,
                "is this host's own loopback: nobody outside can send here",
            );
        }
        ip
    }

    fn media(&mut self, written: written::Media, cpus: usize) -> MediaConfig {
        let written::Media {
            bind,
            advertise,
            xmpp_port,
            rtp_ports,
            threads,
            transcode,
        } = written;
        let unspecified = IpAddr::from([0, 0, 0, 0]);
        let bind = match bind {
            Some(text) => self.take("media.bind", values::ip(&text), unspecified),
            None => unspecified,
        };
        let advertise = self.advertise("media.advertise", advertise);
        if let Some(ip) = advertise.filter(|ip| ip.is_ipv4() != bind.is_ipv4()) {
            let dual_stack = bind.is_unspecified() && bind.is_ipv6();
            if !dual_stack {
                self.wrong(
                    "media.advertise",
                    format!("`{ip}` is of another IP version than media.bind, `{bind}`"),
                );
            }
        }
        let threads = match self.number("media.threads", threads, 0, MOST_THREADS) {
            0 => cpus.clamp(1, MOST_DEFAULT_THREADS),
            given => usize::try_from(given).unwrap_or(1),
        };
        let port = xmpp_port.unwrap_or(40000);
        let xmpp_port = match u16::try_from(port) {
            Ok(port) if port != 0 && usize::from(port) + threads <= 65536 => port,
            Ok(port) if port != 0 => {
                self.wrong(
                    "media.xmpp_port",
                    format!(
                        "`{port}` and one port more for each of {threads} threads go past 65535"
                    ),
                );
                port
            }
            _ => {
                self.wrong(
                    "media.xmpp_port",
                    format!("`{port}` is no port; ports are 1 to 65535"),
                );
                1
            }
        };
        let rtp_ports = rtp_ports.unwrap_or_else(|| "20000-29999".to_owned());
        let rtp_ports = self.take(
            "media.rtp_ports",
            values::port_range(&rtp_ports),
            20000..=29999,
        );
        let transcode = transcode.map_or(Transcode::default(), |text| {
            self.take("media.transcode", transcode_of(&text), Transcode::default())
        });
        MediaConfig {
            bind,
            advertise,
            xmpp_port,
            rtp_ports,
            threads,
            transcode,
        }
    }

    /// No UDP port may be wanted twice.
    fn ports(&mut self, sip: &SipConfig, media: &MediaConfig) {
        if self.mistakes.iter().any(|m| m.key.starts_with("media.")) {
            return;
        }
        let count = u16::try_from(media.threads - 1).unwrap_or(u16::MAX);
        let xmpp = media.xmpp_port..=media.xmpp_port.saturating_add(count);
        let meet = |a: &RangeInclusive<u16>, b: &RangeInclusive<u16>| {
            a.start() <= b.end() && b.start() <= a.end()
        };
        let shown = |r: &RangeInclusive<u16>| format!("{}-{}", r.start(), r.end());
        if meet(&xmpp, &media.rtp_ports) {
            self.wrong(
                "media.xmpp_port",
                format!(
                    "the ports {} (one for each of {} threads) lie within media.rtp_ports, {}",
                    shown(&xmpp),
                    media.threads,
                    shown(&media.rtp_ports)
                ),
            );
        }
        for (transport, socket) in &sip.listen {
            let same_ip = socket.ip() == media.bind
                || socket.ip().is_unspecified()
                || media.bind.is_unspecified();
            if *transport != SipTransport::Udp || !same_ip {
                continue;
            }
            for (key, range) in [
                ("media.xmpp_port", &xmpp),
                ("media.rtp_ports", &media.rtp_ports),
            ] {
                if range.contains(&socket.port()) {
                    self.wrong(
                        "sip.listen",
                        format!(
                            "udp port {} lies within the ports of {key}, {}",
                            socket.port(),
                            shown(range)
                        ),
                    );
                }
            }
        }
    }

    /// No listener may take the address of another.
    fn listeners(&mut self, sip: &SipConfig, admin: Option<&AdminConfig>) {
        for (index, (transport, socket)) in sip.listen.iter().enumerate() {
            let other = sip.listen[..index].iter().position(|(kind, other)| {
                kind.is_reliable() == transport.is_reliable() && takes_that_of(*other, *socket)
            });
            // Those that are the same were told already.
            if let Some(other) = other
                && sip.listen[other] != sip.listen[index]
            {
                self.wrong(
                    format!("sip.listen[{index}]"),
                    format!(
                        "{socket} is taken by sip.listen[{other}], {}",
                        sip.listen[other].1
                    ),
                );
            }
        }
        let Some(AdminConfig { listen }) = admin else {
            return;
        };
        let other = sip.listen.iter().find(|(kind, other)| {
            // Alone on its port, all of IPv6 is all of IPv4 too.
            let all = |one: SocketAddr| one.is_ipv6() && one.ip().is_unspecified();
            let both = other.port() == listen.port() && (all(*other) || all(*listen));
            kind.is_reliable() && (both || takes_that_of(*other, *listen))
        });
        if let Some((kind, other)) = other {
            let scheme = kind.scheme();
            self.wrong(
                "admin.listen",
                format!(
                    "{listen} is taken by {scheme}://{other} in sip.listen; choose another port"
                ),
            );
        }
    }

    fn access(&mut self, written: written::Access, own_domain: &str) -> AccessConfig {
        let written::Access {
            allow,
            country,
            max_calls_per_user,
            calls_per_minute,
            messages_per_minute,
            max_call_s: _,
        } = written;
        let (mut domains, mut users) = (Vec::new(), Vec::new());
        for (index, text) in allow.iter().enumerate() {
            let key = format!("access.allow[{index}]");
            if text == "*" {
                self.wrong(
                    key,
                    "`*` would let the whole world call at your cost; list domains and users",
                );
            } else if text.contains('@') {
                match values::one_of_domain(text, own_domain) {
                    Ok(user) => users.push(user),
                    Err(reason) => self.wrong(key, reason),
                }
            } else {
                match values::domain(text) {
                    Ok(domain) if domain.as_str() == own_domain => self.wrong(
                        key,
                        format!("`{text}` is this gateway's own domain: no user has it"),
                    ),
                    Ok(domain) => domains.push(domain),
                    Err(reason) => self.wrong(key, reason),
                }
            }
        }
        let country = country.and_then(|text| {
            let country = Country::named(&text);
            if country.is_none() {
                self.wrong(
                    "access.country",
                    format!("`{text}` is no country; write its two letters, such as \"DE\", or its code, such as \"49\""),
                );
            }
            country
        });
        let mut limit = |key: &str, value, default: u32| {
            let value = self.number(key, value, default.into(), u32::MAX.into());
            if value == 0 {
                self.wrong(
                    key,
                    format!("0 lets nobody through; the default is {default}"),
                );
            }
            u32::try_from(value).unwrap_or(default)
        };
        AccessConfig {
            max_calls_per_user: limit("access.max_calls_per_user", max_calls_per_user, 4),
            calls_per_minute: limit("access.calls_per_minute", calls_per_minute, 10),
            messages_per_minute: limit("access.messages_per_minute", messages_per_minute, 30),
            domains,
            users,
            country,
        }
    }

    fn call(&mut self, written: written::Call, max_call: Duration) -> CallConfig {
        let written::Call {
            ring_limit_s,
            silence_limit_s,
            connect_limit_s,
        } = written;
        CallConfig {
            ring_limit: self.seconds("call.ring_limit_s", ring_limit_s, 120),
            max_call,
            silence_limit: self.seconds("call.silence_limit_s", silence_limit_s, 30),
            connect_limit: self.seconds("call.connect_limit_s", connect_limit_s, 15),
        }
    }

    fn admin(&mut self, written: written::Admin) -> Option<AdminConfig> {
        let text = self.required("admin.listen", written.listen, "such as 127.0.0.1:9080")?;
        let Ok(listen) = text.parse::<SocketAddr>() else {
            self.wrong(
                "admin.listen",
                format!("`{text}` is no address and port; write 127.0.0.1:9080"),
            );
            return None;
        };
        if !listen.ip().is_loopback() {
            self.warn(
                "admin.listen",
                "others than this host may look in: there is no password",
            );
        }
        Some(AdminConfig { listen })
    }

    /// A configuration that lets no call through is legal, but seldom meant.
    fn silence(&mut self, trunks: &[TrunkConfig], routes: &[RouteConfig], access: &AccessConfig) {
        if trunks.is_empty() {
            self.warn(
                "trunk",
                "there is no [[trunk]]: no call goes to or comes from SIP",
            );
        } else if routes.is_empty() {
            self.warn("route", "there is no [[route]]: nobody can call out");
        }
        if access.domains.is_empty() && access.users.is_empty() {
            self.warn("access.allow", "is empty: nobody can call out");
        }
    }
}

/// True if who listens on `one` leaves nothing of `other`. All of IPv6 is not all of IPv4: see
/// `io/sip.rs`.
fn takes_that_of(one: SocketAddr, other: SocketAddr) -> bool {
    let same_ip =
        one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.is_ipv4() == other.is_ipv4() && same_ip
}

fn transcode_of(text: &str) -> Result<Transcode, String> {
    let names = Transcode::NAMES.map(|(name, _)| format!("\"{name}\""));
    let found = Transcode::NAMES.into_iter().find(|(name, _)| *name == text);
    found
        .map(|(_, transcode)| transcode)
        .ok_or_else(|| format!("`{text}` is none of {}", names.join(", ")))
}
