//! SRTP and SRTCP in the buffer the packet is in (RFC 3711, RFC 6188, RFC 7714): keys derived
//! once, no allocation per packet (a stream's first packet may allocate its state).
//!
//! Each direction has its own context: [`Protect`] for what we send, [`Unprotect`] for what the
//! peer sends. Both follow packet index and replay window per SSRC. `Protect` does too, because
//! a relay protects packets in the order they come from the other side: late ones need the index
//! they belong to, and the same index twice would use a key stream twice.
//!
//! Does not do: re-keying by lifetime or key derivation rate (no peer asks for it), header
//! extension encryption (RFC 6904), unencrypted or unauthenticated SRTP (RFC 4568 §6.3).

mod profile;
#[cfg(test)]
mod tests;

use aes::{Aes128, Aes256};
use ctr::cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper};
use ctr::{CtrCore, flavors};
use hmac::{Hmac, Mac};
use ring::aead;
use sha1::Sha1;
use thiserror::Error;

use super::rtp::{self, Header};

pub use profile::{KEY_LIMIT, KeyError, MKI_LIMIT, MasterKey, Mki, Profile, SALT_LIMIT};

/// Room that a buffer needs behind a plain packet: the longest tag, the SRTCP index and the
/// longest master key identifier.
pub const TAIL_ROOM: usize = 16 + 4 + MKI_LIMIT;

/// SSRCs that one key protects at most. A stream that moves (transfer, music on hold) brings a
/// new one; their state must not be forgotten while the key lives (RFC 3711 §9.1), so more are
/// refused.
pub const STREAMS_LIMIT: usize = 64;

/// Packets that may come late and are still taken; RFC 3711 §3.3.2 wants 64 at least.
pub const REPLAY_WINDOW: u64 = 128;

/// Longest packet taken: more than any path carries.
const PACKET_LIMIT: usize = 2048;

/// Why a packet was not protected or not accepted. Each means: drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SrtpError {
    /// Not an RTP or RTCP packet, or too short to be a protected one.
    #[error("not an srtp packet")]
    Malformed,
    /// The buffer has no room for the tag.
    #[error("no room behind the packet")]
    NoRoom,
    /// The index was there before.
    #[error("packet replayed")]
    Replayed,
    /// The packet is behind the replay window.
    #[error("packet too old")]
    TooOld,
    /// The tag is wrong: forged, damaged, or another key.
    #[error("authentication failed")]
    Authentication,
    /// The packet names another master key.
    #[error("unknown master key identifier")]
    UnknownKey,
    /// More than [`STREAMS_LIMIT`] SSRCs.
    #[error("too many streams under one key")]
    TooManyStreams,
    /// The key has protected all the packets it may.
    #[error("key exhausted")]
    Exhausted,
}

impl From<rtp::RtpError> for SrtpError {
    fn from(_: rtp::RtpError) -> Self {
        Self::Malformed
    }
}

/// Protects what we send.
pub struct Protect(Context);

impl std::fmt::Debug for Protect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Protect({})", self.0.profile.suite())
    }
}

impl Protect {
    /// Derives the session keys.
    pub fn new(master: &MasterKey) -> Self {
        Self(Context::new(master))
    }

    /// Turns the RTP packet in `buffer[..len]` into an SRTP packet; returns its length. The buffer
    /// needs [`TAIL_ROOM`] behind the packet. After an error the packet must not be sent.
    pub fn rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let context = &mut self.0;
        let packet = buffer.get(..len).ok_or(SrtpError::Malformed)?;
        let header = Header::parse_protected(packet)?;
        let end = len + context.profile.rtp_tag_len() + context.mki.as_bytes().len();
        let buffer = buffer.get_mut(..end).ok_or(SrtpError::NoRoom)?;
        let position = context.position(header.ssrc)?;
        let index = match position {
            Some(at) => context.streams[at].rtp.index_of(header.sequence)?,
            None => u64::from(header.sequence),
        };
        context.rtp.seal_rtp(
            buffer,
            header.payload_start,
            len,
            header.ssrc,
            index,
            &context.mki,
        )?;
        let at = context.stream_at(position, header.ssrc);
        context.streams[at].rtp.accept(index);
        Ok(end)
    }

    /// Turns the compound RTCP packet in `buffer[..len]` into an SRTCP packet; as with
    /// [`Protect::rtp`].
    pub fn rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, SrtpError> {
        let context = &mut self.0;
        let ssrc = rtcp_ssrc(buffer.get(..len).ok_or(SrtpError::Malformed)?)?;
        let end = len + context.profile.rtcp_tag_len() + 4 + context.mki.as_bytes().len();
        let buffer = buffer.get_mut(..end).ok_or(SrtpError::NoRoom)?;
        let position = context.position(ssrc)?;
        let at = context.stream_at(position, ssrc);
        let index = context.streams[at].rtcp_sent;
        if index >= RTCP_ENCRYPTED {
            return Err(SrtpError::Exhausted);
        }
        // Counted before it is used: an index is never used twice.
        context.streams[at].rtcp_sent += 1;
        context
            .rtcp
            .seal_rtcp(buffer, len, ssrc, index, &context.mki)?;
        Ok(end)
    }
}

