//! The second half of `meant.rs`: trunks, routes and our numbers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::keys::nearest;
use super::meant::Notes;
use super::values;
use super::written;
use super::{CallerId, Dtmf, NumberConfig, RouteConfig, RouteMatch, Srtp, SrtpKeys, TrunkConfig};
use crate::net::SipTransport;

/// The codecs that a trunk can be told to use. `telephone-event` goes along, and comfort noise has a
/// switch of its own.
pub const CODECS: &[&str] = &["opus", "G722", "PCMU", "PCMA"];

/// Codecs that trunks have and the gateway has not.
const ELSEWHERE: &[&str] = &[
    "g723", "g726", "g728", "g729", "gsm", "ilbc", "amr", "amr-wb", "speex",
];

impl Notes {
    pub(super) fn trunks(&mut self, written: Vec<written::Trunk>) -> Vec<TrunkConfig> {
        let mut trunks: Vec<TrunkConfig> = Vec::new();
        let mut networks: BTreeMap<(IpAddr, u8), String> = BTreeMap::new();
        for (index, one) in written.into_iter().enumerate() {
            let at = |name: &str| format!("trunk[{index}].{name}");
            let trunk = self.trunk(one, &at);
            if trunks.iter().any(|t| t.name == trunk.name) && !trunk.name.is_empty() {
                self.wrong(
                    at("name"),
                    format!("`{}` is the name of another trunk too", trunk.name),
                );
            }
            for network in &trunk.from_networks {
                if let Some(other) = networks.insert(*network, trunk.name.clone()) {
                    self.warn(
                        at("from_networks"),
                        format!(
                            "{}/{} belongs to trunk {other} too; its calls count as that one's",
                            network.0, network.1
                        ),
                    );
                }
            }
            trunks.push(trunk);
        }
        trunks
    }

    fn trunk(&mut self, written: written::Trunk, at: &impl Fn(&str) -> String) -> TrunkConfig {
        let written::Trunk {
            name,
            uri,
            username,
            password,
            codecs,
            from_networks,
            from_domain,
            max_calls,
            options_s,
            register,
            outbound_proxy,
            caller_id,
            srtp,
            srtp_keys,
            dtmf,
            comfort_noise,
            early_media,
            session_expires_s,
            messages,
            video,
        } = written;
        let name = self
            .required(&at("name"), name, "routes, logs and metrics call it so")
            .unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.len() > 64 || !name.chars().all(plain) {
            self.wrong(
                at("name"),
                format!("`{name}` must be of letters, digits, - _ and . only, at most 64"),
            );
        }
        let uri = self
            .required(
                &at("uri"),
                uri,
                "requests go there: sip:sip.carrier.example",
            )
            .unwrap_or_default();
        let target = match uri.as_str() {
            "" => None,
            uri => match values::trunk_uri(uri) {
                Ok(target) => Some(target),
                Err(reason) => {
                    self.wrong(at("uri"), reason);
                    None
                }
            },
        };
        let (host, port, transport) = target.map_or((String::new(), None, None), |t| {
            (t.host, t.port, t.transport)
        });
        match (&username, &password) {
            (Some(_), None) => self.wrong(
                at("password"),
                "is missing, but username is there; both or none",
            ),
            (None, Some(_)) => self.wrong(
                at("username"),
                "is missing, but password is there; both or none",
            ),
            (Some(_), Some(_)) => {
                self.secret(
                    &at("password"),
                    password.clone(),
                    "give the trunk's password",
                );
            }
            (None, None) => {}
        }
        let codecs = self.codecs(&at("codecs"), codecs);
        let from_networks = self.take_all(&at("from_networks"), &from_networks, values::network);
        if let Some(Err(reason)) = from_domain.as_deref().map(values::from_domain) {
            self.wrong(at("from_domain"), reason);
        }
        let most = u64::from(u32::MAX);
        let max_calls = max_calls.map(|n| self.number(&at("max_calls"), Some(n), 0, most));
        if max_calls == Some(0) {
            self.wrong(
                at("max_calls"),
                "0 lets no call through; leave the key out for no limit",
            );
        }
        let options_s = self.number(&at("options_s"), options_s, 30, 86400);
        if register && username.is_none() {
            self.wrong(at("register"), "needs username and password");
        }
        let outbound_proxy = outbound_proxy.and_then(|proxy| {
            let read = values::trunk_uri(&proxy).map(Some);
            self.take(&at("outbound_proxy"), read, None)
        });
        let caller_id = caller_id.map_or(CallerId::From, |text| {
            self.take(&at("caller_id"), caller_id_of(&text), CallerId::From)
        });
        let srtp = self.take(&at("srtp"), srtp_of(srtp.as_deref()), Srtp::Off);
        let keys = srtp_keys_of(srtp_keys.as_deref());
        let srtp_keys = self.take(&at("srtp_keys"), keys, SrtpKeys::Sdes);
        let dtmf = self.take(&at("dtmf"), dtmf_of(dtmf.as_deref()), Dtmf::Auto);
        let session_expires_s = self.number(&at("session_expires_s"), session_expires_s, 0, 86_400);
        // RFC 4028 §4: nobody has to take less.
        if (1..90).contains(&session_expires_s) {
            self.wrong(at("session_expires_s"), "is 0 or at least 90 (RFC 4028)");
        }
        let spoken = match &outbound_proxy {
            Some(proxy) => proxy.transport,
            None => transport,
        };
        let in_the_open = spoken.is_some_and(|t| t != SipTransport::Tls);
        if srtp != Srtp::Off && srtp_keys == SrtpKeys::Sdes && in_the_open {
            self.warn(
                at("srtp"),
                "the keys travel in SIP messages that anybody on the way can read; \
                 use ;transport=tls in uri or outbound_proxy, or srtp_keys = \"dtls\"",
            );
        }
        TrunkConfig {
            name,
            uri,
            host,
            port,
            transport,
            username,
            password,
            codecs,
            from_networks,
            max_calls: max_calls.and_then(|n| u32::try_from(n).ok()),
            options: Duration::from_secs(options_s),
            from_domain,
            caller_id,
            register,
            outbound_proxy,
            srtp,
            srtp_keys,
            dtmf,
            comfort_noise: comfort_noise.unwrap_or(true),
            early_media,
            session_timer: Duration::from_secs(session_expires_s),
            messages: messages.unwrap_or(true),
            video,
        }
    }

