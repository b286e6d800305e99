//! Who is not the peer: what strangers send to the ports of a call changes nothing in it.

use super::*;

const STRANGER: &str = "203.0.113.66:1";

/// Before the phone speaks, a stranger sends what the phone behind a NAT would send.
#[test]
fn a_stranger_that_is_first_gives_way_to_the_announced_address() {
    let mut w = World::new(60);
    w.call(&CALL);
    w.run(seconds(3));
    let stranger = address(STRANGER);
    let spray = |w: &mut World, first: u16| {
        for n in first..first + 2 {
            let packet = rtp_packet(0, n, u32::from(n) * 160, 66, &sound(n));
            w.put(stranger, gateway(0), packet);
            w.run(FRAME);
        }
    };
    spray(&mut w, 500);
    let before = count(&w.heard(1));
    w.speak(0, 10, 0);
    assert_eq!(count(&w.heard(1)) - before, 10);
    w.phones.clear();
    w.speak(1, 10, 0);
    assert_eq!(count(&w.heard(0)), 10);
    assert!(!w.phones.contains_key(&stranger));
    // From then on the kernel keeps others away, and so do we.
    let leg = w.nodes[0].sockets.values().find(|s| s.0 == gateway(0));
    assert_eq!(leg.unwrap().1, Some(phone(0)));
    spray(&mut w, 600);
    w.speak(1, 5, 10);
    assert_eq!(count(&w.heard(0)), 15);
    // RTCP, too, goes where the phone is.
    w.run(seconds(10));
    assert!(!w.phones.contains_key(&stranger));
    w.close();
}