/// Opens what the peer sends.
pub struct Unprotect(Context);

impl std::fmt::Debug for Unprotect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Unprotect({})", self.0.profile.suite())
    }
}

impl Unprotect {
    /// Derives the session keys.
    pub fn new(master: &MasterKey) -> Self {
        Self(Context::new(master))
    }

    /// Turns an SRTP packet into the RTP packet in its front; returns its length. After an error
    /// the bytes are worth nothing.
    pub fn rtp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let context = &mut self.0;
        let header = Header::parse_protected(packet)?;
        if packet.len() > PACKET_LIMIT {
            return Err(SrtpError::Malformed);
        }
        if let Some(at) = context.position(header.ssrc)? {
            let index = context.streams[at].rtp.index_of(header.sequence)?;
            let len = context.rtp.open_rtp(packet, &header, index, &context.mki)?;
            context.streams[at].rtp.accept(index);
            return Ok(len);
        }
        // A stream whose first packets were lost may have wrapped its sequence number since it
        // began (RFC 3711 §3.3.1 has no cure but out-of-band signalling): if roll-over 0 does not
        // fit a low sequence number, 1 is tried. GCM overwrites what it does not believe, so the
        // packet is kept.
        let mut first = u64::from(header.sequence);
        let mut kept = [0; PACKET_LIMIT];
        let kept = &mut kept[..packet.len()];
        kept.copy_from_slice(packet);
        let len = match context.rtp.open_rtp(packet, &header, first, &context.mki) {
            Err(SrtpError::Authentication) if header.sequence < 0x8000 => {
                first |= 0x1_0000;
                packet.copy_from_slice(kept);
                context.rtp.open_rtp(packet, &header, first, &context.mki)?
            }
            other => other?,
        };
        let at = context.stream_at(None, header.ssrc);
        context.streams[at].rtp.accept(first);
        Ok(len)
    }

    /// Turns an SRTCP packet into the compound RTCP packet in its front; as with
    /// [`Unprotect::rtp`].
    pub fn rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let context = &mut self.0;
        let ssrc = rtcp_ssrc(packet)?;
        let position = context.position(ssrc)?;
        let opening = RtcpOpening::find(packet, context.profile, &context.mki)?;
        if let Some(at) = position {
            context.streams[at].rtcp.check(opening.index)?;
        }
        let len = context.rtcp.open_rtcp(packet, ssrc, &opening)?;
        let at = context.stream_at(position, ssrc);
        context.streams[at].rtcp.accept(opening.index);
        Ok(len)
    }
}

/// RFC 3711 §3.4: the top bit of the SRTCP index word says that the packet is encrypted.
const RTCP_ENCRYPTED: u32 = 0x8000_0000;

/// The part of an RTCP packet that stays in the clear.
const RTCP_CLEAR: usize = 8;

fn rtcp_ssrc(packet: &[u8]) -> Result<u32, SrtpError> {
    let Some([first, _, _, _, a, b, c, d]) = packet.first_chunk::<RTCP_CLEAR>() else {
        return Err(SrtpError::Malformed);
    };
    if first >> 6 != 2 {
        return Err(SrtpError::Malformed);
    }
    Ok(u32::from_be_bytes([*a, *b, *c, *d]))
}

/// Session keys and the streams under them.
struct Context {
    profile: Profile,
    mki: Mki,
    rtp: Session,
    rtcp: Session,
    streams: Vec<Stream>,
    /// The stream looked up last: nearly always the next one, too.
    last: usize,
}

impl Context {
    fn new(master: &MasterKey) -> Self {
        Self {
            profile: master.profile,
            mki: master.mki,
            rtp: Session::derive(master, 0, master.profile.rtp_tag_len()),
            rtcp: Session::derive(master, 3, master.profile.rtcp_tag_len()),
            streams: Vec::new(),
            last: 0,
        }
    }

