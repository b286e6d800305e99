//! Dialogs: RFC 3261 §12. Tags, CSeq numbers, the remote target and the route set.
//!
//! URIs and routes are kept as they were written and never printed anew, so that nothing in them
//! is lost.

use crate::net::Flow;

use super::uri::Uri;
use super::wire::{CSeq, Message, Method, Name};

/// Routes of one dialog: more proxies than that are a loop (RFC 3261 §8.1.1.6 counts to 70, and
/// each one costs us memory for the whole call).
const MAX_ROUTES: usize = 32;

/// One dialog, early or confirmed.
#[derive(Clone, Debug)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: String,
    /// Our tag.
    pub local_tag: String,
    /// The peer's tag; empty if it is of RFC 2543.
    pub remote_tag: String,
    /// Our From value in requests, tag and all.
    local: String,
    /// Our To value in requests, tag and all.
    remote: String,
    /// CSeq of our last request.
    pub local_cseq: u32,
    /// CSeq of the peer's last request, if there was one.
    pub remote_cseq: Option<u32>,
    /// The remote target.
    pub target: String,
    /// The route set, as Route values.
    routes: Vec<String>,
    /// How the peer last reached us, or we it.
    pub flow: Flow,
    /// A large request could not go by TCP: all of them go by UDP (RFC 3261 §18.1.1).
    pub tcp_failed: bool,
}

/// What a CSeq number of the peer means (RFC 3261 §12.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Later than all before; a gap is no fault.
    Next,
    /// Earlier than one before: to be answered 500.
    Late,
}

impl Dialog {
    /// The dialog that our response with `local_tag` to `request` makes (§12.1.1). `None` if the
    /// request lacks something.
    pub fn uas(request: &Message, local_tag: &str, flow: Flow) -> Option<Self> {
        let to = request.header(Name::To)?;
        let local = match request.to_tag() {
            Some(_) => to.to_owned(),
            None => tagged(to, local_tag),
        };
        Some(Self {
            call_id: request.call_id()?.to_owned(),
            local_tag: local_tag.to_owned(),
            remote_tag: request.from_tag().unwrap_or("").to_owned(),
            local,
            remote: request.header(Name::From)?.to_owned(),
            local_cseq: 0,
            remote_cseq: Some(request.cseq()?.number),
            target: request.address(Name::Contact)?.uri.to_owned(),
            routes: request
                .values(Name::RecordRoute)
                .take(MAX_ROUTES)
                .map(str::to_owned)
                .collect(),
            flow,
            tcp_failed: false,
        })
    }

    /// The dialog that `response` to our `request` makes (§12.1.2). `None` if it makes none.
    pub fn uac(request: &Message, response: &Message, flow: Flow) -> Option<Self> {
        let target = match response.address(Name::Contact) {
            Some(contact) => contact.uri,
            // COMPAT: some peers send 18x without Contact.
            None => request.request_uri()?,
        };
        let mut routes: Vec<String> = response
            .values(Name::RecordRoute)
            .take(MAX_ROUTES)
            .map(str::to_owned)
            .collect();
        routes.reverse();
        Some(Self {
            call_id: request.call_id()?.to_owned(),
            local_tag: request.from_tag()?.to_owned(),
            remote_tag: response.to_tag().unwrap_or("").to_owned(),
            local: request.header(Name::From)?.to_owned(),
            remote: response.header(Name::To)?.to_owned(),
            local_cseq: request.cseq()?.number,
            remote_cseq: None,
            target: target.to_owned(),
            routes,
            flow,
            tcp_failed: false,
        })
    }

    /// Goes on where the early dialog stopped: its requests have used numbers up.
    pub fn continue_from(&mut self, early: &Self) {
        self.local_cseq = self.local_cseq.max(early.local_cseq);
        self.remote_cseq = self.remote_cseq.max(early.remote_cseq);
    }

    /// Takes the CSeq number of a request of the peer.
    pub fn order(&mut self, number: u32) -> Order {
        match self.remote_cseq {
            Some(last) if number < last => Order::Late,
            Some(_) | None => {
                self.remote_cseq = Some(number);
                Order::Next
            }
        }
    }

    /// Takes the Contact of a target refresh request or of its 2xx (§12.2).
    pub fn refresh_target(&mut self, message: &Message) {
        if let Some(contact) = message.address(Name::Contact)
            && contact.uri != "*"
        {
            contact.uri.clone_into(&mut self.target);
        }
    }

    /// The next request of ours in the dialog; Via and Contact are put in when it is sent.
    pub fn request(&mut self, method: Method) -> Message {
        self.local_cseq += 1;
        self.request_numbered(method, self.local_cseq)
    }

    /// The ACK of a 2xx to the INVITE with `number` (§13.2.2.4).
    pub fn ack(&self, number: u32) -> Message {
        self.request_numbered(Method::Ack, number)
    }