    fn codecs(&mut self, key: &str, written: Option<Vec<String>>) -> Vec<String> {
        let Some(written) = written else {
            return CODECS.iter().map(|&name| name.to_owned()).collect();
        };
        if written.is_empty() {
            self.wrong(key, "is empty: no call could be made; leave the key out");
        }
        let mut codecs = self.take_all(key, &written, |text| {
            if let Some(codec) = CODECS.iter().find(|c| c.eq_ignore_ascii_case(text)) {
                return Ok((*codec).to_owned());
            }
            let lower = text.to_ascii_lowercase();
            let hint = match lower.as_str() {
                "ulaw" | "g711u" | "mulaw" => "; PCMU is meant".to_owned(),
                "alaw" | "g711a" => "; PCMA is meant".to_owned(),
                "telephone-event" => "; it goes along by itself".to_owned(),
                "cn" => "; comfort_noise has it go along".to_owned(),
                // Near to a name that is here, and another codec.
                name if ELSEWHERE.contains(&name) => format!("; there are {}", CODECS.join(", ")),
                _ => match nearest(text, CODECS) {
                    Some(near) => format!("; did you mean {near}?"),
                    None => format!("; there are {}", CODECS.join(", ")),
                },
            };
            Err(format!("there is no codec `{text}` here{hint}"))
        });
        for index in (1..codecs.len()).rev() {
            if codecs[..index].contains(&codecs[index]) {
                self.wrong(key, format!("{} is listed twice", codecs[index]));
                codecs.remove(index);
            }
        }
        codecs
    }

    pub(super) fn routes(
        &mut self,
        written: Vec<written::Route>,
        trunks: &[TrunkConfig],
        all_named: bool,
    ) -> Vec<RouteConfig> {
        let names: Vec<&str> = trunks.iter().map(|t| t.name.as_str()).collect();
        let mut routes: Vec<RouteConfig> = Vec::new();
        for (index, one) in written.into_iter().enumerate() {
            let at = |name: &str| format!("route[{index}].{name}");
            let written::Route { r#match, trunk } = one;
            let matches = self
                .required(
                    &at("match"),
                    r#match,
                    "+49 for numbers, @example.org for SIP addresses, * for everything",
                )
                .map(|text| self.take(&at("match"), route_match(&text), RouteMatch::Any));
            if trunk.is_empty() {
                self.wrong(at("trunk"), "names no trunk; write [\"NAME\"]");
            }
            for (position, name) in trunk.iter().enumerate() {
                let key = format!("{}[{position}]", at("trunk"));
                if !all_named || names.contains(&name.as_str()) {
                    if trunk[..position].contains(name) {
                        self.wrong(key, format!("`{name}` is listed twice"));
                    }
                    continue;
                }
                let hint = match nearest(name, &names) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if names.is_empty() => "there is no [[trunk]]".to_owned(),
                    None => format!("there are {}", names.join(", ")),
                };
                self.wrong(key, format!("no trunk is named `{name}`; {hint}"));
            }
            let Some(matches) = matches else { continue };
            if let Some(earlier) = routes.iter().position(|r| covers(&r.matches, &matches)) {
                self.warn(
                    at("match"),
                    format!("is never reached: route[{earlier}] takes all of it"),
                );
            }
            routes.push(RouteConfig {
                matches,
                trunks: trunk,
            });
        }
        routes
    }

