//! Protection profiles and master keys: names, sizes, and what SDES writes (RFC 4568 §6.1, §9.2).

use thiserror::Error;

use crate::description::Crypto;

/// Longest master key of any profile.
pub const KEY_LIMIT: usize = 32;
/// Longest master salt of any profile.
pub const SALT_LIMIT: usize = 14;
/// Longest master key identifier taken. RFC 4568 §6.1 allows 128 bytes, phones send 1 to 4.
pub const MKI_LIMIT: usize = 8;

/// Why keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// The peer named a profile that is not here.
    #[error("unknown crypto suite {0:?}")]
    UnknownSuite(String),
    /// The key has the wrong size, or is not base64, or the line has no `inline:`.
    #[error("malformed key parameters")]
    Malformed,
    /// The parameters ask for something that is not here.
    #[error("unsupported key parameters")]
    Unsupported,
}

/// A protection profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// AES-128 in counter mode, HMAC-SHA1 of 80 bits (RFC 3711).
    AesCm128HmacSha1_80,
    /// The same with 32 bits; SRTCP keeps 80 (RFC 4568 §6.2.2, RFC 5764 §4.1.2).
    AesCm128HmacSha1_32,
    /// AES-256 in counter mode, HMAC-SHA1 of 80 bits (RFC 6188).
    AesCm256HmacSha1_80,
    /// AES-128 in Galois/counter mode (RFC 7714).
    AeadAes128Gcm,
    /// AES-256 in Galois/counter mode (RFC 7714).
    AeadAes256Gcm,
}

impl Profile {
    /// All of them, the preferred first.
    pub const ALL: [Self; 5] = [
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
        Self::AesCm128HmacSha1_80,
        Self::AesCm256HmacSha1_80,
        Self::AesCm128HmacSha1_32,
    ];

    /// The crypto suite name in SDES.
    pub fn suite(self) -> &'static str {
        match self {
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AesCm256HmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// The profile of an SDES suite name.
    pub fn from_suite(suite: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.suite().eq_ignore_ascii_case(suite))
    }

    /// The number of the profile in DTLS-SRTP; `None` for AES-256 in counter mode, which IANA
    /// has no number for.
    pub fn dtls_number(self) -> Option<u16> {
        match self {
            Self::AesCm128HmacSha1_80 => Some(1),
            Self::AesCm128HmacSha1_32 => Some(2),
            Self::AesCm256HmacSha1_80 => None,
            Self::AeadAes128Gcm => Some(7),
            Self::AeadAes256Gcm => Some(8),
        }
    }

    /// The profile of a DTLS-SRTP number.
    pub fn from_dtls_number(number: u16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.dtls_number() == Some(number))
    }

    /// Bytes of a master key, and of a session key.
    pub fn key_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 | Self::AeadAes128Gcm => 16,
            Self::AesCm256HmacSha1_80 | Self::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of a master salt, and of a session salt.
    pub fn salt_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 | Self::AesCm256HmacSha1_80 => 14,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
        }
    }

    /// Bytes that SRTP adds to a packet, beside the master key identifier.
    pub fn rtp_tag_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm256HmacSha1_80 => 10,
            Self::AesCm128HmacSha1_32 => 4,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
        }
    }

    /// Bytes of the authentication tag of SRTCP; the index takes 4 more.
    pub fn rtcp_tag_len(self) -> usize {
        match self {
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 | Self::AesCm256HmacSha1_80 => 10,
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
        }
    }
}

/// The identifier of a master key, as it travels in each packet; mostly empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mki {
    bytes: [u8; MKI_LIMIT],
    len: usize,
}

impl Mki {
    /// From its bytes; `None` if there are more than [`MKI_LIMIT`].
    pub fn new(mki: &[u8]) -> Option<Self> {
        let mut bytes = [0; MKI_LIMIT];
        bytes.get_mut(..mki.len())?.copy_from_slice(mki);
        Some(Self {
            bytes,
            len: mki.len(),
        })
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A master key with its salt: what SDES or DTLS agree on for one direction. A secret.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    pub(super) profile: Profile,
    pub(super) key: [u8; KEY_LIMIT],
    pub(super) salt: [u8; SALT_LIMIT],
    pub(super) mki: Mki,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MasterKey({})", self.profile.suite())
    }
}

