//! SIP over TCP and TLS: each connection is a task with a bounded queue, so that a peer that is slow,
//! silent or hostile holds up nobody but itself.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::id::ConnectionId;
use crate::net::{Flow, NetInput, SipTransport};

/// How long a stream peer may take to read one message.
const WRITE_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a peer may take to agree on TLS, once the connection stands.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// How long what was sent may wait for the peer's system to take note of it: as long as a request
/// may wait for its answer (RFC 3261 §17). Linux would try for a quarter of an hour.
const UNACKNOWLEDGED_LIMIT: Duration = Duration::from_secs(32);
/// After how much silence the peer's system is asked whether it is there, and how often.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
/// How long a peer that connected may say nothing at all. After that the SIP room looks after it.
const FIRST_WORD_LIMIT: Duration = Duration::from_secs(32);

/// What the tasks of the sockets tell.
pub enum Inward {
    /// Something for the room.
    Input(NetInput),
    /// A peer has connected.
    Accepted {
        /// TCP or TLS.
        transport: SipTransport,
        /// Our listening address.
        local: SocketAddr,
        /// The peer.
        remote: SocketAddr,
        /// The connection.
        stream: TcpStream,
    },
    /// A connection's task has ended.
    Gone(ConnectionId),
}

/// One connection, as its task sees it.
pub struct Link {
    /// Its way; `connection` is always given.
    pub flow: Flow,
    /// Its number.
    pub connection: ConnectionId,
    /// What goes out.
    pub messages: mpsc::Receiver<Vec<u8>>,
    /// Where everything that comes goes.
    pub inputs: mpsc::Sender<Inward>,
}

impl Link {
    /// Serves a connection that a peer opened, until either side ends it.
    pub async fn accepted(self, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
        let (connection, inputs) = (self.connection, self.inputs.clone());
        prepare(&stream);
        match acceptor {
            None => self.serve(stream, Some(FIRST_WORD_LIMIT)).await,
            Some(acceptor) => {
                match tokio::time::timeout(HANDSHAKE_LIMIT, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => self.serve(stream, Some(FIRST_WORD_LIMIT)).await,
                    Ok(Err(error)) => tracing::debug!(%error, "a TLS client was refused"),
                    Err(_) => tracing::debug!("a TLS client was too slow"),
                }
            }
        }
        let _ = inputs.send(Inward::Gone(connection)).await;
    }

    /// Opens a connection and serves it until either side ends it. With a TLS connector the peer
    /// must prove that it is `name`.
    pub async fn opened(
        self,
        from: Option<SocketAddr>,
        tls: Option<(TlsConnector, ServerName<'static>)>,
    ) {
        let (flow, inputs) = (self.flow, self.inputs.clone());
        let gone = Inward::Gone(self.connection);
        match tokio::time::timeout(CONNECT_LIMIT, connect(from, flow.remote)).await {
            Ok(Ok(stream)) => match tls {
                None => self.begin(stream).await,
                Some((connector, name)) => {
                    let server = name.to_str().into_owned();
                    let handshake = connector.connect(name, stream);
                    match tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await {
                        Ok(Ok(stream)) => self.begin(stream).await,
                        // An operator must hear of it: calls to this peer fail until it is mended.
                        Ok(Err(error)) => {
                            tracing::warn!(server, %error, "TLS to a SIP peer failed");
                        }
                        Err(_) => tracing::warn!(server, "TLS to a SIP peer took too long"),
                    }
                }
            },
            Ok(Err(error)) => tracing::debug!(%error, "a SIP peer cannot be reached"),
            Err(_) => tracing::debug!("a SIP peer cannot be reached in time"),
        }
        let _ = inputs.send(gone).await;
    }

    async fn begin(self, stream: impl AsyncRead + AsyncWrite) {
        let connected = NetInput::Connected { flow: self.flow };
        if self.inputs.send(Inward::Input(connected)).await.is_ok() {
            self.serve(stream, None).await;
        }
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite, first_word: Option<Duration>) {
        let Self {
            flow,
            connection: _,
            mut messages,
            inputs,
        } = self;
        let mut buffer = vec![0; 16 * 1024];
        let (reader, mut writer) = tokio::io::split(stream);
        let mut reader = std::pin::pin!(reader);
        let mut silence = std::pin::pin!(patience(first_word));
        loop {
            tokio::select! {
                read = reader.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => break,
                    Ok(length) => {
                        silence.set(patience(None));
                        let bytes = buffer[..length].to_vec();
                        let input = NetInput::Stream { flow, bytes };
                        if inputs.send(Inward::Input(input)).await.is_err() {
                            break;
                        }
                    }
                },
                message = messages.recv() => match message {
                    Some(bytes) => {
                        let written = async {
                            writer.write_all(&bytes).await?;
                            writer.flush().await
                        };
                        if !matches!(tokio::time::timeout(WRITE_LIMIT, written).await, Ok(Ok(()))) {
                            break;
                        }
                    }
                    None => break,
                },
                () = &mut silence => break,
            }
        }
        let _ = tokio::time::timeout(WRITE_LIMIT, writer.shutdown()).await;
    }
}

async fn patience(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Messages leave at once, and a peer that is gone without a word is noticed. A system that cannot
/// do one of these does without it.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_INTERVAL);
    let _ = socket.set_tcp_keepalive(&probes);
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_LIMIT));
}

async fn connect(from: Option<SocketAddr>, remote: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = match remote {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(from) = from {
        socket.bind(SocketAddr::new(from.ip(), 0))?;
    }
    let stream = socket.connect(remote).await?;
    prepare(&stream);
    Ok(stream)
}

/// Takes connections until nobody wants them.
pub async fn accept(
    transport: SipTransport,
    local: SocketAddr,
    listener: TcpListener,
    inputs: mpsc::Sender<Inward>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                let accepted = Inward::Accepted {
                    transport,
                    local,
                    remote,
                    stream,
                };
                if inputs.send(accepted).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                // Out of file descriptors, most likely: waiting is all that helps.
                tracing::warn!(%error, "a SIP connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}