    pub(super) fn numbers(
        &mut self,
        written: Vec<written::Number>,
        own_domain: &str,
    ) -> Vec<NumberConfig> {
        let mut numbers: Vec<NumberConfig> = Vec::new();
        for (index, one) in written.into_iter().enumerate() {
            let at = |name: &str| format!("number[{index}].{name}");
            let written::Number { number, ring } = one;
            let number = self
                .required(&at("number"), number, "such as +15550001000")
                .map(|text| values::number(&text));
            if ring.is_empty() {
                self.wrong(at("ring"), "rings nobody; write [\"juliet@example.org\"]");
            }
            let ring = self.take_all(&at("ring"), &ring, |text| {
                values::user_beside(text, own_domain)
            });
            match number {
                None => {}
                Some(Err(reason)) => self.wrong(at("number"), reason),
                Some(Ok(number)) => {
                    if numbers.iter().any(|n| n.number == number) {
                        self.wrong(at("number"), format!("`{number}` is listed twice"));
                    }
                    numbers.push(NumberConfig { number, ring });
                }
            }
        }
        numbers
    }
}

fn caller_id_of(text: &str) -> Result<CallerId, String> {
    match text {
        "from" => Ok(CallerId::From),
        "p-asserted-identity" => Ok(CallerId::Asserted),
        "remote-party-id" => Ok(CallerId::RemoteParty),
        other => Err(format!(
            "`{other}` is none of from, p-asserted-identity, remote-party-id"
        )),
    }
}

fn dtmf_of(text: Option<&str>) -> Result<Dtmf, String> {
    match text {
        None | Some("auto") => Ok(Dtmf::Auto),
        Some("rfc4733") => Ok(Dtmf::Rtp),
        Some("info") => Ok(Dtmf::Info),
        Some(other) => Err(format!("`{other}` is none of auto, rfc4733, info")),
    }
}

fn srtp_of(text: Option<&str>) -> Result<Srtp, String> {
    match text {
        None | Some("off") => Ok(Srtp::Off),
        Some("offer") => Ok(Srtp::Offer),
        Some("require") => Ok(Srtp::Require),
        Some(other) => Err(format!("`{other}` is none of off, offer, require")),
    }
}

fn srtp_keys_of(text: Option<&str>) -> Result<SrtpKeys, String> {
    match text {
        None | Some("sdes") => Ok(SrtpKeys::Sdes),
        Some("dtls") => Ok(SrtpKeys::Dtls),
        Some(other) => Err(format!("`{other}` is neither sdes nor dtls")),
    }
}

fn route_match(text: &str) -> Result<RouteMatch, String> {
    if text == "*" {
        return Ok(RouteMatch::Any);
    }
    if let Some(domain) = text.strip_prefix('@') {
        return match values::host_and_port(domain) {
            Ok((host, None)) => Ok(RouteMatch::Domain(host)),
            Ok((host, Some(_))) => Err(format!("`{text}` has a port; write @{host}")),
            Err(reason) => Err(format!("`{text}`: {reason}")),
        };
    }
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_number = digits.bytes().all(|b| b.is_ascii_digit()) && digits.len() <= 15;
    match (is_number, text.starts_with('+')) {
        (true, true) => Ok(RouteMatch::Prefix(text.to_owned())),
        (true, false) if !digits.starts_with('0') => {
            Err(format!("`{text}` does not start with +; write +{text}"))
        }
        _ if values::host_and_port(text).is_ok() && text.contains('.') => {
            Err(format!("`{text}` looks like a domain; write @{text}"))
        }
        _ => Err(format!(
            "`{text}` is none of + and digits, @ and a domain, *"
        )),
    }
}

/// True if `earlier` takes every address that `later` takes.
fn covers(earlier: &RouteMatch, later: &RouteMatch) -> bool {
    match (earlier, later) {
        (RouteMatch::Any, _) => true,
        (RouteMatch::Prefix(a), RouteMatch::Prefix(b)) => b.starts_with(a.as_str()),
        (RouteMatch::Domain(a), RouteMatch::Domain(b)) => a == b,
        (RouteMatch::Prefix(_), RouteMatch::Domain(_) | RouteMatch::Any)
        | (RouteMatch::Domain(_), RouteMatch::Prefix(_) | RouteMatch::Any) => false,
    }
}