    /// Where the stream is; `None` if it may be added.
    fn position(&mut self, ssrc: u32) -> Result<Option<usize>, SrtpError> {
        if self.streams.get(self.last).is_some_and(|s| s.ssrc == ssrc) {
            return Ok(Some(self.last));
        }
        let found = self.streams.iter().position(|stream| stream.ssrc == ssrc);
        match found {
            Some(at) => self.last = at,
            None if self.streams.len() >= STREAMS_LIMIT => return Err(SrtpError::TooManyStreams),
            None => (),
        }
        Ok(found)
    }

    fn stream_at(&mut self, position: Option<usize>, ssrc: u32) -> usize {
        position.unwrap_or_else(|| {
            self.streams.push(Stream {
                ssrc,
                rtp: Window::default(),
                rtcp: Window::default(),
                rtcp_sent: 0,
            });
            self.streams.len() - 1
        })
    }
}

struct Stream {
    ssrc: u32,
    rtp: Window,
    rtcp: Window,
    rtcp_sent: u32,
}

/// The packet indices that were there (RFC 3711 §3.3.1, §3.3.2).
#[derive(Default)]
struct Window {
    /// Bit `n` stands for `highest - n`; 0 before the first packet.
    seen: u128,
    highest: u64,
}

impl Window {
    /// The index that a sequence number most likely has: the one nearest to the highest so far.
    fn index_of(&self, sequence: u16) -> Result<u64, SrtpError> {
        if self.seen == 0 {
            return Ok(u64::from(sequence));
        }
        let distance = i64::from(sequence.wrapping_sub(self.highest as u16) as i16);
        let index = self
            .highest
            .checked_add_signed(distance)
            .ok_or(SrtpError::TooOld)?;
        if index >> 48 != 0 {
            return Err(SrtpError::Exhausted);
        }
        self.check(index)?;
        Ok(index)
    }

    fn check(&self, index: u64) -> Result<(), SrtpError> {
        if self.seen == 0 || index > self.highest {
            return Ok(());
        }
        let behind = self.highest - index;
        if behind >= REPLAY_WINDOW {
            return Err(SrtpError::TooOld);
        }
        if self.seen >> behind & 1 != 0 {
            return Err(SrtpError::Replayed);
        }
        Ok(())
    }

    /// Marks an index whose packet was authentic.
    fn accept(&mut self, index: u64) {
        if self.seen == 0 {
            (self.seen, self.highest) = (1, index);
        } else if index > self.highest {
            let ahead = index - self.highest;
            self.seen = if ahead < REPLAY_WINDOW {
                self.seen << ahead | 1
            } else {
                1
            };
            self.highest = index;
        } else if self.highest - index < REPLAY_WINDOW {
            self.seen |= 1 << (self.highest - index);
        }
    }
}

type Counter<'a, A> = StreamCipherCoreWrapper<CtrCore<&'a A, flavors::Ctr128BE>>;

/// Session keys of SRTP or of SRTCP.
enum Session {
    Cm128(CounterMode<Aes128>),
    Cm256(CounterMode<Aes256>),
    Gcm {
        key: Box<aead::LessSafeKey>,
        salt: [u8; 12],
    },
}

struct CounterMode<A> {
    aes: A,
    salt: [u8; 14],
    mac: Hmac<Sha1>,
    tag_len: usize,
}

impl Session {
    /// Derives from the labels `label` (key), `label + 1` (authentication) and `label + 2` (salt),
    /// RFC 3711 §4.3.
    fn derive(master: &MasterKey, label: u8, tag_len: usize) -> Self {
        let profile = master.profile;
        let (mut key, mut auth, mut salt) = ([0; KEY_LIMIT], [0; 20], [0; SALT_LIMIT]);
        derive_key(master, label, &mut key[..profile.key_len()]);
        derive_key(master, label + 1, &mut auth);
        derive_key(master, label + 2, &mut salt[..profile.salt_len()]);
        Self::new(profile, &key, &auth, &salt, tag_len)
    }

