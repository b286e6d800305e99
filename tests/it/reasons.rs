//! `docs/reasons.md` is printed from the tables of the code. After a change of a table, run the
//! test once with `PRINT_DOCS=1`.

use std::fmt::Write as _;

use offhook::leg::EndReason;
use offhook::sip::reason as sip;
use offhook::sip::wire::reason_phrase;
use offhook::xmpp::jingle::reason as jingle;

/// The conditions of XEP-0166 §7.4.
const CONDITIONS: &[&str] = &[
    "alternative-session",
    "busy",
    "cancel",
    "connectivity-error",
    "decline",
    "expired",
    "failed-application",
    "failed-transport",
    "general-error",
    "gone",
    "incompatible-parameters",
    "media-error",
    "security-error",
    "success",
    "timeout",
    "unsupported-applications",
    "unsupported-transports",
];

const HEAD: &str = "# Why a call ended
Printed by a test from the tables that the program runs by (`src/sip/reason.rs`,
`src/xmpp/jingle/reason.rs`): do not edit. The word in the first column is the one in the log.
";

fn page() -> Result<String, std::fmt::Error> {
    let mut out = HEAD.to_owned();
    writeln!(
        out,
        "\n## What others are told\nThe status goes to a SIP caller before the answer; the cause also \
         stands in the `Reason` of a BYE or\nCANCEL (RFC 3326). A refusal by the far end that a \
         caller may hear is passed on with its own status.\n\n\
         | reason | SIP status | Q.850 cause | Jingle, call refused | Jingle, call taken back | Jingle, session ended |\n\
         |---|---|---|---|---|---|"
    )?;
    for &reason in EndReason::ALL {
        let sip::Answer { status, q850 } = sip::answer(reason);
        writeln!(
            out,
            "| {reason} | {status} {} | {q850} {} | {} | {} | {} |",
            reason_phrase(status),
            sip::cause_text(q850),
            jingle::for_reject(reason),
            jingle::for_retract(reason),
            jingle::for_terminate(reason),
        )?;
    }
    writeln!(
        out,
        "\n## What a SIP status means\nThe final answer to a call of ours. Codes that are not here \
         mean what the first one of their class means.\n\n\
         | status | reason | if it rang before |\n|---|---|---|"
    )?;
    for status in 300..700u16 {
        let class = reason_phrase(status / 100 * 100 + 99);
        if status % 100 != 0 && reason_phrase(status) == class {
            continue;
        }
        let silent = sip::end_of_status(status, false).reason;
        let rang = sip::end_of_status(status, true).reason;
        writeln!(
            out,
            "| {status} {} | {silent} | {rang} |",
            reason_phrase(status)
        )?;
    }
    writeln!(
        out,
        "\n## What a Q.850 cause means\nIn the `Reason` of an answer 403, 404, 480, 500, 502, 503, \
         504 or 603, where it says more than the status.\n16 stands in refusals by default, and is \
         not counted there.\n\n| cause | reason |\n|---|---|"
    )?;
    for cause in 1..=127 {
        if let Some(reason) = sip::reason_of_cause(cause) {
            writeln!(out, "| {cause} {} | {reason} |", sip::cause_text(cause))?;
        }
    }
    writeln!(
        out,
        "\n## What a Jingle condition means\n\
         | condition | from a caller who waits | from a callee who is rung | after the answer |\n\
         |---|---|---|---|"
    )?;
    for condition in CONDITIONS.iter().copied().map(Some).chain([None]) {
        let means = |phase| jingle::meaning(condition, phase);
        writeln!(
            out,
            "| {} | {} | {} | {} |",
            condition.unwrap_or("(none)"),
            means(jingle::Phase::CallerWaits),
            means(jingle::Phase::CalleeWaits),
            means(jingle::Phase::Answered),
        )?;
    }
    Ok(out)
}

#[test]
fn the_page_of_reasons_says_what_the_tables_say() {
    crate::texts::check_page("reasons.md", &page().unwrap());
}
