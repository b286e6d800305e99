//! Handles (plain integers, never references) and tokens drawn from the seeded generator.

use std::fmt;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The protocol room that a leg lives in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Room {
    /// The SIP room.
    Sip,
    /// The XMPP room.
    Xmpp,
}

/// Which end of a call a leg is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The leg that called us. Its number is given by its protocol room.
    Caller,
    /// A leg that we call. Its number is given by the call table.
    Callee,
}

/// One side of a call as a protocol room sees it. Unique for the life of the process: caller legs
/// are numbered by their room and callee legs by the call table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId {
    /// The room that speaks for the leg.
    pub room: Room,
    /// Who called.
    pub role: Role,
    /// Counted up from 1 by whoever makes legs of this room and role.
    pub number: u64,
}

impl fmt::Display for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let room = match self.room {
            Room::Sip => "sip",
            Room::Xmpp => "xmpp",
        };
        let role = match self.role {
            Role::Caller => "in",
            Role::Callee => "out",
        };
        write!(f, "{room}-{role}-{}", self.number)
    }
}

macro_rules! number_ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}

number_ids! {
    /// One call in the call table.
    CallId "c";
    /// One pair of media sides in a media worker.
    BridgeId "b";
    /// One media thread, counted from 0.
    WorkerId "w";
    /// One stream connection (TCP or TLS) of the SIP transport. Connections we open and
    /// connections we accept share the number space; `io/` hands out those it accepts from
    /// `1 << 63` up.
    ConnectionId "conn";
    /// One question to the resolver.
    QueryId "q";
}

impl BridgeId {
    /// Set in the number of a bridge of pictures.
    const PICTURES: u64 = 1 << 63;

    /// The bridge of a call's pictures, from that of its sound.
    pub fn of_pictures(self) -> Self {
        Self(self.0 | Self::PICTURES)
    }

    /// The bridge of a call's sound, from either.
    pub fn of_sound(self) -> Self {
        Self(self.0 & !Self::PICTURES)
    }

    /// True for a bridge of pictures.
    pub fn is_of_pictures(self) -> bool {
        self.0 & Self::PICTURES != 0
    }
}

/// Makes every random token of the process from one seeded generator, so that the same seed gives
/// the same trace.
#[derive(Clone, Debug)]
pub struct TokenMaker {
    rng: ChaCha12Rng,
}

impl TokenMaker {
    /// Starts a generator from `seed`; `io/` draws the seed from the system, tests give their own.
    pub fn new(seed: [u8; 32]) -> Self {
        Self {
            rng: ChaCha12Rng::from_seed(seed),
        }
    }

    /// Draws an independent generator, for another room.
    pub fn fork(&mut self) -> Self {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        Self::new(seed)
    }

    /// Fills `bytes`.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.rng.fill_bytes(bytes);
    }

    /// A uniformly drawn number.
    pub fn number(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// A number in `0..below`. `below` must not be 0.
    pub fn below(&mut self, below: u64) -> u64 {
        // The bias of the modulo is below 2^-32 for every range the gateway draws from.
        self.rng.next_u64() % below.max(1)
    }

    /// `length` characters of `[0-9A-Za-z]`, about 5.95 bits each: safe in SIP tokens, in Jingle
    /// ids, and as ICE ufrag and pwd (RFC 8839 §5.4 wants 4 and 22 at least).
    pub fn token(&mut self, length: usize) -> String {
        const ALPHABET: &[u8; 62] =
            b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        (0..length)
            .map(|_| char::from(ALPHABET[self.below(62) as usize]))
            .collect()
    }

    /// A random UUID in lower case (RFC 9562 §5.4), as XEP-0353 recommends for its ids.
    pub fn uuid(&mut self) -> String {
        let mut b = [0u8; 16];
        self.fill(&mut b);
        b[6] = b[6] & 0x0f | 0x40;
        b[8] = b[8] & 0x3f | 0x80;
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        [&b[..4], &b[4..6], &b[6..8], &b[8..10], &b[10..]]
            .map(hex)
            .join("-")
    }
}

/// Base64 with padding (RFC 4648 §4), for hashes and keys.
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut bits = [0; 3];
        bits[..group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes([0, bits[0], bits[1], bits[2]]);
        for place in 0..4 {
            match place <= group.len() {
                true => {
                    let letter = bits >> (18 - 6 * place) & 63;
                    text.push(char::from(ALPHABET[letter as usize]));
                }
                false => text.push('='),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_tokens() {
        let (mut a, mut b) = (TokenMaker::new([7; 32]), TokenMaker::new([7; 32]));
        assert_eq!(a.token(20), b.token(20));
        assert_eq!(a.uuid(), b.uuid());
        assert_ne!(a.token(20), a.token(20));
    }

    #[test]
    fn a_uuid_says_its_version_and_variant() {
        let id = TokenMaker::new([1; 32]).uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]));
    }

    #[test]
    fn base64_gives_the_examples_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
