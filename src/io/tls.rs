//! TLS for SIP: reads the certificates, and says whether a server is the one that was asked for.
//!
//! A server is known by the names in its certificate's subjectAltName, as RFC 5922 §7 wants it: a
//! `sip:` URI is the whole truth where there is one, else DNS names are; wildcards prove nothing;
//! the common name is not looked at. Versions are 1.2 and 1.3.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::{CertifiedFiles, Mistake, TlsConfig};

/// Everything that TLS connections are made with.
#[derive(Clone)]
pub struct Certificates {
    /// For those that peers open; `None` if we have no certificate.
    pub acceptor: Option<TlsAcceptor>,
    /// For those that we open.
    pub connector: TlsConnector,
    /// Why peers will refuse our certificate.
    pub warning: Option<Mistake>,
}

impl Certificates {
    /// Reads the files; each mistake names the key whose file is at fault.
    pub fn load(config: &TlsConfig) -> Result<Self, Vec<Mistake>> {
        let roots = match &config.ca {
            Some(path) => authorities(path).map_err(|mistake| vec![mistake]),
            None => Ok(system_authorities()),
        };
        let own = config.own.as_ref().map(certified).transpose();
        match (roots, own) {
            (Ok(roots), Ok(own)) => {
                Self::made_of(roots, own, config.verify_client).map_err(|mistake| vec![mistake])
            }
            (roots, own) => {
                let mistakes = [roots.err(), own.err()].into_iter().flatten();
                Err(mistakes.flatten().collect())
            }
        }
    }

    fn made_of(
        roots: RootCertStore,
        own: Option<Certified>,
        verify_client: bool,
    ) -> Result<Self, Mistake> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::new(roots);
        let versions = |error| Mistake::new("sip.tls", format!("cannot be used: {error}"));
        let warning = own
            .as_ref()
            .and_then(|(chain, _)| out_of_date(chain, &provider));
        let misfit = |error| {
            let why = match error {
                Error::InconsistentKeys(_) => "it is of another key".to_owned(),
                error => error.to_string(),
            };
            Mistake::new("sip.tls.cert", format!("does not fit sip.tls.key: {why}"))
        };

        let verifier = SipDomain {
            roots: Arc::clone(&roots),
            provider: Arc::clone(&provider),
        };
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(versions)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let client = match &own {
            Some((chain, key)) => client
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(misfit)?,
            None => client.with_no_client_auth(),
        };
        let acceptor = match own {
            None => None,
            Some((chain, key)) => {
                let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
                    .with_safe_default_protocol_versions()
                    .map_err(versions)?;
                let server = if verify_client {
                    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                        .build()
                        .map_err(|error| Mistake::new("sip.tls.ca", error.to_string()))?;
                    server.with_client_cert_verifier(verifier)
                } else {
                    server.with_no_client_auth()
                };
                let server = server.with_single_cert(chain, key).map_err(misfit)?;
                Some(TlsAcceptor::from(Arc::new(server)))
            }
        };
        Ok(Self {
            acceptor,
            connector: TlsConnector::from(Arc::new(client)),
            warning,
        })
    }
}

/// What is wrong with the time of the first certificate: that is looked at before who signed it.
fn out_of_date(chain: &[CertificateDer<'_>], provider: &CryptoProvider) -> Option<Mistake> {
    let parsed = ParsedCertificate::try_from(chain.first()?).ok()?;
    let nobody = RootCertStore::empty();
    let algorithms = provider.signature_verification_algorithms.all;
    let now = UnixTime::now();
    let verified =
        verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], now, algorithms);
    let Err(Error::InvalidCertificate(error)) = verified else {
        return None;
    };
    let days = |apart: u64| apart / 86_400;
    let reason = match error {
        CertificateError::ExpiredContext { time, not_after } => format!(
            "has expired {} days ago: peers will refuse it",
            days(time.as_secs().saturating_sub(not_after.as_secs()))
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "is valid in {} days only: peers will refuse it; is the clock of this host right?",
            days(not_before.as_secs().saturating_sub(time.as_secs()))
        ),
        _ => return None,
    };
    Some(Mistake::new("sip.tls.cert", reason))
}

