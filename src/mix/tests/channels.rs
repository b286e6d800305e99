//! Channels, participants, nicks, nodes, presence to all.

use super::*;

const HECATE: &str = "hecate@shakespeare.example";

fn set(from: &str, to: &str, payload: &str) -> String {
    format!("<iq type='set' id='q' from='{from}' to='{to}'>{payload}</iq>")
}

fn get(from: &str, to: &str, payload: &str) -> String {
    format!("<iq type='get' id='q' from='{from}' to='{to}'>{payload}</iq>")
}

fn join(inner: &str) -> String {
    format!("<join xmlns='{NS_CORE}'>{inner}</join>")
}

fn vars(answer: &Element) -> Vec<String> {
    let query = answer.children().next().unwrap();
    let vars = query.children().filter_map(|c| c.attr("var"));
    vars.map(str::to_owned).collect()
}

#[test]
fn a_join_is_granted_in_part_and_told_to_the_others() {
    let mut bench = Bench::new(config());
    bench.join("peter", &["participants"]);
    let said = bench.send(&set(
        HECATE,
        COVEN,
        &join(
            "<nick>third  witch</nick><subscribe node='urn:xmpp:mix:nodes:messages'/>\
             <subscribe node='urn:xmpp:mix:nodes:banned'/><subscribe node='urn:xmpp:avatar:data'/>",
        ),
    ));
    let id = bench.id("hecate");
    assert_same(
        &said[0],
        &format!(
            "<iq type='result' id='q' from='{COVEN}' to='{HECATE}'><join xmlns='{NS_CORE}' id='{id}'>\
             <subscribe node='urn:xmpp:mix:nodes:messages'/><nick>third witch</nick></join></iq>"
        ),
    );
    assert_same(
        &said[1],
        &format!(
            "<message from='{COVEN}' to='peter@shakespeare.example' id='*'>\
             <event xmlns='http://jabber.org/protocol/pubsub#event'>\
             <items node='urn:xmpp:mix:nodes:participants'><item id='{id}'>\
             <participant xmlns='{NS_CORE}'><nick>third witch</nick><jid>{HECATE}</jid></participant>\
             </item></items></event></message>"
        ),
    );
    assert_eq!(said[2].attr("type"), Some("probe"));
    assert_eq!(said.len(), 3);
}

#[test]
fn a_join_is_refused_with_nothing_but_the_error() {
    let mut bench = Bench::coven();
    let nick = |nick: &str| join(&format!("<nick>{nick}</nick>"));
    let stranger = "macbeth@shakespeare.example";
    let unknown = join("<nick>m</nick><subscribe node='urn:example:none'/>");
    for (payload, to, expected) in [
        (nick("HECATE\u{a0}nick"), COVEN, "conflict"),
        (join(""), COVEN, "not-acceptable"),
        (nick(" "), COVEN, "not-acceptable"),
        (unknown, COVEN, "item-not-found"),
        (nick("m"), "den@mix.shakespeare.example", "item-not-found"),
    ] {
        let answer = bench.ask(&set(stranger, to, &payload));
        assert_eq!(condition(&answer), expected, "{payload}");
    }
}

#[test]
fn a_listed_domain_gets_its_join_back_in_errors() {
    let mut bench = Bench::new(MixRoomConfig {
        echo_error_domains: BTreeSet::from(["shakespeare.example".to_owned()]),
        ..config()
    });
    let answer = bench.ask(&set(HECATE, COVEN, &join("")));
    let names: Vec<&str> = answer.children().map(Element::name).collect();
    assert_eq!(names, ["join", "error"]);
}

