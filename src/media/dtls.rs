//! DTLS-SRTP (RFC 5763, RFC 5764): one certificate per process, one association per ICE component
//! or RTP socket. The handshake is the crate's; whom it was made with is judged here, by the
//! fingerprint from signalling (RFC 8122), and not by any certificate authority.
//!
//! A handshake may end before signalling brings the fingerprint: the keys are held until
//! [`Association::keys`] is asked with one. The crate draws its randomness from the system and not
//! from our seed, so the bytes of a handshake differ between runs of one seed, its steps do not.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc_dtls::config::{ClientAuthType, ConfigBuilder, HandshakeConfig};
use rtc_dtls::crypto_provider::default_provider;
use rtc_dtls::endpoint::{Endpoint, EndpointEvent};
use rtc_dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc_shared::TransportProtocol;
use sha2::Digest;

use super::srtp::{MasterKey, Profile};
use crate::description::{Fingerprint, Setup};
use crate::leg::EndReason;

/// The crate tells associations apart by the peer's address. Ours lives longer than an ICE pair,
/// so that it always hears the same one.
const PEER: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9));

/// How long a flight waits for its answer. RFC 6347 §4.2.4.1 says one second; below it because the
/// path was just measured by ICE, and a lost ClientHello would be heard as silence after the answer.
const FLIGHT_INTERVAL: Duration = Duration::from_millis(500);

/// How long a handshake is begun anew after all its retransmissions were lost. The peer may need
/// this long to answer its phone before it starts DTLS.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);

/// Unusable handshake datagrams of one association before it fails: enough for strays and
/// duplicates, not enough to keep a thread busy with signatures.
const MAX_ERRORS: u32 = 64;

/// Handshake datagrams of one association in all: a handshake takes about ten, so this is
/// generous for the worst link, and bounds what the crate may pile up for reassembly.
const MAX_DATAGRAMS: u32 = 1000;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The crypto provider or the certificate could not be made.
    #[error("cannot make a DTLS certificate: {0}")]
    Make(String),
}

/// The certificate that every association of the process shows. Cheap to clone.
#[derive(Clone)]
pub struct Certificate {
    client: Arc<HandshakeConfig>,
    server: Arc<HandshakeConfig>,
    sha256: [u8; 32],
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificate(…)")
    }
}

impl Certificate {
    /// Makes a self-signed P-256 certificate with the system's randomness.
    pub fn generate() -> Result<Self, CertificateError> {
        let make = |e: &dyn std::fmt::Display| CertificateError::Make(e.to_string());
        let provider = default_provider().map_err(|e| make(&e))?;
        let certificate = rtc_dtls::crypto::Certificate::generate_self_signed(
            vec!["offhook".to_owned()],
            provider.crypto(),
        )
        .map_err(|e| make(&e))?;
        let der = certificate
            .certificate
            .first()
            .ok_or_else(|| make(&"no certificate came out"))?;
        let sha256 = sha2::Sha256::digest(der.as_ref()).into();
        let build = |client: bool| {
            ConfigBuilder::default()
                .with_crypto_provider(provider.clone())
                .with_certificates(vec![certificate.clone()])
                .with_srtp_protection_profiles(vec![
                    SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
                    SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
                ])
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .with_insecure_skip_verify(true)
                .with_server_name("offhook".to_owned())
                .with_flight_interval(FLIGHT_INTERVAL)
                .build(client, None)
                .map(Arc::new)
        };
        Ok(Self {
            client: build(true).map_err(|e| make(&e))?,
            server: build(false).map_err(|e| make(&e))?,
            sha256,
        })
    }

    /// The certificate's sha-256 fingerprint, with `setup` for the description it goes into.
    pub fn fingerprint(&self, setup: Setup) -> Fingerprint {
        Fingerprint {
            hash: "sha-256".to_owned(),
            value: self.sha256.to_vec(),
            setup,
        }
    }
}

/// Whether the peer is who signalling says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The handshake is not over yet.
    Pending,
    /// The handshake can not succeed.
    Broken(&'static str, EndReason),
    /// The peer's certificate is another one.
    WrongFingerprint,
    /// These are the keys.
    Keys {
        /// Ours: protects what we send.
        local: MasterKey,
        /// The peer's: protects what it sends.
        remote: MasterKey,
    },
}

