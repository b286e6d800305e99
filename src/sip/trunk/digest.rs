//! The credentials of a trunk, and the nonces that its servers gave (RFC 3261 §22, RFC 7616).
//!
//! The nonces are shared by all calls of a trunk, so that most requests carry credentials from the
//! start. How often one request is tried again is bounded by whoever sends it.

use crate::config::{Secret, TrunkConfig};
use crate::sip::Sip;
use crate::sip::auth::{Credentials, DigestClient};
use crate::sip::transaction::table::ClientId;
use crate::sip::wire::Message;

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
    pub(in crate::sip) fn learn_challenge(
        &mut self,
        trunk: Option<usize>,
        client: ClientId,
        response: &Message,
    ) -> bool {
        if !matches!(response.status(), Some(401 | 407)) {
            return false;
        }
        let digest = trunk
            .and_then(|index| self.trunks.get_mut(index))
            .and_then(|trunk| trunk.digest.as_mut());
        match (digest, self.clients.get(client)) {
            (Some(digest), Some(entry)) => {
                digest.client.challenged(&entry.request, response).is_ok()
            }
            (Some(_) | None, _) => false,
        }
    }

    /// Takes note of an answer that is no challenge: the credentials were right.
    pub(in crate::sip) fn note_accepted(&mut self, trunk: Option<usize>, response: &Message) {
        let digest = trunk
            .and_then(|index| self.trunks.get_mut(index))
            .and_then(|trunk| trunk.digest.as_mut());
        // A bare 100 comes from the next hop, before anybody has looked.
        if let Some(digest) = digest
            && digest.client.has_challenge()
            && !matches!(response.status(), Some(100 | 401 | 407) | None)
        {
            digest.client.accepted(response);
        }
    }
}
