//! Checksums of what was spilled: XXH3, 64 bits (Yann Collet's xxHash), one per block.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The checksums of an object's blocks, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksums(Box<[u64]>);

impl Checksums {
    /// Those of `parts`, one after another, in blocks of `block_bytes`.
    pub fn of(parts: &[&[u8]], block_bytes: usize) -> Self {
        let mut builder = Builder::new(block_bytes);
        parts.iter().for_each(|part| builder.append(part));
        builder.finish()
    }

    /// Compares whole blocks, from number `first_block` on, with what they were. The first that
    /// differs is the error, counted within `bytes`.
    pub fn check(&self, first_block: usize, bytes: &[u8], block_bytes: usize) -> Result<(), usize> {
        for (index, block) in bytes.chunks(block_bytes).enumerate() {
            if self.0.get(first_block + index) != Some(&xxh3_64(block)) {
                return Err(index);
            }
        }
        Ok(())
    }
}

/// Makes checksums of bytes that come piece by piece.
pub struct Builder {
    block_bytes: usize,
    done: Vec<u64>,
    block: Box<Xxh3>,
    /// Bytes of the block that is begun.
    begun: usize,
}

impl Builder {
    /// For blocks of `block_bytes`, at least 1.
    pub fn new(block_bytes: usize) -> Self {
        Self { block_bytes: block_bytes.max(1), done: Vec::new(), block: Box::new(Xxh3::new()), begun: 0 }
    }

    /// Goes on with these bytes.
    pub fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = bytes.len().min(self.block_bytes - self.begun);
            let (now, rest) = bytes.split_at(count);
            bytes = rest;
            if count == self.block_bytes {
                self.done.push(xxh3_64(now));
                continue;
            }
            self.block.update(now);
            self.begun += count;
            if self.begun == self.block_bytes {
                self.end_block();
            }
        }
    }

    /// The checksums; the last block may be shorter.
    pub fn finish(mut self) -> Checksums {
        if self.begun > 0 {
            self.end_block();
        }
        Checksums(self.done.into())
    }

    fn end_block(&mut self) {
        self.done.push(self.block.digest());
        self.block.reset();
        self.begun = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_no_difference_and_a_flipped_bit_does() {
        let mut bytes: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(n) / 7) as u8).collect();
        let whole = Checksums::of(&[&bytes], 4096);
        // Miri is a thousand times slower.
        let sizes: &[usize] = if cfg!(miri) { &[5000] } else { &[1, 100, 4096, 5000, 99_999] };
        for &size in sizes {
            let parts: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(Checksums::of(&parts, 4096), whole, "{size}");
        }
        assert_eq!(whole.check(0, &bytes, 4096), Ok(()));
        assert_eq!(whole.check(3, &bytes[3 * 4096..], 4096), Ok(()));
        bytes[5 * 4096 + 17] ^= 4;
        assert_eq!(whole.check(0, &bytes, 4096), Err(5));
        assert_eq!(whole.check(4, &bytes[4 * 4096..], 4096), Err(1));
        assert_eq!(whole.check(24, &bytes[24 * 4096..25 * 4096 - 4000], 4096), Err(0));
        assert_eq!(Checksums::of(&[], 4096).check(0, &[], 4096), Ok(()));
    }
}
