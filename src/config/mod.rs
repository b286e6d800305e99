//! The configuration as it is meant: every value checked, every default filled in.
//!
//! `keys.rs` is the table of every key, `written.rs` holds the file as it stands, `meant.rs` and `trunks.rs` go
//! from there to here and finds every mistake in one go, `report.rs` says in words what it means.
//! Reading the file and the environment is `io/config.rs`. [`Config`] holds only what the program
//! acts on.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use jid::{BareJid, DomainPart};

use crate::address::country::Country;
use crate::address::{Address, E164};
use crate::net::SipTransport;

pub mod keys;
pub mod meant;
mod mix;
pub mod report;
mod store;
mod trunks;
pub mod values;
pub mod written;

pub use meant::Meaning;
pub use trunks::CODECS;

/// What is wrong with the value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key, such as `trunk[0].uri`.
    pub key: String,
    /// What is wrong and what to write instead.
    pub reason: String,
}

impl Mistake {
    /// Puts the two together.
    pub fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.reason)
    }
}

/// What an operator should know about a key, though the program starts with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub Mistake);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The link to the XMPP server.
    pub xmpp: XmppConfig,
    /// The SIP side.
    pub sip: SipConfig,
    /// The media side.
    pub media: MediaConfig,
    /// SIP networks, by name.
    pub trunks: Vec<TrunkConfig>,
    /// Which trunks take which called addresses; the first match wins.
    pub routes: Vec<RouteConfig>,
    /// Our own numbers.
    pub numbers: Vec<NumberConfig>,
    /// Who may call.
    pub access: AccessConfig,
    /// Time limits of a call.
    pub call: CallConfig,
    /// The MIX service, if there is one.
    pub mix: Option<MixConfig>,
    /// Where the MIX service's state is kept, if it is.
    pub store: Option<StoreConfig>,
    /// Where the operator looks in, if anywhere.
    pub admin: Option<AdminConfig>,
}

impl Config {
    /// The trunk of this name.
    pub fn trunk(&self, name: &str) -> Option<&TrunkConfig> {
        self.trunks.iter().find(|trunk| trunk.name == name)
    }

    /// The country where a user dials: that of the own number, else everybody's.
    pub fn home_of(&self, user: &BareJid) -> Option<Country> {
        let mut numbers = self.numbers.iter();
        let own = numbers.find(|number| number.ring.contains(user));
        own.and_then(|number| Country::of(&number.number))
            .or(self.access.country)
    }
}

/// Where the operator looks in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where metrics, health and the console are served by HTTP.
    pub listen: SocketAddr,
}

/// Where state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// In a file of SQLite.
    Sqlite {
        /// Its path.
        path: String,
    },
    /// In a database of a PostgreSQL server.
    Postgres {
        /// The URL as it was written; it may hold a password.
        url: Secret,
        /// The URL without that.
        shown: String,
    },
}

impl fmt::Display for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite { path } => write!(f, "sqlite://{path}"),
            Self::Postgres { url: _, shown } => f.write_str(shown),
        }
    }
}

/// The MIX service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MixConfig {
    /// Host and port of the server's component listener. Default that of [`XmppConfig`].
    pub server: String,
    /// The domain of the channels. No user and no contact lives in it.
    pub domain: String,
    /// The component secret. Default that of [`XmppConfig`].
    pub secret: Secret,
    /// Domains and users that may create channels.
    pub create: Vec<BareJid>,
    /// Domains whose server is ejabberd.
    pub ejabberd_domains: Vec<DomainPart>,
    /// Domains whose server is Tigase.
    pub tigase_domains: Vec<DomainPart>,
    /// Whether presence has the namespace of XEP-0403's early examples too. Default yes.
    pub legacy_presence: bool,
    /// Days that a message is kept. Default 30.
    pub archive_days: u32,
    /// Messages of one channel that are kept at most. Default 10,000.
    pub archive_max: u32,
    /// Channels that are there from the start.
    pub channels: Vec<ChannelConfig>,
}

/// A channel that is there from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelConfig {
    /// Its name, as it stands in its JID.
    pub name: String,
    /// Who owns it.
    pub owners: Vec<BareJid>,
    /// Nobody but owners learns a JID in it. Default no.
    pub hidden: bool,
    /// Numbers that take part.
    pub phones: Vec<E164>,
}

