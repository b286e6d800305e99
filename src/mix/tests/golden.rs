//! The examples of XEP-0403 0.3.2 and 0.3.1, which differ in namespaces only. Their slips are read
//! as meant: `<nick>` ends with `</nick>`, sender and client are one person, and a notification of
//! going offline goes to bare JIDs.

use super::*;

const SETS: &str = "<presence from='hag66@shakespeare.example/UUID-a1j/7533' \
    to='coven@mix.shakespeare.example'><show>dnd</show><status>Making a Brew</status></presence>";

/// Hag66 with that client present, the last one to have joined.
fn bench(legacy: bool) -> Bench {
    let mut bench = Bench::new(MixRoomConfig {
        legacy_presence: legacy,
        ..config()
    });
    bench.join("hecate", &["presence"]);
    bench.join("peter", &[]);
    bench.send(
        "<iq type='set' id='j' from='hag66@shakespeare.example' to='coven@mix.shakespeare.example'>\
         <join xmlns='urn:xmpp:mix:core:1'><nick>thirdwitch</nick></join></iq>",
    );
    bench
}

fn mix(ns: &str) -> String {
    format!(
        "<mix xmlns='{ns}'><jid>hag66@shakespeare.example/UUID-a1j/7533</jid>\
         <nick>thirdwitch</nick></mix>"
    )
}

#[test]
fn channel_distributes_presence() {
    for legacy in [false, true] {
        let mut bench = bench(legacy);
        let id = bench.id("hag66");
        let both = match legacy {
            true => mix(NS_PRESENCE) + &mix(NS_PRESENCE_LEGACY),
            false => mix(NS_PRESENCE),
        };
        let presence = bench.ask(SETS);
        assert_same(
            &presence,
            &format!(
                "<presence from='{id}#coven@mix.shakespeare.example/UUID-a1j/7533' \
                 to='hecate@shakespeare.example' id='*'>{both}<show>dnd</show>\
                 <status>Making a Brew</status></presence>"
            ),
        );
    }
}

#[test]
fn value_of_presence_node() {
    let mut bench = bench(false);
    bench.send(SETS);
    let channel = &bench.mix.snapshot().channels["coven"];
    let id = StableIdOf(&bench).hag66();
    let kept = &channel.participants[&id].clients.get("UUID-a1j/7533");
    let kept = clients::read(kept.unwrap());
    let words: Vec<String> = kept.iter().map(Element::text).collect();
    assert_eq!(words, ["dnd", "Making a Brew"]);
}

struct StableIdOf<'a>(&'a Bench);

impl StableIdOf<'_> {
    fn hag66(&self) -> address::StableId {
        address::StableId::read(&self.0.id("hag66")).unwrap()
    }
}

fn going(id: &str) -> String {
    format!(
        "<presence type='unavailable' from='{id}#coven@mix.shakespeare.example/UUID-a1j/7533' \
         to='hecate@shakespeare.example' id='*'>{}</presence>",
        mix(NS_PRESENCE)
    )
}

#[test]
fn channel_distributes_notification_of_client_going_offline() {
    let mut bench = bench(false);
    let id = bench.id("hag66");
    bench.send(SETS);
    let off = "<presence type='unavailable' from='hag66@shakespeare.example/UUID-a1j/7533' \
               to='coven@mix.shakespeare.example'/>";
    assert_same(&bench.ask(off), &going(&id));
    assert_eq!(bench.send(off), [], "it has gone already");
}

#[test]
fn channel_distributes_notification_when_user_leaves_channel() {
    let mut bench = bench(false);
    let id = bench.id("hag66");
    bench.send(SETS);
    let said = bench.send(
        "<iq type='set' id='l' from='hag66@shakespeare.example' to='coven@mix.shakespeare.example'>\
         <leave xmlns='urn:xmpp:mix:core:1'/></iq>",
    );
    assert_eq!(said.len(), 2, "{said:?}");
    assert_same(&said[1], &going(&id));
}

#[test]
fn vcard_through_channel() {
    let mut bench = bench(false);
    let (asker, target) = (bench.id("hag66"), bench.id("peter"));
    let request = bench.ask(&format!(
        "<iq from='hag66@shakespeare.example/UUID-c8y/1573' id='lx09df27' \
         to='{target}#coven@mix.shakespeare.example' type='get'><vCard xmlns='vcard-temp'/></iq>"
    ));
    assert_same(
        &request,
        &format!(
            "<iq from='{asker}#coven@mix.shakespeare.example/UUID-c8y/1573' id='lx09df27' \
             to='peter@shakespeare.example' type='get'><vCard xmlns='vcard-temp'/></iq>"
        ),
    );
    let card = "<vCard xmlns='vcard-temp'><FN>Peter Saint-Andre</FN><N><FAMILY>Saint-Andre</FAMILY>\
                <GIVEN>Peter</GIVEN><MIDDLE/></N><NICKNAME>stpeter</NICKNAME>\
                <URL>http://www.xmpp.org/xsf/people/stpeter.shtml</URL></vCard>";
    let response = bench.ask(&format!(
        "<iq from='peter@shakespeare.example' id='lx09df27' \
         to='{asker}#coven@mix.shakespeare.example/UUID-c8y/1573' type='result'>{card}</iq>"
    ));
    assert_same(
        &response,
        &format!(
            "<iq from='{target}#coven@mix.shakespeare.example' id='lx09df27' \
             to='hag66@shakespeare.example/UUID-c8y/1573' type='result'>{card}</iq>"
        ),
    );
}

#[test]
fn a_restart_probes_every_participant() {
    let mut bench = bench(false);
    bench.mix.link_up(bench.now);
    let probes = bench.said();
    assert_eq!(probes.len(), 3);
    for probe in &probes {
        assert_eq!(probe.attr("type"), Some("probe"));
        assert_eq!(probe.attr("from"), Some(COVEN));
    }
}
