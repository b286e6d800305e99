//! Keys that are written in a row.

use super::*;
use crate::leg::Key;

#[test]
fn a_row_of_keys_waits_for_the_answer_and_keeps_its_pauses() {
    let mut desk = Desk::new();
    let offer = ice(vec![opus(), pcmu()], Setup::Actpass);
    desk.event(JULIET, dials(Offering::Described(offer)));
    let row = Key::row("1,2").unwrap();
    desk.event(JULIET, LegEvent::Keys(row));
    desk.wait(Duration::from_secs(5));
    desk.told();
    desk.event(callee(), LegEvent::Answered(rtp(vec![pcmu()])));
    desk.media(MediaEvent::Connected {
        bridge: BridgeId(1),
        side: Side::Caller,
    });
    desk.told();
    let press = |key| {
        let digit = Digit::from_char(key).unwrap();
        vec![(callee(), LegCommand::Digit(digit))]
    };
    desk.wait(Duration::from_millis(900));
    assert_eq!(desk.told(), []);
    desk.wait(Duration::from_millis(100));
    assert_eq!(desk.told(), press('1'));
    desk.wait(Duration::from_millis(300));
    desk.wait(Duration::from_millis(1_900));
    assert_eq!(desk.told(), []);
    desk.wait(Duration::from_millis(100));
    assert_eq!(desk.told(), press('2'));
    desk.wait(Duration::from_millis(300));
    // In a running call a row begins at once, whoever writes it.
    desk.event(callee(), LegEvent::Keys(Key::row("3").unwrap()));
    desk.wait(Duration::ZERO);
    let three = Digit::from_char('3').unwrap();
    assert_eq!(desk.told(), [(JULIET, LegCommand::Digit(three))]);
    desk.event(JULIET, LegEvent::Keys(Key::row("4,,4").unwrap()));
    desk.event(JULIET, LegEvent::Ended(EndReason::Hangup.into()));
    desk.assert_empty();
}