/// The link to the XMPP server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XmppConfig {
    /// Host and port of the server's component listener.
    pub server: String,
    /// The domain of the contact JIDs.
    pub domain: String,
    /// The component secret.
    pub secret: Secret,
    /// The one resource of every contact. Default `phone`.
    pub resource: String,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The SIP side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SipConfig {
    /// Where we listen.
    pub listen: Vec<(SipTransport, SocketAddr)>,
    /// What Via, Contact and SDP say; `None`: the address that the packet leaves from.
    pub advertise: Option<IpAddr>,
    /// `User-Agent` and `Server`.
    pub user_agent: String,
    /// Who is asked for DNS records; `None`: the system's nameservers.
    pub nameserver: Option<SocketAddr>,
    /// Certificates.
    pub tls: TlsConfig,
}

/// TLS for SIP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Our certificate, with those between it and the authority, and its key.
    pub own: Option<CertifiedFiles>,
    /// Authorities whose certificates peers may have; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// Whoever connects to us must have a certificate of [`Self::ca`]. Default false.
    pub verify_client: bool,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertifiedFiles {
    /// The chain, ours first.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// The media side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaConfig {
    /// The address to bind.
    pub bind: IpAddr,
    /// What candidates and SDP say; `None`: the bound address, or every address of the host if
    /// that is unspecified.
    pub advertise: Option<IpAddr>,
    /// The first worker's shared ICE port; further workers count up.
    pub xmpp_port: u16,
    /// Ports of the SIP legs. Starts even, ends odd.
    pub rtp_ports: RangeInclusive<u16>,
    /// Media threads; at least 1.
    pub threads: usize,
    /// When sound is encoded anew.
    pub transcode: Transcode,
}

/// When sound is encoded anew on its way from one side of a call to the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transcode {
    /// Never: sides that share no encoding cannot talk.
    Never,
    /// If the sides share no encoding.
    #[default]
    WhenNeeded,
    /// Also to speak Opus with XMPP clients, whatever the other side speaks: it mends losses on bad
    /// networks.
    PreferOpus,
}

impl Transcode {
    /// Every choice with its name in the configuration.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("when-needed", Self::WhenNeeded),
        ("never", Self::Never),
        ("prefer-opus", Self::PreferOpus),
    ];
}

/// A SIP network that we send calls to or get calls from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkConfig {
    /// Its name in routes, logs and metrics.
    pub name: String,
    /// Where requests go, such as `sip:sip.carrier.example;transport=udp`.
    pub uri: String,
    /// Host of `uri`: a name or an address, IPv6 without brackets.
    pub host: String,
    /// Port of `uri`, if given; else RFC 3263 finds it.
    pub port: Option<u16>,
    /// Transport of `uri`, if given.
    pub transport: Option<SipTransport>,
    /// Digest user name.
    pub username: Option<String>,
    /// Digest password.
    pub password: Option<Secret>,
    /// Codecs by encoding name, most wanted first.
    pub codecs: Vec<String>,
    /// Networks that calls of this trunk come from, as address and prefix length.
    pub from_networks: Vec<(IpAddr, u8)>,
    /// Calls at a time, both ways. Default unlimited.
    pub max_calls: Option<u32>,
    /// Seconds between health checks by OPTIONS; zero turns them off.
    pub options: Duration,
    /// Our own domain in From; default the trunk's host.
    pub from_domain: Option<String>,
    /// Where it is told who calls.
    pub caller_id: CallerId,
    /// We register there, with `username`.
    pub register: bool,
    /// Requests go there instead of to `uri`.
    pub outbound_proxy: Option<values::TrunkUri>,
    /// Whether sound is protected.
    pub srtp: Srtp,
    /// How our offers bring the keys for that.
    pub srtp_keys: SrtpKeys,
    /// How keys go there.
    pub dtmf: Dtmf,
    /// Pauses in speech are told as comfort noise, both ways (RFC 3389). Default yes.
    pub comfort_noise: bool,
    /// Users hear the sound that comes before the answer.
    pub early_media: bool,
    /// What we ask for as the session timer (RFC 4028); zero asks for none.
    pub session_timer: Duration,
    /// Texts go there and come from there (RFC 3428). Default yes.
    pub messages: bool,
    /// Pictures go there and come from there. Default no.
    pub video: bool,
}

