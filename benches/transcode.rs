//! Transcoding alone: how many calls of Opus and G.711 a core carries, both ways, with 20 ms frames.
//! No sockets: what those cost is in the relay's part.

use std::path::Path;
use std::time::{Duration, Instant};

use offhook::border::Format;
use offhook::media::codec::{Coding, Encoder};
use offhook::media::rtp::Header;
use offhook::media::tone::Tone;
use offhook::media::transcode::Transcoder;

use crate::Failure;
use crate::machine;
use crate::sound::pcmu;
use crate::table::Table;

/// Calls that a core shall carry.
const TARGET: f64 = 250.0;

/// Calls at a time, so that their states do not all stay in the nearest cache.
const CALLS: usize = 50;

/// Of sound.
const SECONDS: u32 = 10;

const FRAME: Duration = Duration::from_millis(20);

/// Measures it.
pub fn transcode(_offhook: &Path, table: &mut Table) -> Result<(), Failure> {
    let opus = Format {
        encoding: "OPUS".into(),
        clock_hz: 48_000,
        fec: true,
        ..pcmu()
    };
    let to_pcmu = measure(&opus, &pcmu())?;
    let to_opus = measure(&pcmu(), &opus)?;
    let per_call = to_pcmu.cpu + to_opus.cpu;
    table.at_least(
        "calls of Opus and G.711 that a core transcodes",
        1.0 / per_call,
        TARGET,
        "calls",
    );
    let shares = format!(
        "{:.2} % and {:.2} %",
        to_pcmu.cpu * 100.0,
        to_opus.cpu * 100.0
    );
    table.note("… Opus to G.711, and back: of a core", shares);
    let delay = |of: &Measured| of.delay.as_secs_f64() * 1_000.0;
    let delays = format!("{:.1} ms and {:.1} ms", delay(&to_pcmu), delay(&to_opus));
    table.note("… delay added without jitter", delays);
    Ok(())
}

struct Measured {
    /// CPU time for a second of sound.
    cpu: f64,
    delay: Duration,
}

fn measure(from: &Format, to: &Format) -> Result<Measured, Failure> {
    let unknown = || Failure::from("an encoding that is not known");
    let mut transcoders = Vec::new();
    for _ in 0..CALLS {
        transcoders.push(Transcoder::new(from, to).ok_or_else(unknown)??);
    }
    let packets = packets(from)?;
    let ticks = from.clock_hz / 50;
    let begin = Instant::now();
    let cpu_before = machine::own_cpu();
    let mut room = [0; 1_500];
    let mut sent = 0usize;
    for (n, packet) in (0..).zip(&packets) {
        // The packets' clock, not ours: nobody waits for a frame.
        let now = begin + FRAME * n;
        let header = Header {
            marker: false,
            payload_type: 0,
            sequence: n as u16,
            timestamp: n * ticks,
            ssrc: 1,
            payload_start: 0,
            payload_end: 0,
        };
        for transcoder in &mut transcoders {
            transcoder.receive(now, &header, packet, false);
            while let Some(at) = transcoder.poll_timeout().filter(|at| *at < now + FRAME) {
                while transcoder.step(at, &mut room).is_some() {
                    sent += 1;
                }
            }
        }
    }
    let took = machine::own_cpu().saturating_sub(cpu_before);
    if sent < CALLS * (packets.len() - 5) {
        return Err(format!("only {sent} packets came out").into());
    }
    let delay = transcoders.first().map(|t| t.stats().delay);
    Ok(Measured {
        cpu: took.as_secs_f64() / (CALLS as f64 * f64::from(SECONDS)),
        delay: delay.unwrap_or_default(),
    })
}

/// What a peer sends: tones that change, since a steady one is too easy.
fn packets(format: &Format) -> Result<Vec<Vec<u8>>, Failure> {
    let coding = Coding::of(&format.encoding).ok_or("an encoding that is not known")?;
    let mut encoder = Encoder::new(coding, 8_000, true)?;
    let mut packets = Vec::new();
    for n in 0..SECONDS * 50 {
        let tone = Tone::sine(150.0 + f64::from(n * 37 % 1_900));
        let samples: Vec<i16> = tone.take(160).collect();
        let mut packet = vec![0; 500];
        let len = encoder.encode(&samples, &mut packet);
        packet.truncate(len.ok_or("a frame was not encoded")?);
        packets.push(packet);
    }
    Ok(packets)
}
