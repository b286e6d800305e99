//! Says in words what a configuration means: what `offhook check` prints.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use super::values::TrunkUri;
use super::{
    AccessConfig, AdminConfig, CallConfig, CallerId, CertifiedFiles, ChannelConfig, Config, Dtmf,
    MediaConfig, MixConfig, NumberConfig, RouteMatch, SipConfig, Srtp, SrtpKeys, TlsConfig,
    Transcode, TrunkConfig, XmppConfig,
};
use crate::net::SipTransport;

impl Config {
    /// Several lines of text. Names users and numbers whole: it is for the operator's own eyes.
    pub fn report(&self) -> String {
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = self.write_report(&mut out);
        out
    }

    fn write_report(&self, out: &mut String) -> std::fmt::Result {
        let Self {
            xmpp,
            sip,
            media,
            trunks,
            routes,
            numbers,
            access,
            call,
            mix,
            store,
            admin,
        } = self;
        let XmppConfig {
            server,
            domain,
            secret: _,
            resource,
        } = xmpp;
        writeln!(out, "xmpp     component {domain} at {server}")?;
        writeln!(
            out,
            "         contacts look like +15551234567@{domain}/{resource}"
        )?;
        let SipConfig {
            listen,
            advertise,
            user_agent,
            nameserver,
            tls,
        } = sip;
        let listen: Vec<String> = listen
            .iter()
            .map(|(t, socket)| format!("{}://{socket}", t.scheme()))
            .collect();
        let from = told(*advertise, "the address that each packet leaves from");
        writeln!(out, "sip      listens on {}", listen.join(", "))?;
        writeln!(
            out,
            "         tells others {from}; calls itself {user_agent}"
        )?;
        if let Some(nameserver) = nameserver {
            writeln!(out, "         asks {nameserver} for DNS records")?;
        }
        let by_tls = |trunk: &TrunkConfig| trunk.requested_transport() == Some(SipTransport::Tls);
        if *tls != TlsConfig::default() || trunks.iter().any(by_tls) {
            write_tls(out, tls)?;
        }
        write_media(out, media, *advertise)?;
        for trunk in trunks {
            write_trunk(out, trunk)?;
        }
        for route in routes {
            let matches = match &route.matches {
                RouteMatch::Prefix(prefix) if prefix == "+" => "every number".to_owned(),
                RouteMatch::Prefix(prefix) => format!("numbers from {prefix}"),
                RouteMatch::Domain(domain) => format!("SIP addresses at {domain}"),
                RouteMatch::Any => "everything else".to_owned(),
            };
            writeln!(out, "route    {matches}: {}", route.trunks.join(", then "))?;
        }
        for NumberConfig { number, ring } in numbers {
            let users: Vec<String> = ring.iter().map(ToString::to_string).collect();
            writeln!(out, "number   {number} rings {}", users.join(", "))?;
        }
        write_access(out, access)?;
        if let Some(mix) = mix {
            write_mix(out, mix, store.is_some())?;
            match store {
                Some(store) => writeln!(out, "         its channels are kept in {store}")?,
                None => writeln!(out, "         nothing of it is kept over a restart")?,
            }
        }
        let CallConfig {
            ring_limit,
            max_call,
            silence_limit,
            connect_limit,
        } = call;
        writeln!(
            out,
            "call     rings {} at most, lasts {} at most, ends after {} of silence or when media \
             takes {} to connect",
            span(*ring_limit),
            span(*max_call),
            span(*silence_limit),
            span(*connect_limit)
        )?;
        if let Some(AdminConfig { listen }) = admin {
            writeln!(
                out,
                "admin    http://{listen}/ shows the console, /metrics, /health and /ready"
            )?;
        }
        Ok(())
    }
}

fn write_tls(out: &mut String, tls: &TlsConfig) -> std::fmt::Result {
    let TlsConfig {
        own,
        ca,
        verify_client,
    } = tls;
    match own {
        Some(CertifiedFiles { cert, key: _ }) => {
            writeln!(out, "tls      shows the certificate in {}", cert.display())?;
        }
        None => writeln!(out, "tls      shows no certificate")?,
    }
    match ca {
        Some(ca) => writeln!(out, "         trusts the authorities in {}", ca.display())?,
        None => writeln!(out, "         trusts the system's authorities")?,
    }
    if *verify_client {
        writeln!(
            out,
            "         refuses whoever connects without a certificate"
        )?;
    }
    Ok(())
}

