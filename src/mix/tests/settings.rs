//! The settings of a channel (XEP-0406 §3).

use super::*;

fn read(user: &str, node: &str) -> String {
    format!(
        "<iq type='get' id='r' from='{user}@shakespeare.example/w' to='{COVEN}'>\
         <pubsub xmlns='{NS_PUBSUB}'><items node='urn:xmpp:mix:nodes:{node}'/></pubsub></iq>"
    )
}

fn publish(user: &str, node: &str, id: &str) -> String {
    format!(
        "<iq type='set' id='b' from='{user}@shakespeare.example/w' to='{COVEN}'>\
         <pubsub xmlns='{NS_PUBSUB}'><publish node='urn:xmpp:mix:nodes:{node}'><item id='{id}'/>\
         </publish></pubsub></iq>"
    )
}

#[test]
fn every_option_is_told_and_only_what_was_sent_changes() {
    let mut bench = Bench::coven();
    let before = String::from(&bench.ask(&read("hag66", "config")));
    for field in [
        "Last Change Made By",
        "Owner",
        "Administrator",
        "Nodes Present",
        "Messages Node Subscription",
        "Presence Node Subscription",
        "Participants Node Subscription",
        "Information Node Subscription",
        "Allowed Node Subscription",
        "Banned Node Subscription",
        "Configuration Node Access",
        "Information Node Update Rights",
        "Participants Must Provide Presence",
        "User Message Retraction",
        "Administrator Message Retraction Rights",
        "Participation Addition by Invitation from Participant",
        "Private Messages",
        "Mandatory Nicks",
        "JID Visibility",
        "IQ Relay",
    ] {
        assert!(before.contains(&format!("var='{field}'")), "{field}");
    }
    let all = &bench.mix.snapshot().channels["coven"].settings;
    let expected = Settings {
        mandatory_nicks: false,
        info_rights: rights::Access::Owners,
        revision: all.revision + 1,
        changed_by: Some(jid("hag66@shakespeare.example")),
        ..all.clone()
    };
    bench.send(&configure(&[
        ("Mandatory Nicks", "0"),
        ("Information Node Update Rights", "owners"),
        ("Last Change Made By", "nobody@shakespeare.example"),
        ("Something Else", "passed over"),
    ]));
    assert_eq!(bench.mix.snapshot().channels["coven"].settings, expected);
    for wrong in [
        ("JID Visibility", "sometimes"),
        ("Private Messages", "perhaps"),
        ("Messages Node Subscription", "owners"),
        ("Owner", ""),
    ] {
        let refused = bench.ask(&configure(&[wrong]));
        assert_eq!(condition(&refused), "not-acceptable", "{wrong:?}");
    }
    assert_eq!(bench.mix.snapshot().channels["coven"].settings, expected);
}

#[test]
fn nodes_come_and_go() {
    let mut bench = Bench::coven();
    bench.send(&configure(&[("Nodes Present", "participants")]));
    assert_eq!(
        condition(&bench.ask(&read("hag66", "banned"))),
        "item-not-found"
    );
    let presence = format!("<presence from='hecate@shakespeare.example/w' to='{COVEN}'/>");
    assert_eq!(bench.send(&presence), [], "there is no presence node");
    let relayed = |policy| configure(&[("IQ Relay", policy)]);
    bench.send(&relayed("none"));
    let ep = format!("{}#{COVEN}", bench.id("peter"));
    let ping = format!(
        "<iq type='get' id='i' from='hecate@shakespeare.example/w' to='{ep}'>\
         <ping xmlns='urn:xmpp:ping'/></iq>"
    );
    assert_eq!(condition(&bench.ask(&ping)), "not-allowed");
    bench.send(&relayed("all"));
    assert_eq!(
        bench.ask(&ping).attr("to"),
        Some("peter@shakespeare.example")
    );
}

