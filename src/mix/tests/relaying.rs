//! The IQ relay, calls and private messages.

use super::super::relay::{MAX_OF_ONE, PATIENCE};
use super::*;

const PING: &str = "<ping xmlns='urn:xmpp:ping'/>";
const INFO: &str = "<query xmlns='http://jabber.org/protocol/disco#info'/>";

fn iq(kind: &str, from: &str, to: &str, id: &str, payload: &str) -> String {
    format!("<iq type='{kind}' from='{from}' to='{to}' id='{id}'>{payload}</iq>")
}

/// Two clients, and their encoded JIDs.
struct Two {
    bench: Bench,
    a: &'static str,
    b: &'static str,
    ea: String,
    eb: String,
}

fn two() -> Two {
    let bench = Bench::coven();
    let (a, b) = (
        "hecate@shakespeare.example/r/1",
        "peter@shakespeare.example/b",
    );
    let ea = format!("{}#{COVEN}/r/1", bench.id("hecate"));
    let eb = format!("{}#{COVEN}/b", bench.id("peter"));
    Two {
        bench,
        a,
        b,
        ea,
        eb,
    }
}

#[test]
fn a_request_and_its_answer_go_both_ways() {
    let Two {
        mut bench,
        a,
        b,
        ea,
        eb,
    } = two();
    let to_b = bench.ask(&iq("get", a, &eb, "x", INFO));
    assert_same(&to_b, &iq("get", &ea, b, "x", INFO));
    let to_a = bench.ask(&iq("get", b, &ea, "x", PING));
    assert_same(&to_a, &iq("get", &eb, a, "x", PING));
    let answer = bench.ask(&iq("result", b, &ea, "x", INFO));
    assert_same(&answer, &iq("result", &eb, a, "x", INFO));
    let answer = bench.ask(&iq("result", a, &eb, "x", ""));
    assert_same(&answer, &iq("result", &ea, b, "x", ""));
    assert_eq!(bench.mix.census().pending, 0);
}

#[test]
fn the_same_id_twice_at_once_is_told_apart() {
    let Two {
        mut bench,
        a,
        b,
        ea,
        eb,
    } = two();
    bench.ask(&iq("get", a, &eb, "dup", INFO));
    let second = bench.ask(&iq("get", a, &eb, "dup", PING));
    let fresh = second.attr("id").unwrap().to_owned();
    assert_ne!(fresh, "dup");
    let answer = bench.ask(&iq("result", b, &ea, &fresh, ""));
    assert_same(&answer, &iq("result", &eb, a, "dup", ""));
    let answer = bench.ask(&iq("result", b, &ea, "dup", INFO));
    assert_same(&answer, &iq("result", &eb, a, "dup", INFO));
}

#[test]
fn an_error_is_passed_on_as_it_is() {
    let Two {
        mut bench,
        a,
        b,
        ea,
        eb,
    } = two();
    let error = "<error type='cancel'><service-unavailable \
                 xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    bench.ask(&iq("get", a, &eb, "x", PING));
    let answer = bench.ask(&iq("error", b, &ea, "x", error));
    assert_same(&answer, &iq("error", &eb, a, "x", error));
}

#[test]
fn what_nobody_asked_for_is_dropped() {
    let Two {
        mut bench,
        a,
        b,
        ea,
        eb,
    } = two();
    assert_eq!(bench.send(&iq("result", b, &ea, "x", "")), []);
    bench.ask(&iq("get", a, &eb, "x", PING));
    let other = "hag66@shakespeare.example/b";
    assert_eq!(bench.send(&iq("result", other, &ea, "x", "")), []);
    bench.ask(&iq("result", b, &ea, "x", ""));
    assert_eq!(bench.send(&iq("result", b, &ea, "x", "")), []);
}

#[test]
fn silence_is_answered_for_and_what_comes_late_is_dropped() {
    let Two {
        mut bench,
        a,
        b,
        ea,
        eb,
    } = two();
    bench.ask(&iq("get", a, &eb, "x", PING));
    assert_eq!(bench.mix.poll_timeout(), Some(bench.now + PATIENCE));
    let said = bench.wait(PATIENCE);
    assert_eq!(condition(&said[0]), "remote-server-timeout");
    assert_eq!(said[0].attr("from"), Some(eb.as_str()));
    assert_eq!(said[0].attr("to"), Some(a));
    assert_eq!(bench.send(&iq("result", b, &ea, "x", "")), []);
    assert_eq!(bench.mix.census().pending, 0);
}

