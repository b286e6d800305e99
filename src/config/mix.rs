//! `[mix]`: the MIX service and the channels that are there from the start.

use jid::{BareJid, NodePart};

use super::meant::Notes;
use super::written;
use super::{ChannelConfig, MixConfig, XmppConfig, values};

impl Notes {
    /// With `keeps` there is a store.
    pub(super) fn mix(
        &mut self,
        written: written::Mix,
        xmpp: &XmppConfig,
        keeps: bool,
    ) -> MixConfig {
        let written::Mix {
            domain,
            server,
            secret,
            create,
            ejabberd_domains,
            tigase_domains,
            legacy_presence,
            archive_days,
            archive_max,
            channel,
        } = written;
        let domain = self.required("mix.domain", domain, "such as mix.example.org");
        let domain = domain.map_or(String::new(), |text| {
            let read = values::domain(&text).map(|domain| domain.to_string());
            self.take("mix.domain", read, String::new())
        });
        // XEP-0369 §3: the domain of channels has no other JIDs.
        if !domain.is_empty() && domain == xmpp.domain {
            self.wrong(
                "mix.domain",
                "is that of [xmpp] too; channels need one of their own",
            );
        }
        let server = server.unwrap_or_else(|| xmpp.server.clone());
        if server != xmpp.server {
            self.server("mix.server", &server);
        }
        let secret = match secret {
            Some(given) => self.secret("mix.secret", Some(given), "leave it out to use [xmpp]'s"),
            None => xmpp.secret.clone(),
        };
        let archive = [("archive_days", archive_days), ("archive_max", archive_max)];
        for (name, _) in archive
            .iter()
            .filter(|(_, value)| value.is_some() && !keeps)
        {
            self.warn(
                format!("mix.{name}"),
                "does nothing without [store]: messages are not kept",
            );
        }
        let creator = |text: &str| match text.contains('@') {
            true => values::one_of_domain(text, &xmpp.domain),
            false => values::domain(text).map(|d| BareJid::from_parts(None, &d)),
        };
        let mut channels: Vec<ChannelConfig> = Vec::new();
        for (index, one) in channel.into_iter().enumerate() {
            let channel = self.channel(index, one);
            if channels.iter().any(|c| c.name == channel.name) {
                let key = format!("mix.channel[{index}].name");
                self.wrong(key, format!("`{}` is there twice", channel.name));
            }
            channels.push(channel);
        }
        MixConfig {
            server,
            domain,
            secret,
            create: self.take_all("mix.create", &create, creator),
            ejabberd_domains: self.take_all(
                "mix.ejabberd_domains",
                &ejabberd_domains,
                values::domain,
            ),
            tigase_domains: self.take_all("mix.tigase_domains", &tigase_domains, values::domain),
            legacy_presence: legacy_presence.unwrap_or(true),
            archive_days: self.kept("mix.archive_days", archive_days, 30),
            archive_max: self.kept("mix.archive_max", archive_max, 10_000),
            channels,
        }
    }

    fn kept(&mut self, key: &str, value: Option<u64>, default: u32) -> u32 {
        let value = self.number(key, value, default.into(), i32::MAX.unsigned_abs().into());
        u32::try_from(value).unwrap_or(default)
    }

    fn channel(&mut self, index: usize, written: written::Channel) -> ChannelConfig {
        let at = |name: &str| format!("mix.channel[{index}].{name}");
        let written::Channel {
            name,
            owner,
            hidden,
            phones,
        } = written;
        let name = self.required(&at("name"), name, "such as support");
        let name = name.map_or(String::new(), |text| {
            let node = NodePart::new(&text).map(|node| node.as_str().to_owned());
            let read = node
                .ok()
                .filter(|node| !node.contains('#') && node.len() <= 900);
            let read = read.ok_or(format!("`{text}` cannot stand before the @ of a JID"));
            self.take(&at("name"), read, String::new())
        });
        if owner.is_empty() {
            self.wrong(
                at("owner"),
                "nobody owns it; write [\"juliet@example.org\"]",
            );
        }
        ChannelConfig {
            name,
            hidden,
            owners: self.take_all(&at("owner"), &owner, values::user),
            phones: self.take_all(&at("phones"), &phones, values::number),
        }
    }
}