    fn new(
        profile: Profile,
        key: &[u8; KEY_LIMIT],
        auth: &[u8; 20],
        salt: &[u8; SALT_LIMIT],
        tag_len: usize,
    ) -> Self {
        let mac = || Hmac::<Sha1>::new_from_slice(auth).expect("hmac takes keys of any length");
        let gcm = |algorithm: &'static aead::Algorithm| {
            let key = aead::UnboundKey::new(algorithm, &key[..profile.key_len()])
                .expect("the profile's key length is the algorithm's");
            let [salt @ .., _, _] = *salt;
            Self::Gcm {
                key: Box::new(aead::LessSafeKey::new(key)),
                salt,
            }
        };
        match profile {
            Profile::AesCm128HmacSha1_80 | Profile::AesCm128HmacSha1_32 => {
                let [key @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *key;
                Self::Cm128(CounterMode {
                    aes: Aes128::new(&key.into()),
                    salt: *salt,
                    mac: mac(),
                    tag_len,
                })
            }
            Profile::AesCm256HmacSha1_80 => Self::Cm256(CounterMode {
                aes: Aes256::new(&(*key).into()),
                salt: *salt,
                mac: mac(),
                tag_len,
            }),
            Profile::AeadAes128Gcm => gcm(&aead::AES_128_GCM),
            Profile::AeadAes256Gcm => gcm(&aead::AES_256_GCM),
        }
    }

    /// Protects `buffer[..len]`; the buffer ends where the protected packet ends.
    fn seal_rtp(
        &self,
        buffer: &mut [u8],
        payload_start: usize,
        len: usize,
        ssrc: u32,
        index: u64,
        mki: &Mki,
    ) -> Result<(), SrtpError> {
        let (packet, tail) = buffer.split_at_mut(len);
        match self {
            Self::Cm128(_) | Self::Cm256(_) => {
                self.key_stream(ssrc, index, &mut packet[payload_start..]);
                // RFC 3711 §3.1: the identifier stands before the tag and is not authenticated.
                let (identifier, tag) = tail.split_at_mut(mki.as_bytes().len());
                identifier.copy_from_slice(mki.as_bytes());
                let whole = self.cm_tag(packet, roll_over(index));
                tag.copy_from_slice(&whole[..tag.len()]);
            }
            Self::Gcm { .. } => {
                // RFC 7714 §8: the identifier stands behind the tag.
                let (tag, identifier) = tail.split_at_mut(GCM_TAG);
                identifier.copy_from_slice(mki.as_bytes());
                let (clear, secret) = packet.split_at_mut(payload_start);
                self.gcm_seal(ssrc, index, clear, secret, tag)?;
            }
        }
        Ok(())
    }

    fn open_rtp(
        &self,
        packet: &mut [u8],
        header: &Header,
        index: u64,
        mki: &Mki,
    ) -> Result<usize, SrtpError> {
        let mki = mki.as_bytes();
        let start = header.payload_start;
        match self {
            Self::Cm128(CounterMode { tag_len, .. }) | Self::Cm256(CounterMode { tag_len, .. }) => {
                let len = packet
                    .len()
                    .checked_sub(tag_len + mki.len())
                    .filter(|len| *len >= start)
                    .ok_or(SrtpError::Malformed)?;
                let (packet, tail) = packet.split_at_mut(len);
                let (identifier, tag) = tail.split_at(mki.len());
                if identifier != mki {
                    return Err(SrtpError::UnknownKey);
                }
                self.cm_verify(packet, roll_over(index), tag)?;
                self.key_stream(header.ssrc, index, &mut packet[start..]);
                Ok(len)
            }
            Self::Gcm { .. } => {
                let len = packet
                    .len()
                    .checked_sub(GCM_TAG + mki.len())
                    .filter(|len| *len >= start)
                    .ok_or(SrtpError::Malformed)?;
                let (packet, tail) = packet.split_at_mut(len);
                let (tag, identifier) = tail.split_at(GCM_TAG);
                if identifier != mki {
                    return Err(SrtpError::UnknownKey);
                }
                let (clear, secret) = packet.split_at_mut(start);
                self.gcm_open(header.ssrc, index, clear, secret, tag)?;
                Ok(len)
            }
        }
    }

