use super::*;
use crate::id::TokenMaker;

const FRAME: Duration = Duration::from_millis(20);
const TICKS: u32 = 160;

fn sound(payload: &[u8], at: Instant, missing: u16) -> Next<'_> {
    Next::Sound {
        payload,
        at,
        missing,
    }
}

fn header(n: u32, ssrc: u32) -> Header {
    Header {
        marker: false,
        payload_type: 0,
        sequence: n as u16,
        timestamp: n.wrapping_mul(TICKS).wrapping_add(0xffff_f000),
        ssrc,
        payload_start: 0,
        payload_end: 0,
    }
}

/// What a stream of frames sounds like at the other end of a way with jitter and loss.
struct Heard {
    /// Frame by frame: its number, or `None` for a hole.
    frames: Vec<Option<u32>>,
    /// When the first and the last one were due after they were sent.
    delays: Vec<Duration>,
    counts: Counts,
}

#[allow(clippy::disallowed_methods)]
fn listen(frames: u32, mut late: impl FnMut(u32) -> Option<Duration>, clock: f64) -> Heard {
    let t0 = Instant::now() + Duration::from_secs(10);
    let sent = |n: u32| t0 + (FRAME * n).mul_f64(clock);
    let mut way: Vec<(Instant, u32)> = (0..frames)
        .filter_map(|n| Some((sent(n) + late(n)?, n)))
        .collect();
    way.sort();
    let mut buffer = JitterBuffer::new(8_000, false);
    let mut heard = Heard {
        frames: Vec::new(),
        delays: Vec::new(),
        counts: Counts::default(),
    };
    let end = sent(frames) + Duration::from_secs(1);
    let mut way = way.into_iter().peekable();
    loop {
        let due = buffer.deadline().unwrap_or(end);
        if let Some((at, n)) = way.next_if(|(at, _)| *at <= due) {
            buffer.insert(at, &header(n, 1), &n.to_be_bytes(), false);
            continue;
        }
        if due >= end || heard.frames.len() > 2 * frames as usize {
            heard.counts = buffer.counts();
            return heard;
        }
        match buffer.look() {
            Next::Sound { payload, .. } => {
                let n = u32::from_be_bytes(payload.try_into().unwrap());
                heard.frames.push(Some(n));
                heard.delays.push(due.saturating_duration_since(sent(n)));
                buffer.advance(TICKS, false);
            }
            Next::Noise(_) => unreachable!(),
            Next::Gap { ticks, .. } => {
                heard.frames.push(None);
                buffer.advance(ticks.min(TICKS), true);
            }
            Next::Nothing => {
                heard.frames.push(None);
                buffer.advance(TICKS, true);
            }
        }
    }
}

impl Heard {
    fn holes(&self) -> usize {
        let last = self.frames.iter().rposition(Option::is_some).unwrap();
        self.frames[..last].iter().filter(|f| f.is_none()).count()
    }

    fn in_order(&self) -> bool {
        self.frames.iter().flatten().is_sorted()
    }

    fn last_delay(&self) -> Duration {
        *self.delays.last().unwrap()
    }
}

#[test]
fn a_smooth_stream_waits_for_nearly_nothing() {
    let heard = listen(500, |_| Some(Duration::from_millis(30)), 1.0);
    assert_eq!(heard.holes(), 0);
    assert_eq!(heard.delays.len(), 500);
    let added = heard.last_delay() - Duration::from_millis(30);
    assert!(added <= Duration::from_millis(10), "{added:?}");
}

#[test]
fn jitter_is_waited_out_and_forgotten() {
    for seed in 0..20 {
        let mut tokens = TokenMaker::new([seed; 32]);
        // 50 ms of jitter for 20 s, then none for 30 s.
        let late = |n: u32| {
            let jitter = if n < 1_000 { tokens.below(50) } else { 0 };
            Some(Duration::from_millis(10 + jitter))
        };
        let heard = listen(2_500, late, 1.0);
        assert!(heard.in_order());
        let part = |range: std::ops::Range<u32>| {
            heard
                .frames
                .iter()
                .flatten()
                .filter(|n| range.contains(n))
                .count()
        };
        // Each frame is there but for a few at the begin, before the jitter is known, and the 2 %.
        assert!(part(200..1_000) >= 780, "seed {seed}: {}", part(200..1_000));
        let longest = heard.delays[300..900].iter().max().unwrap();
        assert!(
            *longest <= Duration::from_millis(80),
            "seed {seed}: {longest:?}"
        );
        let last = heard.last_delay();
        assert!(last <= Duration::from_millis(25), "seed {seed}: {last:?}");
    }
}

