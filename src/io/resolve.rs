//! DNS for the SIP room (RFC 3263): each question in a task of its own, with an answer always.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{RData, RecordType};

use crate::net::{Question, Record};

/// How long one question may wait for a server.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How often it is asked.
const ATTEMPTS: usize = 2;

/// Answers questions.
#[derive(Clone)]
pub struct Resolver {
    /// `None` if the system names no server: then there are addresses only.
    dns: Option<TokioResolver>,
    /// Addresses come from the system too: it knows of more than DNS.
    by_system: bool,
}

/// Nobody answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered;

impl Resolver {
    /// Asks `nameserver`, or whom the system asks.
    pub fn new(nameserver: Option<SocketAddr>) -> Self {
        let builder = match nameserver {
            Some(address) => {
                let provider = TokioRuntimeProvider::default();
                Ok(TokioResolver::builder_with_config(only(address), provider))
            }
            None => TokioResolver::builder_tokio(),
        };
        let dns = builder.and_then(|mut builder| {
            let options = builder.options_mut();
            options.timeout = TIMEOUT;
            options.attempts = ATTEMPTS;
            builder.build()
        });
        if let Err(error) = &dns {
            tracing::warn!(%error, "no DNS server is known: SRV and NAPTR are not asked for");
        }
        Self {
            dns: dns.ok(),
            by_system: nameserver.is_none(),
        }
    }

    /// Answers `question`; an empty answer says that there is no such record.
    pub async fn answer(&self, question: &Question) -> Result<Vec<Record>, Unanswered> {
        match question {
            Question::Addresses(name) if self.by_system => system_addresses(name).await,
            Question::Addresses(name) => {
                let (v4, v6) = futures::join!(
                    self.records(name, RecordType::A),
                    self.records(name, RecordType::AAAA)
                );
                match (v4, v6) {
                    (Ok(mut v4), Ok(v6)) => {
                        v4.extend(v6);
                        Ok(v4)
                    }
                    (Ok(one), Err(Unanswered)) | (Err(Unanswered), Ok(one)) if !one.is_empty() => {
                        Ok(one)
                    }
                    _ => Err(Unanswered),
                }
            }
            Question::Srv(name) => self.records(name, RecordType::SRV).await,
            Question::Way(remote) => {
                let any = match remote {
                    IpAddr::V4(_) => IpAddr::from([0, 0, 0, 0]),
                    IpAddr::V6(_) => IpAddr::from([0; 16]),
                };
                super::leaving_address(any, SocketAddr::new(*remote, 9))
                    .map(|local| vec![Record::Address(local)])
                    .map_err(|_| Unanswered)
            }
            Question::Naptr(name) => self.records(name, RecordType::NAPTR).await,
        }
    }

    async fn records(&self, name: &str, kind: RecordType) -> Result<Vec<Record>, Unanswered> {
        let Some(dns) = &self.dns else {
            return Ok(Vec::new());
        };
        // A name in a configuration is whole; the search list is for what people type.
        let name = match name.contains('.') && !name.ends_with('.') {
            true => format!("{name}."),
            false => name.to_owned(),
        };
        match dns.lookup(name, kind).await {
            Ok(lookup) => Ok(lookup
                .answers()
                .iter()
                .filter_map(|record| read(&record.data))
                .collect()),
            Err(NetError::Dns(DnsError::NoRecordsFound(_))) => Ok(Vec::new()),
            Err(error) => {
                tracing::debug!(%error, %kind, "a DNS question was not answered");
                Err(Unanswered)
            }
        }
    }
}

fn only(address: SocketAddr) -> ResolverConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    let server = NameServerConfig::new(address.ip(), true, connections.into());
    ResolverConfig::from_name_servers(vec![server])
}

async fn system_addresses(name: &str) -> Result<Vec<Record>, Unanswered> {
    match tokio::net::lookup_host((name, 0)).await {
        Ok(addresses) => Ok(addresses.map(|a| Record::Address(a.ip())).collect()),
        Err(error) => {
            tracing::debug!(%error, "a name could not be resolved");
            Err(Unanswered)
        }
    }
}

fn read(data: &RData) -> Option<Record> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(match data {
        RData::A(a) => Record::Address(a.0.into()),
        RData::AAAA(aaaa) => Record::Address(aaaa.0.into()),
        RData::SRV(srv) => Record::Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv.target.to_ascii(),
        },
        RData::NAPTR(naptr) => Record::Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: text(&naptr.flags),
            service: text(&naptr.services),
            replacement: naptr.replacement.to_ascii(),
        },
        _ => return None,
    })
}