#[test]
fn joining_twice_and_again_after_leaving_gives_the_same_id() {
    let mut bench = Bench::coven();
    let id = bench.id("hecate");
    bench.join("hecate", USUAL);
    assert_eq!(bench.id("hecate"), id);
    let leave = format!("<leave xmlns='{NS_CORE}'/>");
    let said = bench.send(&set(&format!("{HECATE}/full"), COVEN, &leave));
    let retracts: Vec<String> = said[1..].iter().map(String::from).collect();
    assert_eq!(retracts.len(), 2, "{retracts:?}");
    assert!(
        retracts
            .iter()
            .all(|r| r.contains(&format!("<retract id='{id}'")) || r.contains("retract"))
    );
    let again = bench.ask(&set(HECATE, COVEN, "<leave xmlns='urn:xmpp:mix:core:0'/>"));
    assert_eq!(again.attr("type"), Some("result"));
    let leave = again.children().next().unwrap();
    assert!(leave.is("leave", "urn:xmpp:mix:core:0"));
    bench.join("hecate", USUAL);
    assert_eq!(bench.id("hecate"), id);
}

#[test]
fn a_nick_changes_for_everybody() {
    let mut bench = Bench::coven();
    bench.send(&format!("<presence from='{HECATE}/a' to='{COVEN}'/>"));
    let nick = |nick: &str| format!("<setnick xmlns='{NS_CORE}'><nick>{nick}</nick></setnick>");
    let said = bench.send(&set(HECATE, COVEN, &nick("thirdwitch")));
    assert_eq!(said.len(), 7, "an answer, three events, three presences");
    let presence = said.last().unwrap();
    let expected = format!("{}#{COVEN}/a", bench.id("hecate"));
    assert_eq!(presence.attr("from"), Some(expected.as_str()));
    assert!(String::from(presence).contains("thirdwitch"));
    let taken = bench.ask(&set(HECATE, COVEN, &nick("PETER nick")));
    assert_eq!(condition(&taken), "conflict");
    let stranger = bench.ask(&set("macbeth@shakespeare.example", COVEN, &nick("m")));
    assert_eq!(condition(&stranger), "forbidden");
}

#[test]
fn a_late_subscriber_is_shown_who_is_there() {
    let mut bench = Bench::coven();
    bench.send(&format!("<presence from='{HECATE}/a' to='{COVEN}'/>"));
    bench.send(&format!("<presence from='{HECATE}/b' to='{COVEN}'/>"));
    let said = bench.join("macbeth", &["presence"]);
    let shown: Vec<&Element> = said
        .iter()
        .filter(|s| s.name() == "presence" && s.attr("type").is_none())
        .collect();
    assert_eq!(shown.len(), 2);
    assert!(
        shown
            .iter()
            .all(|s| s.attr("to") == Some("macbeth@shakespeare.example"))
    );
    let update = |what: &str| {
        let node = format!("<{what} node='urn:xmpp:mix:nodes:presence'/>");
        format!("<update-subscription xmlns='{NS_CORE}'>{node}</update-subscription>")
    };
    let from = "macbeth@shakespeare.example/full";
    let gone = bench.ask(&set(from, COVEN, &update("unsubscribe")));
    assert!(String::from(&gone).contains("unsubscribe"));
    let said = bench.send(&format!("<presence from='{HECATE}/c' to='{COVEN}'/>"));
    assert!(
        said.iter()
            .all(|s| s.attr("to") != Some("macbeth@shakespeare.example"))
    );
    let said = bench.send(&set(from, COVEN, &update("subscribe")));
    let answer = said[0].children().next().unwrap();
    assert_eq!(answer.attr("jid"), Some("macbeth@shakespeare.example"));
    assert_eq!(said.len(), 4);
}

