use super::*;
use crate::address::{Address, E164};
use crate::border::BridgeStats;
use crate::call::CallCensus;
use crate::call::record::EndedBy;
use crate::id::CallId;
use crate::leg::{End, EndReason};
use crate::mix::MixCensus;
use crate::sip::SipCensus;
use crate::xmpp::XmppCensus;

fn view() -> View {
    View {
        uptime: Duration::from_secs(3 * 3600 + 120),
        xmpp_up: true,
        mix_up: None,
        draining: false,
        trunks: vec![("carrier".to_owned(), true), ("<spare>".to_owned(), false)],
        census: Census {
            calls: CallCensus {
                calls: 7,
                ..CallCensus::default()
            },
            sip: SipCensus::default(),
            xmpp: XmppCensus::default(),
            mix: None,
        },
        sip: SipStats {
            unknown_sources: 12,
            ..SipStats::default()
        },
        texts: TextStats {
            out_taken: 3,
            ..TextStats::default()
        },
    }
}

fn record(trunk: &str) -> CallRecord {
    let mut stats = BridgeStats::default();
    stats.caller.received = 500;
    stats.callee.received = 400;
    stats.callee.lost = 3;
    CallRecord {
        call: CallId(1),
        from: Address::Xmpp("juliet@example.org".parse().unwrap()),
        to: Address::Number(E164::parse("+15551234567").unwrap()),
        trunk: Some(trunk.to_owned()),
        rang_after: Some(Duration::from_millis(300)),
        answered_after: Some(Duration::from_secs(3)),
        duration: Duration::from_secs(13),
        end: End::from(EndReason::Hangup),
        ended_by: EndedBy::Caller,
        encoding: Some("opus".to_owned()),
        stats,
    }
}

fn window() -> Admin {
    Admin::new(mpsc::channel(1).1)
}

#[test]
fn ready_names_what_is_missing() {
    let mut view = view();
    assert_eq!(window().page(Page::Ready, &view).status, StatusCode::OK);
    view.xmpp_up = false;
    view.mix_up = Some(false);
    view.draining = true;
    let answer = window().page(Page::Ready, &view);
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        answer.body,
        "xmpp: no link to the server\nmix: no link to the server\ndraining: no new calls\n"
    );
    assert_eq!(window().page(Page::Health, &view).status, StatusCode::OK);
}

#[test]
fn metrics_count_ended_calls_by_their_reason() {
    let mut admin = window();
    admin.ended(&record("carrier"));
    admin.ended(&record("carrier"));
    let text = admin.page(Page::Metrics, &view()).body;
    let ended = "offhook_calls_ended_total{direction=\"out\",trunk=\"carrier\",reason=\"hangup\",ended_by=\"caller\"} 2";
    for line in [
        ended,
        "offhook_calls 7",
        "offhook_trunk_up{trunk=\"carrier\"} 1",
        "offhook_trunk_up{trunk=\"<spare>\"} 0",
        "offhook_link_up{link=\"xmpp\"} 1",
        "offhook_rtp_received_total{direction=\"out\"} 1800",
        "offhook_rtp_lost_total{direction=\"out\"} 6",
        "offhook_call_lasted_seconds_sum{direction=\"out\"} 20.0",
        "offhook_sip_unknown_sources_total 12",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    assert!(
        !text.contains("link=\"mix\""),
        "no MIX service, no line of it"
    );
}

#[test]
fn nothing_shown_names_a_person() {
    let mut admin = window();
    admin.ended(&record("carrier"));
    for page in [Page::Metrics, Page::Console] {
        let body = admin.page(page, &view()).body;
        for secret in ["juliet", "example.org", "15551234567"] {
            assert!(!body.contains(secret), "{page:?} shows {secret}");
        }
    }
}

#[test]
fn the_console_escapes_and_forgets() {
    let mut admin = window();
    for _ in 0..100 {
        admin.ended(&record("<b>&"));
    }
    let html = admin.page(Page::Console, &view()).body;
    assert!(html.contains("trunk &lt;spare&gt;"));
    assert!(!html.contains("<b>"));
    assert_eq!(html.matches("&lt;b&gt;&amp;").count(), 20);
    assert!(html.contains("3 h 2 min"));
}

/// `docs/operator.md` lists each metric, and no other.
#[test]
fn the_manual_lists_every_metric() {
    let mut admin = window();
    admin.ended(&record("carrier"));
    let mut view = view();
    view.census.mix = Some(MixCensus::default());
    let text = admin.page(Page::Metrics, &view).body;
    let mut shown: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let manual = include_str!("../../../docs/operator.md");
    let mut listed: Vec<&str> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("| `offhook_")?.split('`').next())
        .collect();
    for name in &mut shown {
        *name = name.strip_prefix("offhook_").expect("our prefix");
    }
    shown.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, shown);
}
