//! Hidden channels: nothing tells who somebody is.

use super::*;

fn hidden() -> Bench {
    let mut bench = Bench::new(config());
    let config = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>\
                  urn:xmpp:mix:admin:0</value></field><field var='JID Visibility'><value>jid-hidden\
                  </value></field></x>";
    let said = bench.send(&format!(
        "<iq type='set' id='c' from='hag66@shakespeare.example/w' to='{COVEN}'>\
         <pubsub xmlns='{NS_PUBSUB}'><publish node='urn:xmpp:mix:nodes:config'><item>{config}</item>\
         </publish></pubsub></iq>"
    ));
    assert_eq!(said[0].attr("type"), Some("result"), "{said:?}");
    for (user, nick) in [("hecate", "first"), ("peter", "second")] {
        bench.send(&format!(
            "<iq type='set' id='j' from='{user}@shakespeare.example' to='{COVEN}'>\
             <join xmlns='{NS_CORE}'><subscribe node='urn:xmpp:mix:nodes:presence'/>\
             <subscribe node='urn:xmpp:mix:nodes:participants'/>\
             <subscribe node='urn:xmpp:mix:nodes:messages'/><nick>{nick}</nick></join></iq>"
        ));
    }
    bench
}

#[test]
fn nothing_that_a_participant_hears_names_another() {
    let mut bench = hidden();
    let a = "hecate@shakespeare.example/telltale";
    let ida = bench.id("hecate");
    let eb = format!("{}#{COVEN}", bench.id("peter"));
    let mut heard = bench.send(&format!(
        "<presence from='{a}' to='{COVEN}'><show>away</show>\
         <delay xmlns='urn:xmpp:delay' from='{a}' stamp='2026-01-01T00:00:00Z'/></presence>"
    ));
    // Only the client that is present has a JID to write to.
    bench.send(&format!(
        "<presence from='peter@shakespeare.example/desk' to='{COVEN}'/>"
    ));
    let Some(shown) = heard[0].attr("from").map(str::to_owned) else {
        panic!("no presence");
    };
    let eb_full = {
        let channel = &bench.mix.state.channels["coven"];
        let id = address::StableId::read(&bench.id("peter")).unwrap();
        format!("{eb}/{}", anonymity::shown_resource(channel, &id, "desk"))
    };
    heard.extend(bench.send(&format!(
        "<iq type='set' from='{a}' to='{eb_full}' id='1'><jingle xmlns='urn:xmpp:jingle:1' \
         action='session-initiate' initiator='{a}' sid='s'/></iq>"
    )));
    heard.extend(bench.send(&format!(
        "<message type='chat' from='{a}' to='{eb}' id='2'><body>hi</body></message>"
    )));
    heard.extend(bench.send(&format!(
        "<message type='groupchat' from='{a}' to='{COVEN}' id='3'><body>all</body>\
         <x xmlns='urn:example:x' by='{a}'/></message>"
    )));
    bench.send(&format!(
        "<iq type='get' from='peter@shakespeare.example/desk' to='{shown}' id='4'>\
         <ping xmlns='urn:xmpp:ping'/></iq>"
    ));
    heard.extend(bench.send(&format!(
        "<iq type='error' from='{a}' to='{eb_full}' id='4'><error type='cancel' \
         by='shakespeare.example'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>xmpp:{a}</gone>\
         </error></iq>"
    )));
    heard.extend(bench.send(&format!(
        "<iq type='get' from='peter@shakespeare.example/desk' to='{COVEN}' id='5'>\
         <pubsub xmlns='{NS_PUBSUB}'><items node='urn:xmpp:mix:nodes:participants'/></pubsub></iq>"
    )));
    heard.extend(bench.send(&format!(
        "<presence type='unavailable' from='{a}' to='{COVEN}'/>"
    )));
    heard.extend(bench.send(&format!(
        "<iq type='set' from='{a}' to='{COVEN}' id='6'><leave xmlns='{NS_CORE}'/></iq>"
    )));
    let to_b = |s: &&Element| s.attr("to").is_some_and(|to| to.starts_with("peter@"));
    let heard: Vec<String> = heard.iter().filter(to_b).map(String::from).collect();
    assert!(heard.len() >= 8, "{heard:#?}");
    for stanza in &heard {
        assert!(!stanza.contains("hecate"), "{stanza}");
        assert!(!stanza.contains("telltale"), "{stanza}");
    }
    assert!(heard[0].contains(&ida));
}

#[test]
fn only_owners_learn_who_is_behind_an_id() {
    let mut bench = hidden();
    let ask = |user: &str| {
        format!(
            "<iq type='get' from='{user}@shakespeare.example/w' to='{COVEN}' id='5'>\
             <pubsub xmlns='{NS_PUBSUB}'><items node='urn:xmpp:mix:nodes:jidmap'/></pubsub></iq>"
        )
    };
    assert_eq!(condition(&bench.ask(&ask("peter"))), "forbidden");
    let map = String::from(&bench.ask(&ask("hag66")));
    assert!(map.contains("hecate@shakespeare.example"), "{map}");
}

#[test]
fn who_is_not_there_cannot_be_reached_and_vcards_are_kept_back() {
    let mut bench = hidden();
    let eb = format!("{}#{COVEN}", bench.id("peter"));
    let iq = |to: &str, payload: &str| {
        format!(
            "<iq type='get' from='hecate@shakespeare.example/r' to='{to}' id='1'>{payload}</iq>"
        )
    };
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    let refused = bench.ask(&iq(&format!("{eb}/guess"), ping));
    assert_eq!(condition(&refused), "service-unavailable");
    let refused = bench.ask(&iq(&eb, "<vCard xmlns='vcard-temp'/>"));
    assert_eq!(condition(&refused), "forbidden");
    let peter = jid("peter@shakespeare.example");
    assert_eq!(bench.mix.revealed(&jid(&eb)), Some((&peter, true)));
}