#[test]
fn probes_are_answered_to_whom_they_come_from() {
    let mut bench = Bench::coven();
    bench.send(&format!("<presence from='{HECATE}/a' to='{COVEN}'/>"));
    let probe = |kind: &str, from: &str| {
        let kind = if kind.is_empty() {
            String::new()
        } else {
            format!("type='{kind}'")
        };
        format!("<presence {kind} from='{from}' to='{COVEN}'/>")
    };
    let peter = "peter@shakespeare.example";
    for (kind, from) in [
        ("probe", "peter@shakespeare.example/x"),
        ("probe", peter),
        ("", peter),
    ] {
        let shown = bench.ask(&probe(kind, from));
        assert_eq!(shown.attr("to"), Some(from));
    }
    assert_eq!(
        bench.send(&probe("probe", "macbeth@shakespeare.example")),
        []
    );
    let subscribed = bench.ask(&probe("subscribe", peter));
    assert_eq!(subscribed.attr("type"), Some("subscribed"));
    let gone = bench.send(&probe("unsubscribed", HECATE));
    assert_eq!(gone.len(), 3);
    assert_eq!(bench.mix.census().clients, 0);
}

#[test]
fn the_same_presence_is_told_once_and_nobody_speaks_for_the_channel() {
    let mut bench = Bench::coven();
    let presence = format!(
        "<presence from='{HECATE}/a' to='{COVEN}'><mix xmlns='{NS_PRESENCE}'><nick>king</nick></mix>\
         <status>hi</status><c xmlns='http://jabber.org/protocol/caps' node='n' ver='v'/></presence>"
    );
    let said = bench.send(&presence);
    assert_eq!(said.len(), 3);
    let text = String::from(&said[0]);
    assert!(
        !text.contains("king") && text.contains("ver='v'") || text.contains("ver=\"v\""),
        "{text}"
    );
    assert_eq!(bench.send(&presence), []);
    let unknown = format!("<presence from='macbeth@shakespeare.example/a' to='{COVEN}'/>");
    assert_eq!(bench.send(&unknown), []);
}

#[test]
fn a_client_that_vanished_is_found_out() {
    let mut bench = Bench::coven();
    bench.send(&format!("<presence from='{HECATE}/a' to='{COVEN}'/>"));
    bench.send(&format!(
        "<presence from='peter@shakespeare.example/p' to='{COVEN}'/>"
    ));
    bench.mix.link_up(bench.now);
    let asked: Vec<Element> = bench
        .said()
        .into_iter()
        .filter(|s| s.name() == "iq")
        .collect();
    assert_eq!(asked.len(), 2);
    let question = asked
        .iter()
        .find(|q| q.attr("to") == Some("peter@shakespeare.example/p"));
    let id = question.unwrap().attr("id").unwrap();
    let error = "<error type='cancel'><feature-not-implemented \
                 xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    bench.send(&format!(
        "<iq type='error' id='{id}' from='peter@shakespeare.example/p' to='{COVEN}'>{error}</iq>"
    ));
    let gone = bench.wait(Duration::from_secs(120));
    assert_eq!(gone.len(), 3, "{gone:?}");
    assert!(gone.iter().all(|s| s.attr("type") == Some("unavailable")));
    assert_eq!(bench.mix.census().clients, 1);
}

#[test]
fn discovery_tells_what_is_there_and_nothing_else() {
    let mut bench = Bench::coven();
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    let items =
        |node: &str| format!("<query xmlns='http://jabber.org/protocol/disco#items'{node}/>");
    let service = bench.ask(&get(HECATE, DOMAIN, info));
    let features = vars(&service);
    assert!(features.contains(&NS_CORE.to_owned()));
    assert!(features.contains(&format!("{NS_CORE}#create-channel")));
    assert!(
        !features
            .iter()
            .any(|f| f.starts_with("urn:xmpp:mam") || f == NS_PUBSUB)
    );
    let stranger = vars(&bench.ask(&get("x@elsewhere.example", DOMAIN, info)));
    assert!(!stranger.contains(&format!("{NS_CORE}#create-channel")));
    let listed = String::from(&bench.ask(&get(HECATE, DOMAIN, &items(""))));
    assert!(listed.contains(COVEN), "{listed}");
    assert!(vars(&bench.ask(&get(HECATE, COVEN, info))).contains(&NS_PRESENCE.to_owned()));
    let nodes = String::from(&bench.ask(&get(HECATE, COVEN, &items(" node='mix'"))));
    assert!(
        nodes.contains("nodes:presence") && !nodes.contains("nodes:banned"),
        "{nodes}"
    );
    assert_eq!(
        condition(&bench.ask(&get(HECATE, COVEN, &items("")))),
        "item-not-found"
    );
    let den = "den@mix.shakespeare.example";
    assert_eq!(
        condition(&bench.ask(&get(HECATE, den, info))),
        "item-not-found"
    );
}

