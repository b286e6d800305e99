//! Protection of sides without ICE: what we offer, what we take, and the keys that come of it
//! (RFC 4568 keys in the description, RFC 5763 DTLS-SRTP, RFC 8643 for those that may do without).

use crate::border::RtpKeys;
use crate::config::{Srtp, SrtpKeys};
use crate::description::{Crypto, Fingerprint, RtpTransport, Security, Setup};
use crate::id::{TokenMaker, base64};
use crate::leg::{End, EndReason};

/// Crypto suites with the bytes of their key and salt, in the order that we offer the first
/// [`OFFERED`] of them: the one that every phone knows comes first, as some read no further.
const SUITES: [(&str, usize); 5] = [
    ("AES_CM_128_HMAC_SHA1_80", 30),
    ("AEAD_AES_128_GCM", 28),
    ("AEAD_AES_256_GCM", 44),
    ("AES_256_CM_HMAC_SHA1_80", 46),
    ("AES_CM_128_HMAC_SHA1_32", 30),
];
/// How many suites our offers have.
const OFFERED: usize = 2;

/// What a side does for its protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keying {
    /// Whether protection is wanted.
    pub(super) srtp: Srtp,
    /// What our offers have.
    pub(super) keys: SrtpKeys,
}

impl Keying {
    /// For sides that bring their own protection, and for trunks that nothing is known of.
    pub(super) const NONE: Self = Self {
        srtp: Srtp::Off,
        keys: SrtpKeys::Sdes,
    };

    /// Puts the protection of an offer into `transport`; `agreed` is what already holds.
    pub(super) fn offer(
        self,
        transport: &mut RtpTransport,
        agreed: Option<&RtpTransport>,
        certificate: &Fingerprint,
        tokens: &mut TokenMaker,
    ) {
        if let Some(agreed) = agreed {
            transport.security = agreed.security.clone();
            transport.opportunistic = agreed.opportunistic;
            transport.rtcp_mux = agreed.rtcp_mux;
            return;
        }
        transport.opportunistic = self.srtp == Srtp::Offer;
        transport.security = match (self.srtp, self.keys) {
            (Srtp::Off, _) => Security::None,
            (Srtp::Offer | Srtp::Require, SrtpKeys::Sdes) => Security::Sdes(
                SUITES[..OFFERED]
                    .iter()
                    .zip(1..)
                    .map(|((suite, length), tag)| line(tag, suite, *length, tokens))
                    .collect(),
            ),
            (Srtp::Offer | Srtp::Require, SrtpKeys::Dtls) => Security::Dtls(Fingerprint {
                setup: Setup::Actpass,
                ..certificate.clone()
            }),
        };
    }

    /// Puts the protection that answers `offer` into `transport`. `before` is our own end as we
    /// described it last: its keys stay.
    pub(super) fn answer(
        self,
        transport: &mut RtpTransport,
        offer: &RtpTransport,
        before: Option<&RtpTransport>,
        certificate: &Fingerprint,
        tokens: &mut TokenMaker,
    ) -> Result<(), End> {
        self.check(offer)?;
        // RFC 8643 §3.1: such an offer may be answered without protection, so `off` does.
        let passed_over = offer.opportunistic && self.srtp == Srtp::Off;
        transport.rtcp_mux = offer.rtcp_mux;
        transport.opportunistic = offer.opportunistic;
        transport.security = match &offer.security {
            _ if passed_over => Security::None,
            Security::None => Security::None,
            Security::Sdes(lines) => match lines.iter().find_map(usable) {
                Some((theirs, length)) => {
                    let ours = own_line(before, theirs)
                        .unwrap_or_else(|| line(theirs.tag, &theirs.suite, length, tokens));
                    Security::Sdes(vec![ours])
                }
                None => Security::None,
            },
            Security::Dtls(theirs) => Security::Dtls(Fingerprint {
                setup: own_role(before, theirs),
                ..certificate.clone()
            }),
        };
        self.check(transport)
    }

    /// Refuses an offer at once that cannot be answered as the trunk wants it.
    pub(super) fn check(self, theirs: &RtpTransport) -> Result<(), End> {
        match (self.srtp, &theirs.security) {
            (Srtp::Require, Security::None) => Err(End::because(
                EndReason::Security,
                "protected sound is required",
            )),
            (_, Security::Sdes(lines))
                if !theirs.opportunistic && !lines.iter().any(|line| usable(line).is_some()) =>
            {
                Err(End::because(
                    EndReason::NotAcceptable,
                    "no crypto suite in common",
                ))
            }
            (Srtp::Off | Srtp::Offer | Srtp::Require, _) => Ok(()),
        }
    }

