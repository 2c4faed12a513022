//! Delays of a data centre's network, and the random numbers that they are drawn with.

use std::collections::HashMap;

use engine_core::Time;

/// Round trips between servers of different pods of one data centre, in microseconds, by the part of them
/// that is faster: Guo and others, "Pingmesh: A Large-Scale System for Data Center Network Latency
/// Measurement and Analysis", SIGCOMM 2015, section 4 (data centre DC1): P50 268 us, P99 1.34 ms, P99.9
/// 23.35 ms. The fastest and the slowest are assumptions; between points the logarithm is interpolated.
const ROUND_TRIPS: [(f64, f64); 5] =
    [(0.0, 100.0), (0.5, 268.0), (0.99, 1_340.0), (0.999, 23_350.0), (1.0, 100_000.0)];

/// Random numbers that follow from a seed (SplitMix64).
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Nanoseconds that a packet takes one way: half of a round trip.
    pub fn delay(&mut self) -> u64 {
        let part = self.part();
        let above = ROUND_TRIPS.iter().position(|(to, _)| part <= *to).unwrap_or(1).max(1);
        let ((from, low), (to, high)) = (ROUND_TRIPS[above - 1], ROUND_TRIPS[above]);
        let micros = low * (high / low).powf((part - from) / (to - from));
        (micros * 500.0) as u64
    }
}

/// The lines between all, each of which keeps its order, as TCP does.
pub struct Network {
    random: Random,
    last: HashMap<(u32, u32), u64>,
}

/// The head, as an end of a line.
pub const HEAD: u32 = u32::MAX;

impl Network {
    pub fn new(seed: u64) -> Self {
        Self { random: Random(seed), last: HashMap::new() }
    }

    /// When something arrives that is sent now.
    pub fn arrival(&mut self, now: Time, from: u32, to: u32) -> Time {
        let last = self.last.entry((from, to)).or_default();
        *last = (*last + 1).max(now.0 + self.random.delay());
        Time(*last)
    }
}
