//! G.722 at 64 kbit/s (ITU-T G.722): two bands of adaptive differences, one byte for two samples of
//! 16 kHz. The variables have the names of the recommendation's blocks.
//!
//! At 8 kHz only the lower band is coded or decoded, which is the whole of what a telephone of
//! G.711 hears; so a call between the two needs no resampling filter.

/// Half of the 24 coefficients of the quadrature mirror filter; the others mirror them.
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Decision levels of the lower band's quantizer (table Q6).
const Q6: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023,
    1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];

/// Output levels of the lower band: 6 bits for the listener.
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776,
    -2400, -2032, -1688, -1360, -1040, -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280,
    11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456, 4944, 4464, 4008, 3576, 3168, 2776,
    2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];

/// Output levels of the lower band: the 4 bits that both ends adapt by.
const QM4: [i32; 16] = [
    0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584,
    1200, 0,
];

/// Output levels of the upper band.
const QM2: [i32; 4] = [-7408, -1616, 7408, 1616];

/// Steps of the lower band's scale factor, by the 4 bits (tables WL and RL42 in one).
const WL: [i32; 16] = [
    -60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60,
];

/// Steps of the upper band's scale factor (tables WH and RH2 in one).
const WH: [i32; 4] = [798, -214, 798, -214];

/// A scale factor from its logarithm.
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
    2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

/// An upper band of nothing.
const NO_UPPER_BAND: u8 = 0b1100_0000;

/// One band as both ends keep it.
#[derive(Clone, Debug)]
struct Band {
    /// The estimate of the next sample, and the part of it that the zeros give.
    s: i32,
    sz: i32,
    /// Coefficients of the poles and of the zeros.
    a: [i32; 2],
    b: [i32; 6],
    /// The latest reconstructed samples, partial ones, and differences, newest first.
    r: [i32; 2],
    p: [i32; 2],
    d: [i32; 6],
    /// The logarithm of the scale factor, and the factor.
    nb: i32,
    det: i32,
}

impl Band {
    fn new(det: i32) -> Self {
        Self {
            s: 0,
            sz: 0,
            a: [0; 2],
            b: [0; 6],
            r: [0; 2],
            p: [0; 2],
            d: [0; 6],
            nb: 0,
            det,
        }
    }

    fn lower() -> Self {
        Self::new(32)
    }

    fn upper() -> Self {
        Self::new(8)
    }

    /// Blocks LOGSCL/LOGSCH and SCALEL/SCALEH.
    fn scale(&mut self, step: i32, most: i32, shift: i32) {
        self.nb = (((self.nb * 127) >> 7) + step).clamp(0, most);
        let factor = ILB[(self.nb >> 6 & 31) as usize];
        let down = shift - (self.nb >> 11);
        self.det = if down < 0 {
            factor << -down << 2
        } else {
            factor >> down << 2
        };
    }

    /// Adapts to a quantized difference of the lower band, and scales.
    fn adapt_lower(&mut self, code: u8) {
        let code = usize::from(code >> 2 & 15);
        let d = (self.det * QM4[code]) >> 15;
        self.scale(WL[code], 18_432, 8);
        self.predict(d);
    }

    /// Adapts to a quantized difference of the upper band, and scales; the difference.
    fn adapt_upper(&mut self, code: u8) -> i32 {
        let code = usize::from(code & 3);
        let d = (self.det * QM2[code]) >> 15;
        self.scale(WH[code], 22_528, 10);
        self.predict(d);
        d
    }

    /// Block 4: the predictor.
    fn predict(&mut self, d: i32) {
        let r = saturate(self.s + d);
        let p = saturate(self.sz + d);
        let alike = |past: i32| (past < 0) == (p < 0);
        // UPPOL2
        let slope = saturate(self.a[0] << 2);
        let slope = if alike(self.p[0]) { -slope } else { slope }.min(32_767);
        let turn = if alike(self.p[1]) { 128 } else { -128 };
        let a2 = (turn + (slope >> 7) + ((self.a[1] * 32_512) >> 15)).clamp(-12_288, 12_288);
        // UPPOL1
        let turn = if alike(self.p[0]) { 192 } else { -192 };
        let most = saturate(15_360 - a2);
        let a1 = saturate(turn + ((self.a[0] * 32_640) >> 15)).clamp(-most, most);
        // UPZERO
        let step = if d == 0 { 0 } else { 128 };
        for (b, past) in self.b.iter_mut().zip(self.d) {
            let turn = if (past < 0) == (d < 0) { step } else { -step };
            *b = saturate(turn + ((*b * 32_640) >> 15));
        }
        self.a = [a1, a2];
        self.r = [r, self.r[0]];
        self.p = [p, self.p[0]];
        self.d.copy_within(..5, 1);
        self.d[0] = d;
        // FILTEP, FILTEZ and PREDIC
        let filter = |c: i32, x: i32| (c * saturate(2 * x)) >> 15;
        let sp = saturate(filter(self.a[0], self.r[0]) + filter(self.a[1], self.r[1]));
        let zeros = self.b.iter().zip(self.d);
        self.sz = saturate(zeros.map(|(b, d)| filter(*b, d)).sum());
        self.s = saturate(sp + self.sz);
    }
}

