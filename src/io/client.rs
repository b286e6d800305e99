//! Logs in to an XMPP server as a user: for `dial` and `listen`.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
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
use crate::xmpp::stanza::element;

const CLIENT: &str = "jabber:client";
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
        server: Option<&str>,
    ) -> Result<Self, LoginError> {
        let login = async {
            match server {
                Some(server) if is_loopback(server).await => {
                    let tcp = connect(server)
                        .await
                        .map_err(|source| LoginError::Connect {
                            server: server.to_owned(),
                            source,
                        })?;
                    let stream = BufStream::new(QuickAck(tcp));
                    let pending =
                        initiate_stream(stream, CLIENT, header(account), Timeouts::default())
                            .await?;
                    Self::authenticate(pending, ChannelBinding::None, account, password).await
                }
                _ => {
                    let dns = match server {
                        Some(server) => DnsConfig::addr(server),
                        None => DnsConfig::srv_default_client(account.domain().as_str()),
                    };
                    let connector = StartTlsServerConnector(dns);
                    let jid = Jid::from(account.clone());
                    let (pending, binding) =
                        connector.connect(&jid, CLIENT, Timeouts::default()).await?;
                    Self::authenticate(pending, binding, account, password).await
                }
            }
        };
        tokio::time::timeout(LOGIN_LIMIT, login)
            .await
            .map_err(|_| LoginError::Silent)?
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
        let gone = element("presence", CLIENT)
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

async fn is_loopback(server: &str) -> bool {
    let Ok(mut addresses) = tokio::net::lookup_host(server).await else {
        return false;
    };
    addresses.all(|address: SocketAddr| address.ip().is_loopback())
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
    let request = element("iq", CLIENT)
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

async fn pump<S: AsyncReadAndWrite>(
    mut stream: XmlStream<S, Element>,
    inward: mpsc::Sender<Element>,
    mut outward: mpsc::Receiver<Element>,
) {
    loop {
        tokio::select! {
            read = stream.next() => match read {
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
