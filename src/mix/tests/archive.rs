//! Messages that are kept, and queries for them.

use super::*;
use crate::mix::archive::{Answer, Kept};

const SAYS: &str = "<message type='groupchat' id='m1' from='hecate@shakespeare.example/r' \
    to='coven@mix.shakespeare.example'><body>Harpier cries</body></message>";

fn bench() -> Bench {
    let mut bench = Bench::coven();
    while bench.mix.poll_change().is_some() {}
    bench.mix.set_archives(true);
    bench
}

fn query(user: &str, inner: &str) -> String {
    format!(
        "<iq type='set' id='q1' from='{user}@shakespeare.example/r' to='{COVEN}'>\
         <query xmlns='urn:xmpp:mam:2' queryid='f27'>{inner}</query></iq>"
    )
}

fn page(ids: &[&str], complete: bool) -> Answer {
    let message = |id: &&str| Kept {
        id: (*id).to_owned(),
        at: 1_795_889_109_250,
        stanza: "<message xmlns='jabber:client' type='groupchat'><body>x</body></message>".into(),
    };
    Answer::Page {
        messages: ids.iter().map(message).collect(),
        complete,
    }
}

#[test]
fn a_message_is_kept_as_it_went_out() {
    let mut bench = bench();
    let told = bench.send(SAYS);
    let Some(Change::Sent {
        channel,
        id,
        stanza,
    }) = bench.mix.poll_change()
    else {
        panic!("nothing was kept");
    };
    assert_eq!((channel.as_str(), told.len()), ("coven", 3));
    assert_eq!(told[0].attr("id"), Some(id.as_str()));
    let kept: Element = stanza.parse().unwrap();
    assert_eq!(
        (kept.ns().as_str(), kept.attr("to")),
        ("jabber:client", None)
    );
    assert_eq!(kept.attr("from"), told[0].attr("from"));
    let body = kept.get_child("body", "jabber:client").unwrap();
    assert_eq!(body.text(), "Harpier cries");
    assert!(kept.has_child("mix", NS_CORE));
    assert!(bench.mix.poll_change().is_none());
}

#[test]
fn a_participant_gets_a_page() {
    let mut bench = bench();
    let set = "<set xmlns='http://jabber.org/protocol/rsm'><max>2</max><after>m0</after></set>";
    assert!(bench.send(&query("peter", set)).is_empty());
    let (number, question) = bench.mix.poll_question().unwrap();
    assert_eq!((question.channel.as_str(), question.most), ("coven", 2));
    assert_eq!(
        (question.after.as_deref(), question.before),
        (Some("m0"), None)
    );
    bench.mix.answer(number, page(&["m1", "m2"], false));
    let said = bench.said();
    assert_same(
        &said[0],
        "<message id='*' from='coven@mix.shakespeare.example' to='peter@shakespeare.example/r'>\
         <result xmlns='urn:xmpp:mam:2' queryid='f27' id='m1'><forwarded xmlns='urn:xmpp:forward:0'>\
         <delay xmlns='urn:xmpp:delay' stamp='2026-11-28T18:05:09.250Z'/>\
         <message xmlns='jabber:client' type='groupchat'><body>x</body></message>\
         </forwarded></result></message>",
    );
    assert_same(
        &said[2],
        "<iq type='result' id='q1' from='coven@mix.shakespeare.example' \
         to='peter@shakespeare.example/r'><fin xmlns='urn:xmpp:mam:2'>\
         <set xmlns='http://jabber.org/protocol/rsm'><first>m1</first><last>m2</last></set></fin></iq>",
    );
    // An answer is given once.
    bench.mix.answer(number, page(&["m1"], true));
    assert!(bench.said().is_empty());
}

#[test]
fn others_and_odd_queries_are_refused() {
    let mut bench = bench();
    let form = |var: &str, value: &str| {
        format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2\
             </value></field><field var='{var}'><value>{value}</value></field></x>"
        )
    };
    let max = "<set xmlns='http://jabber.org/protocol/rsm'><max>x</max></set>".to_owned();
    for (user, inner, expected) in [
        ("stranger", String::new(), "forbidden"),
        ("peter", max, "bad-request"),
        ("peter", form("start", "yesterday"), "bad-request"),
        (
            "peter",
            form("with", "a@b.example"),
            "feature-not-implemented",
        ),
    ] {
        let answer = bench.ask(&query(user, &inner));
        assert_eq!(condition(&answer), expected, "{inner}");
    }
    bench.send(&query("peter", &form("start", "2026-11-28T18:05:09.250Z")));
    let (_, question) = bench.mix.poll_question().unwrap();
    assert_eq!(question.since, Some(1_795_889_109_250));
    bench.mix.fail_questions();
    assert_eq!(condition(&bench.said()[0]), "internal-server-error");
    bench.mix.set_archives(false);
    assert_eq!(
        condition(&bench.ask(&query("peter", ""))),
        "service-unavailable"
    );
}