/// One DTLS association.
pub struct Association {
    endpoint: Endpoint,
    certificate: Certificate,
    client: bool,
    since: Instant,
    state: State,
    errors: u32,
    datagrams: u32,
    /// Our last flight before the peer's next one is out: the client's with ChangeCipherSpec, the
    /// server's with ServerHello.
    waiting: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Shaking,
    Done,
    Broken(&'static str, EndReason),
}

impl std::fmt::Debug for Association {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Association")
            .field("client", &self.client)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Association {
    /// Starts an association; a client's first flight waits in [`Self::poll_transmit`].
    pub fn new(now: Instant, certificate: &Certificate, client: bool) -> Self {
        let mut this = Self {
            endpoint: endpoint(certificate, client),
            certificate: certificate.clone(),
            client,
            since: now,
            state: State::Shaking,
            errors: 0,
            datagrams: 0,
            waiting: false,
        };
        this.begin(now);
        this
    }

    /// True if we are the DTLS client.
    pub fn is_client(&self) -> bool {
        self.client
    }

    /// True once the handshake is over, whoever the peer was.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes a datagram of the peer.
    pub fn handle(&mut self, now: Instant, datagram: &[u8]) {
        if matches!(self.state, State::Broken(..)) {
            return;
        }
        self.datagrams += 1;
        if self.datagrams > MAX_DATAGRAMS {
            if self.state == State::Shaking {
                self.state = State::Broken("the DTLS handshake does not end", EndReason::Security);
            }
            return;
        }
        // The crate stops its retransmission timer when it hears any handshake message, also a
        // repeated one, and then waits for ever: keep repetitions of the flight that we have
        // answered away from it, and our timer repeats the answer.
        let answered: &[u8] = if self.client {
            SERVER_FLIGHT
        } else {
            &[CLIENT_HELLO]
        };
        let repeated = records(datagram)
            .all(|r| r.content == HANDSHAKE && r.epoch == 0 && answered.contains(&r.start));
        if self.waiting && repeated && self.state == State::Shaking {
            return;
        }
        match self.endpoint.read(now, PEER, None, datagram.into()) {
            Ok(events) => {
                for event in events {
                    match event {
                        EndpointEvent::HandshakeComplete => self.state = State::Done,
                        // Nothing has proven yet who closes (RFC 6347 §4.1.2.7).
                        EndpointEvent::PeerClosed if self.state == State::Shaking => {
                            self.begin_anew(now);
                            self.count_error();
                        }
                        // The keys outlive the association; signalling ends the call.
                        _ => {}
                    }
                }
            }
            Err(error) => {
                // Alerts are not authenticated before the handshake ends, and a refused handshake
                // is repeated by the timer, so one bad datagram decides nothing.
                tracing::debug!(%error, "DTLS datagram refused");
                self.count_error();
            }
        }
    }

    fn count_error(&mut self) {
        self.errors += 1;
        if self.errors > MAX_ERRORS && self.state == State::Shaking {
            self.state = State::Broken("the DTLS handshake failed", EndReason::Security);
        }
    }

    /// Advances the retransmission timer.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.state != State::Shaking {
            return;
        }
        let result = self.endpoint.handle_timeout(PEER, now);
        let stuck = result.is_err() || self.endpoint.poll_timeout(&PEER).is_none();
        if now.duration_since(self.since) >= HANDSHAKE_LIMIT {
            self.state = State::Broken("no DTLS handshake in time", EndReason::Connectivity);
        } else if stuck && (self.client || result.is_err()) {
            self.begin_anew(now);
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.state != State::Shaking {
            return None;
        }
        let limit = self.since + HANDSHAKE_LIMIT;
        Some(
            self.endpoint
                .poll_timeout(&PEER)
                .map_or(limit, |at| at.min(limit)),
        )
    }

    /// The next datagram for the peer.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        let datagram = self.endpoint.poll_transmit()?.message.to_vec();
        self.waiting |= records(&datagram).any(|r| {
            if self.client {
                r.content == CHANGE_CIPHER_SPEC
            } else {
                r.content == HANDSHAKE && r.epoch == 0 && r.start == SERVER_HELLO
            }
        });
        Some(datagram)
    }

