//! Redirections of our calls and texts: 300–302 and 305 are followed, within bounds (RFC 3261
//! §8.1.3.4).

use std::collections::VecDeque;

use crate::sip::locate::{Place, literal};
use crate::sip::transaction::drive::{Hop, SizeRule};
use crate::sip::uri::{Scheme, Uri};
use crate::sip::wire::{Message, Name, Start};
use crate::sip::{Sip, transaction::table::ClientId};

use super::transport_of;

/// Targets that one request is sent on to: PBXs forward once or twice, more is a loop.
const MAX_TARGETS: usize = 5;
/// Contacts of one redirection that are looked at.
const MAX_CONTACTS: usize = 16;

/// Where a request is sent on to.
#[derive(Debug)]
pub struct Target {
    /// The Request-URI.
    uri: String,
    /// The proxy before it.
    route: Option<String>,
    hops: VecDeque<Hop>,
}

/// Where a request was sent on to so far.
#[derive(Debug, Default)]
pub struct Targets {
    waiting: VecDeque<Target>,
    /// All that were ever named, so that none is tried twice.
    named: Vec<String>,
}

impl Targets {
    /// The next one to try.
    pub fn take(&mut self) -> Option<Target> {
        self.waiting.pop_front()
    }

    /// True if the request is no longer where it was sent first.
    pub fn have_led_away(&self) -> bool {
        self.named.len() > 1
    }

    /// True if none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl Target {
    /// Makes the request one for there; the servers that it goes to.
    pub fn address(self, request: &mut Message) -> VecDeque<Hop> {
        if let Start::Request { uri, .. } = &mut request.start {
            *uri = self.uri;
        }
        match self.route {
            Some(route) => request.headers.set(Name::Route, &route),
            None => {
                request.headers.remove(Name::Route);
            }
        }
        self.hops
    }
}

impl Sip {
    /// Notes the Contacts of a redirection; the order is that of their `q`.
    pub(in crate::sip) fn note_redirection(
        &self,
        trunk: Option<usize>,
        client: ClientId,
        targets: &mut Targets,
        response: &Message,
        status: u16,
    ) {
        let asked = self
            .clients
            .get(client)
            .and_then(|entry| entry.request.request_uri())
            .unwrap_or("")
            .to_owned();
        if targets.named.is_empty() {
            targets.named.push(asked.clone());
        }
        let mut contacts: Vec<(u32, String)> = response
            .addresses(Name::Contact)
            .take(MAX_CONTACTS)
            .map(|contact| {
                let q = contact.params.get("q").and_then(|q| q.parse::<f32>().ok());
                let per_mille = (q.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0) as u32;
                (1000 - per_mille, contact.uri.to_owned())
            })
            .collect();
        contacts.sort_by_key(|(rank, _)| *rank);
        let mut fresh = VecDeque::new();
        for (_, contact) in contacts {
            let named = &mut targets.named;
            if named.len() > MAX_TARGETS || named.contains(&contact) {
                continue;
            }
            // A configured proxy stays before whatever is called (RFC 3261 §8.1.2), unless another
            // one is named.
            let proxy = trunk.and_then(|index| self.trunks.get(index)?.route());
            let proxy = proxy.filter(|_| status != 305).map(str::to_owned);
            let Some(hops) = self.hops_to(trunk, &contact, proxy.is_some()) else {
                continue;
            };
            named.push(contact.clone());
            fresh.push_back(match status {
                // RFC 3261 §21.3.4: the same request by the proxy that is named.
                305 => Target {
                    uri: asked.clone(),
                    route: Some(format!("<{contact}>")),
                    hops,
                },
                _ => Target {
                    uri: contact,
                    route: proxy,
                    hops,
                },
            });
        }
        // What was named last is tried first: it replaces the target that named it.
        for target in fresh.into_iter().rev() {
            targets.waiting.push_front(target);
        }
    }

    /// The servers of a URI. A literal address and names that are known already lead there; what
    /// has to be asked for first goes by the trunk's own servers, which know their domain, as does
    /// everything that goes by the trunk's proxy.
    fn hops_to(&self, trunk: Option<usize>, uri: &str, by_proxy: bool) -> Option<VecDeque<Hop>> {
        let uri = Uri::parse(uri).ok()?;
        if !matches!(uri.scheme(), Scheme::Sip) {
            return None;
        }
        let asked = transport_of(&uri);
        let place = match literal(uri.host()) {
            Some(ip) if ip.is_unspecified() || ip.is_multicast() => return None,
            Some(_) if by_proxy => None,
            Some(ip) => {
                let transport = asked.unwrap_or(self.transports.preferred());
                Some(Place {
                    transport,
                    remote: (ip, uri.port().unwrap_or(transport.default_port())).into(),
                })
            }
            None if by_proxy => None,
            None => self.server_of(uri.host(), asked, None),
        };
        match (place, trunk) {
            (Some(place), _) => Some(VecDeque::from([Hop {
                place,
                local: None,
                server_name: None,
                size: match asked {
                    Some(_) => SizeRule::Keep,
                    None => SizeRule::TcpIfLarge,
                },
            }])),
            (None, Some(trunk)) => Some(self.hops_of(trunk)).filter(|hops| !hops.is_empty()),
            (None, None) => None,
        }
    }
}