#[test]
fn one_client_has_a_limited_number_of_requests() {
    let Two {
        mut bench,
        a,
        b,
        ea,
        eb,
    } = two();
    for n in 0..MAX_OF_ONE {
        bench.ask(&iq("get", a, &eb, &n.to_string(), PING));
    }
    let refused = bench.ask(&iq("get", a, &eb, "more", PING));
    assert_eq!(condition(&refused), "resource-constraint");
    bench.ask(&iq("result", b, &ea, "0", ""));
    let passed = bench.ask(&iq("get", a, &eb, "more", PING));
    assert_eq!(passed.attr("to"), Some(b));
    bench.wait(PATIENCE);
    assert_eq!(bench.mix.census().pending, 0);
}

#[test]
fn who_may_not_and_what_may_not_is_refused() {
    let Two {
        mut bench, a, eb, ..
    } = two();
    let nobody = format!("abc123#{COVEN}/b");
    let elsewhere = eb.replace("coven", "den");
    let roster = "<query xmlns='jabber:iq:roster'/>";
    let strange = "<x xmlns='urn:example:strange'/>";
    let pep = |node: &str| format!("<pubsub xmlns='{NS_PUBSUB}'><items node='{node}'/></pubsub>");
    let (mood, avatar) = (pep("urn:example:mood"), pep("urn:xmpp:avatar:data"));
    let stranger = "macbeth@shakespeare.example/x";
    for (from, to, payload, expected) in [
        (stranger, &eb, PING, "forbidden"),
        (a, &nobody, PING, "item-not-found"),
        (a, &elsewhere, PING, "item-not-found"),
        (a, &format!("#{COVEN}"), PING, "item-not-found"),
        (a, &eb, roster, "not-allowed"),
        (a, &eb, strange, "not-allowed"),
        (a, &eb, &mood, "not-allowed"),
        (a, &eb, "", "bad-request"),
        (a, &eb, &(PING.to_owned() + PING), "bad-request"),
    ] {
        let answer = bench.ask(&iq("get", from, to, "x", payload));
        assert_eq!(
            condition(&answer),
            expected,
            "{payload} from {from} to {to}"
        );
    }
    let passed = bench.ask(&iq("get", a, &eb, "x", &avatar));
    assert_eq!(passed.attr("type"), Some("get"));
}

#[test]
fn who_leaves_answers_no_more() {
    let Two {
        mut bench,
        a,
        b,
        ea,
        eb,
    } = two();
    bench.ask(&iq("get", a, &eb, "x", PING));
    let leave = format!("<leave xmlns='{NS_CORE}'/>");
    let said = bench.send(&iq("set", b, COVEN, "l", &leave));
    let answer = said.iter().find(|s| s.attr("id") == Some("x")).unwrap();
    assert_eq!(condition(answer), "item-not-found");
    assert_eq!(answer.attr("from"), Some(eb.as_str()));
    assert_eq!(bench.send(&iq("result", b, &ea, "x", "")), []);
}

#[test]
fn one_may_ask_oneself() {
    // COMPAT(ejabberd, 23.01): asks each sender of presence what it can do, its own user too.
    let Two {
        mut bench, a, ea, ..
    } = two();
    let request = bench.ask(&iq("get", a, &ea, "x", INFO));
    assert_same(&request, &iq("get", &ea, a, "x", INFO));
    let answer = bench.ask(&iq("result", a, &ea, "x", INFO));
    assert_same(&answer, &iq("result", &ea, a, "x", INFO));
}

#[test]
fn jingle_names_its_parties_as_they_see_each_other() {
    let Two {
        mut bench,
        a,
        b,
        ea,
        eb,
    } = two();
    let jingle = |action: &str, who: &str, whom: &str| {
        format!("<jingle xmlns='urn:xmpp:jingle:1' action='{action}' {who}='{whom}' sid='s'/>")
    };
    let request = bench.ask(&iq(
        "set",
        a,
        &eb,
        "1",
        &jingle("session-initiate", "initiator", a),
    ));
    let expected = iq(
        "set",
        &ea,
        b,
        "1",
        &jingle("session-initiate", "initiator", &ea),
    );
    assert_same(&request, &expected);
    bench.ask(&iq("result", b, &ea, "1", ""));
    let request = bench.ask(&iq(
        "set",
        b,
        &ea,
        "2",
        &jingle("session-accept", "responder", b),
    ));
    let expected = iq(
        "set",
        &eb,
        a,
        "2",
        &jingle("session-accept", "responder", &eb),
    );
    assert_same(&request, &expected);
}

