//! What nobody sends who means well.

use super::*;

#[test]
fn mangled_stanzas_do_no_harm() {
    let mut bench = Bench::coven();
    let eb = format!("{}#{COVEN}/b", bench.id("peter"));
    let seeds = [
        format!(
            "<iq type='set' id='1' from='a@b/c' to='{COVEN}'><join xmlns='{NS_CORE}'><nick>x</nick></join></iq>"
        ),
        format!(
            "<iq type='get' id='1' from='hecate@shakespeare.example/r' to='{eb}'><ping xmlns='urn:xmpp:ping'/></iq>"
        ),
        format!("<iq type='result' id='1' from='peter@shakespeare.example/b' to='{eb}'/>"),
        format!(
            "<message type='groupchat' id='1' from='hecate@shakespeare.example/r' to='{COVEN}'><body>x</body></message>"
        ),
        format!(
            "<presence from='hecate@shakespeare.example/r' to='{COVEN}'><show>away</show></presence>"
        ),
        format!(
            "<iq type='set' id='1' from='hag66@shakespeare.example/r' to='{COVEN}'><pubsub xmlns='{NS_PUBSUB}'><publish node='urn:xmpp:mix:nodes:banned'><item id='peter@shakespeare.example'/></publish></pubsub></iq>"
        ),
    ];
    let pieces = [
        "#",
        "@",
        "/",
        "",
        "x",
        "urn:xmpp:mix:nodes:presence",
        COVEN,
        DOMAIN,
        "get",
        "unavailable",
        "probe",
        "\u{0}",
        "coven",
        "jid",
        "\u{130}",
        "set",
        "error",
        "leave",
        "items",
    ];
    let mut tokens = TokenMaker::new([5; 32]);
    let mut taken = 0;
    for _ in 0..20_000 {
        let mut text = seeds[tokens.below(seeds.len() as u64) as usize].clone();
        for _ in 0..=tokens.below(3) {
            let at = tokens.below(text.len() as u64) as usize;
            let length = tokens.below(12) as usize;
            let end = (at + length).min(text.len());
            if !text.is_char_boundary(at) || !text.is_char_boundary(end) {
                continue;
            }
            let piece = pieces[tokens.below(pieces.len() as u64) as usize];
            text.replace_range(at..end, piece);
        }
        let ns = format!("<stream xmlns='{NS_COMPONENT}'>{text}</stream>");
        let Ok(stream) = ns.parse::<Element>() else {
            continue;
        };
        for stanza in stream.children() {
            taken += 1;
            bench.mix.handle(bench.now, stanza.clone());
        }
        bench.said();
    }
    assert!(taken > 1_000, "{taken}");
    bench.wait(Duration::from_secs(24 * 3600));
    assert_eq!(bench.mix.census().pending, 0);
}

#[test]
fn our_own_stanzas_do_not_come_back() {
    let mut bench = Bench::coven();
    let said = bench.send(&format!(
        "<iq type='get' id='1' from='{COVEN}' to='{COVEN}'><ping xmlns='urn:xmpp:ping'/></iq>"
    ));
    assert_eq!(said, []);
}
