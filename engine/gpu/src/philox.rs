//! Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): random bits from a
//! seed and a place, without a state. The shaders and CUDA kernels have the same function.

const MULTIPLY_A: u32 = 0xD251_1F53;
const MULTIPLY_B: u32 = 0xCD9E_8D57;
const KEY_A: u32 = 0x9E37_79B9;
const KEY_B: u32 = 0xBB67_AE85;
const ROUNDS: u32 = 10;

/// Four times 32 bits.
pub(crate) fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let product = |a: u32, b: u32| {
        let wide = u64::from(a) * u64::from(b);
        ((wide >> 32) as u32, wide as u32)
    };
    let (mut at, mut key) = (counter, key);
    for _ in 0..ROUNDS {
        let (high_a, low_a) = product(MULTIPLY_A, at[0]);
        let (high_b, low_b) = product(MULTIPLY_B, at[2]);
        at = [high_b ^ at[1] ^ key[0], low_b, high_a ^ at[3] ^ key[1], low_a];
        key = [key[0].wrapping_add(KEY_A), key[1].wrapping_add(KEY_B)];
    }
    at
}

/// The four numbers of elements `4 · group` to `4 · group + 3`.
pub(crate) fn group_bits(seed: u64, group: u64) -> [u32; 4] {
    philox([group as u32, (group >> 32) as u32, 0, 0], [seed as u32, (seed >> 32) as u32])
}

/// 24 bits as a number from 0 up to, without, 1: exact.
pub(crate) fn unit(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that the authors publish with their code.
    #[test]
    fn known_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }
}