#[test]
fn what_cannot_be_kept_is_not_sent() {
    let mut bench = bench();
    bench.mix.set_keeps(false);
    let answer = bench.ask(SAYS);
    assert_eq!(condition(&answer), "internal-server-error");
    bench.mix.set_keeps(true);
    assert_eq!(bench.send(SAYS).len(), 3);
}

fn retract(user: &str, inner: &str) -> String {
    format!(
        "<message type='groupchat' id='m2' from='{user}@shakespeare.example/r' to='{COVEN}'>{inner}\
         </message>"
    )
}

/// Sends the message of hecate, and gives what is kept of it.
fn kept_message(bench: &mut Bench) -> Kept {
    bench.send(SAYS);
    let Some(Change::Sent { id, stanza, .. }) = bench.mix.poll_change() else {
        panic!("nothing was kept");
    };
    Kept { id, at: 0, stanza }
}

/// What comes of it when `user` takes back what was kept.
fn take_back(bench: &mut Bench, user: &str, kept: Option<Kept>) -> Vec<Element> {
    let id = kept.as_ref().map_or("none", |kept| &kept.id);
    let wish = retract(
        user,
        &format!("<retract xmlns='urn:xmpp:mix:misc:0' id='{id}'/>"),
    );
    assert!(bench.send(&wish).is_empty());
    let (number, question) = bench.mix.poll_question().unwrap();
    assert_eq!(question.only.as_deref(), Some(id));
    let answer = Answer::One {
        message: kept,
        now: 1_795_889_109_250,
    };
    bench.mix.answer(number, answer);
    bench.said()
}

#[test]
fn who_may_takes_a_message_back_and_everybody_hears_it() {
    // The sender where the channel lets senders do it, an owner always.
    for (user, visibility, by) in [
        (
            "hecate",
            "jid-mandatory-visible",
            "hecate@shakespeare.example".to_owned(),
        ),
        (
            "hag66",
            "jid-mandatory-visible",
            "hag66@shakespeare.example".to_owned(),
        ),
        ("hecate", "jid-hidden", String::new()),
    ] {
        let mut bench = bench();
        bench.send(&configure(&[
            ("User Message Retraction", "1"),
            ("JID Visibility", visibility),
        ]));
        while bench.mix.poll_change().is_some() {}
        let by = match by.is_empty() {
            true => format!("{}#{COVEN}", bench.id(user)),
            false => by,
        };
        let kept = kept_message(&mut bench);
        let told = take_back(&mut bench, user, Some(kept.clone()));
        assert_eq!(told.len(), 3);
        for message in &told {
            let retract = message.get_child("retract", NS_MISC).unwrap();
            assert_eq!(retract.attr("id"), Some(kept.id.as_str()));
            assert_eq!(message.attr("type"), Some("groupchat"));
        }
        let Some(Change::Retracted {
            channel,
            id,
            stanza,
        }) = bench.mix.poll_change()
        else {
            panic!("nothing is kept in its place");
        };
        assert_eq!((channel.as_str(), &id), ("coven", &kept.id));
        let tombstone: Element = stanza.parse().unwrap();
        assert!(!stanza.contains("Harpier"), "{stanza}");
        let retracted = tombstone.get_child("retracted", NS_MISC).unwrap();
        assert_eq!(retracted.attr("by"), Some(by.as_str()));
        assert_eq!(retracted.attr("time"), Some("2026-11-28T18:05:09.250Z"));
        assert!(tombstone.has_child("mix", NS_CORE));
        // What was told is a message of its own, and kept.
        assert!(matches!(bench.mix.poll_change(), Some(Change::Sent { .. })));
        // Once is enough.
        let again = Kept { stanza, ..kept };
        let told = take_back(&mut bench, user, Some(again));
        assert_eq!(condition(&told[0]), "item-not-found");
    }
}

#[test]
fn who_may_not_takes_nothing_back() {
    let mut bench = bench();
    let kept = kept_message(&mut bench);
    // Of others, and one's own where the channel does not let senders do it.
    for user in ["peter", "hecate"] {
        let told = take_back(&mut bench, user, Some(kept.clone()));
        assert_eq!((condition(&told[0]), told.len()), ("not-allowed", 1));
    }
    assert_eq!(
        condition(&take_back(&mut bench, "hag66", None)[0]),
        "item-not-found"
    );
    let named = "<retract xmlns='urn:xmpp:mix:misc:0' id='x'/>";
    for (user, inner, expected) in [
        (
            "hag66",
            "<retract xmlns='urn:xmpp:mix:misc:0'/>".to_owned(),
            "bad-request",
        ),
        ("hag66", format!("{named}<body>no</body>"), "bad-request"),
        ("stranger", named.to_owned(), "forbidden"),
    ] {
        let answer = bench.ask(&retract(user, &inner));
        assert_eq!(condition(&answer), expected, "{inner}");
    }
    bench.mix.set_archives(false);
    assert_eq!(
        condition(&bench.ask(&retract("hag66", named))),
        "item-not-found"
    );
    assert!(bench.mix.poll_change().is_none());
}