#[test]
fn channels_are_created_and_destroyed_by_who_may() {
    let mut bench = Bench::coven();
    let create = |name: &str| format!("<create xmlns='{NS_CORE}'{name}/>");
    let den = create(" channel='den'");
    let answer = bench.ask(&set(HECATE, DOMAIN, &den));
    assert!(String::from(&answer).contains("den"));
    assert_eq!(
        condition(&bench.ask(&set(HECATE, DOMAIN, &den))),
        "conflict"
    );
    let stranger = bench.ask(&set("x@elsewhere.example", DOMAIN, &create(" channel='y'")));
    assert_eq!(condition(&stranger), "not-allowed");
    let bad = bench.ask(&set(HECATE, DOMAIN, &create(" channel='a#b'")));
    assert_eq!(condition(&bad), "jid-malformed");
    let unnamed = bench.ask(&set(HECATE, DOMAIN, &create("")));
    let name = unnamed
        .children()
        .next()
        .unwrap()
        .attr("channel")
        .unwrap()
        .to_owned();
    let items = "<query xmlns='http://jabber.org/protocol/disco#items'/>";
    assert!(!String::from(&bench.ask(&get(HECATE, DOMAIN, items))).contains(&name));
    let destroy = format!("<destroy xmlns='{NS_CORE}' channel='coven'/>");
    assert_eq!(
        condition(&bench.ask(&set(HECATE, DOMAIN, &destroy))),
        "not-allowed"
    );
    bench.send(&format!("<presence from='{HECATE}/a' to='{COVEN}'/>"));
    let said = bench.send(&set("hag66@shakespeare.example", DOMAIN, &destroy));
    assert_eq!(said.len(), 7, "an answer, three unavailables, three events");
    assert!(String::from(&said[6]).contains("<delete"));
}

#[test]
fn a_message_goes_to_everybody_with_who_sent_it() {
    let mut bench = Bench::new(MixRoomConfig {
        ejabberd_domains: BTreeSet::from(["shakespeare.example".to_owned()]),
        ..config()
    });
    bench.join("hecate", USUAL);
    let message = format!(
        "<message type='groupchat' from='{HECATE}/a' to='{COVEN}' id='mine'><body>Harpier cries</body>\
         <mix xmlns='{NS_CORE}'><nick>king</nick></mix></message>"
    );
    let said = bench.ask(&message);
    let id = said.attr("id").unwrap();
    let stable = bench.id("hecate");
    assert_ne!(id, "mine");
    assert_same(
        &said,
        &format!(
            "<message type='groupchat' from='{COVEN}/{stable}' to='{HECATE}' id='{id}'>\
             <body>Harpier cries</body><mix xmlns='{NS_CORE}'><nick>hecate nick</nick>\
             <jid>{HECATE}</jid></mix><stanza-id xmlns='urn:xmpp:sid:0' id='{id}' by='{COVEN}'/>\
             <mix xmlns=''/></message>"
        ),
    );
    let stranger = bench.ask(&message.replace("hecate", "macbeth"));
    assert_eq!(condition(&stranger), "forbidden");
    let chat = bench.ask(&message.replace("groupchat", "chat"));
    assert_eq!(condition(&chat), "bad-request");
    assert_eq!(bench.send(&message.replace("groupchat", "error")), []);
}