impl MasterKey {
    /// From key and salt; both must have the profile's size.
    pub fn new(profile: Profile, key: &[u8], salt: &[u8], mki: Mki) -> Result<Self, KeyError> {
        if key.len() != profile.key_len() || salt.len() != profile.salt_len() {
            return Err(KeyError::Malformed);
        }
        let mut master = Self {
            profile,
            key: [0; KEY_LIMIT],
            salt: [0; SALT_LIMIT],
            mki,
        };
        master.key[..key.len()].copy_from_slice(key);
        // RFC 7714 §11: a salt of 96 bits is padded with zeros on the right for the derivation.
        master.salt[..salt.len()].copy_from_slice(salt);
        Ok(master)
    }

    /// From what DTLS exports for `EXTRACTOR-dtls_srtp` (RFC 5764 §4.2): the client's and the
    /// server's write key, in this order. Ask the exporter for [`MasterKey::exported_len`] bytes.
    pub fn pair_from_dtls(profile: Profile, exported: &[u8]) -> Result<(Self, Self), KeyError> {
        if exported.len() != Self::exported_len(profile) {
            return Err(KeyError::Malformed);
        }
        let (keys, salts) = exported.split_at(2 * profile.key_len());
        let (client_key, server_key) = keys.split_at(profile.key_len());
        let (client_salt, server_salt) = salts.split_at(profile.salt_len());
        Ok((
            Self::new(profile, client_key, client_salt, Mki::default())?,
            Self::new(profile, server_key, server_salt, Mki::default())?,
        ))
    }

    /// How many bytes DTLS has to export.
    pub fn exported_len(profile: Profile) -> usize {
        2 * (profile.key_len() + profile.salt_len())
    }

    /// From an SDES line, such as `inline:…|2^31|1:4`. A lifetime is not kept: a call ends long
    /// before 2^31 packets.
    pub fn from_sdes(crypto: &Crypto) -> Result<Self, KeyError> {
        let profile = Profile::from_suite(&crypto.suite)
            .ok_or_else(|| KeyError::UnknownSuite(crypto.suite.clone()))?;
        // RFC 4568 §6.3: of the session parameters, the window size is a hint; the others change
        // the packets. `;` divides keys, which means more than one in force at once.
        let mut words = crypto.key.split_ascii_whitespace();
        let key = words.next().unwrap_or("");
        if key.contains(';') || words.any(|word| !word.starts_with("WSH=")) {
            return Err(KeyError::Unsupported);
        }
        let parameters = key.strip_prefix("inline:").ok_or(KeyError::Malformed)?;
        let mut fields = parameters.split('|');
        let bytes = decode_base64(fields.next().unwrap_or("")).ok_or(KeyError::Malformed)?;
        let mut mki = Mki::default();
        for field in fields {
            let Some((value, len)) = field.split_once(':') else {
                continue; // the lifetime
            };
            let value: u64 = value.parse().map_err(|_| KeyError::Malformed)?;
            let len: usize = len.parse().map_err(|_| KeyError::Malformed)?;
            if len == 0 || len > MKI_LIMIT {
                return Err(KeyError::Unsupported);
            }
            let bytes = value.to_be_bytes();
            let (high, low) = bytes.split_at(MKI_LIMIT - len);
            if high.iter().any(|byte| *byte != 0) {
                return Err(KeyError::Malformed);
            }
            mki = Mki::new(low).ok_or(KeyError::Unsupported)?;
        }
        if bytes.len() != profile.key_len() + profile.salt_len() {
            return Err(KeyError::Malformed);
        }
        let (key, salt) = bytes.split_at(profile.key_len());
        Self::new(profile, key, salt, mki)
    }

    /// The profile.
    pub fn profile(&self) -> Profile {
        self.profile
    }
}

/// Base64 (RFC 4648 §4), with or without the padding that some phones leave out.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    /// The longest key and salt: 46 bytes.
    const TEXT_LIMIT: usize = 64;
    let digits = text.trim_end_matches('=');
    if text.len() > TEXT_LIMIT || digits.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(48);
    let (mut bits, mut count) = (0u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}
