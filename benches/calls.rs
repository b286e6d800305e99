//! Whole calls through the real process, without media: what they cost and how fast they are
//! answered.

use std::path::Path;
use std::time::Duration;

use crate::gateway::free_port;
use crate::load::{Load, transport_without_media};
use crate::table::{Table, short};
use crate::{Failure, machine};

/// How long a call lasts after the answer.
const HOLD: Duration = Duration::from_millis(100);

/// SIP transactions linger for 32 s (RFC 3261 §17): in a shorter run, their end would cost nothing.
const STEADY: usize = 40;

/// Answered calls at two rates.
pub fn answered(offhook: &Path, table: &mut Table) -> Result<(), Failure> {
    let mut load = Load::new(offhook, free_port()?)?;
    load.run(100, 100, Some(HOLD), &transport_without_media)?;
    for (rate, seconds) in [(500, STEADY), (2_000, 10)] {
        let count = rate as usize * seconds;
        let repeated = load.phone.repeated;
        let before = machine::cpu(load.gateway.pid())?;
        let outcome = load.run(rate, count, Some(HOLD), &transport_without_media)?;
        let cpu = machine::cpu(load.gateway.pid())? - before;
        let per_call = cpu.as_secs_f64() * 1e3 / count as f64;
        let at = format!("at {rate} calls/s");
        table.at_most(
            &format!("signalling CPU per answered call, {at}"),
            per_call,
            0.4,
            "ms",
        );
        table.at_least(
            &format!("… which is, per core, {at}"),
            1e3 / per_call,
            2500.0,
            "calls/s",
        );
        if rate == 500 {
            let what = "session-initiate to session-accept";
            table.at_most(
                &format!("{what}, p50, {at}"),
                outcome.accept_ms(0.50),
                2.0,
                "ms",
            );
            table.at_most(
                &format!("{what}, p99, {at}"),
                outcome.accept_ms(0.99),
                10.0,
                "ms",
            );
        } else {
            let times = format!(
                "p50 {} ms, p99 {} ms",
                short(outcome.accept_ms(0.50)),
                short(outcome.accept_ms(0.99))
            );
            table.note(&format!("session-initiate to session-accept, {at}"), times);
        }
        table.at_most(
            &format!("calls that failed, of {count}, {at}"),
            outcome.failed as f64,
            0.0,
            "",
        );
        let again = load.phone.repeated - repeated;
        table.note(
            &format!("{at}: rate reached, INVITEs sent again"),
            format!(
                "{} calls/s, {again}",
                short(count as f64 / outcome.wall.as_secs_f64())
            ),
        );
    }
    Ok(())
}

/// Calls that stay open and do nothing.
pub fn open(offhook: &Path, table: &mut Table) -> Result<(), Failure> {
    const OPEN: usize = 2_000;
    let mut load = Load::new(offhook, free_port()?)?;
    // What is allocated once is not the calls'.
    load.run(50, 5, Some(HOLD), &transport_without_media)?;
    let pid = load.gateway.pid();
    let base = machine::resident(pid)?;
    let outcome = load.run(200, OPEN, None, &transport_without_media)?;
    let grown = machine::resident(pid)?.saturating_sub(base);
    table.at_most(
        "calls that failed, of 2000 that stay open",
        outcome.failed as f64,
        0.0,
        "",
    );
    let per_100 = grown as f64 / OPEN as f64 * 100.0 / (1 << 20) as f64;
    table.note("resident memory of the gateway before its calls", mib(base));
    table.at_most(
        "resident memory per 100 open calls without media",
        per_100,
        8.0,
        "MiB",
    );
    // Transactions end within 32 s; what remains is the open call's own.
    load.idle(Duration::from_secs(33))?;
    let before = machine::cpu(pid)?;
    let span = Duration::from_secs(10);
    load.idle(span)?;
    let idle = machine::cpu(pid)? - before;
    let percent = idle.as_secs_f64() / span.as_secs_f64() * 100.0;
    table.at_most(
        "CPU of 2000 open idle calls, of one core",
        percent,
        1.0,
        "%",
    );
    load.hang_up_all(500)?;
    load.idle(Duration::from_secs(1))?;
    table.note(
        "resident memory after these calls",
        mib(machine::resident(pid)?),
    );
    Ok(())
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", short(bytes as f64 / (1 << 20) as f64))
}
