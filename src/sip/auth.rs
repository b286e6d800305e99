//! Digest authentication (RFC 7616, RFC 8760, RFC 3261 §22): the client, and what a server needs
//! to check an answer.
//!
//! MD5, SHA-256 and SHA-512-256, each with `-sess`; `qop=auth` and none at all (RFC 2069).
//! `auth-int` is not answered: proxies change bodies. A server that offers nothing else is not
//! answered.

use std::collections::BTreeMap;
use std::fmt::Write;

use md5::Md5;
use sha2::{Sha256, Sha512_256};
use thiserror::Error;

use super::wire::{Message, Name, find_outside, quote, trim, unquote};

/// The most realms whose nonces are kept. A trunk has one; a proxy chain two or three.
const MAX_REALMS: usize = 8;
/// The most challenges of a response that are read.
const MAX_CHALLENGES: usize = 16;
/// How often one request may be sent again with other credentials: for a proxy, for the server
/// behind it, and once more for a nonce that ran out. Whoever sends it counts.
pub const MAX_RETRIES: u8 = 3;

/// Why a challenge cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AuthError {
    /// No challenge in the response that we understand.
    #[error("no digest challenge that can be answered")]
    Unanswerable,
    /// The server says that the name or the password is wrong.
    #[error("the server refuses the credentials")]
    Refused,
}

/// A hash function of digest, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// MD5; the default of the protocol.
    Md5,
    /// SHA-256.
    Sha256,
    /// SHA-512/256.
    Sha512_256,
}

impl Algorithm {
    /// The token on the wire, without `-sess`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512_256 => "SHA-512-256",
        }
    }

    fn hash(self, parts: &[&str]) -> String {
        fn hex<D: sha2::digest::Digest>(parts: &[&str]) -> String {
            let mut hasher = D::new();
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    hasher.update(b":");
                }
                hasher.update(part.as_bytes());
            }
            let mut out = String::with_capacity(64);
            for byte in hasher.finalize() {
                // Writing to a String cannot fail.
                let _ = write!(out, "{byte:02x}");
            }
            out
        }
        match self {
            Self::Md5 => hex::<Md5>(parts),
            Self::Sha256 => hex::<Sha256>(parts),
            Self::Sha512_256 => hex::<Sha512_256>(parts),
        }
    }
}

/// An algorithm and whether it is a `-sess` one.
fn read_algorithm(token: &str) -> Option<(Algorithm, bool)> {
    let upper = token.to_ascii_uppercase();
    let (name, session) = match upper.strip_suffix("-SESS") {
        Some(name) => (name, true),
        None => (&*upper, false),
    };
    let algorithm = match name {
        "MD5" => Algorithm::Md5,
        "SHA-256" => Algorithm::Sha256,
        "SHA-512-256" => Algorithm::Sha512_256,
        _ => return None,
    };
    Some((algorithm, session))
}

/// A digest challenge that we can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The realm, unquoted.
    pub realm: String,
    /// The nonce, unquoted.
    pub nonce: String,
    /// Given back as it came.
    pub opaque: Option<String>,
    /// The hash function.
    pub algorithm: Algorithm,
    /// The `-sess` variant of it.
    pub session: bool,
    /// True for `qop=auth`, false for a server of RFC 2069 that offers none.
    pub qop_auth: bool,
    /// Only the nonce was too old; the credentials are right.
    pub stale: bool,
    /// From a 407, to be answered by Proxy-Authorization.
    pub proxy: bool,
    algorithm_given: bool,
}

