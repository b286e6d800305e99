//! What participants want of a channel (XEP-0404 §4.1), and channels that show some JIDs.

use super::*;

fn prefer(user: &str, fields: &[(&str, &str)]) -> String {
    let fields: String = fields
        .iter()
        .map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>"))
        .collect();
    format!(
        "<iq type='set' id='p' from='{user}@shakespeare.example/w' to='{COVEN}'>\
         <user-preference xmlns='{NS_ANON}'><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>{NS_ANON}</value></field>{fields}</x></user-preference></iq>"
    )
}

/// Fields and values of the form of an answer.
fn told(answer: &Element) -> Vec<(String, String)> {
    assert_eq!(answer.attr("type"), Some("result"), "{answer:?}");
    let form = answer
        .children()
        .next()
        .unwrap()
        .get_child("x", "jabber:x:data");
    let fields = form.unwrap().children();
    fields
        .map(|f| {
            let value = f.get_child("value", "jabber:x:data").unwrap().text();
            (f.attr("var").unwrap().to_owned(), value)
        })
        .collect()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    let anon = ("FORM_TYPE", NS_ANON);
    [anon]
        .iter()
        .chain(of)
        .map(|(var, value)| ((*var).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn preferences_are_asked_set_in_part_and_told_whole() {
    let mut bench = Bench::coven();
    let ask = format!(
        "<iq type='get' id='p' from='hecate@shakespeare.example/w' to='{COVEN}'>\
         <user-preference xmlns='{NS_ANON}'/></iq>"
    );
    let usual = pairs(&[
        ("JID Visibility", "default"),
        ("Private Messages", "allow"),
        ("vCard", "allow"),
        ("Presence", "share"),
    ]);
    let answer = bench.ask(&ask);
    assert_eq!(told(&answer), usual);
    assert!(String::from(&answer).contains("<option label='not share'>"));
    let answer = bench.ask(&prefer("hecate", &[("vCard", "block")]));
    let changed = pairs(&[
        ("JID Visibility", "default"),
        ("Private Messages", "allow"),
        ("vCard", "block"),
        ("Presence", "share"),
    ]);
    assert_eq!(told(&answer), changed);
    assert_eq!(told(&bench.ask(&ask)), changed);
    let refused = bench.ask(&prefer("hecate", &[("vCard", "perhaps")]));
    assert_eq!(condition(&refused), "not-acceptable");
    // The channel shows every JID.
    let refused = bench.ask(&prefer("hecate", &[("JID Visibility", "never")]));
    assert_eq!(condition(&refused), "not-allowed");
    let refused = bench.ask(&prefer("stranger", &[("vCard", "block")]));
    assert_eq!(condition(&refused), "forbidden");
}

#[test]
fn a_join_with_a_form_is_answered_with_every_preference() {
    let mut bench = Bench::new(config());
    let join = format!(
        "<iq type='set' id='j' from='hecate@shakespeare.example/w' to='{COVEN}'>\
         <join xmlns='{NS_ANON}'><subscribe node='urn:xmpp:mix:nodes:messages'/><nick>h</nick>\
         <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>{NS_ANON}</value>\
         </field><field var='JID Visibility'><value>prefer not</value></field></x></join></iq>"
    );
    let answer = &bench.send(&join)[0];
    let all = pairs(&[
        ("JID Visibility", "prefer not"),
        ("Private Messages", "allow"),
        ("vCard", "allow"),
        ("Presence", "share"),
    ]);
    assert_eq!(told(answer), all);
    let joined = answer.children().next().unwrap();
    assert!(joined.is("join", NS_ANON));
}

#[test]
fn who_wants_no_messages_vcards_or_presence_has_none() {
    let mut bench = Bench::coven();
    bench.send(&prefer(
        "peter",
        &[
            ("Private Messages", "block"),
            ("vCard", "block"),
            ("Presence", "not share"),
        ],
    ));
    let ep = format!("{}#{COVEN}", bench.id("peter"));
    let pm = format!(
        "<message type='chat' id='m' from='hecate@shakespeare.example/w' to='{ep}'>\
         <body>hi</body></message>"
    );
    assert_eq!(condition(&bench.ask(&pm)), "not-allowed");
    let vcard = format!(
        "<iq type='get' id='v' from='hecate@shakespeare.example/w' to='{ep}'>\
         <vCard xmlns='vcard-temp'/></iq>"
    );
    assert_eq!(condition(&bench.ask(&vcard)), "forbidden");
    let presence = format!("<presence from='peter@shakespeare.example/b' to='{COVEN}'/>");
    assert_eq!(bench.send(&presence), []);
    bench.mix.link_up(bench.now);
    let said = bench.said();
    assert_eq!(said.len(), 2, "peter is not probed");
    assert!(to_user(&said, "peter").is_empty());
}

#[test]
fn a_channel_may_want_everybodys_presence() {
    let mut bench = Bench::coven();
    bench.send(&prefer("peter", &[("Presence", "not share")]));
    let said = bench.send(&configure(&[(
        "Participants Must Provide Presence",
        "true",
    )]));
    assert!(said.iter().any(|s| String::from(s).contains("<retract")));
    let channel = &bench.mix.snapshot().channels["coven"];
    assert_eq!(channel.id_of(&jid("peter@shakespeare.example")), None);
    let refused = bench.ask(&prefer("hecate", &[("Presence", "not share")]));
    assert_eq!(condition(&refused), "not-allowed");
}

/// The channel shows the JID of hecate, who wants that, and not of peter.
fn mixed() -> Bench {
    let mut bench = Bench::coven();
    bench.send(&configure(&[("JID Visibility", "jid-optionally-visible")]));
    bench.send(&prefer("hecate", &[("JID Visibility", "always")]));
    bench
}

#[test]
fn some_show_their_jid_and_owners_see_all() {
    let mut bench = mixed();
    for (user, shown) in [("hecate", true), ("peter", false)] {
        let said = bench.send(&format!(
            "<presence from='{user}@shakespeare.example/secret' to='{COVEN}'/>"
        ));
        for (to, learns) in [("hecate", shown), ("peter", shown), ("hag66", true)] {
            let heard: Vec<String> = to_user(&said, to).into_iter().map(String::from).collect();
            assert_eq!(heard.len(), 1);
            let names = heard[0].contains(&format!("<jid>{user}@shakespeare.example/secret</jid>"));
            assert_eq!(names, learns, "{to} of {user}: {}", heard[0]);
            let from_secret = to_user(&said, to)[0]
                .attr("from")
                .unwrap()
                .ends_with("/secret");
            assert_eq!(from_secret, shown);
        }
        let said = bench.send(&format!(
            "<message type='groupchat' id='g' from='{user}@shakespeare.example/secret' to='{COVEN}'>\
             <body>hi</body></message>"
        ));
        for (to, learns) in [("hecate", shown), ("peter", shown), ("hag66", true)] {
            let heard = String::from(to_user(&said, to)[0]);
            let names = heard.contains(&format!("<jid>{user}@shakespeare.example</jid>"));
            assert_eq!(names, learns, "{to} of {user}: {heard}");
        }
    }
    let participants = bench.ask(&format!(
        "<iq type='get' id='5' from='peter@shakespeare.example/w' to='{COVEN}'>\
         <pubsub xmlns='{NS_PUBSUB}'><items node='urn:xmpp:mix:nodes:participants'/></pubsub></iq>"
    ));
    let participants = String::from(&participants);
    assert!(participants.contains("<jid>hecate@shakespeare.example</jid>"));
    assert!(!participants.contains("peter@shakespeare.example</jid>"));
}

/// Peter hears that a client of hecate's has gone, and that somebody unknown is there.
fn goes_and_comes_hidden(said: &[Element]) {
    let heard = to_user(said, "peter");
    let kinds: Vec<(&str, Option<&str>)> =
        heard.iter().map(|s| (s.name(), s.attr("type"))).collect();
    let wanted = [
        ("presence", Some("unavailable")),
        ("message", None),
        ("presence", None),
    ];
    assert_eq!(kinds, wanted);
    assert!(heard[0].attr("from").unwrap().ends_with("/secret"));
    for stanza in &heard[1..] {
        let text = String::from(*stanza);
        assert!(
            !text.contains("secret") && !text.contains("hecate@"),
            "{text}"
        );
    }
}

#[test]
fn who_hides_appears_under_another_resource() {
    let mut bench = mixed();
    bench.send(&format!(
        "<presence from='hecate@shakespeare.example/secret' to='{COVEN}'><show>away</show></presence>"
    ));
    let said = bench.send(&prefer("hecate", &[("JID Visibility", "never")]));
    goes_and_comes_hidden(&said);
}

/// Joins once more, with a form.
fn join_again(user: &str, fields: &[(&str, &str)]) -> String {
    let set = prefer(user, fields);
    let form = &set[set.find("<x ").unwrap()..set.find("</user-preference>").unwrap()];
    format!(
        "<iq type='set' id='j' from='{user}@shakespeare.example/w' to='{COVEN}'>\
         <join xmlns='{NS_ANON}'>{form}</join></iq>"
    )
}

#[test]
fn a_join_once_more_with_a_form_is_a_change_of_preferences() {
    let mut bench = mixed();
    bench.send(&format!(
        "<presence from='hecate@shakespeare.example/secret' to='{COVEN}'/>"
    ));
    let said = bench.send(&join_again("hecate", &[("JID Visibility", "never")]));
    goes_and_comes_hidden(&said);

    let said = bench.send(&join_again("hecate", &[("Presence", "not share")]));
    let heard = to_user(&said, "peter");
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].attr("type"), Some("unavailable"));
    let channel = &bench.mix.snapshot().channels["coven"];
    let id = channel.id_of(&jid("hecate@shakespeare.example")).unwrap();
    assert_eq!(channel.participants[&id].clients.resources().count(), 0);
}

#[test]
fn a_change_of_mode_removes_who_does_not_want_it() {
    let mut bench = mixed();
    bench.send(&prefer("peter", &[("JID Visibility", "never")]));
    bench.send(&format!(
        "<presence from='hag66@shakespeare.example/w' to='{COVEN}'/>"
    ));
    let takes_part = |bench: &Bench, user: &str| {
        let channel = &bench.mix.snapshot().channels["coven"];
        channel
            .id_of(&jid(&format!("{user}@shakespeare.example")))
            .is_some()
    };
    bench.send(&configure(&[("JID Visibility", "jid-hidden")]));
    assert!(!takes_part(&bench, "hecate") && takes_part(&bench, "peter"));
    let said = bench.send(&configure(&[("JID Visibility", "jid-mandatory-visible")]));
    assert!(!takes_part(&bench, "peter") && takes_part(&bench, "hag66"));
    let shown = format!("{}#{COVEN}/w", bench.id("hag66"));
    assert!(
        said.iter().any(|s| s.attr("from") == Some(&shown)),
        "{said:?}"
    );
}