    fn seal_rtcp(
        &self,
        buffer: &mut [u8],
        len: usize,
        ssrc: u32,
        index: u32,
        mki: &Mki,
    ) -> Result<(), SrtpError> {
        let word = (index | RTCP_ENCRYPTED).to_be_bytes();
        let mki = mki.as_bytes();
        let (packet, tail) = buffer.split_at_mut(len);
        let (clear, secret) = packet.split_at_mut(RTCP_CLEAR);
        match self {
            Self::Cm128(_) | Self::Cm256(_) => {
                self.key_stream(ssrc, u64::from(index), secret);
                let (index_word, tail) = tail.split_at_mut(4);
                let (identifier, tag) = tail.split_at_mut(mki.len());
                index_word.copy_from_slice(&word);
                identifier.copy_from_slice(mki);
                let whole = self.cm_tag(packet, word);
                tag.copy_from_slice(&whole[..tag.len()]);
            }
            Self::Gcm { .. } => {
                let (tag, tail) = tail.split_at_mut(GCM_TAG);
                let (index_word, identifier) = tail.split_at_mut(4);
                index_word.copy_from_slice(&word);
                identifier.copy_from_slice(mki);
                // RFC 7714 §9.2: the index word is authenticated, too.
                let mut associated = [0; RTCP_CLEAR + 4];
                associated[..RTCP_CLEAR].copy_from_slice(clear);
                associated[RTCP_CLEAR..].copy_from_slice(&word);
                self.gcm_seal(ssrc, u64::from(index), &associated, secret, tag)?;
            }
        }
        Ok(())
    }

    fn open_rtcp(
        &self,
        packet: &mut [u8],
        ssrc: u32,
        opening: &RtcpOpening,
    ) -> Result<usize, SrtpError> {
        let len = opening.len;
        match self {
            Self::Cm128(_) | Self::Cm256(_) => {
                let (packet, _) = packet.split_at_mut(len);
                self.cm_verify(packet, opening.word, &opening.tag[..opening.tag_len])?;
                if opening.encrypted {
                    self.key_stream(ssrc, opening.index, &mut packet[RTCP_CLEAR..]);
                }
            }
            Self::Gcm { .. } if opening.encrypted => {
                let (clear, secret) = packet[..len].split_at_mut(RTCP_CLEAR);
                let mut associated = [0; RTCP_CLEAR + 4];
                associated[..RTCP_CLEAR].copy_from_slice(clear);
                associated[RTCP_CLEAR..].copy_from_slice(&opening.word);
                self.gcm_open(ssrc, opening.index, &associated, secret, &opening.tag)?;
            }
            Self::Gcm { .. } => {
                // RFC 7714 §9.3: all of the packet and then the index word are associated data.
                // The word is moved to where the tag was, to have them in one piece.
                let associated = &mut packet[..len + 4];
                associated[len..].copy_from_slice(&opening.word);
                self.gcm_open(ssrc, opening.index, associated, &mut [], &opening.tag)?;
            }
        }
        Ok(len)
    }

    /// RFC 3711 §4.1.1: both ways of AES in counter mode.
    fn key_stream(&self, ssrc: u32, index: u64, data: &mut [u8]) {
        match self {
            Self::Cm128(mode) => {
                let iv = counter_iv(&mode.salt, ssrc, index);
                apply_key_stream::<Aes128>(&mode.aes, &iv, data);
            }
            Self::Cm256(mode) => {
                let iv = counter_iv(&mode.salt, ssrc, index);
                apply_key_stream::<Aes256>(&mode.aes, &iv, data);
            }
            Self::Gcm { .. } => (),
        }
    }

    fn keyed_mac(&self, packet: &[u8], word: [u8; 4]) -> Option<Hmac<Sha1>> {
        let mut mac = match self {
            Self::Cm128(mode) => mode.mac.clone(),
            Self::Cm256(mode) => mode.mac.clone(),
            Self::Gcm { .. } => return None,
        };
        mac.update(packet);
        mac.update(&word);
        Some(mac)
    }

    fn cm_tag(&self, packet: &[u8], word: [u8; 4]) -> [u8; 20] {
        match self.keyed_mac(packet, word) {
            Some(mac) => mac.finalize().into_bytes().into(),
            None => [0; 20],
        }
    }

    fn cm_verify(&self, packet: &[u8], word: [u8; 4], tag: &[u8]) -> Result<(), SrtpError> {
        self.keyed_mac(packet, word)
            .and_then(|mac| mac.verify_truncated_left(tag).ok())
            .ok_or(SrtpError::Authentication)
    }

    fn gcm_seal(
        &self,
        ssrc: u32,
        index: u64,
        associated: &[u8],
        secret: &mut [u8],
        tag: &mut [u8],
    ) -> Result<(), SrtpError> {
        let Self::Gcm { key, salt } = self else {
            return Err(SrtpError::Authentication);
        };
        let nonce = aead::Nonce::assume_unique_for_key(gcm_iv(salt, ssrc, index));
        let made = key
            .seal_in_place_separate_tag(nonce, aead::Aad::from(associated), secret)
            .map_err(|_| SrtpError::Malformed)?;
        tag.copy_from_slice(made.as_ref());
        Ok(())
    }