impl Challenge {
    /// Reads one WWW-Authenticate or Proxy-Authenticate value; `None` if it is no digest or only
    /// what we cannot do.
    pub fn parse(value: &str, proxy: bool) -> Option<Self> {
        let params = Parameters::of_digest(value)?;
        let token = params.get("algorithm");
        let (algorithm, session) = match &token {
            Some(token) => read_algorithm(token)?,
            None => (Algorithm::Md5, false),
        };
        let qop = params.get("qop");
        let qop_auth = match &qop {
            Some(list) => {
                let auth = list
                    .split(',')
                    .any(|q| trim(q).eq_ignore_ascii_case("auth"));
                auth.then_some(true)?
            }
            None => false,
        };
        Some(Self {
            realm: params.get("realm")?,
            nonce: params.get("nonce")?,
            opaque: params.get("opaque"),
            algorithm,
            session,
            qop_auth,
            stale: params
                .get("stale")
                .is_some_and(|s| s.eq_ignore_ascii_case("true")),
            proxy,
            algorithm_given: token.is_some(),
        })
    }

    /// All challenges of a response that can be answered.
    pub fn all(response: &Message) -> Vec<Self> {
        [
            (Name::WwwAuthenticate, false),
            (Name::ProxyAuthenticate, true),
        ]
        .into_iter()
        .flat_map(|(name, proxy)| {
            response
                .fields(name)
                .flat_map(split_challenges)
                .filter_map(move |value| Self::parse(value, proxy))
        })
        .take(MAX_CHALLENGES)
        .collect()
    }
}

/// Some servers put two challenges into one field (RFC 7235 §2.1 allows what RFC 3261 does not):
/// a new one starts at `, Digest `.
fn split_challenges(field: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let (mut start, mut at) = (0, 0);
    while out.len() < MAX_CHALLENGES
        && let Some(comma) = field.get(at..).and_then(|rest| find_outside(rest, b','))
    {
        at += comma + 1;
        let next = field[at..].trim_start();
        if next
            .get(..7)
            .is_some_and(|word| word.eq_ignore_ascii_case("Digest "))
        {
            out.push(&field[start..at - 1]);
            start = at;
        }
    }
    out.push(&field[start..]);
    out
}

/// `name=value, name="value"` behind `Digest`.
struct Parameters<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Parameters<'a> {
    fn of_digest(value: &'a str) -> Option<Self> {
        let (scheme, mut rest) = trim(value).split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let mut params = Vec::new();
        // No server sends more than a dozen.
        while params.len() < 32 {
            let end = find_outside(rest, b',').unwrap_or(rest.len());
            if let Some((name, value)) = rest[..end].split_once('=') {
                params.push((trim(name), trim(value)));
            }
            match rest.get(end + 1..) {
                Some(next) => rest = next,
                None => break,
            }
        }
        Some(Self(params))
    }

    fn get(&self, name: &str) -> Option<String> {
        self.0
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| unquote(value).into_owned())
    }
}

/// A name and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password. A secret.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// What goes into a digest besides the credentials.
struct Inputs<'a> {
    algorithm: Algorithm,
    session: bool,
    realm: &'a str,
    nonce: &'a str,
    /// `nc` and `cnonce`, with `qop=auth`.
    counted: Option<(&'a str, &'a str)>,
    /// For `-sess` without qop too.
    cnonce: &'a str,
    method: &'a str,
    uri: &'a str,
}

impl Inputs<'_> {
    /// RFC 7616 §3.4.1.
    fn response(&self, user: &str, password: &str) -> String {
        let hash = |parts: &[&str]| self.algorithm.hash(parts);
        let mut a1 = hash(&[user, self.realm, password]);
        if self.session {
            a1 = hash(&[&a1, self.nonce, self.cnonce]);
        }
        let a2 = hash(&[self.method, self.uri]);
        match self.counted {
            Some((nc, cnonce)) => hash(&[&a1, self.nonce, nc, cnonce, "auth", &a2]),
            None => hash(&[&a1, self.nonce, &a2]),
        }
    }
}

/// The client's memory of one account: the nonces that its servers gave, so that a request after
/// the first needs no second round.
#[derive(Clone, Debug, Default)]
pub struct DigestClient {
    /// By realm and whether it is a proxy's.
    known: BTreeMap<(String, bool), Known>,
}

