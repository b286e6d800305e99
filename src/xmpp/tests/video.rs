//! Which contacts say that calls with pictures can be made to them.

use std::collections::BTreeSet;

use super::*;

#[test]
fn contract_04_only_contacts_whose_calls_have_pictures_say_so() {
    let mut room = Room::gateway("gw.example");
    let video = vec![
        (RouteMatch::Prefix("+49".into()), false),
        (RouteMatch::Prefix("+".into()), true),
        (RouteMatch::Domain("pbx.example".into()), true),
    ];
    let config = XmppRoomConfig {
        video,
        ..room.xmpp.config.clone()
    };
    room.xmpp.set_config(config);
    let mut vers: BTreeSet<(bool, String)> = BTreeSet::new();
    for (node, has_video) in [
        ("+15551234", true),
        ("+4930123456", false),
        (r"romeo\40pbx.example", true),
        (r"romeo\40other.example", false),
    ] {
        let jid = format!("{node}@gw.example");
        let said = room.hears(&format!(
            "<presence xmlns='jabber:component:accept' from='juliet@x.example/pda' to='{jid}'>\
             <decloak xmlns='urn:xmpp:decloak:0' reason='media'/></presence>"
        ));
        let caps = said[0].get_child("c", caps::NS_CAPS).unwrap();
        let node: String = format!(
            "{}#{}",
            caps.attr("node").unwrap(),
            caps.attr("ver").unwrap()
        );
        for (to, asked) in [(jid.clone(), None), (format!("{jid}/phone"), Some(&*node))] {
            let query = info_of(&mut room, &to, asked);
            let feature = "urn:xmpp:jingle:apps:rtp:video";
            assert_eq!(features(&query).contains(&feature), has_video, "{to}");
            assert_eq!(caps::ver(&query).as_deref(), caps.attr("ver"), "{to}");
        }
        vers.insert((has_video, node));
    }
    // Each contact knows both hashes, since a server may ask any of them.
    assert_eq!(vers.len(), 2);
    for (has_video, node) in vers {
        for to in ["+15551234@gw.example/phone", "+4930123456@gw.example/phone"] {
            let query = info_of(&mut room, to, Some(&node));
            let feature = "urn:xmpp:jingle:apps:rtp:video";
            assert_eq!(features(&query).contains(&feature), has_video);
            assert!(node.ends_with(&caps::ver(&query).unwrap()));
        }
    }
}