    fn gcm_open(
        &self,
        ssrc: u32,
        index: u64,
        associated: &[u8],
        secret: &mut [u8],
        tag: &[u8],
    ) -> Result<(), SrtpError> {
        let (Self::Gcm { key, salt }, Ok(tag)) = (self, aead::Tag::try_from(tag)) else {
            return Err(SrtpError::Authentication);
        };
        let nonce = aead::Nonce::assume_unique_for_key(gcm_iv(salt, ssrc, index));
        key.open_in_place_separate_tag(nonce, aead::Aad::from(associated), tag, secret, 0..)
            .map_err(|_| SrtpError::Authentication)?;
        Ok(())
    }
}

/// What stands behind an SRTCP packet.
struct RtcpOpening {
    len: usize,
    word: [u8; 4],
    index: u64,
    encrypted: bool,
    tag: [u8; GCM_TAG],
    tag_len: usize,
}

impl RtcpOpening {
    fn find(packet: &[u8], profile: Profile, mki: &Mki) -> Result<Self, SrtpError> {
        let (tag_len, mki) = (profile.rtcp_tag_len(), mki.as_bytes());
        let len = packet
            .len()
            .checked_sub(tag_len + 4 + mki.len())
            .filter(|len| *len >= RTCP_CLEAR)
            .ok_or(SrtpError::Malformed)?;
        let tail = &packet[len..];
        let (tag_at, word_at, mki_at) = match profile {
            Profile::AesCm128HmacSha1_80
            | Profile::AesCm128HmacSha1_32
            | Profile::AesCm256HmacSha1_80 => (4 + mki.len(), 0, 4),
            Profile::AeadAes128Gcm | Profile::AeadAes256Gcm => (0, tag_len, tag_len + 4),
        };
        if &tail[mki_at..mki_at + mki.len()] != mki {
            return Err(SrtpError::UnknownKey);
        }
        let mut word = [0; 4];
        word.copy_from_slice(&tail[word_at..word_at + 4]);
        let mut tag = [0; GCM_TAG];
        tag[..tag_len].copy_from_slice(&tail[tag_at..tag_at + tag_len]);
        let value = u32::from_be_bytes(word);
        Ok(Self {
            len,
            word,
            index: u64::from(value & !RTCP_ENCRYPTED),
            encrypted: value & RTCP_ENCRYPTED != 0,
            tag,
            tag_len,
        })
    }
}

const GCM_TAG: usize = 16;

/// The roll-over counter of a packet index.
fn roll_over(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// RFC 3711 §4.1.1; the last two bytes count blocks.
fn counter_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let offset = u128::from(ssrc) << 64 ^ u128::from(index) << 16;
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    (u128::from_be_bytes(iv) ^ offset).to_be_bytes()
}

/// RFC 7714 §8.1 for SRTP and §9.1 for SRTCP: the two agree, as an SRTCP index has 31 bits.
fn gcm_iv(salt: &[u8; 12], ssrc: u32, index: u64) -> [u8; 12] {
    let mut iv = *salt;
    for (byte, x) in iv[2..6].iter_mut().zip(ssrc.to_be_bytes()) {
        *byte ^= x;
    }
    for (byte, x) in iv[6..].iter_mut().zip(index.to_be_bytes()[2..].iter()) {
        *byte ^= x;
    }
    iv
}

fn apply_key_stream<A>(aes: &A, iv: &[u8; 16], data: &mut [u8])
where
    A: ctr::cipher::BlockCipherEncrypt
        + ctr::cipher::BlockSizeUser<BlockSize = ctr::cipher::consts::U16>,
{
    let core = CtrCore::inner_iv_init(aes, &(*iv).into());
    let mut counter: Counter<'_, A> = StreamCipherCoreWrapper::from_core(core);
    counter.apply_keystream(data);
}

/// RFC 3711 §4.3.1 with key derivation rate 0, §4.3.3; RFC 6188 §2 and §3 for 256 bits.
fn derive_key(master: &MasterKey, label: u8, out: &mut [u8]) {
    let mut salt = master.salt;
    salt[7] ^= label;
    let iv = counter_iv(&salt, 0, 0);
    out.fill(0);
    if master.profile.key_len() == 16 {
        let mut key = [0; 16];
        key.copy_from_slice(&master.key[..16]);
        apply_key_stream::<Aes128>(&Aes128::new(&key.into()), &iv, out);
    } else {
        apply_key_stream::<Aes256>(&Aes256::new(&master.key.into()), &iv, out);
    }
}
