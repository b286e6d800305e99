//! The credentials of a trunk, and the nonces that its servers gave (RFC 3261 §22, RFC 7616).
//!
//! The nonces are shared by all calls of a trunk, so that most requests carry credentials from the
//! start. Whether a challenge is a refusal is judged by request, as calls run beside each other.

use crate::config::{Secret, TrunkConfig};
use crate::sip::Sip;
use crate::sip::auth::{Challenge, Credentials, DigestClient};
use crate::sip::transaction::table::ClientId;
use crate::sip::wire::{Message, Name};

/// The account at a trunk.
#[derive(Debug)]
pub struct Digest {
    credentials: Credentials,
    client: DigestClient,
}

impl Digest {
    /// `None` if the trunk has no credentials.
    pub fn new(config: &TrunkConfig) -> Option<Self> {
        let Secret(password) = config.password.clone()?;
        Some(Self {
            credentials: Credentials {
                user: config.username.clone()?,
                password,
            },
            client: DigestClient::default(),
        })
    }
}

impl Sip {
    /// Adds credentials to a request, if a challenge is known.
    pub(in crate::sip) fn authorize(&mut self, trunk: Option<usize>, request: &mut Message) {
        let digest = trunk
            .and_then(|index| self.trunks.get_mut(index))
            .and_then(|trunk| trunk.digest.as_mut());
        if let Some(Digest {
            credentials,
            client,
        }) = digest
            && client.has_challenge()
        {
            let cnonce = self.tokens.token(16);
            client.authorize(request, credentials, &cnonce);
        }
    }

    /// Learns from a 401 or 407 to the request `client`; true if the request shall be sent again.
    /// `before` counts the challenges that were answered for it.
    pub(in crate::sip) fn learn_challenge(
        &mut self,
        trunk: Option<usize>,
        client: ClientId,
        response: &Message,
        before: u8,
    ) -> bool {
        let name = match response.status() {
            Some(401) => Name::Authorization,
            Some(407) => Name::ProxyAuthorization,
            Some(_) | None => return false,
        };
        let Some(request) = self.clients.get(client).map(|entry| entry.request.clone()) else {
            return false;
        };
        let carried = request.header(name).is_some();
        let stale = Challenge::all(response)
            .iter()
            .any(|challenge| challenge.stale);
        // A first refusal may be about a nonce that is too old; the next one is about the password.
        if carried && before > 0 && !stale {
            return false;
        }
        let digest = trunk
            .and_then(|index| self.trunks.get_mut(index))
            .and_then(|trunk| trunk.digest.as_mut());
        let Some(digest) = digest else {
            return false;
        };
        // Refusals are counted by us, call by call.
        digest.client.accepted(&Message::response(200));
        digest.client.challenged(&request, response).is_ok()
    }
}
