//! The link to the XMPP server: an XEP-0114 component stream that comes back by itself.

use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use minidom::Element;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncWrite, BufStream, ReadBuf};
use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::sync::mpsc;
use tokio_xmpp::xmlstream::{ReadError, StreamHeader, Timeouts, XmlStream, initiate_stream};

use super::incoming::Incoming;
use crate::config::XmppConfig;
use crate::id::TokenMaker;
use crate::xmpp::stanza::element;

const COMPONENT: &str = "jabber:component:accept";
/// Stanzas that wait for the gateway. When it is full the server's TCP connection is not read.
const INWARD: usize = 1024;
/// Stanzas that wait for the server. When it is full the server does not read; what comes on top
/// is dropped, as a server with a full queue would do.
const OUTWARD: usize = 16 * 1024;
/// What is read and written at a time, at most: some stanzas of a busy link. Each read that fills it costs
/// another one.
const BUFFER: usize = 32 * 1024;
/// The first wait before connecting again; doubled up to [`MAX_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(500);
const MAX_WAIT: Duration = Duration::from_secs(30);
/// A link that lasted this long was a good one: the next wait is short again.
const GOOD_LINK: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Stanzas that waited longer for a lost link are not sent any more. Until then a hang-up is worth
/// telling; later the client has noticed by its media, and a propose would ring for nobody.
const STALE: Duration = Duration::from_secs(30);

/// What the link tells.
#[derive(Debug)]
pub enum LinkEvent {
    /// The server accepted us.
    Up,
    /// The link is lost; it will be tried again.
    Down,
    /// A stanza came.
    Stanza(Element),
    /// The server refuses us for a reason that waiting does not mend.
    Refused(String),
}

/// The gateway's end of the link.
pub struct Link {
    /// What the link tells.
    pub events: mpsc::Receiver<LinkEvent>,
    stanzas: mpsc::Sender<(Instant, Element)>,
}

impl Link {
    /// Starts connecting in the background.
    pub fn start(config: XmppConfig, tokens: TokenMaker) -> Self {
        let (event_sender, events) = mpsc::channel(INWARD);
        let (stanzas, stanza_receiver) = mpsc::channel(OUTWARD);
        tokio::spawn(run(config, tokens, event_sender, stanza_receiver));
        Self { events, stanzas }
    }

    /// Sends a stanza; drops it if the server reads nothing.
    pub fn send(&self, stanza: Element) {
        if self.stanzas.try_send((Instant::now(), stanza)).is_err() {
            tracing::warn!("a stanza was dropped: the XMPP server does not read");
        }
    }
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("cannot connect to {server}: {source}")]
    Connect { server: String, source: io::Error },
    #[error("{0}")]
    Stream(#[from] io::Error),
    #[error("the server refuses the component: {0}")]
    Refused(String),
    #[error("the server closed the stream{0}")]
    Closed(String),
    #[error("the server does not answer")]
    Silent,
    #[error("the gateway stops")]
    Stopped,
}

type ComponentStream = XmlStream<BufStream<QuickAck>, Incoming>;

async fn run(
    config: XmppConfig,
    mut tokens: TokenMaker,
    events: mpsc::Sender<LinkEvent>,
    mut stanzas: mpsc::Receiver<(Instant, Element)>,
) {
    let mut wait = FIRST_WAIT;
    loop {
        let started = Instant::now();
        let ended = match tokio::time::timeout(CONNECT_LIMIT, login(&config)).await {
            Ok(Ok(stream)) => {
                if events.send(LinkEvent::Up).await.is_err() {
                    return;
                }
                tracing::info!(
                    domain = config.domain,
                    server = config.server,
                    "xmpp component up"
                );
                let ended = pump(stream, &config.domain, &events, &mut stanzas).await;
                if events.send(LinkEvent::Down).await.is_err() {
                    return;
                }
                ended
            }
            Ok(Err(error)) => error,
            Err(_) => LinkError::Silent,
        };
        match &ended {
            LinkError::Stopped => return,
            LinkError::Refused(why) => {
                let _ = events.send(LinkEvent::Refused(why.clone())).await;
            }
            LinkError::Connect { .. }
            | LinkError::Stream(_)
            | LinkError::Closed(_)
            | LinkError::Silent => {}
        }
        if started.elapsed() > GOOD_LINK {
            wait = FIRST_WAIT;
        }
        // Full jitter over the upper half, so that many gateways do not come back at once.
        let half = wait / 2;
        let pause = half + half.mul_f64(tokens.below(1000) as f64 / 1000.0);
        tracing::warn!(domain = config.domain, %ended, again_in = ?pause, "xmpp component down");
        tokio::time::sleep(pause).await;
        wait = (wait * 2).min(MAX_WAIT);
    }
}