#[derive(Clone, Debug)]
struct Known {
    challenge: Challenge,
    /// How often the nonce was used; the next request says one more.
    uses: u32,
    /// The server has let a request with this nonce through.
    proved: bool,
}

impl DigestClient {
    /// Takes the challenges of a 401 or 407 to `request`: of each realm the strongest algorithm,
    /// the first among equals (RFC 8760 §2.4). After `Ok` the request should be sent again, with
    /// [`Self::authorize`], [`MAX_RETRIES`] times at most.
    ///
    /// The credentials are wrong if the request had an answer with the nonce that is known, the
    /// server never let it through, and does not call it stale. Requests that were on their way
    /// when the first challenge came, or whose nonce ran out without a word, are not held against
    /// them.
    pub fn challenged(&mut self, request: &Message, response: &Message) -> Result<(), AuthError> {
        let mut best: BTreeMap<(String, bool), Challenge> = BTreeMap::new();
        for challenge in Challenge::all(response) {
            let key = (challenge.realm.clone(), challenge.proxy);
            let is_better = best
                .get(&key)
                .is_none_or(|known| known.algorithm < challenge.algorithm);
            if is_better {
                best.insert(key, challenge);
            }
        }
        if best.is_empty() {
            return Err(AuthError::Unanswerable);
        }
        for (key, challenge) in best {
            let known = self.known.get(&key);
            let is_refused = known.is_some_and(|known| {
                !known.proved && !challenge.stale && was_sent(request, &known.challenge)
            });
            if is_refused {
                self.known.remove(&key);
                return Err(AuthError::Refused);
            }
            let again = known.filter(|known| known.challenge.nonce == challenge.nonce);
            let uses = again.map_or(0, |known| known.uses);
            if known.is_none() && self.known.len() >= MAX_REALMS {
                self.known.pop_first();
            }
            let known = Known {
                challenge,
                uses,
                proved: false,
            };
            self.known.insert(key, known);
        }
        Ok(())
    }

    /// Takes note that a request with our credentials went through (any answer to it but 401 and
    /// 407), and of a `nextnonce` (RFC 7616 §3.5).
    pub fn accepted(&mut self, response: &Message) {
        let next = response.header(Name::AuthenticationInfo).and_then(|value| {
            let value = format!("Digest {value}");
            Parameters::of_digest(&value)?.get("nextnonce")
        });
        for ((_, proxy), known) in &mut self.known {
            known.proved = true;
            if let Some(nonce) = next.as_ref().filter(|_| !proxy)
                && *nonce != known.challenge.nonce
            {
                known.challenge.nonce.clone_from(nonce);
                known.uses = 0;
            }
        }
    }

    /// True if requests can carry credentials from the start.
    pub fn has_challenge(&self) -> bool {
        !self.known.is_empty()
    }

    /// Puts an answer to every known challenge into `request`, in place of earlier ones. `cnonce`
    /// is a fresh token.
    pub fn authorize(&mut self, request: &mut Message, credentials: &Credentials, cnonce: &str) {
        request.headers.remove(Name::Authorization);
        request.headers.remove(Name::ProxyAuthorization);
        let (Some(method), Some(uri)) = (request.method(), request.request_uri()) else {
            return;
        };
        let (method, uri) = (method.as_str().to_owned(), uri.to_owned());
        for ((_, proxy), known) in &mut self.known {
            let name = if *proxy {
                Name::ProxyAuthorization
            } else {
                Name::Authorization
            };
            known.uses = known.uses.saturating_add(1);
            let value = answer(
                &known.challenge,
                known.uses,
                credentials,
                cnonce,
                &method,
                &uri,
            );
            request.push(name, value);
        }
    }
}

