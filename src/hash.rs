//! The hash of look-up tables: a few nanoseconds, and keyed, so that nobody can choose addresses or
//! branches that collide. Such tables are only asked, never walked through: their order is chance.

use std::hash::{BuildHasher, Hasher};

use crate::id::TokenMaker;

/// A key, drawn once for each room.
#[derive(Clone, Debug)]
pub struct Keyed {
    key: [u64; 2],
}

impl Keyed {
    /// Draws a key.
    pub fn new(tokens: &mut TokenMaker) -> Self {
        Self {
            // Odd, so that the multiplication loses nothing.
            key: [tokens.number(), tokens.number() | 1],
        }
    }
}

impl BuildHasher for Keyed {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded {
            state: self.key[0],
            key: self.key[1],
        }
    }
}

/// A state that is multiplied and folded with each word.
#[derive(Debug)]
pub struct Folded {
    state: u64,
    key: u64,
}

impl Hasher for Folded {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u16(&mut self, n: u16) {
        self.write_u64(u64::from(n));
    }

    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }

    fn write_u64(&mut self, n: u64) {
        let wide = u128::from(self.state ^ n) * u128::from(self.key);
        self.state = (wide as u64) ^ ((wide >> 64) as u64);
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn finish(&self) -> u64 {
        let wide = u128::from(self.state) * u128::from(self.key.rotate_left(32) | 1);
        (wide as u64) ^ ((wide >> 64) as u64)
    }
}
