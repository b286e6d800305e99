//! Replays the fuzz corpora, and changes them a little by dice: what `scripts/fuzz` does for
//! hours, in a second and the same each time.

use std::path::Path;

use crate::bodies::{Body, TARGETS};
use offhook::id::TokenMaker;

/// Changed inputs per file of a corpus; `FUZZ=` says another number.
const CHANGED: u64 = 3;

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect()
}

fn replay(name: &str) {
    let body = TARGETS
        .iter()
        .find(|(target, _)| *target == name)
        .unwrap()
        .1;
    let files = corpus(name);
    assert!(!files.is_empty(), "{name} has no corpus");
    for (path, bytes) in &files {
        attempt(body, name, path, bytes);
    }
    let changed = std::env::var("FUZZ").ok().and_then(|n| n.parse().ok());
    let first: u64 = std::env::var("SEED")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    for round in first..first + changed.unwrap_or(CHANGED) {
        for (n, (path, bytes)) in files.iter().enumerate() {
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&round.to_be_bytes());
            seed[8..16].copy_from_slice(&(n as u64).to_be_bytes());
            let mut dice = TokenMaker::new(seed);
            let mut bytes = bytes.clone();
            for _ in 0..1 + dice.below(4) {
                change(&mut bytes, &files, &mut dice);
            }
            attempt(body, name, &format!("{path} round {round}"), &bytes);
        }
    }
}

/// Keeps the input that fails, so that it can join the corpus.
fn attempt(body: Body, target: &str, name: &str, bytes: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| body(bytes)) {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("finding-{target}"));
        std::fs::write(&kept, bytes).unwrap();
        eprintln!("{name}: the input is in {}", kept.display());
        std::panic::resume_unwind(panic);
    }
}

fn change(bytes: &mut Vec<u8>, files: &[(String, Vec<u8>)], dice: &mut TokenMaker) {
    let words: [&[u8]; 8] = [
        b"",
        b"\0",
        b"\r\n",
        b"\xff\xff",
        b"0",
        b"-1",
        b"4294967296",
        b" ",
    ];
    let mut place = |bytes: &[u8]| dice.below(bytes.len() as u64 + 1) as usize;
    let at = place(bytes);
    let end = (at + place(bytes) % 40).min(bytes.len());
    match dice.below(6) {
        0 if at < bytes.len() => bytes[at] = dice.below(256) as u8,
        0 | 1 => drop(bytes.drain(at..end)),
        2 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        3 => {
            let word = words[dice.below(words.len() as u64) as usize];
            bytes.splice(at..end, word.iter().copied());
        }
        4 => {
            let other = &files[dice.below(files.len() as u64) as usize].1;
            let from = dice.below(other.len() as u64 + 1) as usize;
            let to = (from + dice.below(60) as usize).min(other.len());
            bytes.splice(at..end, other[from..to].iter().copied());
        }
        _ => bytes.truncate(at.max(1)),
    }
}

macro_rules! replays {
    ($($test:ident $name:literal,)*) => {
        $(#[test] fn $test() { replay($name); })*

        #[test]
        fn every_target_is_replayed() {
            assert_eq!([$($name),*], TARGETS.map(|(name, _)| name));
        }
    };
}

replays! {
    the_stanza_corpus_is_harmless "stanza",
    the_mix_corpus_is_harmless "mix",
    the_sip_message_corpus_is_harmless "sip_message",
    the_sip_stream_corpus_is_harmless "sip_stream",
    the_sdp_corpus_is_harmless "sdp",
    the_rtp_corpus_is_harmless "rtp",
    the_stun_corpus_is_harmless "stun",
    the_world_corpus_is_harmless "world",
}