/// Connects and shakes hands (XEP-0114 §3).
async fn login(config: &XmppConfig) -> Result<ComponentStream, LinkError> {
    let tcp = connect(&config.server)
        .await
        .map_err(|source| LinkError::Connect {
            server: config.server.clone(),
            source,
        })?;
    let header = StreamHeader {
        to: Some(Cow::Borrowed(config.domain.as_str())),
        from: None,
        id: None,
    };
    // A soft timeout makes us ask the server for a sign of life.
    let timeouts = Timeouts {
        read_timeout: Duration::from_secs(60),
        response_timeout: Duration::from_secs(30),
    };
    let stream = BufStream::with_capacity(BUFFER, BUFFER, QuickAck(tcp));
    let mut pending = initiate_stream(stream, COMPONENT, header, timeouts).await?;
    let id = pending.take_header().id.unwrap_or_default().into_owned();
    let mut stream: ComponentStream = pending.skip_features();
    let digest = Sha1::digest(format!("{id}{}", config.secret.0));
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    let handshake = Element::builder("handshake", "jabber:component:accept")
        .append(hex)
        .build();
    stream.send(&handshake).await?;
    match read(&mut stream).await? {
        element if element.name() == "handshake" => Ok(stream),
        element => Err(LinkError::Refused(stream_error(&element))),
    }
}

/// Opens a TCP connection without Nagle's delay.
pub(super) async fn connect(server: impl ToSocketAddrs) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect(server).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

async fn pump(
    mut stream: ComponentStream,
    domain: &str,
    events: &mpsc::Sender<LinkEvent>,
    stanzas: &mut mpsc::Receiver<(Instant, Element)>,
) -> LinkError {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            read = stream.next() => match read {
                Some(Ok(Incoming(element))) if element.name() == "error"
                    && element.ns() == "http://etherx.jabber.org/streams" =>
                {
                    return LinkError::Closed(format!(": {}", stream_error(&element)));
                }
                Some(Ok(Incoming(element))) => {
                    if events.send(LinkEvent::Stanza(element)).await.is_err() {
                        return LinkError::Stopped;
                    }
                }
                Some(Err(ReadError::ParseError(error))) => {
                    tracing::debug!(%error, "a stanza could not be read");
                }
                Some(Err(ReadError::SoftTimeout)) => {
                    if let Err(error) = stream.send(&keep_alive(domain)).await {
                        return error.into();
                    }
                }
                Some(Err(ReadError::HardError(error))) => return error.into(),
                Some(Err(ReadError::StreamFooterReceived)) | None => {
                    return LinkError::Closed(String::new());
                }
            },
            count = stanzas.recv_many(&mut batch, 64) => {
                if count == 0 {
                    let _ = stream.shutdown().await;
                    return LinkError::Stopped;
                }
                for (written, stanza) in batch.drain(..) {
                    if written.elapsed() > STALE {
                        continue;
                    }
                    if let Err(error) = stream.feed(&stanza).await {
                        return error.into();
                    }
                }
                let flushed = <ComponentStream as SinkExt<&Element>>::flush(&mut stream).await;
                if let Err(error) = flushed {
                    return error.into();
                }
            }
        }
    }
}

/// A ping to ourselves: XEP-0114 has no keep-alive, and only our own domain is sure to exist.
fn keep_alive(domain: &str) -> Element {
    element("iq", COMPONENT)
        .attr("type", "get")
        .attr("id", "keep-alive")
        .attr("from", domain)
        .attr("to", domain)
        .child(element("ping", "urn:xmpp:ping").build())
        .build()
}

async fn read(stream: &mut ComponentStream) -> Result<Element, LinkError> {
    loop {
        match stream.next().await {
            Some(Ok(Incoming(element))) => return Ok(element),
            Some(Err(ReadError::HardError(error))) => return Err(error.into()),
            Some(Err(ReadError::SoftTimeout | ReadError::ParseError(_))) => {}
            Some(Err(ReadError::StreamFooterReceived)) | None => {
                return Err(LinkError::Closed(" during the handshake".to_owned()));
            }
        }
    }
}

/// The condition and text of a stream error.
fn stream_error(element: &Element) -> String {
    let condition = element.children().find(|child| child.name() != "text");
    let text = element
        .children()
        .find(|child| child.name() == "text")
        .map(Element::text);
    match (condition, text) {
        (Some(condition), Some(text)) => format!("{} ({text})", condition.name()),
        (Some(condition), None) => condition.name().to_owned(),
        (None, _) => format!("<{}/>", element.name()),
    }
}

/// A TCP stream that acknowledges at once what it reads. Servers leave Nagle's algorithm on
/// (Prosody by default): without this each answer waits for the peer's delayed acknowledgement,
/// 28 ms instead of 3 ms a call.
pub(super) struct QuickAck(pub(super) TcpStream);

impl AsyncRead for QuickAck {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            // The kernel turns quick acknowledgements off again by itself.
            rustix::net::sockopt::set_tcp_quickack(&self.0, true)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for QuickAck {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