fn write_mix(out: &mut String, mix: &MixConfig, keeps: bool) -> std::fmt::Result {
    let MixConfig {
        server,
        domain,
        secret: _,
        create,
        ejabberd_domains,
        tigase_domains,
        legacy_presence,
        archive_days,
        archive_max,
        channels,
    } = mix;
    writeln!(out, "mix      component {domain} at {server}")?;
    let listed = |texts: Vec<String>| match texts.is_empty() {
        true => "nobody".to_owned(),
        false => texts.join(", "),
    };
    let creators = listed(create.iter().map(ToString::to_string).collect());
    writeln!(out, "         {creators} may create channels")?;
    let servers = [("ejabberd", ejabberd_domains), ("Tigase", tigase_domains)];
    for (server, domains) in servers.iter().filter(|(_, domains)| !domains.is_empty()) {
        let domains = listed(domains.iter().map(ToString::to_string).collect());
        writeln!(out, "         knows that {server} serves {domains}")?;
    }
    if keeps {
        writeln!(
            out,
            "         messages are kept for {archive_days} days, {archive_max} of a channel at most"
        )?;
    }
    if !legacy_presence {
        writeln!(out, "         presence in the namespace of XEP-0403 only")?;
    }
    for channel in channels {
        let ChannelConfig {
            name,
            owners,
            hidden,
            phones,
        } = channel;
        let owners = listed(owners.iter().map(ToString::to_string).collect());
        let hides = if *hidden { ", hides its JIDs" } else { "" };
        writeln!(out, "channel  {name}@{domain} of {owners}{hides}")?;
        if !phones.is_empty() {
            let phones = listed(phones.iter().map(ToString::to_string).collect());
            writeln!(out, "         with {phones}")?;
        }
    }
    Ok(())
}

fn write_media(out: &mut String, media: &MediaConfig, sip: Option<IpAddr>) -> std::fmt::Result {
    let MediaConfig {
        bind,
        advertise,
        xmpp_port,
        rtp_ports,
        threads,
        transcode,
    } = media;
    let own = if bind.is_unspecified() {
        "every address of the host"
    } else {
        "the bound address"
    };
    let last = usize::from(*xmpp_port) + threads - 1;
    // Each call has one SIP leg, and each leg takes a port for RTP and one for RTCP.
    let calls = (usize::from(*rtp_ports.end()) + 1 - usize::from(*rtp_ports.start())) / 2;
    let told = match (advertise, sip) {
        (Some(ip), _) => ip.to_string(),
        // SDP says what the rest of the message says.
        (None, Some(ip)) => format!("{own} on XMPP legs, {ip} on SIP legs"),
        (None, None) if bind.is_unspecified() => {
            format!("{own} on XMPP legs, the one toward the first trunk on SIP legs")
        }
        (None, None) => own.to_owned(),
    };
    writeln!(out, "media    binds {bind}, tells others {told}")?;
    writeln!(
        out,
        "         XMPP legs on udp {xmpp_port}-{last} ({threads} threads)"
    )?;
    let transcode = match transcode {
        Transcode::Never => "never encodes sound anew",
        Transcode::WhenNeeded => "encodes sound anew where two sides share no codec",
        Transcode::PreferOpus => "encodes sound anew so that XMPP clients speak Opus",
    };
    writeln!(out, "         {transcode}")?;
    writeln!(
        out,
        "         SIP legs on udp {}-{} ({calls} at a time)",
        rtp_ports.start(),
        rtp_ports.end()
    )
}