    /// Takes the answer to what we offered with `ours`, which is left with what was chosen.
    pub(super) fn answered(
        self,
        ours: &mut RtpTransport,
        theirs: &RtpTransport,
    ) -> Result<(), End> {
        let wrong = |text| Err(End::because(EndReason::Security, text));
        ours.security = match (&ours.security, &theirs.security) {
            (_, Security::None) if ours.opportunistic => Security::None,
            (Security::None, Security::None) => Security::None,
            // COMPAT: some phones always write keys, asked for or not; they mean nothing then.
            (Security::None, _) if theirs.opportunistic => Security::None,
            (Security::Sdes(lines), Security::Sdes(_)) => match pair(lines, &theirs.security) {
                Some((line, _)) => Security::Sdes(vec![line.clone()]),
                None => return wrong("an answer with keys of another offer"),
            },
            (Security::Dtls(certificate), Security::Dtls(theirs)) => Security::Dtls(Fingerprint {
                setup: theirs.setup.answered(),
                ..certificate.clone()
            }),
            (_, Security::None) => return wrong("an answer without protection"),
            (Security::None, _) => return wrong("an answer with protection that was not offered"),
            (Security::Sdes(_) | Security::Dtls(_), _) => {
                return wrong("an answer with another protection than was offered");
            }
        };
        ours.rtcp_mux &= theirs.rtcp_mux;
        Ok(())
    }
}

/// The keys that hold between two descriptions.
pub(super) fn agreed(ours: &RtpTransport, theirs: &RtpTransport) -> RtpKeys {
    match (&ours.security, &theirs.security) {
        (Security::Sdes(lines), remote) => match pair(lines, remote) {
            Some((local, remote)) => RtpKeys::Sdes {
                local: local.clone(),
                remote: remote.clone(),
            },
            None => RtpKeys::None,
        },
        (Security::Dtls(local), Security::Dtls(remote)) => RtpKeys::Dtls {
            client: match local.setup {
                Setup::Active => true,
                Setup::Passive => false,
                Setup::Actpass => remote.setup.answered() == Setup::Active,
            },
            remote: remote.clone(),
        },
        (Security::None | Security::Dtls(_), _) => RtpKeys::None,
    }
}

/// Our line and theirs that mean each other (RFC 4568 §5.1.2: the tag says which).
fn pair<'a>(ours: &'a [Crypto], theirs: &'a Security) -> Option<(&'a Crypto, &'a Crypto)> {
    let Security::Sdes(theirs) = theirs else {
        return None;
    };
    let fits = |a: &Crypto, b: &Crypto| a.tag == b.tag && a.suite.eq_ignore_ascii_case(&b.suite);
    ours.iter()
        .find_map(|a| Some((a, theirs.iter().find(|b| fits(a, b))?)))
}

/// A line that we can work with, and how long its key is.
fn usable(line: &Crypto) -> Option<(&Crypto, usize)> {
    let known = |(suite, _): &&(&str, usize)| line.suite.eq_ignore_ascii_case(suite);
    let (_, length) = SUITES.iter().find(known)?;
    // One key at a time: `;` divides several.
    let one = line.key.starts_with("inline:") && !line.key.contains(';');
    one.then_some((line, *length))
}

fn line(tag: u32, suite: &str, length: usize, tokens: &mut TokenMaker) -> Crypto {
    let mut key = vec![0; length];
    tokens.fill(&mut key);
    Crypto {
        tag,
        suite: suite.to_owned(),
        key: format!("inline:{}", base64(&key)),
    }
}

/// The key that we have for a suite already.
fn own_line(before: Option<&RtpTransport>, theirs: &Crypto) -> Option<Crypto> {
    let Security::Sdes(lines) = &before?.security else {
        return None;
    };
    let same = lines
        .iter()
        .find(|line| line.suite.eq_ignore_ascii_case(&theirs.suite))?;
    Some(Crypto {
        tag: theirs.tag,
        ..same.clone()
    })
}

