//! Logs in to an XMPP server as a user: for `dial` and `listen`.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use hickory_resolver::net::{DnsError, NetError};
use jid::{BareJid, FullJid, Jid};
use minidom::Element;
use sasl::common::{ChannelBinding, Credentials};
use tokio::io::BufStream;
use tokio::sync::mpsc;
use tokio_xmpp::connect::{AsyncReadAndWrite, DnsConfig, ServerConnector, StartTlsServerConnector};
use tokio_xmpp::xmlstream::{
    PendingFeaturesRecv, ReadError, StreamHeader, Timeouts, XmlStream, initiate_stream,
};

use super::component::{QuickAck, connect};
use crate::xmpp::jingle::NS_JMI;
use crate::xmpp::stanza::{NS_CLIENT, NS_DELAY, element};

const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
const LOGIN_LIMIT: Duration = Duration::from_secs(15);

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The account is no address of a user.
    #[error("the account needs a user part, as in juliet@example.org")]
    Account,
    /// The server cannot be reached.
    #[error("cannot connect to {server}: {source}")]
    Connect {
        /// The server.
        server: String,
        /// Why.
        source: io::Error,
    },
    /// DNS knows nothing of the account's domain.
    #[error("{domain} has no address in DNS; --server HOST:PORT says where the server is")]
    NoAddress {
        /// The domain.
        domain: String,
    },
    /// DNS cannot be asked.
    #[error("DNS does not say where {domain} is: {why}; --server HOST:PORT does without it")]
    Dns {
        /// The domain.
        domain: String,
        /// Why.
        why: NetError,
    },
    /// The password is wrong, or the stream could not be opened.
    #[error("login failed: {0}")]
    Stream(#[from] tokio_xmpp::Error),
    /// The stream broke.
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
    /// The server gave us no address.
    #[error("the server did not bind a resource: {0}")]
    Bind(String),
    /// The server does not answer.
    #[error("the server did not answer in {} s", LOGIN_LIMIT.as_secs())]
    Silent,
}

/// A user's stream.
pub struct ClientLink {
    /// Our address.
    pub jid: FullJid,
    /// Stanzas from the server; closed when the stream ends.
    pub stanzas: mpsc::Receiver<Element>,
    sender: mpsc::Sender<Element>,
    pump: tokio::task::JoinHandle<()>,
}

impl ClientLink {
    /// Logs in. With `server` given and on this host the stream may stay in the clear; every other
    /// server must offer STARTTLS.
    pub async fn login(
        account: &BareJid,
        password: &str,
        server: Option<(&str, u16)>,
    ) -> Result<Self, LoginError> {
        let login = async {
            let Some(server) = server else {
                let domain = account.domain().as_str();
                let dns = DnsConfig::srv_default_client(domain);
                return match Self::login_by_tls(dns, account, password).await {
                    Err(LoginError::Stream(tokio_xmpp::Error::DnsNet(why))) => {
                        Err(not_found(domain, why))
                    }
                    login => login,
                };
            };
            let unreachable = |source| LoginError::Connect {
                server: format!("{}:{}", server.0, server.1),
                source,
            };
            let addresses = addresses(server).await.map_err(unreachable)?;
            if is_loopback(&addresses) {
                let tcp = connect(addresses.as_slice()).await.map_err(unreachable)?;
                let stream = BufStream::new(QuickAck(tcp));
                let pending =
                    initiate_stream(stream, NS_CLIENT, header(account), Timeouts::default())
                        .await?;
                return Self::authenticate(pending, ChannelBinding::None, account, password).await;
            }
            let mut failed = None;
            for address in addresses {
                let dns = DnsConfig::addr(&address.to_string());
                match Self::login_by_tls(dns, account, password).await {
                    Err(LoginError::Stream(tokio_xmpp::Error::Io(source))) => {
                        failed.get_or_insert(source);
                    }
                    login => return login,
                }
            }
            let nowhere = || io::Error::other("it has no address");
            Err(unreachable(failed.unwrap_or_else(nowhere)))
        };
        tokio::time::timeout(LOGIN_LIMIT, login)
            .await
            .map_err(|_| LoginError::Silent)?
    }

    async fn login_by_tls(
        dns: DnsConfig,
        account: &BareJid,
        password: &str,
    ) -> Result<Self, LoginError> {
        let jid = Jid::from(account.clone());
        let (pending, binding) = StartTlsServerConnector(dns)
            .connect(&jid, NS_CLIENT, Timeouts::default())
            .await?;
        Self::authenticate(pending, binding, account, password).await
    }

    async fn authenticate<S: AsyncReadAndWrite + 'static>(
        pending: PendingFeaturesRecv<S>,
        binding: ChannelBinding,
        account: &BareJid,
        password: &str,
    ) -> Result<Self, LoginError> {
        let user = account.node().ok_or(LoginError::Account)?;
        let (features, stream) = pending
            .recv_features()
            .await
            .map_err(tokio_xmpp::Error::from)?;
        let credentials = Credentials::default()
            .with_username(user.as_str())
            .with_password(password)
            .with_channel_binding(binding);
        let stream =
            tokio_xmpp::client_login(stream, features.sasl_mechanisms, credentials).await?;
        let pending = stream.send_header(header(account)).await?;
        let (_, mut stream) = pending
            .recv_features::<Element>()
            .await
            .map_err(tokio_xmpp::Error::from)?;
        let jid = bind(&mut stream).await?;
        let (sender, outward) = mpsc::channel(1024);
        let (inward, stanzas) = mpsc::channel(1024);
        let pump = tokio::spawn(pump(stream, inward, outward));
        Ok(Self {
            jid,
            stanzas,
            sender,
            pump,
        })
    }

    /// Sends a stanza.
    pub fn send(&self, stanza: Element) {
        let _ = self.sender.try_send(stanza);
    }

    /// Logs out: the server then knows at once that the device is gone.
    pub async fn close(self) {
        let gone = element("presence", NS_CLIENT)
            .attr("type", "unavailable")
            .build();
        let _ = self.sender.send(gone).await;
        drop(self.sender);
        drop(self.stanzas);
        let _ = tokio::time::timeout(Duration::from_secs(2), self.pump).await;
    }
}