fn write_trunk(out: &mut String, trunk: &TrunkConfig) -> std::fmt::Result {
    let TrunkConfig {
        name,
        uri,
        host: _,
        port,
        transport: _,
        username,
        password: _,
        codecs,
        from_networks,
        max_calls,
        options,
        from_domain,
        caller_id,
        register,
        outbound_proxy,
        srtp,
        srtp_keys,
        dtmf,
        comfort_noise,
        early_media,
        session_timer,
        messages,
        video,
    } = trunk;
    let found = match port {
        Some(_) => "",
        None => " (address and port by DNS, RFC 3263)",
    };
    writeln!(out, "trunk    {name}: {uri}{found}")?;
    writeln!(out, "         codecs {}", codecs.join(", "))?;
    if username.is_some() {
        writeln!(
            out,
            "         answers challenges with a user name and password"
        )?;
    }
    if *register {
        writeln!(out, "         registers there, and is down until it has")?;
    }
    if let Some(TrunkUri {
        host,
        port,
        transport: _,
    }) = outbound_proxy
    {
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        writeln!(out, "         requests go through the proxy {host}{port}")?;
    }
    if let Some(domain) = from_domain {
        writeln!(out, "         From has the domain {domain}")?;
    }
    match caller_id {
        CallerId::From => {}
        CallerId::Asserted => writeln!(out, "         P-Asserted-Identity says who calls")?,
        CallerId::RemoteParty => writeln!(out, "         Remote-Party-ID says who calls")?,
    }
    let keys = match srtp_keys {
        SrtpKeys::Sdes => "keys in SDP",
        SrtpKeys::Dtls => "keys by DTLS",
    };
    match srtp {
        Srtp::Off => {}
        Srtp::Offer => writeln!(out, "         SRTP is offered ({keys})")?,
        Srtp::Require => writeln!(out, "         SRTP or no call ({keys})")?,
    }
    match dtmf {
        Dtmf::Auto => {}
        Dtmf::Rtp => writeln!(out, "         keys go in RTP or not at all")?,
        Dtmf::Info => writeln!(out, "         keys go by INFO")?,
    }
    if !comfort_noise {
        writeln!(out, "         pauses in speech are sent in full")?;
    }
    if *early_media {
        writeln!(out, "         users hear its sound before the answer")?;
    }
    if !session_timer.is_zero() {
        writeln!(
            out,
            "         calls are refreshed, {} at most apart",
            span(*session_timer)
        )?;
    }
    if !messages {
        writeln!(out, "         no texts go there or come from there")?;
    }
    if *video {
        writeln!(out, "         pictures go there and come from there")?;
    }
    let networks: Vec<String> = from_networks
        .iter()
        .map(|(ip, length)| format!("{ip}/{length}"))
        .collect();
    match networks.is_empty() {
        true => writeln!(out, "         calls come from its own addresses only")?,
        false => writeln!(out, "         calls come from {}", networks.join(", "))?,
    }
    let limit = max_calls.map_or("any number of calls".to_owned(), |n| format!("{n} calls"));
    match options.is_zero() {
        true => writeln!(
            out,
            "         {limit} at a time; not asked whether it is up"
        ),
        false => writeln!(
            out,
            "         {limit} at a time; asked every {} whether it is up",
            span(*options)
        ),
    }
}

fn write_access(out: &mut String, access: &AccessConfig) -> std::fmt::Result {
    let AccessConfig {
        domains,
        users,
        country,
        max_calls_per_user,
        calls_per_minute,
        messages_per_minute,
    } = access;
    let who: Vec<String> = domains
        .iter()
        .map(|d| format!("everybody at {d}"))
        .chain(users.iter().map(ToString::to_string))
        .collect();
    let who = match who.is_empty() {
        true => "nobody".to_owned(),
        false => who.join(", "),
    };
    writeln!(out, "access   {who} may call out")?;
    if let Some(country) = country {
        writeln!(
            out,
            "         numbers without a country code are in {country}, or in that of the user's own \
             number"
        )?;
    }
    writeln!(
        out,
        "         each {max_calls_per_user} calls at a time, {calls_per_minute} new ones and \
         {messages_per_minute} texts a minute"
    )
}

fn told(advertise: Option<IpAddr>, own: &str) -> String {
    advertise.map_or_else(|| own.to_owned(), |ip| ip.to_string())
}

fn span(time: Duration) -> String {
    match time.as_secs() {
        s if s % 3600 == 0 && s > 0 => format!("{} h", s / 3600),
        s if s % 60 == 0 && s > 60 => format!("{} min", s / 60),
        s => format!("{s} s"),
    }
}
