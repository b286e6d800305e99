//! What the servers of participants send, and what they must not be answered (XEP-0405, facts of
//! ejabberd and Prosody).

use super::*;

const HAG: &str = "hag66@shakespeare.example";

#[test]
fn joining_and_leaving_are_as_xep_0405_has_them() {
    let mut bench = Bench::new(config());
    let nodes = ["messages", "presence", "participants", "info"];
    let nodes = nodes.map(|node| format!("<subscribe node='urn:xmpp:mix:nodes:{node}'/>"));
    // The order of ours is that of the nodes, which the standard leaves open.
    let [messages, presence, participants, info] = &nodes;
    let said = bench.send(&format!(
        "<iq type='set' from='{HAG}' to='{COVEN}' id='E6E10350-76CF-40C6-B91B-1EA08C332FC7'>\
         <join xmlns='{NS_CORE}'>{}<nick>third witch</nick></join></iq>",
        nodes.concat()
    ));
    let id = bench.id("hag66");
    assert_same(
        &said[0],
        &format!(
            "<iq type='result' from='{COVEN}' to='{HAG}' id='E6E10350-76CF-40C6-B91B-1EA08C332FC7'>\
             <join xmlns='{NS_CORE}' id='{id}'>{messages}{participants}{presence}{info}\
             <nick>third witch</nick></join></iq>"
        ),
    );
    let said = bench.send(&format!(
        "<iq type='set' from='{HAG}' to='{COVEN}' id='E6E10350-76CF-40C6-B91B-1EA08C332FC8'>\
         <leave xmlns='{NS_CORE}'/></iq>"
    ));
    assert_same(
        &said[0],
        &format!(
            "<iq type='result' from='{COVEN}' to='{HAG}' id='E6E10350-76CF-40C6-B91B-1EA08C332FC8'>\
             <leave xmlns='{NS_CORE}'/></iq>"
        ),
    );
}

#[test]
fn a_server_may_write_long_ids_and_the_nick_first() {
    let mut bench = Bench::new(config());
    let id = "rr-1795254843190-13158138140880011110-VlJNVtzRhwYKne6Uz0MdscAm55I=-70306884/+";
    let said = bench.send(&format!(
        "<iq to='{COVEN}' from='{HAG}' type='set' id='{id}'><join xmlns='{NS_CORE}'>\
         <nick>Alice</nick><subscribe node='urn:xmpp:mix:nodes:messages'/></join></iq>"
    ));
    assert_eq!(said[0].attr("type"), Some("result"));
    assert_eq!(said[0].attr("id"), Some(id));
    // COMPAT(ejabberd, 23.01): so it leaves when an account is deleted.
    let said = bench.send(&format!(
        "<iq to='{COVEN}' from='{HAG}' type='set' id='1212'><leave xmlns='{NS_CORE_0}'/></iq>"
    ));
    assert!(said[0].children().next().unwrap().is("leave", NS_CORE_0));
    assert_eq!(bench.mix.census().participants, 0);
}

#[test]
fn who_is_offline_stays_and_bounces_end_here() {
    let mut bench = Bench::coven();
    let presence = format!("<presence from='{HAG}/a' to='{COVEN}'/>");
    let told: Vec<Element> = bench.send(&presence);
    assert_eq!(to_user(&told, "peter").len(), 1);
    for bounced in &told {
        let word = |name| bounced.attr(name).unwrap().to_owned();
        let (from, to, id) = (word("to"), word("from"), word("id"));
        let error = "<error type='cancel'><service-unavailable \
                     xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
        for (kind, target) in [
            ("presence", to.as_str()),
            ("message", to.as_str()),
            ("message", COVEN),
        ] {
            let said = bench.send(&format!(
                "<{kind} type='error' from='{from}' to='{target}' id='{id}'>{error}</{kind}>"
            ));
            // A bounce of a private message goes back to who wrote it, and no further.
            assert!(said.len() <= 1, "{said:?}");
            assert!(
                said.iter().all(|s| s.attr("type") == Some("error")),
                "{said:?}"
            );
        }
    }
    assert_eq!(bench.mix.census().participants, 3);
}

#[test]
fn malformed_requests_have_their_errors() {
    let mut bench = Bench::coven();
    let ep = format!("{}#{COVEN}", bench.id("peter"));
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    let iq = |to: &str, id: &str, payload: &str| {
        format!("<iq type='get' from='{HAG}/a' to='{to}' {id}>{payload}</iq>")
    };
    for to in [ep.as_str(), COVEN, DOMAIN] {
        for payload in ["", &format!("{ping}{ping}")] {
            let refused = bench.ask(&iq(to, "id='1'", payload));
            assert_eq!(condition(&refused), "bad-request", "{to} {payload}");
        }
        assert_eq!(
            bench.send(&iq(to, "", ping)),
            [],
            "nothing tells what an answer is for"
        );
    }
    for to in [
        format!("#{COVEN}"),
        format!("x#@{DOMAIN}"),
        format!("#@{DOMAIN}"),
        format!("UPPER?#{COVEN}"),
    ] {
        let refused = bench.ask(&iq(&to, "id='1'", ping));
        assert_eq!(condition(&refused), "item-not-found", "{to}");
    }
}