fn header(account: &BareJid) -> StreamHeader<'_> {
    StreamHeader {
        to: Some(Cow::Borrowed(account.domain().as_str())),
        from: None,
        id: None,
    }
}

/// Where a server is: the library takes addresses alone.
pub(super) async fn addresses(server: (&str, u16)) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host(server).await?.collect())
}

/// True if a server is on this host and nowhere else.
pub(super) fn is_loopback(addresses: &[SocketAddr]) -> bool {
    !addresses.is_empty() && addresses.iter().all(|a| a.ip().is_loopback())
}

/// Why DNS did not lead to the server of `domain`.
fn not_found(domain: &str, why: NetError) -> LoginError {
    let domain = domain.to_owned();
    match why {
        NetError::Dns(DnsError::NoRecordsFound(_)) => LoginError::NoAddress { domain },
        why => LoginError::Dns { domain, why },
    }
}

/// The next element; `None` when the server has closed the stream.
async fn next<S: AsyncReadAndWrite>(
    stream: &mut XmlStream<S, Element>,
) -> Result<Option<Element>, io::Error> {
    loop {
        match stream.next().await {
            Some(Ok(element)) => return Ok(Some(element)),
            Some(Err(ReadError::SoftTimeout | ReadError::ParseError(_))) => {}
            Some(Err(ReadError::HardError(error))) => return Err(error),
            Some(Err(ReadError::StreamFooterReceived)) | None => return Ok(None),
        }
    }
}

/// Asks for a resource (RFC 6120 §7).
async fn bind<S: AsyncReadAndWrite>(
    stream: &mut XmlStream<S, Element>,
) -> Result<FullJid, LoginError> {
    let request = element("iq", NS_CLIENT)
        .attr("type", "set")
        .attr("id", "bind")
        .child(element("bind", BIND).build())
        .build();
    stream.send(&request).await?;
    while let Some(iq) = next(stream).await? {
        if iq.name() == "iq" && iq.attr("id") == Some("bind") {
            let jid = iq
                .get_child("bind", BIND)
                .and_then(|bind| bind.get_child("jid", BIND))
                .map(Element::text);
            return jid
                .and_then(|jid| FullJid::new(&jid).ok())
                .ok_or_else(|| LoginError::Bind(String::from(&iq)));
        }
    }
    Err(LoginError::Bind("the stream was closed".to_owned()))
}

/// True for a word about a call that is over by now: the server kept it for us (XEP-0203).
fn is_late(stanza: &Element) -> bool {
    let is_of_a_call = |payload: &Element| payload.ns() == NS_JMI;
    stanza.has_child("delay", NS_DELAY) && stanza.children().any(is_of_a_call)
}

async fn pump<S: AsyncReadAndWrite>(
    mut stream: XmlStream<S, Element>,
    inward: mpsc::Sender<Element>,
    mut outward: mpsc::Receiver<Element>,
) {
    loop {
        tokio::select! {
            read = stream.next() => match read {
                Some(Ok(stanza)) if is_late(&stanza) => {}
                Some(Ok(stanza)) => {
                    // A receiver that went away is about to say goodbye; go on until it did.
                    let _ = inward.send(stanza).await;
                }
                Some(Err(ReadError::SoftTimeout | ReadError::ParseError(_))) => {}
                Some(Err(ReadError::HardError(_) | ReadError::StreamFooterReceived)) | None => {
                    return;
                }
            },
            stanza = outward.recv() => match stanza {
                Some(stanza) => {
                    if stream.send(&stanza).await.is_err() {
                        return;
                    }
                }
                None => {
                    let _ = stream.shutdown().await;
                    return;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_was_kept_for_us_is_passed_over() {
        let message = |more: &str| -> Element {
            let text = format!(
                "<message xmlns='jabber:client' from='juliet@example.org/a'>\
                 <propose xmlns='urn:xmpp:jingle-message:0' id='s'/>{more}</message>"
            );
            text.parse().unwrap()
        };
        assert!(!is_late(&message("")));
        let kept = "<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/>";
        assert!(is_late(&message(kept)));
        let chat = format!("<message xmlns='jabber:client'><body>hi</body>{kept}</message>");
        assert!(!is_late(&chat.parse().unwrap()));
    }

    #[test]
    fn only_a_server_on_this_host_may_stay_in_the_clear() {
        let at = |texts: &[&str]| -> Vec<SocketAddr> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert!(is_loopback(&at(&["127.0.0.1:5222", "[::1]:5222"])));
        assert!(!is_loopback(&at(&["127.0.0.1:5222", "192.0.2.1:5222"])));
        assert!(!is_loopback(&[]));
    }
}
