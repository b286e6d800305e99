//! A thousand calls at a time that talk, with a processor or two for everything: whether every packet
//! that goes in at one end comes out at the other.

use std::path::Path;
use std::time::Duration;

use crate::dtls::World;
use crate::load::Load;
use crate::table::{Table, short};
use crate::{Failure, machine};

const CALLS: usize = 1_000;
/// Calls that come up together.
const TOGETHER: usize = 25;
/// How long they talk.
const SPAN: Duration = Duration::from_secs(10);
/// How long the last packets may take.
const LAST_PACKETS: Duration = Duration::from_secs(1);

/// Measures it.
pub fn thousand(offhook: &Path, table: &mut Table) -> Result<(), Failure> {
    let mut world = World::with(|sound| Load::everywhere(offhook, sound))?;
    let pid = world.load.gateway.pid();
    world.is_quiet = true;
    for _ in 0..CALLS / TOGETHER {
        world.open_calls(TOGETHER)?;
    }
    world.talk(LAST_PACKETS)?;
    let connected = world.clients.iter().filter(|c| c.connected).count();
    table.at_least(
        "calls at a time with ICE, DTLS-SRTP and sound, passed through",
        connected as f64,
        CALLS as f64,
        "",
    );
    let before = world.counts();
    let cpu = machine::cpu(pid)?;
    world.is_quiet = false;
    world.talk(SPAN)?;
    let cpu = machine::cpu(pid)? - cpu;
    world.is_quiet = true;
    world.talk(LAST_PACKETS)?;
    let after = world.counts();
    for (what, said, heard) in [
        (
            "users to phone",
            after.up - before.up,
            after.up_heard - before.up_heard,
        ),
        (
            "phone to users",
            after.down - before.down,
            after.down_heard - before.down_heard,
        ),
    ] {
        table.at_most(
            &format!("… packets lost of {said}, {what}"),
            said.saturating_sub(heard) as f64,
            0.0,
            "",
        );
    }
    let percent = cpu.as_secs_f64() / SPAN.as_secs_f64() * 100.0;
    let words = format!("{} % of one core", short(percent));
    table.note("… CPU of the gateway meanwhile", words);
    world.load.hang_up_all(200)
}
