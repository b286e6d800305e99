//! The configuration as it stands in the file, after [`super::keys::prune`]: every key optional, no value
//! judged. [`super::meant`] goes from here to [`super::Config`].

use serde::Deserialize;

use super::{CertifiedFiles, Secret, TlsConfig};

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self)
    }
}

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Written {
    /// `[xmpp]`.
    pub xmpp: Xmpp,
    /// `[sip]`.
    pub sip: Sip,
    /// `[media]`.
    pub media: Media,
    /// `[[trunk]]`.
    pub trunk: Vec<Trunk>,
    /// `[[route]]`.
    pub route: Vec<Route>,
    /// `[[number]]`.
    pub number: Vec<Number>,
    /// `[access]`.
    pub access: Access,
    /// `[call]`.
    pub call: Call,
    /// `[mix]`.
    pub mix: Option<Mix>,
    /// `[admin]`.
    pub admin: Option<Admin>,
    /// `[store]`.
    pub store: Option<Store>,
}

/// `[xmpp]`. The `secret_file` twin has been read by then.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "conf/offhook.toml tells of each key")]
pub struct Xmpp {
    pub server: Option<String>,
    pub domain: Option<String>,
    pub secret: Option<Secret>,
    pub resource: Option<String>,
}

/// `[sip]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "conf/offhook.toml tells of each key")]
pub struct Sip {
    pub listen: Option<Vec<String>>,
    pub advertise: Option<String>,
    pub user_agent: Option<String>,
    pub nameserver: Option<String>,
    pub tls: Option<Tls>,
}

/// `[sip.tls]`: names of PEM files, and who is asked for a certificate.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "conf/offhook.toml tells of each key")]
pub struct Tls {
    pub cert: Option<String>,
    pub key: Option<String>,
    pub ca: Option<String>,
    pub verify_client: bool,
}

impl Tls {
    /// The files that are named, as far as they go together.
    pub fn files(&self) -> TlsConfig {
        let own = self.cert.as_ref().zip(self.key.as_ref());
        TlsConfig {
            own: own.map(|(cert, key)| CertifiedFiles {
                cert: cert.into(),
                key: key.into(),
            }),
            ca: self.ca.as_ref().map(Into::into),
            verify_client: self.verify_client && self.ca.is_some(),
        }
    }
}

/// `[media]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "conf/offhook.toml tells of each key")]
pub struct Media {
    pub bind: Option<String>,
    pub advertise: Option<String>,
    pub xmpp_port: Option<u64>,
    pub rtp_ports: Option<String>,
    pub threads: Option<u64>,
    pub transcode: Option<String>,
}

/// One `[[trunk]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "conf/offhook.toml tells of each key")]
pub struct Trunk {
    pub name: Option<String>,
    pub uri: Option<String>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub codecs: Option<Vec<String>>,
    pub from_networks: Vec<String>,
    pub from_domain: Option<String>,
    pub max_calls: Option<u64>,
    pub options_s: Option<u64>,
    pub register: bool,
    pub outbound_proxy: Option<String>,
    pub caller_id: Option<String>,
    pub srtp: Option<String>,
    pub srtp_keys: Option<String>,
    pub dtmf: Option<String>,
    pub comfort_noise: Option<bool>,
    pub early_media: bool,
    pub session_expires_s: Option<u64>,
    pub messages: Option<bool>,
    pub video: bool,
}

/// One `[[route]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "conf/offhook.toml tells of each key")]
pub struct Route {
    pub r#match: Option<String>,
    pub trunk: Vec<String>,
}

/// One `[[number]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "conf/offhook.toml tells of each key")]
pub struct Number {
    pub number: Option<String>,
    pub ring: Vec<String>,
}

/// `[access]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "conf/offhook.toml tells of each key")]
pub struct Access {
    pub allow: Vec<String>,
    pub country: Option<String>,
    pub max_calls_per_user: Option<u64>,
    pub calls_per_minute: Option<u64>,
    pub messages_per_minute: Option<u64>,
    pub max_call_s: Option<u64>,
}

/// `[call]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "conf/offhook.toml tells of each key")]
pub struct Call {
    pub ring_limit_s: Option<u64>,
    pub silence_limit_s: Option<u64>,
    pub connect_limit_s: Option<u64>,
}

/// `[mix]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "conf/offhook.toml tells of each key")]
pub struct Mix {
    pub domain: Option<String>,
    pub server: Option<String>,
    pub secret: Option<Secret>,
    pub create: Vec<String>,
    pub ejabberd_domains: Vec<String>,
    pub tigase_domains: Vec<String>,
    pub archive_days: Option<u64>,
    pub archive_max: Option<u64>,
    pub legacy_presence: Option<bool>,
    pub channel: Vec<Channel>,
}

/// One `[[mix.channel]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "conf/offhook.toml tells of each key")]
pub struct Channel {
    pub name: Option<String>,
    pub owner: Vec<String>,
    pub hidden: bool,
    pub phones: Vec<String>,
}

/// `[admin]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "conf/offhook.toml tells of each key")]
pub struct Admin {
    pub listen: Option<String>,
}

/// `[store]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "conf/offhook.toml tells of each key")]
pub struct Store {
    pub url: Option<String>,
}