/// True if `request` had an answer to exactly this challenge.
fn was_sent(request: &Message, challenge: &Challenge) -> bool {
    let name = if challenge.proxy {
        Name::ProxyAuthorization
    } else {
        Name::Authorization
    };
    request
        .fields(name)
        .filter_map(Response::parse)
        .any(|sent| sent.realm == challenge.realm && sent.nonce == challenge.nonce)
}

fn answer(
    challenge: &Challenge,
    uses: u32,
    credentials: &Credentials,
    cnonce: &str,
    method: &str,
    uri: &str,
) -> String {
    let nc = format!("{uses:08x}");
    let Challenge {
        realm,
        nonce,
        opaque,
        algorithm,
        session,
        qop_auth,
        stale: _,
        proxy: _,
        algorithm_given,
    } = challenge;
    let inputs = Inputs {
        algorithm: *algorithm,
        session: *session,
        realm,
        nonce,
        counted: qop_auth.then_some((&*nc, cnonce)),
        cnonce,
        method,
        uri,
    };
    let response = inputs.response(&credentials.user, &credentials.password);
    let mut value = format!(
        "Digest username={}, realm={}, nonce={}, uri={}, response=\"{response}\"",
        quote(&credentials.user),
        quote(realm),
        quote(nonce),
        quote(uri),
    );
    // Old servers stumble over an algorithm they did not name.
    if *algorithm_given {
        let suffix = if *session { "-sess" } else { "" };
        value += &format!(", algorithm={}{suffix}", algorithm.as_str());
    }
    if *qop_auth {
        value += &format!(", qop=auth, nc={nc}, cnonce={}", quote(cnonce));
    } else if *session {
        value += &format!(", cnonce={}", quote(cnonce));
    }
    if let Some(opaque) = opaque {
        value += &format!(", opaque={}", quote(opaque));
    }
    value
}

/// What a client says in Authorization or Proxy-Authorization; for servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The user name, unquoted.
    pub user: String,
    /// The realm.
    pub realm: String,
    /// The nonce; whether it is ours, and how old, the server must know.
    pub nonce: String,
    /// The URI that was hashed. The server must see that it is the request's (RFC 7616 §3.4.6).
    pub uri: String,
    /// How often the nonce was used; `None` without qop. The server must see that it grows.
    pub nonce_count: Option<u32>,
    algorithm: Algorithm,
    session: bool,
    cnonce: String,
    nc: String,
    response: String,
}

impl Response {
    /// Reads a value; `None` if it is no digest, or one that we do not do.
    pub fn parse(value: &str) -> Option<Self> {
        let params = Parameters::of_digest(value)?;
        let (algorithm, session) = match params.get("algorithm") {
            Some(token) => read_algorithm(&token)?,
            None => (Algorithm::Md5, false),
        };
        let (nc, nonce_count) = match params.get("qop") {
            Some(qop) if qop.eq_ignore_ascii_case("auth") => {
                let nc = params.get("nc").filter(|nc| nc.len() == 8)?;
                let count = u32::from_str_radix(&nc, 16).ok()?;
                (nc, Some(count))
            }
            Some(_) => return None,
            None => (String::new(), None),
        };
        Some(Self {
            user: params.get("username")?,
            realm: params.get("realm")?,
            nonce: params.get("nonce")?,
            uri: params.get("uri")?,
            nonce_count,
            algorithm,
            session,
            cnonce: params.get("cnonce").unwrap_or_default(),
            nc,
            response: params.get("response")?.to_ascii_lowercase(),
        })
    }