#[test]
fn without_the_switch_messages_are_as_the_standard_has_them() {
    let mut bench = Bench::coven();
    let said = bench.send(&format!(
        "<message type='groupchat' from='{HAG}/a' to='{COVEN}' id='m'><body>hi</body></message>"
    ));
    assert_eq!(said.len(), 3, "to all, the sender too");
    for copy in said {
        assert!(
            copy.children().all(|child| !child.ns().is_empty()),
            "{copy:?}"
        );
    }
}

#[test]
fn an_invitation_lets_somebody_in() {
    let mut bench = Bench::coven();
    bench.send(&configure(&[("Nodes Present", "allowed")]));
    let invite = |user: &str| {
        format!(
            "<iq type='get' id='i' from='{user}@shakespeare.example/a' to='{COVEN}'>\
             <invite xmlns='{NS_MISC}'><invitee>cat@shakespeare.example</invitee></invite></iq>"
        )
    };
    assert_eq!(condition(&bench.ask(&invite("hecate"))), "not-allowed");
    let answer = bench.ask(&invite("hag66"));
    let invited = answer.children().next().unwrap().children().next().unwrap();
    let parts: Vec<String> = invited.children().map(|c| c.name().to_owned()).collect();
    assert_eq!(parts, ["inviter", "invitee", "channel", "token"]);
    let join = |user: &str, invitation: &str| {
        format!(
            "<iq type='set' id='j' from='{user}@shakespeare.example' to='{COVEN}'>\
             <join xmlns='{NS_MISC}'><nick>c</nick>{invitation}</join></iq>"
        )
    };
    let invitation = String::from(invited);
    let guess = invitation.replace(&invited.children().last().unwrap().text(), "ABCDEF");
    assert_eq!(condition(&bench.ask(&join("cat", &guess))), "not-allowed");
    assert_eq!(
        condition(&bench.ask(&join("dog", &invitation))),
        "not-allowed"
    );
    assert_eq!(
        bench.send(&join("cat", &invitation))[0].attr("type"),
        Some("result")
    );
    let admits = |bench: &Bench| {
        let channel = &bench.mix.snapshot().channels["coven"];
        channel.admits(&jid("cat@shakespeare.example"))
    };
    assert!(admits(&bench));

    // Whom an admin takes from the allowed does not come back by it.
    bench.send(&format!(
        "<iq type='set' id='r' from='hag66@shakespeare.example/a' to='{COVEN}'>\
         <pubsub xmlns='{NS_PUBSUB}'><retract node='urn:xmpp:mix:nodes:allowed'>\
         <item id='cat@shakespeare.example'/></retract></pubsub></iq>"
    ));
    assert!(!admits(&bench));
    assert_eq!(
        condition(&bench.ask(&join("cat", &invitation))),
        "not-allowed"
    );
    let answer = bench.ask(&invite("hag66"));
    let again = answer.children().next().unwrap().children().next().unwrap();
    bench.send(&join("cat", &String::from(again)));
    assert!(admits(&bench));
}

#[test]
fn invitations_fill_no_list_beyond_its_bound() {
    let mut bench = Bench::coven();
    bench.send(&configure(&[("Nodes Present", "allowed")]));
    let invited = |bench: &mut Bench, n: usize| {
        let user = format!("n{n}@shakespeare.example");
        let answer = bench.ask(&format!(
            "<iq type='get' id='i' from='hag66@shakespeare.example/a' to='{COVEN}'>\
             <invite xmlns='{NS_MISC}'><invitee>{user}</invitee></invite></iq>"
        ));
        let invitation = answer.children().next().unwrap().children().next().unwrap();
        let invitation = String::from(invitation);
        let said = bench.send(&format!(
            "<iq type='set' id='j' from='{user}' to='{COVEN}'>\
             <join xmlns='{NS_MISC}'><nick>{n}</nick>{invitation}</join></iq>"
        ));
        let taken_part = said[0].attr("type") == Some("result");
        bench.send(&format!(
            "<iq type='set' id='l' from='{user}' to='{COVEN}'><leave xmlns='{NS_CORE}'/></iq>"
        ));
        (taken_part, said[0].clone())
    };
    for n in 0..MAX_LIST {
        assert!(invited(&mut bench, n).0, "{n}");
    }
    let (taken_part, refused) = invited(&mut bench, MAX_LIST);
    assert!(!taken_part);
    assert_eq!(condition(&refused), "resource-constraint");
    let channel = &bench.mix.snapshot().channels["coven"];
    assert_eq!(channel.settings.allowed.as_ref().unwrap().len(), MAX_LIST);
}
