//! The console: one page for a person, drawn anew each few seconds. It names nobody.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::time::Duration;

use super::View;
use super::metrics::{Direction, ended_by};
use crate::call::record::CallRecord;

/// Ended calls that are shown.
const SHOWN: usize = 20;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222;background:#fff}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #ddd}\
td.n,th.n{text-align:right}.up{color:#17692f}.down{color:#a8121d;font-weight:600}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}th,td{border-color:#444}.up{color:#5fc27e}.down{color:#ff7b81}}";

/// A call that is over, without its people.
#[derive(Debug)]
struct Past {
    number: String,
    direction: Direction,
    trunk: String,
    reason: String,
    status: Option<u16>,
    by: &'static str,
    answered_after: Option<Duration>,
    duration: Duration,
    encoding: String,
    lost: (u64, u64),
}

/// What the console remembers.
#[derive(Debug, Default)]
pub(super) struct Console {
    past: VecDeque<Past>,
}

impl Console {
    /// Keeps a call that is over.
    pub(super) fn ended(&mut self, record: &CallRecord) {
        self.past.truncate(SHOWN - 1);
        self.past.push_front(Past {
            number: record.call.to_string(),
            direction: Direction::of(record),
            trunk: record.trunk.clone().unwrap_or_default(),
            reason: record.end.reason.to_string(),
            status: record.end.sip_status,
            by: ended_by(record.ended_by),
            answered_after: record.answered_after,
            duration: record.duration,
            encoding: record.encoding.clone().unwrap_or_default(),
            lost: (record.stats.caller.lost, record.stats.callee.lost),
        });
    }

    /// The page.
    pub(super) fn html(&self, view: &View) -> String {
        let mut page = String::new();
        // Writing to a String does not fail.
        let _ = self.write(&mut page, view);
        page
    }

    fn write(&self, page: &mut String, view: &View) -> fmt::Result {
        write!(
            page,
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>Offhook</title><style>{STYLE}</style></head><body>\
             <h1>Offhook {}</h1><table>",
            env!("CARGO_PKG_VERSION")
        )?;
        row(page, "running for", &span(view.uptime))?;
        row(page, "calls", &view.census.calls.calls.to_string())?;
        state(page, "XMPP server", view.xmpp_up, ("linked", "no link"))?;
        if let Some(up) = view.mix_up {
            state(page, "XMPP server, MIX", up, ("linked", "no link"))?;
        }
        if view.draining {
            state(page, "new calls", false, ("", "not taken: draining"))?;
        }
        for (trunk, up) in &view.trunks {
            state(page, &format!("trunk {trunk}"), *up, ("up", "down"))?;
        }
        if let Some(mix) = &view.census.mix {
            row(page, "MIX channels", &mix.channels.to_string())?;
            let there = format!("{}, with {} clients", mix.participants, mix.clients);
            row(page, "MIX participants", &there)?;
        }
        row(
            page,
            "SIP requests from strangers",
            &view.sip.unknown_sources.to_string(),
        )?;
        page.push_str("</table>");
        self.write_past(page)?;
        page.push_str("<p><a href=\"/metrics\">metrics</a> <a href=\"/health\">health</a> <a href=\"/ready\">ready</a></p></body></html>\n");
        Ok(())
    }

    fn write_past(&self, page: &mut String) -> fmt::Result {
        page.push_str("<h2>Calls that ended</h2>");
        if self.past.is_empty() {
            page.push_str("<p>None yet.</p>");
            return Ok(());
        }
        page.push_str(
            "<table><tr><th>call</th><th>way</th><th>trunk</th><th>reason</th><th class=\"n\">SIP</th><th>ended by</th>\
             <th class=\"n\">answered after</th><th class=\"n\">length</th><th>codec</th><th class=\"n\">lost from caller, callee</th></tr>",
        );
        for past in &self.past {
            let Past {
                number,
                direction,
                trunk,
                reason,
                status,
                by,
                answered_after,
                duration,
                encoding,
                lost,
            } = past;
            let status = status.map_or(String::new(), |status| status.to_string());
            let answered = answered_after.map_or(String::new(), |after| {
                format!("{:.1} s", after.as_secs_f64())
            });
            write!(
                page,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{status}</td><td>{by}</td>\
                 <td class=\"n\">{answered}</td><td class=\"n\">{}</td><td>{}</td><td class=\"n\">{}, {}</td></tr>",
                Escaped(number),
                direction.as_str(),
                Escaped(trunk),
                Escaped(reason),
                span(*duration),
                Escaped(encoding),
                lost.0,
                lost.1
            )?;
        }
        page.push_str("</table>");
        Ok(())
    }
}

fn row(page: &mut String, name: &str, value: &str) -> fmt::Result {
    write!(
        page,
        "<tr><th>{}</th><td>{}</td></tr>",
        Escaped(name),
        Escaped(value)
    )
}

fn state(page: &mut String, name: &str, up: bool, words: (&str, &str)) -> fmt::Result {
    let (class, word) = match up {
        true => ("up", words.0),
        false => ("down", words.1),
    };
    write!(
        page,
        "<tr><th>{}</th><td class=\"{class}\">{word}</td></tr>",
        Escaped(name)
    )
}

fn span(time: Duration) -> String {
    let s = time.as_secs();
    match (s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60) {
        (0, 0, 0, s) => format!("{s} s"),
        (0, 0, m, s) => format!("{m} min {s} s"),
        (0, h, m, _) => format!("{h} h {m} min"),
        (d, h, _, _) => format!("{d} d {h} h"),
    }
}

/// Text that stays text in HTML.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}