/// Whether sound to and from a trunk is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Srtp {
    /// Our offers are unprotected; protected ones are taken.
    #[default]
    Off,
    /// Our offers are protected, and may be answered without (RFC 8643).
    Offer,
    /// Nothing goes unprotected.
    Require,
}

/// How pressed keys go to a trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtmf {
    /// In RTP where it says that it takes them there, else by INFO.
    #[default]
    Auto,
    /// In RTP (RFC 4733) or not at all.
    Rtp,
    /// By INFO, whatever it says.
    Info,
}

/// How keys for SRTP are agreed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SrtpKeys {
    /// In the description itself (RFC 4568).
    #[default]
    Sdes,
    /// By DTLS on the media's path (RFC 5763).
    Dtls,
}

impl TrunkConfig {
    /// The transport that requests go by, if the configuration says so.
    pub fn requested_transport(&self) -> Option<SipTransport> {
        match &self.outbound_proxy {
            Some(proxy) => proxy.transport,
            None => self.transport,
        }
    }
}

/// Where a trunk is told who calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallerId {
    /// In From alone.
    #[default]
    From,
    /// In P-Asserted-Identity too (RFC 3325).
    Asserted,
    /// In Remote-Party-ID too, as old PBXs want it.
    RemoteParty,
}

/// A rule for calls to SIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteConfig {
    /// Which called addresses it takes.
    pub matches: RouteMatch,
    /// Trunks by name, tried in order.
    pub trunks: Vec<String>,
}

/// Which called addresses a route takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteMatch {
    /// Numbers that start like this, such as `+49`; `+` takes every number.
    Prefix(String),
    /// SIP addresses of this domain.
    Domain(String),
    /// Everything.
    Any,
}

impl RouteMatch {
    /// True if the route takes calls to `to`.
    pub fn takes(&self, to: &Address) -> bool {
        match (self, to) {
            (Self::Any, _) => true,
            (Self::Prefix(prefix), Address::Number(number)) => {
                number.as_str().starts_with(prefix.as_str())
            }
            (Self::Domain(domain), Address::Sip(sip)) => {
                let host = sip.host.trim_start_matches('[').trim_end_matches(']');
                host.eq_ignore_ascii_case(domain)
            }
            (Self::Prefix(_), Address::Sip(_) | Address::Xmpp(_) | Address::Anonymous)
            | (Self::Domain(_), Address::Number(_) | Address::Xmpp(_) | Address::Anonymous) => {
                false
            }
        }
    }
}

/// One of our own numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberConfig {
    /// The number.
    pub number: E164,
    /// Whom it rings, and whose caller ID it is.
    pub ring: Vec<BareJid>,
}

/// Who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessConfig {
    /// Domains whose users may call out.
    pub domains: Vec<DomainPart>,
    /// Users who may call out.
    pub users: Vec<BareJid>,
    /// Where people dial who have no number of their own; `None`: they may not leave the country
    /// code out.
    pub country: Option<Country>,
    /// Calls of one user at a time. Default 4.
    pub max_calls_per_user: u32,
    /// Calls that one user may start in a minute. Default 10.
    pub calls_per_minute: u32,
    /// Texts that one user, or one sender of a trunk, may write in a minute. Default 30.
    pub messages_per_minute: u32,
}

/// Time limits of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallConfig {
    /// How long a callee may ring. Default 120 s.
    pub ring_limit: Duration,
    /// How long a call may last. Default 4 h.
    pub max_call: Duration,
    /// How long a connected leg may send nothing. Default 30 s.
    pub silence_limit: Duration,
    /// How long media may take to connect after the answer. Default 15 s.
    pub connect_limit: Duration,
}

/// What a file means that says this beside `[xmpp]`, to the tests of other rooms.
#[cfg(test)]
pub fn of_file(text: &str) -> Config {
    let xmpp = "[xmpp]\ndomain = 'phone.example.org'\nsecret = 'secret'\n";
    let file = ::config::File::from_str(&format!("{xmpp}{text}"), ::config::FileFormat::Toml);
    let file = ::config::Config::builder().add_source(file).build();
    let written: written::Written = file.unwrap().try_deserialize().unwrap();
    written.meaning(1).unwrap().config
}