/// The filter bank's memory: pairs of samples or of bands, oldest first.
#[derive(Clone, Debug, Default)]
struct Bank([(i32, i32); 12]);

impl Bank {
    /// Takes a pair in; the two sums of the filter.
    fn filter(&mut self, pair: (i32, i32)) -> (i32, i32) {
        self.0.copy_within(1.., 0);
        self.0[11] = pair;
        let mut sums = (0, 0);
        for (n, (first, second)) in self.0.iter().enumerate() {
            sums.0 += first * QMF[n];
            sums.1 += second * QMF[11 - n];
        }
        sums
    }
}

/// Which bands there are.
#[derive(Clone, Debug)]
enum Width {
    /// Samples of 8 kHz.
    Lower,
    /// Samples of 16 kHz.
    Both { upper: Band, bank: Bank },
}

impl Width {
    fn new(rate_hz: u32) -> Self {
        if rate_hz == 8_000 {
            Self::Lower
        } else {
            Self::Both {
                upper: Band::upper(),
                bank: Bank::default(),
            }
        }
    }
}

/// Samples to bytes.
#[derive(Clone, Debug)]
pub struct Encoder {
    lower: Band,
    width: Width,
}

impl Encoder {
    /// Takes samples of 8000 Hz or of 16,000 Hz.
    pub fn new(rate_hz: u32) -> Self {
        Self {
            lower: Band::lower(),
            width: Width::new(rate_hz),
        }
    }

    /// How many bytes were made of `samples`, as far as there was room.
    pub fn encode(&mut self, samples: &[i16], bytes: &mut [u8]) -> usize {
        let Self { lower, width } = self;
        match width {
            Width::Lower => {
                for (sample, byte) in samples.iter().zip(bytes.iter_mut()) {
                    *byte = NO_UPPER_BAND | encode_lower(lower, i32::from(*sample) >> 1);
                }
                samples.len().min(bytes.len())
            }
            Width::Both { upper, bank } => {
                let (pairs, _) = samples.as_chunks::<2>();
                for ([first, second], byte) in pairs.iter().zip(bytes.iter_mut()) {
                    let (odd, even) = bank.filter(((*first).into(), (*second).into()));
                    let low = encode_lower(lower, (even + odd) >> 14);
                    *byte = encode_upper(upper, (even - odd) >> 14) << 6 | low;
                }
                pairs.len().min(bytes.len())
            }
        }
    }
}

fn encode_lower(band: &mut Band, x: i32) -> u8 {
    let e = saturate(x - band.s);
    // The complement of a negative difference: -1 is in the first interval.
    let size = if e < 0 { !e } else { e };
    let level = |q: &&i32| size >= (**q * band.det) >> 12;
    let interval = 1 + Q6.iter().take_while(level).count() as u8;
    let code = match (e < 0, interval) {
        (true, 1 | 2) => 64 - interval,
        (true, _) => 34 - interval,
        (false, _) => 62 - interval,
    };
    band.adapt_lower(code);
    code
}

fn encode_upper(band: &mut Band, x: i32) -> u8 {
    let e = saturate(x - band.s);
    let size = if e < 0 { !e } else { e };
    let outer = size >= (564 * band.det) >> 12;
    let code = match (e < 0, outer) {
        (true, true) => 0,
        (true, false) => 1,
        (false, true) => 2,
        (false, false) => 3,
    };
    band.adapt_upper(code);
    code
}

/// Bytes to samples.
#[derive(Clone, Debug)]
pub struct Decoder {
    lower: Band,
    width: Width,
}

impl Decoder {
    /// Gives samples of 8000 Hz or of 16,000 Hz.
    pub fn new(rate_hz: u32) -> Self {
        Self {
            lower: Band::lower(),
            width: Width::new(rate_hz),
        }
    }

    /// How many samples were made of `bytes`, as far as there was room.
    pub fn decode(&mut self, bytes: &[u8], samples: &mut [i16]) -> usize {
        let Self { lower, width } = self;
        match width {
            Width::Lower => {
                for (byte, sample) in bytes.iter().zip(samples.iter_mut()) {
                    *sample = saturate(decode_lower(lower, *byte) << 1) as i16;
                }
                bytes.len().min(samples.len())
            }
            Width::Both { upper, bank } => {
                let (pairs, _) = samples.as_chunks_mut::<2>();
                let room = pairs.len();
                for (byte, pair) in bytes.iter().zip(pairs) {
                    let low = decode_lower(lower, *byte);
                    let estimate = upper.s;
                    let high = estimate + upper.adapt_upper(byte >> 6);
                    let high = high.clamp(-16_384, 16_383);
                    let (second, first) = bank.filter((low + high, low - high));
                    *pair = [first, second].map(|sum| saturate(sum >> 11) as i16);
                }
                2 * bytes.len().min(room)
            }
        }
    }
}

fn decode_lower(band: &mut Band, code: u8) -> i32 {
    let d = (band.det * QM6[usize::from(code & 63)]) >> 15;
    let sample = (band.s + d).clamp(-16_384, 16_383);
    band.adapt_lower(code);
    sample
}

fn saturate(value: i32) -> i32 {
    value.clamp(i16::MIN.into(), i16::MAX.into())
}
