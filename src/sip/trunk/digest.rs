//! The credentials of a trunk, and the nonces that its servers gave (RFC 3261 §22, RFC 7616).
//!
//! The nonces are shared by all calls of a trunk, so that most requests carry credentials from the
//! start. How often one request is tried again is bounded by whoever sends it. Only the trunk's own
//! servers are answered: not whom they redirect to, nor whom a dialog goes on with.

use std::time::Instant;

use crate::config::{Secret, TrunkConfig};
use crate::sip::Sip;
use crate::sip::auth::{Credentials, DigestClient};
use crate::sip::transaction::drive::Hop;
use crate::sip::transaction::table::{ClientId, User};
use crate::sip::transport::Unreachable;
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
    /// Sends a request of a trunk, with its credentials where they may go.
    pub(in crate::sip) fn send_authorized(
        &mut self,
        now: Instant,
        trunk: Option<usize>,
        mut request: Message,
        hop: &Hop,
        user: User,
    ) -> Result<ClientId, Unreachable> {
        self.authorize(trunk, hop, &mut request);
        self.send_request(now, request, hop, user)
    }

    /// Makes a request one for `hop`: the trunk's own servers get credentials, if a challenge is
    /// known. Nobody else does, wherever the trunk sends us, as whoever has an answer to a nonce can
    /// search for the password; and nobody else gets what is asserted to those alone (RFC 3325 §7).
    pub(in crate::sip) fn authorize(
        &mut self,
        trunk: Option<usize>,
        hop: &Hop,
        request: &mut Message,
    ) {
        let Some(index) = trunk else {
            return;
        };
        if !self.is_of_trunk(trunk, hop.place.remote.ip()) {
            request.headers.remove(Name::PAssertedIdentity);
            request.headers.remove(Name::RemotePartyId);
            return;
        }
        let digest = self.trunks.get_mut(index).and_then(|t| t.digest.as_mut());
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

    /// The account at the trunk, if one of its own servers was sent the request `client`.
    fn digest_of(
        &mut self,
        trunk: Option<usize>,
        client: ClientId,
    ) -> Option<(&mut DigestClient, &Message)> {
        let asked = self.clients.get(client)?.flow.remote.ip();
        if !self.is_of_trunk(trunk, asked) {
            return None;
        }
        let digest = self.trunks.get_mut(trunk?)?.digest.as_mut()?;
        Some((&mut digest.client, &self.clients.get(client)?.request))
    }

    /// Learns from a 401 or 407 to the request `client`; true if the request shall be sent again.
    pub(in crate::sip) fn learn_challenge(
        &mut self,
        trunk: Option<usize>,
        client: ClientId,
        response: &Message,
    ) -> bool {
        matches!(response.status(), Some(401 | 407))
            && self
                .digest_of(trunk, client)
                .is_some_and(|(digest, request)| digest.challenged(request, response).is_ok())
    }

    /// Takes note of an answer to the request `client` that is no challenge: the credentials were
    /// right.
    pub(in crate::sip) fn note_accepted(
        &mut self,
        trunk: Option<usize>,
        client: ClientId,
        response: &Message,
    ) {
        // A bare 100 comes from the next hop, before anybody has looked.
        if !matches!(response.status(), Some(100 | 401 | 407) | None)
            && let Some((digest, _)) = self.digest_of(trunk, client)
            && digest.has_challenge()
        {
            digest.accepted(response);
        }
    }
}