#[test]
fn private_messages_begin_calls() {
    let Two {
        mut bench,
        a,
        b,
        ea,
        eb,
    } = two();
    let propose = "<propose xmlns='urn:xmpp:jingle-message:0' id='s'/>";
    let bare = eb.split_once('/').unwrap().0;
    let message = |from: &str, to: &str, payload: &str| {
        format!("<message type='chat' from='{from}' to='{to}' id='m'>{payload}</message>")
    };
    let to_b = bench.ask(&message(a, bare, propose));
    assert_same(&to_b, &message(&ea, "peter@shakespeare.example", propose));
    let proceed = "<proceed xmlns='urn:xmpp:jingle-message:0' id='s'/>";
    let to_a = bench.ask(&message(b, &ea, proceed));
    assert_same(&to_a, &message(&eb, a, proceed));
    let stranger = bench.ask(&message("macbeth@shakespeare.example/x", bare, propose));
    assert_eq!(condition(&stranger), "forbidden");
    let loud = message(a, bare, "").replace("chat", "groupchat");
    assert_eq!(condition(&bench.ask(&loud)), "bad-request");
}

#[test]
fn five_hundred_participants_hear_of_each_presence_once() {
    let mut bench = Bench::new(config());
    for n in 0..500 {
        bench.join(&format!("user{n}"), &["presence"]);
    }
    let said = bench.send(&format!(
        "<presence from='user7@shakespeare.example/x' to='{COVEN}'><show>away</show></presence>"
    ));
    let to: BTreeSet<&str> = said.iter().filter_map(|s| s.attr("to")).collect();
    assert_eq!((said.len(), to.len()), (500, 500));
}

#[test]
fn ten_thousand_requests_leave_nothing_behind() {
    let mut bench = Bench::new(config());
    for n in 0..100 {
        bench.join(&format!("user{n}"), &[]);
    }
    let target = format!("{}#{COVEN}/x", bench.id("user0"));
    for n in 0..10_000 {
        let from = format!("user{}@shakespeare.example/r", n % 100);
        bench.ask(&iq("get", &from, &target, &n.to_string(), PING));
    }
    assert_eq!(bench.mix.census().pending, 10_000);
    let said = bench.wait(PATIENCE);
    assert_eq!(said.len(), 10_000);
    assert_eq!(bench.mix.census().pending, 0);
    assert_eq!(bench.mix.poll_timeout(), None);
}

#[test]
fn a_visible_channel_tells_who_calls() {
    let Two { bench, ea, .. } = two();
    let shown = jid(ea.split_once('/').unwrap().0);
    let real = jid("hecate@shakespeare.example");
    assert_eq!(bench.mix.revealed(&shown), Some((&real, false)));
    assert_eq!(bench.mix.revealed(&real), None);
}

#[test]
fn a_phone_takes_part_and_hears_nothing_but_what_is_meant_for_it() {
    let phone = jid("+15551234567@phone.example");
    let mut config = config();
    config.channels[0].phones = vec![(phone.clone(), "+15551234567".to_owned())];
    let mut bench = Bench::new(config);
    bench.mix.link_up(bench.now);
    let probe = bench.said().remove(0);
    assert_eq!(
        (probe.attr("type"), probe.attr("to")),
        (Some("probe"), Some(phone.as_str()))
    );
    bench.join("hecate", USUAL);
    let caps = "<c xmlns='http://jabber.org/protocol/caps' node='n' ver='v' hash='sha-1'/>";
    let shown = bench.ask(&format!(
        "<presence from='{phone}/phone' to='{COVEN}'>{caps}</presence>"
    ));
    assert_eq!(shown.attr("to"), Some("hecate@shakespeare.example"));
    let number = shown.attr("from").unwrap().to_owned();
    assert!(number.ends_with(&format!("#{COVEN}/phone")));
    let decloak = "<decloak xmlns='urn:xmpp:decloak:0' reason='media'/>";
    let bare = number.split_once('/').unwrap().0;
    let from = "hecate@shakespeare.example/r";
    let shown = bench.ask(&format!(
        "<presence from='{from}' to='{bare}'>{decloak}</presence>"
    ));
    assert_eq!(
        (shown.attr("from"), shown.attr("to")),
        (Some(number.as_str()), Some(from))
    );
    let said = bench.send(&format!(
        "<message type='groupchat' from='{from}' to='{COVEN}' id='m'><body>x</body></message>"
    ));
    assert!(said.iter().all(|s| s.attr("to") != Some(phone.as_str())));
}