#[test]
fn the_delay_is_bounded() {
    let mut tokens = TokenMaker::new([7; 32]);
    let late = |_| Some(Duration::from_millis(tokens.below(2_000)));
    let heard = listen(1_000, late, 1.0);
    assert!(heard.in_order());
    let longest = heard.delays.iter().max().unwrap();
    // The soonest arrivals are what the delay comes on top of.
    assert!(
        *longest <= MAX_DELAY + Duration::from_millis(150),
        "{longest:?}"
    );
    assert!(heard.counts.late > 0);
}

#[test]
fn loss_leaves_holes_of_its_length() {
    let late = |n: u32| (n % 10 != 3 && n % 50 != 4).then_some(FRAME);
    let heard = listen(1_000, late, 1.0);
    let got = heard.frames.iter().flatten().count();
    assert_eq!((got, heard.holes()), (880, 120));
}

#[test]
fn clocks_that_drift_apart_lose_nothing() {
    // 300 ppm over ten minutes are 180 ms.
    for clock in [0.9997, 1.0003] {
        let heard = listen(30_000, |_| Some(FRAME), clock);
        assert_eq!(heard.holes(), 0, "{clock}");
        let added = heard.last_delay() - FRAME;
        assert!(added <= Duration::from_millis(15), "{clock} {added:?}");
    }
}

#[test]
fn doubles_and_disorder_are_put_right() {
    let late = |n: u32| {
        Some(Duration::from_millis(if n.is_multiple_of(2) {
            25
        } else {
            0
        }))
    };
    let heard = listen(1_000, late, 1.0);
    assert!(heard.in_order());
    assert!(heard.holes() <= 3, "{}", heard.holes());
}

#[test]
#[allow(clippy::disallowed_methods)]
fn a_flood_finds_no_room_and_other_sources_begin_anew() {
    let t0 = Instant::now();
    let mut buffer = JitterBuffer::new(8_000, true);
    for n in 0..1_000 {
        buffer.insert(t0, &header(n, 1), &[0; 10], false);
    }
    assert!(buffer.counts().overflowed >= 700);
    buffer.insert(t0, &header(5_000, 2), &[7], false);
    assert_eq!(buffer.look(), sound(&[7], t0, 0));
    buffer.advance(TICKS, false);
    assert_eq!(buffer.look(), Next::Nothing);
    // A packet that is too large has no room either.
    buffer.insert(t0, &header(5_001, 2), &[0; MAX_PAYLOAD + 1], false);
    assert_eq!(buffer.look(), Next::Nothing);
}

#[test]
#[allow(clippy::disallowed_methods)]
fn a_pause_is_no_loss_and_a_loss_shows_what_is_behind_it() {
    let t0 = Instant::now();
    let mut buffer = JitterBuffer::new(8_000, true);
    buffer.insert(t0, &header(0, 1), &[0], false);
    assert_eq!(buffer.look(), sound(&[0], t0, 0));
    buffer.advance(TICKS, false);
    buffer.insert(t0, &header(2, 1), &[2], false);
    assert_eq!(
        buffer.look(),
        Next::Gap {
            ticks: TICKS,
            lost: true,
            behind: Some(&[2])
        }
    );
    // From here on a lost packet is worth a frame of delay.
    assert!(buffer.delay() >= FRAME + LEAST_DELAY);
    buffer.advance(TICKS, true);
    assert_eq!(buffer.look(), sound(&[2], t0, 1));
    buffer.advance(TICKS, false);
    let mut after_pause = header(9, 1);
    after_pause.sequence = 3;
    buffer.insert(t0, &after_pause, &[9], true);
    assert_eq!(
        buffer.look(),
        Next::Gap {
            ticks: 6 * TICKS,
            lost: false,
            behind: None
        }
    );
    buffer.leap();
    assert_eq!(buffer.look(), Next::Noise(&[9]));
}