#[test]
fn settings_are_the_owners() {
    let mut bench = Bench::coven();
    let owner = "hag66@shakespeare.example/w";
    let publish = |node: &str, ns: &str, fields: &str| {
        format!(
            "<pubsub xmlns='{NS_PUBSUB}'><publish node='urn:xmpp:mix:nodes:{node}'><item id='old'>\
             <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>{ns}</value></field>\
             {fields}</x></item></publish></pubsub>"
        )
    };
    let field =
        |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
    let title = publish("info", NS_CORE, &field("Name", "The Coven"));
    assert_eq!(
        condition(&bench.ask(&set(HECATE, COVEN, &title))),
        "forbidden"
    );
    let said = bench.send(&set(owner, COVEN, &title));
    assert_eq!(said.len(), 4, "an answer and three events");
    let read =
        format!("<pubsub xmlns='{NS_PUBSUB}'><items node='urn:xmpp:mix:nodes:info'/></pubsub>");
    assert!(String::from(&bench.ask(&get(HECATE, COVEN, &read))).contains("The Coven"));
    let nobody = publish("config", NS_ADMIN, "<field var='Owner'/>");
    assert_eq!(
        condition(&bench.ask(&set(owner, COVEN, &nobody))),
        "not-acceptable"
    );
    let quiet = publish("config", NS_ADMIN, &field("Private Messages", "0"));
    bench.send(&set(owner, COVEN, &quiet));
    let settings = &bench.mix.snapshot().channels["coven"].settings;
    assert!(!settings.private_messages);
    assert_eq!(settings.owners.len(), 1, "what is not sent stays");
    assert_eq!(settings.changed_by, Some(jid("hag66@shakespeare.example")));
    let presence =
        format!("<pubsub xmlns='{NS_PUBSUB}'><items node='urn:xmpp:mix:nodes:presence'/></pubsub>");
    assert_eq!(
        condition(&bench.ask(&get(owner, COVEN, &presence))),
        "not-allowed"
    );
}

#[test]
fn who_is_banned_is_out_until_the_list_is_emptied() {
    let mut bench = Bench::coven();
    let owner = "hag66@shakespeare.example/w";
    bench.send(&format!("<presence from='{HECATE}/a' to='{COVEN}'/>"));
    let ban = format!(
        "<pubsub xmlns='{NS_PUBSUB}'><publish node='urn:xmpp:mix:nodes:banned'>\
         <item id='{HECATE}'/></publish></pubsub>"
    );
    let said = bench.send(&set(owner, COVEN, &ban));
    let kinds: Vec<&str> = said.iter().map(Element::name).collect();
    assert_eq!(
        kinds,
        [
            "iq", "presence", "presence", "presence", "message", "message"
        ]
    );
    assert_eq!(
        condition(&bench.ask(&set(HECATE, COVEN, &join("<nick>x</nick>")))),
        "not-allowed"
    );
    let purge = "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'>\
                 <purge node='urn:xmpp:mix:nodes:banned'/></pubsub>";
    bench.send(&set(owner, COVEN, purge));
    let said = bench.join("hecate", USUAL);
    assert_eq!(said[0].attr("type"), Some("result"));
}

#[test]
fn the_changes_are_the_whole_state() {
    let mut bench = Bench::coven();
    bench.send(&format!(
        "<presence from='{HECATE}/a' to='{COVEN}'><show>away</show></presence>"
    ));
    bench.send(&format!("<presence from='{HECATE}/b' to='{COVEN}'/>"));
    bench.send(&format!(
        "<presence type='unavailable' from='{HECATE}/b' to='{COVEN}'/>"
    ));
    bench.send(&set(
        HECATE,
        DOMAIN,
        &format!("<create xmlns='{NS_CORE}' channel='den'/>"),
    ));
    let leave = format!("<leave xmlns='{NS_CORE}'/>");
    bench.send(&set("peter@shakespeare.example", COVEN, &leave));
    let mut kept = Snapshot::default();
    while let Some(change) = bench.mix.poll_change() {
        kept.apply(change);
    }
    assert_eq!(kept, *bench.mix.snapshot());
    let again = Mix::restore(config(), kept, TokenMaker::new([8; 32]));
    assert_eq!(again.census(), bench.mix.census());
}