#[test]
fn nodes_open_to_whom_the_settings_say() {
    let mut bench = Bench::coven();
    assert_eq!(condition(&bench.ask(&read("peter", "config"))), "forbidden");
    assert_eq!(
        condition(&bench.ask(&read("stranger", "participants"))),
        "forbidden"
    );
    bench.send(&configure(&[
        ("Configuration Node Access", "participants"),
        ("Participants Node Subscription", "anyone"),
    ]));
    for (user, node) in [("peter", "config"), ("stranger", "participants")] {
        assert_eq!(bench.ask(&read(user, node)).attr("type"), Some("result"));
    }
    bench.send(&configure(&[("Participants Node Subscription", "nobody")]));
    assert_eq!(
        condition(&bench.ask(&read("hag66", "participants"))),
        "forbidden"
    );
}

#[test]
fn the_first_who_is_allowed_shuts_out_the_others() {
    let mut bench = Bench::coven();
    assert_eq!(
        condition(&bench.ask(&publish("peter", "allowed", "peter@shakespeare.example"))),
        "forbidden"
    );
    assert_eq!(
        condition(&bench.ask(&read("hag66", "allowed"))),
        "item-not-found"
    );
    let said = bench.send(&publish("hag66", "allowed", "peter@shakespeare.example"));
    assert_eq!(said[0].attr("type"), Some("result"));
    let channel = &bench.mix.snapshot().channels["coven"];
    assert_eq!(channel.participants.len(), 2, "peter and the owner");
    let purge = format!(
        "<iq type='set' id='u' from='hag66@shakespeare.example/w' to='{COVEN}'>\
         <pubsub xmlns='{NS_PUBSUB}#owner'><purge node='urn:xmpp:mix:nodes:allowed'/></pubsub></iq>"
    );
    bench.send(&purge);
    assert_eq!(bench.join("hecate", USUAL)[0].attr("type"), Some("result"));
}

#[test]
fn a_nick_may_be_left_out_where_jids_are_seen() {
    let mut bench = Bench::new(config());
    bench.send(&configure(&[("Mandatory Nicks", "false")]));
    let join = |user: &str| {
        format!(
            "<iq type='set' id='j' from='{user}@shakespeare.example' to='{COVEN}'>\
             <join xmlns='{NS_CORE}'/></iq>"
        )
    };
    let nick = |bench: &Bench, user: &str| {
        let channel = &bench.mix.snapshot().channels["coven"];
        let id = channel.id_of(&jid(&format!("{user}@shakespeare.example")));
        channel.participants[&id.unwrap()].nick.clone()
    };
    bench.send(&join("hecate"));
    assert_eq!(nick(&bench, "hecate"), None);
    bench.send(&configure(&[("JID Visibility", "jid-hidden")]));
    bench.send(&join("peter"));
    assert!(nick(&bench, "peter").is_some(), "XEP-0403 §4.1");
}

#[test]
fn a_new_configuration_brings_channels_and_phones() {
    let mut bench = Bench::coven();
    let phone = (
        jid("+15551234567@phones.example"),
        "+15551234567".to_owned(),
    );
    let mut wanted = config();
    wanted.channels[0].phones.push(phone.clone());
    let mut more = wanted.channels[0].clone();
    more.name = "heath".to_owned();
    more.phones.clear();
    wanted.channels.push(more);
    wanted.creators.clear();
    bench.mix.set_config(bench.now, wanted);
    let said = bench.said();
    let peter = to_user(&said, "peter");
    assert_eq!(peter.len(), 1, "{said:?}");
    assert!(String::from(peter[0]).contains("<nick>+15551234567</nick>"));
    assert!(
        said.iter().any(|s| s.attr("to") == Some(phone.0.as_str())),
        "it is probed"
    );
    assert!(bench.mix.snapshot().channels.contains_key("heath"));
    let create = format!(
        "<iq type='set' id='c' from='hag66@shakespeare.example/w' to='{DOMAIN}'>\
         <create xmlns='{NS_CORE}' channel='new'/></iq>"
    );
    assert_eq!(condition(&bench.ask(&create)), "not-allowed");
    let mut hidden = config();
    hidden.channels[0].hidden = true;
    bench.mix.set_config(bench.now, hidden);
    let channel = &bench.mix.snapshot().channels["coven"];
    assert_eq!(channel.settings.visibility, JidVisibility::Hidden);
    assert_eq!(channel.participants.len(), 3, "the phone has left");
}