type Certified = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn certified(files: &CertifiedFiles) -> Result<Certified, Vec<Mistake>> {
    let chain = certificates("sip.tls.cert", &files.cert);
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| {
        let file = files.key.display();
        // In the old way of writing one the base64 does not even begin where it should.
        let text = std::fs::read_to_string(&files.key).unwrap_or_default();
        let why = match error {
            _ if text.contains("ENCRYPTED") => "it has a passphrase; \
                 `openssl pkey -in FILE -out OTHER` writes one without"
                .to_owned(),
            pem::Error::NoItemsFound => "there is none".to_owned(),
            error => error.to_string(),
        };
        Mistake::new(
            "sip.tls.key",
            format!("no key can be read from {file}: {why}"),
        )
    });
    match (chain, key) {
        (Ok(chain), Ok(key)) => Ok((chain, key)),
        (chain, key) => Err([chain.err(), key.err()].into_iter().flatten().collect()),
    }
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Mistake> {
    let wrong = |why: String| {
        let file = path.display();
        Mistake::new(
            key,
            format!("no certificate can be read from {file}: {why}"),
        )
    };
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| wrong(error.to_string()))?
        .collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(wrong("there is none".to_owned())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(wrong(error.to_string())),
    }
}

fn authorities(path: &Path) -> Result<RootCertStore, Mistake> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("sip.tls.ca", path)? {
        roots.add(certificate).map_err(|error| {
            let file = path.display();
            Mistake::new("sip.tls.ca", format!("{file} has no authority: {error}"))
        })?;
    }
    Ok(roots)
}

/// What the system trusts; a host without any can do all but open TLS connections.
fn system_authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// RFC 5922 §7.3: a server must prove that it is the domain that was asked for.
#[derive(Debug)]
struct SipDomain {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for SipDomain {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(certificate)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, between, now, algorithms)?;
        let proven = match name {
            ServerName::DnsName(domain) => proves(certificate, domain.as_ref())?,
            _ => verify_server_name(&parsed, name).is_ok(),
        };
        match proven {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

fn proves(certificate: &CertificateDer<'_>, domain: &str) -> Result<bool, Error> {
    let certificate =
        webpki::EndEntityCert::try_from(certificate).map_err(|_| CertificateError::BadEncoding)?;
    Ok(is_identity(
        certificate.valid_uri_names(),
        certificate.valid_dns_names(),
        domain,
    ))
}

/// RFC 5922 §7.1 and §7.2.
fn is_identity<'a>(
    uris: impl Iterator<Item = &'a str>,
    names: impl Iterator<Item = &'a str>,
    domain: &str,
) -> bool {
    let domain = domain.trim_end_matches('.');
    let mut identities = uris.filter_map(sip_domain).peekable();
    if identities.peek().is_some() {
        return identities.any(|identity| identity.eq_ignore_ascii_case(domain));
    }
    let mut names = names;
    names.any(|name| name.eq_ignore_ascii_case(domain))
}

/// The domain of a `sip:` URI; one with a user part is a person's (RFC 5922 §7.1).
fn sip_domain(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    let is_domain = scheme.eq_ignore_ascii_case("sip") && !rest.contains('@');
    let host = rest.split([';', '?', ':']).next().unwrap_or(rest);
    is_domain.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(uris: &[&str], names: &[&str], domain: &str) -> bool {
        is_identity(uris.iter().copied(), names.iter().copied(), domain)
    }

    #[test]
    fn a_domain_is_proven_by_its_own_name_alone() {
        assert!(identity(
            &[],
            &["sip.example.org", "Example.ORG"],
            "example.org"
        ));
        assert!(identity(&[], &["example.org"], "EXAMPLE.org."));
        assert!(!identity(&[], &["sip.example.org"], "example.org"));
        assert!(!identity(&[], &[], "example.org"));
    }

    #[test]
    fn a_sip_uri_outdoes_dns_names() {
        let uris = ["sip:example.org", "https://www.example.net"];
        assert!(identity(&uris, &[], "example.org"));
        assert!(!identity(&uris, &["example.net"], "example.net"));
        assert!(identity(
            &["https://a.example"],
            &["example.net"],
            "example.net"
        ));
        // A person's URI says nothing about the domain.
        assert!(!identity(&["sip:al@example.org"], &[], "example.org"));
    }

    #[test]
    fn wildcards_prove_nothing() {
        assert!(!identity(&[], &["*.example.org"], "sip.example.org"));
        assert!(!identity(&["sip:*.example.org"], &[], "sip.example.org"));
    }
}