/// Our role in the handshake: the one that we have (RFC 8842 §5.5), if the peer lets us.
fn own_role(before: Option<&RtpTransport>, theirs: &Fingerprint) -> Setup {
    match (theirs.setup, before.map(|before| &before.security)) {
        (Setup::Actpass, Some(Security::Dtls(ours))) if ours.setup != Setup::Actpass => ours.setup,
        (setup, _) => setup.answered(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transport(security: Security, opportunistic: bool) -> RtpTransport {
        RtpTransport {
            address: None,
            rtcp: None,
            rtcp_mux: false,
            security,
            opportunistic,
        }
    }

    fn clear() -> RtpTransport {
        transport(Security::None, false)
    }

    fn certificate(setup: Setup) -> Fingerprint {
        Fingerprint {
            hash: "sha-256".to_owned(),
            value: vec![7; 32],
            setup,
        }
    }

    fn keying(srtp: Srtp, keys: SrtpKeys) -> Keying {
        Keying { srtp, keys }
    }

    /// A whole offer and answer between two of us; the keys of both ends, or what went wrong.
    fn agree(caller: Keying, callee: Keying) -> Result<(RtpKeys, RtpKeys), End> {
        let mut tokens = TokenMaker::new([3; 32]);
        let ours = certificate(Setup::Actpass);
        let (mut offer, mut answer) = (clear(), clear());
        caller.offer(&mut offer, None, &ours, &mut tokens);
        callee.check(&offer)?;
        callee.answer(&mut answer, &offer, None, &ours, &mut tokens)?;
        let offered = offer.clone();
        caller.answered(&mut offer, &answer)?;
        caller.check(&answer)?;
        Ok((agreed(&offer, &answer), agreed(&answer, &offered)))
    }

    #[test]
    fn both_ends_have_each_others_keys() {
        for srtp in [Srtp::Offer, Srtp::Require] {
            let sdes = keying(srtp, SrtpKeys::Sdes);
            let Ok((
                RtpKeys::Sdes { local, remote },
                RtpKeys::Sdes {
                    local: l,
                    remote: r,
                },
            )) = agree(sdes, sdes)
            else {
                panic!("keys");
            };
            assert_eq!((&local, &remote), (&r, &l));
            assert_ne!(local.key, remote.key);
            assert_eq!(local.key.len(), "inline:".len() + 40);
            let dtls = keying(srtp, SrtpKeys::Dtls);
            let Ok((RtpKeys::Dtls { client, .. }, RtpKeys::Dtls { client: other, .. })) =
                agree(dtls, dtls)
            else {
                panic!("keys");
            };
            assert_eq!((client, other), (false, true));
        }
    }

    #[test]
    fn what_may_go_unprotected_does_and_what_may_not_fails() {
        let sdes = |srtp| keying(srtp, SrtpKeys::Sdes);
        let none = Ok((RtpKeys::None, RtpKeys::None));
        assert_eq!(agree(sdes(Srtp::Off), sdes(Srtp::Offer)), none);
        assert_eq!(agree(sdes(Srtp::Offer), sdes(Srtp::Off)), none);
        let end = agree(sdes(Srtp::Off), sdes(Srtp::Require)).unwrap_err();
        assert_eq!(end.reason, EndReason::Security);
        // A protected offer is never answered with less.
        assert!(matches!(
            agree(sdes(Srtp::Require), sdes(Srtp::Off)),
            Ok((RtpKeys::Sdes { .. }, _))
        ));
        let unprotected = sdes(Srtp::Require).answered(
            &mut transport(Security::Dtls(certificate(Setup::Actpass)), false),
            &clear(),
        );
        assert_eq!(unprotected.unwrap_err().reason, EndReason::Security);
    }

    #[test]
    fn the_first_suite_that_we_know_is_answered_under_its_tag() {
        let mut tokens = TokenMaker::new([3; 32]);
        let foreign = |tag, suite: &str| Crypto {
            tag,
            suite: suite.to_owned(),
            key: format!("inline:{}", "k".repeat(40)),
        };
        let offer = transport(
            Security::Sdes(vec![
                foreign(1, "F8_128_HMAC_SHA1_80"),
                foreign(4, "AES_CM_128_HMAC_SHA1_32"),
                foreign(5, "AES_CM_128_HMAC_SHA1_80"),
            ]),
            false,
        );
        let keying = keying(Srtp::Off, SrtpKeys::Sdes);
        let ours = certificate(Setup::Actpass);
        let mut answer = clear();
        keying
            .answer(&mut answer, &offer, None, &ours, &mut tokens)
            .unwrap();
        let Security::Sdes(lines) = &answer.security else {
            panic!("keys");
        };
        let [line] = lines.as_slice() else {
            panic!("one line");
        };
        let line = line.clone();
        assert_eq!(
            (line.tag, line.suite.as_str()),
            (4, "AES_CM_128_HMAC_SHA1_32")
        );
        // Asked again under another tag, our key stays what it is.
        let again = transport(
            Security::Sdes(vec![foreign(9, "AES_CM_128_HMAC_SHA1_32")]),
            false,
        );
        let before = answer.clone();
        keying
            .answer(&mut answer, &again, Some(&before), &ours, &mut tokens)
            .unwrap();
        assert_eq!(
            answer.security,
            Security::Sdes(vec![Crypto {
                tag: 9,
                ..line.clone()
            }])
        );
        let strange = transport(
            Security::Sdes(vec![foreign(1, "F8_128_HMAC_SHA1_80")]),
            false,
        );
        let end = keying
            .answer(&mut answer, &strange, None, &ours, &mut tokens)
            .unwrap_err();
        assert_eq!(end.reason, EndReason::NotAcceptable);
    }

    #[test]
    fn a_role_stays_while_the_peer_lets_it() {
        let mut tokens = TokenMaker::new([3; 32]);
        let ours = certificate(Setup::Actpass);
        let dtls = |setup| transport(Security::Dtls(certificate(setup)), false);
        let keying = keying(Srtp::Off, SrtpKeys::Dtls);
        for (before, theirs, role) in [
            (Setup::Passive, Setup::Actpass, Setup::Passive),
            (Setup::Active, Setup::Actpass, Setup::Active),
            (Setup::Passive, Setup::Passive, Setup::Active),
            (Setup::Active, Setup::Active, Setup::Passive),
        ] {
            let mut answer = clear();
            keying
                .answer(
                    &mut answer,
                    &dtls(theirs),
                    Some(&dtls(before)),
                    &ours,
                    &mut tokens,
                )
                .unwrap();
            assert_eq!(answer.security, dtls(role).security);
        }
    }
}
