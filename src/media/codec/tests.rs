use super::conceal::Concealer;
use super::noise::Noise;
use super::*;

/// Loud and faint, low and high, and some noise, of whole numbers only.
fn signal() -> Vec<i16> {
    let mut noise: u32 = 1;
    let sample = |i: i32| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let triangle = |period: i32, peak: i32| {
            let at = i % period * 4 * peak / period;
            (at - 2 * peak).abs() - peak
        };
        let loud = triangle(5_000, 8) + 8;
        let sum = triangle(89, 700) + triangle(23, 500) + triangle(7, 300) + triangle(3, 200);
        (sum * loud + (i32::from((noise >> 16) as i16) >> 6)) as i16
    };
    (0..16_000).map(sample).collect()
}

/// FNV-1a.
fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[test]
fn g722_is_that_of_others_bit_by_bit() {
    // As the Python package G722 1.2.8 (libg722 of Sippy Software) codes it.
    const ENCODED: u64 = 0x7dcd_67e1_dadf_beaf;
    const DECODED: u64 = 0x98da_bc5d_267f_0e05;

    let mut bytes = vec![0; 8_000];
    assert_eq!(
        g722::Encoder::new(16_000).encode(&signal(), &mut bytes),
        8_000
    );
    assert_eq!(hash(bytes.iter().copied()), ENCODED);
    let mut samples = vec![0; 16_000];
    assert_eq!(
        g722::Decoder::new(16_000).decode(&bytes, &mut samples),
        16_000
    );
    assert_eq!(hash(samples.iter().flat_map(|s| s.to_be_bytes())), DECODED);
}

#[test]
fn g722_at_8_khz_is_the_lower_half_of_it() {
    let tone = |hz: f64, rate: f64| {
        move |i: u32| (8_000.0 * (std::f64::consts::TAU * hz * f64::from(i) / rate).sin()) as i16
    };
    // Narrow to wide.
    let narrow: Vec<i16> = (0..8_000).map(tone(440.0, 8_000.0)).collect();
    let mut bytes = vec![0; 8_000];
    assert_eq!(g722::Encoder::new(8_000).encode(&narrow, &mut bytes), 8_000);
    let mut wide = vec![0; 16_000];
    g722::Decoder::new(16_000).decode(&bytes, &mut wide);
    let halves: Vec<i16> = wide.iter().copied().step_by(2).collect();
    let share = super::super::tone::energy_share(&halves[800..], 440.0);
    assert!(share > 0.99, "{share}");
    let loudest = wide[1_600..].iter().map(|s| s.abs()).max().unwrap();
    assert!((7_000..9_000).contains(&loudest), "{loudest}");
    // Wide to narrow.
    let wide: Vec<i16> = (0..16_000).map(tone(440.0, 16_000.0)).collect();
    g722::Encoder::new(16_000).encode(&wide, &mut bytes);
    let mut narrow = vec![0; 8_000];
    assert_eq!(g722::Decoder::new(8_000).decode(&bytes, &mut narrow), 8_000);
    let share = super::super::tone::energy_share(&narrow[800..], 440.0);
    assert!(share > 0.99, "{share}");
}

#[test]
fn mangled_packets_decode_to_something_or_nothing() {
    let mut tokens = crate::id::TokenMaker::new([3; 32]);
    let mut samples = [0; MAX_SAMPLES];
    for coding in [Coding::Law(Law::Mu), Coding::G722, Coding::Opus] {
        for rate_hz in [8_000, 16_000] {
            let mut decoder = Decoder::new(coding, rate_hz).unwrap();
            for _ in 0..300 {
                let len = tokens.below(1_300) as usize;
                let packet: Vec<u8> = (0..len).map(|_| tokens.number() as u8).collect();
                let count = decoder.decode(&packet, &mut samples);
                assert!(count.is_none_or(|count| count <= MAX_SAMPLES));
            }
        }
    }
}

#[test]
fn a_hole_in_a_tone_is_filled_with_the_tone_and_fades() {
    for rate_hz in [8_000u32, 16_000] {
        let step = std::f64::consts::TAU * 200.0 / f64::from(rate_hz);
        let sample = |i: usize| (10_000.0 * (step * i as f64).sin()) as i16;
        let mut concealer = Concealer::new(rate_hz);
        let frame = rate_hz as usize / 50;
        let mut heard: Vec<i16> = (0..5 * frame).map(sample).collect();
        concealer.heard(&mut heard);
        let mut made = vec![0; 4 * frame];
        concealer.fill(&mut made);
        // The first 10 ms are as loud as the tone, and in its phase.
        for (n, sample_made) in made[..frame / 2].iter().enumerate() {
            let wanted = sample(5 * frame + n);
            assert!(wanted.abs_diff(*sample_made) < 1_500, "{rate_hz} {n}");
        }
        assert_eq!(made[3 * frame..], vec![0; frame]);
        // What follows begins where the making up ended, and is itself after 4 ms.
        let mut after: Vec<i16> = (9 * frame..10 * frame).map(sample).collect();
        let whole = after.clone();
        concealer.heard(&mut after);
        assert_eq!(after[0], 0);
        assert_eq!(after[frame / 5..], whole[frame / 5..]);
    }
}

#[test]
fn noise_has_the_level_that_was_told() {
    for (level, rms) in [(30u8, 1_036.0), (50, 103.6), (127, 0.0)] {
        let mut noise = Noise::default();
        noise.set(&[level, 1, 2, 3]);
        let mut samples = [0; 8_000];
        noise.fill(&mut samples);
        let square: f64 = samples.iter().map(|s| f64::from(*s).powi(2)).sum();
        let heard = (square / 8_000.0).sqrt();
        assert!((heard - rms).abs() <= rms * 0.05 + 1.0, "{level} {heard}");
    }
}