    /// True if the response was made with `password`. Takes the same time wherever they differ.
    pub fn is_made_with(&self, password: &str, method: &str) -> bool {
        let inputs = Inputs {
            algorithm: self.algorithm,
            session: self.session,
            realm: &self.realm,
            nonce: &self.nonce,
            counted: self.nonce_count.map(|_| (&*self.nc, &*self.cnonce)),
            cnonce: &self.cnonce,
            method,
            uri: &self.uri,
        };
        let expected = inputs.response(&self.user, password);
        let differing = expected
            .bytes()
            .zip(self.response.bytes())
            .fold(0, |acc, (a, b)| acc | (a ^ b));
        expected.len() == self.response.len() && differing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::wire::Method;

    fn client(name: Name, challenges: &[&str]) -> Result<DigestClient, AuthError> {
        let mut response = Message::response(401);
        for challenge in challenges {
            response.push(name, challenge);
        }
        let mut client = DigestClient::default();
        client.challenged(&bare(), &response).map(|()| client)
    }

    fn digest(algorithm: Algorithm, nonce: &str, cnonce: &str) -> String {
        let inputs = Inputs {
            algorithm,
            session: false,
            realm: "http-auth@example.org",
            nonce,
            counted: Some(("00000001", cnonce)),
            cnonce,
            method: "GET",
            uri: "/dir/index.html",
        };
        inputs.response("Mufasa", "Circle of Life")
    }

    #[test]
    fn the_vectors_of_rfc_7616_come_out() {
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        assert_eq!(
            digest(Algorithm::Md5, nonce, cnonce),
            "8ca523f5e9506fed4657c9700eebdbec"
        );
        assert_eq!(
            digest(Algorithm::Sha256, nonce, cnonce),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
    }

    #[test]
    fn the_vector_of_rfc_2617_comes_out() {
        let inputs = Inputs {
            algorithm: Algorithm::Md5,
            session: false,
            realm: "testrealm@host.com",
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            counted: Some(("00000001", "0a4f113b")),
            cnonce: "0a4f113b",
            method: "GET",
            uri: "/dir/index.html",
        };
        let response = inputs.response("Mufasa", "Circle Of Life");
        assert_eq!(response, "6629fae49393a05397450978507c4ef1");
    }

    #[test]
    fn sha_512_256_is_the_truncated_hash_of_fips_180() {
        assert_eq!(
            Algorithm::Sha512_256.hash(&["abc"]),
            "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
        );
    }

    fn bare() -> Message {
        Message::request(Method::Register, "sip:example.org")
    }

    fn credentials() -> Credentials {
        Credentials {
            user: "bo\"b".into(),
            password: "zanzibar".into(),
        }
    }

    fn authorized(client: &mut DigestClient) -> Message {
        let mut request = bare();
        client.authorize(&mut request, &credentials(), "cn");
        request
    }

    #[test]
    fn a_server_can_check_what_the_client_says() {
        for algorithm in [
            "",
            ", algorithm=MD5",
            ", algorithm=sha-256",
            ", algorithm=SHA-512-256-sess",
            ", algorithm=\"MD5-sess\"",
        ] {
            for qop in ["", ", qop=\"auth,auth-int\"", ", qop=auth"] {
                let challenge =
                    format!("Digest realm=\"a\\\"b\", nonce=\"n,1\"{qop}{algorithm}, opaque=\"o\"");
                let mut client = client(Name::WwwAuthenticate, &[&challenge]).unwrap();
                let request = authorized(&mut client);
                let value = request.header(Name::Authorization).unwrap();
                let response = Response::parse(value).unwrap();
                assert_eq!((&*response.user, &*response.realm), ("bo\"b", "a\"b"));
                assert!(response.is_made_with("zanzibar", "REGISTER"), "{value}");
                assert!(!response.is_made_with("zanzibaR", "REGISTER"));
                assert!(!response.is_made_with("zanzibar", "INVITE"));
                assert!(value.contains("opaque=\"o\""));
            }
        }
    }

    #[test]
    fn the_strongest_of_a_realm_and_each_realm_is_answered() {
        let mut response = Message::response(407)
            .with(Name::WwwAuthenticate, "Digest realm=\"a\",nonce=\"1\",algorithm=MD5,qop=\"auth\"")
            .with(Name::WwwAuthenticate, "Digest realm=\"a\",nonce=\"2\",algorithm=SHA-256,qop=\"auth\", Digest realm=\"b\", nonce=\"3\"")
            .with(Name::ProxyAuthenticate, "Digest realm=\"a\",nonce=\"4\",algorithm=XYZ")
            .with(Name::ProxyAuthenticate, "Digest realm=\"c\",nonce=\"5\"");
        response.push(Name::WwwAuthenticate, "Basic realm=\"z\"");
        let mut client = DigestClient::default();
        client.challenged(&bare(), &response).unwrap();
        let request = authorized(&mut client);
        let nonces = |name| -> Vec<_> {
            let parsed = request.fields(name).filter_map(Response::parse);
            parsed.map(|r| r.nonce).collect()
        };
        assert_eq!(nonces(Name::Authorization), ["2", "3"]);
        assert_eq!(nonces(Name::ProxyAuthorization), ["5"]);
    }

    #[test]
    fn a_nonce_is_used_again_and_counted_in_hex() {
        let mut client = client(
            Name::WwwAuthenticate,
            &["Digest realm=\"a\",nonce=\"1\",qop=auth"],
        )
        .unwrap();
        for count in 1..=17u32 {
            let request = authorized(&mut client);
            let value = request.header(Name::Authorization).unwrap();
            assert!(value.contains(&format!("nc={count:08x},")), "{value}");
            assert!(value.contains("qop=auth,"));
        }
    }

    fn challenge(nonce: &str, more: &str) -> Message {
        let value = format!("Digest realm=\"a\",nonce=\"{nonce}\",qop=auth{more}");
        Message::response(401).with(Name::WwwAuthenticate, value)
    }

    #[test]
    fn wrong_credentials_are_given_up_and_a_stale_nonce_is_not() {
        let mut client = DigestClient::default();
        assert_eq!(client.challenged(&bare(), &challenge("1", "")), Ok(()));
        let request = authorized(&mut client);
        assert_eq!(
            client.challenged(&request, &challenge("2", ",stale=TRUE")),
            Ok(())
        );
        let request = authorized(&mut client);
        let refused = Err(AuthError::Refused);
        assert_eq!(client.challenged(&request, &challenge("3", "")), refused);
        assert!(!client.has_challenge());
    }

    #[test]
    fn a_nonce_that_ran_out_without_a_word_is_renewed_once() {
        let mut client = DigestClient::default();
        assert_eq!(client.challenged(&bare(), &challenge("1", "")), Ok(()));
        authorized(&mut client);
        client.accepted(&Message::response(200));
        let request = authorized(&mut client);
        assert_eq!(client.challenged(&request, &challenge("2", "")), Ok(()));
        let request = authorized(&mut client);
        let refused = Err(AuthError::Refused);
        assert_eq!(client.challenged(&request, &challenge("3", "")), refused);
    }

    #[test]
    fn requests_that_cross_the_first_challenge_are_no_refusal() {
        let mut client = DigestClient::default();
        for nonce in ["1", "2", "3", "4"] {
            assert_eq!(client.challenged(&bare(), &challenge(nonce, "")), Ok(()));
        }
        let next = Message::response(200).with(Name::AuthenticationInfo, "nextnonce=\"9\"");
        client.accepted(&next);
        let request = authorized(&mut client);
        let value = request.header(Name::Authorization).unwrap();
        assert!(value.contains("nonce=\"9\""));
        assert!(value.contains("nc=00000001"));
    }

    #[test]
    fn what_cannot_be_answered_is_told() {
        for challenge in [
            "Digest realm=\"a\",nonce=\"1\",qop=\"auth-int\"",
            "Digest realm=\"a\"",
            "Basic realm=\"a\"",
            "Digest",
            "",
        ] {
            let result = client(Name::WwwAuthenticate, &[challenge]);
            assert_eq!(result.err(), Some(AuthError::Unanswerable), "{challenge}");
        }
    }
}