    /// The keys, if the handshake is over and the peer's certificate hashes to `expected`.
    pub fn keys(&self, expected: &Fingerprint) -> Verdict {
        match self.state {
            State::Shaking => return Verdict::Pending,
            State::Broken(why, reason) => return Verdict::Broken(why, reason),
            State::Done => {}
        }
        let Some(state) = self.endpoint.get_connection_state(PEER) else {
            return Verdict::Broken("the DTLS association is gone", EndReason::Security);
        };
        let Some(certificate) = state.peer_certificates.first() else {
            return Verdict::WrongFingerprint;
        };
        if !matches(certificate, expected) {
            return Verdict::WrongFingerprint;
        }
        let Some(profile) = Profile::from_dtls_number(state.srtp_protection_profile() as u16)
        else {
            return Verdict::Broken("no common SRTP profile", EndReason::Security);
        };
        let keys = state
            .export_keying_material("EXTRACTOR-dtls_srtp", &[], MasterKey::exported_len(profile))
            .ok()
            .and_then(|exported| MasterKey::pair_from_dtls(profile, exported.as_ref()).ok());
        let Some((of_client, of_server)) = keys else {
            return Verdict::Broken("no SRTP keys came out of DTLS", EndReason::Security);
        };
        let (local, remote) = if self.client {
            (of_client, of_server)
        } else {
            (of_server, of_client)
        };
        Verdict::Keys { local, remote }
    }

    fn begin_anew(&mut self, now: Instant) {
        self.endpoint = endpoint(&self.certificate, self.client);
        self.waiting = false;
        self.begin(now);
    }

    fn begin(&mut self, now: Instant) {
        if self.client
            && let Err(error) =
                self.endpoint
                    .connect(now, PEER, self.certificate.client.clone(), None)
        {
            tracing::debug!(%error, "DTLS cannot start");
            self.state = State::Broken("DTLS cannot start", EndReason::Security);
        }
    }
}

fn endpoint(certificate: &Certificate, client: bool) -> Endpoint {
    Endpoint::new(
        PEER,
        TransportProtocol::UDP,
        (!client).then(|| certificate.server.clone()),
    )
}

/// True if `certificate` hashes to `expected`. The hash is the one the peer's description chose
/// (RFC 8122 §5); MD5 and what we do not know never match.
fn matches(certificate: &[u8], expected: &Fingerprint) -> bool {
    let hash = match expected.hash.to_ascii_lowercase().as_str() {
        "sha-1" => sha1::Sha1::digest(certificate).to_vec(),
        "sha-256" => sha2::Sha256::digest(certificate).to_vec(),
        "sha-384" => sha2::Sha384::digest(certificate).to_vec(),
        "sha-512" => sha2::Sha512::digest(certificate).to_vec(),
        _ => return false,
    };
    hash == expected.value
}

const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
/// HelloRequest, ServerHello, HelloVerifyRequest, Certificate, ServerKeyExchange,
/// CertificateRequest, ServerHelloDone: what a client has answered with its ChangeCipherSpec.
const SERVER_FLIGHT: &[u8] = &[0, SERVER_HELLO, 3, 11, 12, 13, 14];

/// What we read of a DTLS record (RFC 6347 §4.1).
struct Record {
    content: u8,
    epoch: u16,
    /// The first byte of the fragment; the message's type in a clear handshake record.
    start: u8,
}

fn records(mut datagram: &[u8]) -> impl Iterator<Item = Record> {
    const HEADER: usize = 13;
    std::iter::from_fn(move || {
        let start = *datagram.get(HEADER)?;
        let record = Record {
            content: datagram[0],
            epoch: u16::from_be_bytes([datagram[3], datagram[4]]),
            start,
        };
        let length = usize::from(u16::from_be_bytes([datagram[11], datagram[12]]));
        datagram = datagram.get(HEADER + length..).unwrap_or_default();
        Some(record)
    })
}

/// True if `datagram` begins with a ClientHello in the clear.
pub fn is_client_hello(datagram: &[u8]) -> bool {
    records(datagram)
        .next()
        .is_some_and(|r| r.content == HANDSHAKE && r.epoch == 0 && r.start == CLIENT_HELLO)
}