    fn request_numbered(&self, method: Method, number: u32) -> Message {
        let (uri, routes, last) = match self.routes.first() {
            // §12.2.1.1: a first hop that is no loose router wants to be the Request-URI.
            Some(first) if !is_loose(first) => (
                bare_uri(first),
                &self.routes[1..],
                Some(format!("<{}>", self.target)),
            ),
            Some(_) | None => (self.target.as_str(), &self.routes[..], None),
        };
        let cseq = CSeq {
            number,
            method: method.clone(),
        };
        let mut request = Message::request(method, uri)
            .with(Name::Via, "")
            .with(Name::MaxForwards, "70");
        for route in routes.iter().chain(last.as_ref()) {
            request.push(Name::Route, route);
        }
        request
            .with(Name::From, &self.local)
            .with(Name::To, &self.remote)
            .with(Name::CallId, &self.call_id)
            .with(Name::CSeq, cseq.to_string())
    }

    /// Where others may call the peer: its Contact, unless proxies stand before it, who alone know
    /// the way there.
    pub fn address(&self) -> &str {
        match self.routes.is_empty() {
            true => &self.target,
            false => bare_uri(&self.remote),
        }
    }

    /// Our own address in the dialog.
    pub fn own_address(&self) -> &str {
        bare_uri(&self.local)
    }

    /// The URI that our requests go to: the first route, else the remote target.
    pub fn next_hop(&self) -> &str {
        match self.routes.first() {
            Some(first) => bare_uri(first),
            None => &self.target,
        }
    }
}

/// A From or To value with a tag added.
pub fn tagged(value: &str, tag: &str) -> String {
    let bare = value.trim_end_matches([';', ' ']);
    if bare.ends_with('>') || !bare.contains(';') {
        format!("{bare};tag={tag}")
    } else {
        [bare, ";tag=", tag].concat()
    }
}

fn bare_uri(route: &str) -> &str {
    super::wire::NameAddr::parse(route).map_or(route, |address| address.uri)
}

fn is_loose(route: &str) -> bool {
    Uri::parse(bare_uri(route)).is_ok_and(|uri| uri.is_loose_router())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::SipTransport;

    fn flow() -> Flow {
        Flow {
            transport: SipTransport::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: "192.0.2.9:5060".parse().unwrap(),
            connection: None,
        }
    }

    fn invite() -> Message {
        Message::request(Method::Invite, "sip:bob@192.0.2.1")
            .with(Name::Via, "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1")
            .with(Name::From, "<sip:al@192.0.2.9>;tag=a")
            .with(Name::To, "<sip:bob@192.0.2.1>")
            .with(Name::CallId, "c1")
            .with(Name::CSeq, "7 INVITE")
            .with(Name::Contact, "<sip:al%20x@192.0.2.9:5070;transport=udp>")
            .with(Name::RecordRoute, "<sip:p2;lr>, <sip:p1;lr>")
    }

    fn routes(message: &Message) -> Vec<&str> {
        message.fields(Name::Route).collect()
    }

    #[test]
    fn a_uas_keeps_the_route_set_in_order_and_the_contact_verbatim() {
        let mut dialog = Dialog::uas(&invite(), "t", flow()).unwrap();
        let bye = dialog.request(Method::Bye);
        // R2: `%20` stays `%20`, and the transport stays.
        assert_eq!(
            bye.request_uri(),
            Some("sip:al%20x@192.0.2.9:5070;transport=udp")
        );
        assert_eq!(routes(&bye), ["<sip:p2;lr>", "<sip:p1;lr>"]);
        assert_eq!(bye.header(Name::From), Some("<sip:bob@192.0.2.1>;tag=t"));
        assert_eq!(bye.header(Name::To), Some("<sip:al@192.0.2.9>;tag=a"));
        assert_eq!(dialog.next_hop(), "sip:p2;lr");
    }

    #[test]
    fn a_uac_reverses_the_route_set() {
        let response = Message::response_to(&invite(), 200)
            .with(Name::RecordRoute, "<sip:p2;lr>, <sip:p1;lr>")
            .with(Name::Contact, "<sip:bob@192.0.2.33>");
        let mut dialog = Dialog::uac(&invite(), &response, flow()).unwrap();
        let bye = dialog.request(Method::Bye);
        assert_eq!(routes(&bye), ["<sip:p1;lr>", "<sip:p2;lr>"]);
        assert_eq!(bye.cseq().unwrap().number, 8);
        assert_eq!(dialog.ack(7).cseq().unwrap().to_string(), "7 ACK");
    }

    #[test]
    fn a_strict_router_becomes_the_request_uri() {
        let mut request = invite();
        request
            .headers
            .set(Name::RecordRoute, "<sip:p2>, <sip:p1;lr>");
        let mut dialog = Dialog::uas(&request, "t", flow()).unwrap();
        let bye = dialog.request(Method::Bye);
        assert_eq!(bye.request_uri(), Some("sip:p2"));
        assert_eq!(
            routes(&bye),
            ["<sip:p1;lr>", "<sip:al%20x@192.0.2.9:5070;transport=udp>"]
        );
    }

    #[test]
    fn a_cseq_gap_is_fine_and_a_lower_number_is_late() {
        let mut dialog = Dialog::uas(&invite(), "t", flow()).unwrap();
        assert_eq!(dialog.order(20), Order::Next);
        assert_eq!(dialog.order(19), Order::Late);
        assert_eq!(dialog.order(21), Order::Next);
    }
}
