//! WAV files as bytes: 16-bit PCM. Writes mono at 8000 Hz; reads mono or stereo at 8000 to
//! 48000 Hz and brings it to mono at 8000 Hz. Compressed files are refused.

use thiserror::Error;

use crate::media::tone::RATE_HZ;

/// Why a file cannot be played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WavError {
    /// Not a RIFF WAVE file, or cut short.
    #[error("not a wav file")]
    Malformed,
    /// Not 16-bit PCM.
    #[error("wav file is not 16-bit pcm")]
    NotPcm16,
    /// Not mono or stereo, or a sample rate out of range.
    #[error("wav file is not mono or stereo at 8000 to 48000 hz")]
    Layout,
}

const PCM: u16 = 1;
/// WAVE_FORMAT_EXTENSIBLE: the true format is the begin of a GUID in the same chunk.
const EXTENSIBLE: u16 = 0xfffe;

/// A file of `samples` at 8000 Hz.
pub fn write(samples: &[i16]) -> Vec<u8> {
    let data_len = (samples.len() * 2) as u32;
    let mut file = Vec::with_capacity(44 + samples.len() * 2);
    file.extend(b"RIFF");
    file.extend((36 + data_len).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend(PCM.to_le_bytes());
    file.extend(1u16.to_le_bytes());
    file.extend(RATE_HZ.to_le_bytes());
    file.extend((RATE_HZ * 2).to_le_bytes());
    file.extend(2u16.to_le_bytes());
    file.extend(16u16.to_le_bytes());
    file.extend(b"data");
    file.extend(data_len.to_le_bytes());
    for sample in samples {
        file.extend(sample.to_le_bytes());
    }
    file
}

/// The samples of a file, mono at 8000 Hz.
pub fn read(file: &[u8]) -> Result<Vec<i16>, WavError> {
    let rest = file.strip_prefix(b"RIFF").ok_or(WavError::Malformed)?;
    let mut rest = rest
        .get(4..)
        .and_then(|rest| rest.strip_prefix(b"WAVE"))
        .ok_or(WavError::Malformed)?;
    let mut layout = None;
    loop {
        let (Some(name), Some(len)) = (rest.get(..4), rest.get(4..8)) else {
            return Err(WavError::Malformed);
        };
        let len = u32::from(half(len, 0)) | u32::from(half(len, 1)) << 16;
        let body = &rest[8..];
        // Programs that write to a pipe leave the length of the data open.
        let (chunk, after) = body.split_at_checked(len as usize).unwrap_or((body, &[]));
        match name {
            b"fmt " => layout = Some(Layout::read(chunk)?),
            b"data" => return Ok(layout.ok_or(WavError::Malformed)?.to_8000(chunk)),
            _ => (),
        }
        // Chunks begin at even places.
        rest = after.get(len as usize % 2..).unwrap_or(&[]);
    }
}

fn half(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(2 * at..2 * at + 2) {
        Some([low, high]) => u16::from_le_bytes([*low, *high]),
        _ => 0,
    }
}

#[derive(Clone, Copy)]
struct Layout {
    channels: usize,
    rate_hz: u32,
}

impl Layout {
    fn read(chunk: &[u8]) -> Result<Self, WavError> {
        if chunk.len() < 16 {
            return Err(WavError::Malformed);
        }
        let format = match half(chunk, 0) {
            EXTENSIBLE => half(chunk, 12),
            format => format,
        };
        if format != PCM || half(chunk, 7) != 16 {
            return Err(WavError::NotPcm16);
        }
        let rate_hz = u32::from(half(chunk, 2)) | u32::from(half(chunk, 3)) << 16;
        let channels = usize::from(half(chunk, 1));
        if !(1..=2).contains(&channels) || !(RATE_HZ..=48_000).contains(&rate_hz) {
            return Err(WavError::Layout);
        }
        Ok(Self { channels, rate_hz })
    }

    /// Each sample is the mean of those it stands for: simple, and enough to keep the worst of
    /// what is above 4000 Hz out.
    fn to_8000(self, data: &[u8]) -> Vec<i16> {
        let mono: Vec<i32> = data
            .chunks_exact(2 * self.channels)
            .map(|frame| {
                let sum: i32 = (0..self.channels)
                    .map(|channel| i32::from(half(frame, channel) as i16))
                    .sum();
                sum / self.channels as i32
            })
            .collect();
        let (from, to) = (u64::from(self.rate_hz), u64::from(RATE_HZ));
        let count = mono.len() as u64 * to / from;
        (0..count)
            .map(|at| {
                let begin = (at * from / to) as usize;
                let end = ((at + 1) * from / to) as usize;
                let part = &mono[begin..end];
                (part.iter().sum::<i32>() / part.len() as i32) as i16
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TokenMaker;
    use crate::media::tone::{Tone, ToneMeter};

    fn file(rate_hz: u32, channels: u16, samples: &[i16]) -> Vec<u8> {
        let mut file = write(samples);
        file[22..24].copy_from_slice(&channels.to_le_bytes());
        file[24..28].copy_from_slice(&rate_hz.to_le_bytes());
        file
    }

    #[test]
    fn what_was_written_is_read() {
        let samples: Vec<i16> = Tone::sine(440.0).take(1_000).collect();
        let file = write(&samples);
        assert_eq!(file.len(), 2_044);
        assert_eq!(read(&file), Ok(samples));
    }

    #[test]
    fn every_rate_and_channel_count_keeps_the_pitch() {
        for rate_hz in [8_000u32, 16_000, 44_100, 48_000] {
            for channels in [1u16, 2] {
                let samples: Vec<i16> = (0..2 * rate_hz)
                    .map(|at| f64::from(at) * 440.0 / f64::from(rate_hz))
                    .map(|turn| ((turn * std::f64::consts::TAU).sin() * 9_000.0) as i16)
                    .flat_map(|sample| std::iter::repeat_n(sample, channels.into()))
                    .collect();
                let played = read(&file(rate_hz, channels, &samples)).unwrap();
                assert!(played.len().abs_diff(16_000) <= 1);
                let mut meter = ToneMeter::default();
                meter.hear(played);
                assert!((meter.tone().unwrap() - 440.0).abs() < 1.0);
            }
        }
    }

    #[test]
    fn other_chunks_are_passed_over_and_open_lengths_taken() {
        let mut file = write(&[1, 2, 3]);
        file.splice(12..12, *b"LIST\x03\0\0\0abc\0");
        assert_eq!(read(&file), Ok(vec![1, 2, 3]));
        let at = file.len() - 10;
        file[at..at + 4].fill(0xff);
        assert_eq!(read(&file), Ok(vec![1, 2, 3]));
    }

    #[test]
    fn what_is_not_pcm_is_refused() {
        let mut compressed = write(&[1]);
        compressed[20] = 7;
        assert_eq!(read(&compressed), Err(WavError::NotPcm16));
        assert_eq!(read(&file(96_000, 1, &[1])), Err(WavError::Layout));
        assert_eq!(read(&file(8_000, 3, &[1])), Err(WavError::Layout));
        assert_eq!(read(b"RIFFxxxxWAVE"), Err(WavError::Malformed));
        assert_eq!(read(b""), Err(WavError::Malformed));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut tokens = TokenMaker::new([2; 32]);
        for _ in 0..5_000 {
            let mut file = write(&[5; 50]);
            for _ in 0..1 + tokens.below(4) {
                let at = tokens.below(60) as usize;
                file[at] = tokens.number() as u8;
            }
            file.truncate(tokens.below(1 + file.len() as u64) as usize);
            let _ = read(&file);
        }
    }
}
