//! A task that looks for what another tenant had in memory.
//!
//! What is looked for is never in the memory of who looks: it is compared through a mask, so that a find is one.
use core::arch::wasm32::{memory_grow, memory_size};
use engine::prelude::*;
use serde_json::{Value as Json, json};
use std::hint::black_box;

const PAGE_BYTES: usize = 64 << 10;
/// By which what is looked for is masked.
const MASK: u64 = 0x5a5a_5a5a_a5a5_a5a5;
/// Tasks that are waited for at once.
const BATCH: u64 = 500;
/// Bytes of an object that fills no page of the machine to its end, and is large enough to be mapped.
const ODD_BYTES: usize = (1 << 20) + 77;
/// Tasks of which one looks at an object too.
const OBJECT_EVERY: u64 = 20;

/// New pages, as words.
fn grow(pages: usize) -> Option<&'static mut [u64]> {
    let before = memory_grow::<0>(pages);
    if before == usize::MAX {
        return None;
    }
    // SAFETY: these pages are new, and nobody else has them.
    Some(unsafe { std::slice::from_raw_parts_mut((before * PAGE_BYTES) as *mut u64, pages * PAGE_BYTES / 8) })
}

/// Fills new memory and an object with the secret, and ends well, by a trap, or by a failure.
#[engine::task]
pub fn fill(masked: u64, turn: u64) -> Result<Bytes> {
    if let Some(words) = grow(16) {
        for word in &mut *words {
            *word = masked ^ black_box(MASK);
        }
        black_box(&words);
    }
    match turn % 5 {
        0 => std::process::abort(),
        1 => Err(Failure::new("Ends", "with memory full of it"))?,
        2 => {
            let word = (masked ^ black_box(MASK)).to_le_bytes();
            Ok(Bytes::from(word.repeat((ODD_BYTES + 4 * PAGE_BYTES) / 8)))
        }
        _ => Ok(Bytes::from(Vec::new())),
    }
}

/// Fills memory so many times; how many ended as they should.
pub fn fill_many(count: u64, masked: u64) -> Result<Json> {
    let mut ended = 0;
    for first in (0..count).step_by(BATCH as usize) {
        let turns: Vec<u64> = (first..(first + BATCH).min(count)).collect();
        let refs = turns.iter().map(|turn| fill::spawn(masked, *turn)).collect::<Result<Vec<_>>>()?;
        for (turn, filled) in turns.iter().zip(refs) {
            let is_as_expected = match (turn % 5, filled.get()) {
                (0, Err(error)) => error.code().as_str() == "TRAPPED",
                (1, Err(error)) => error.kind() == Some("Ends"),
                (2..5, Ok(_)) => true,
                _ => false,
            };
            ended += u64::from(is_as_expected);
        }
    }
    Ok(json!({ "ended": ended }))
}

/// How often the secret is in the whole of this sandbox's memory, and how many words of fresh pages are not zero.
#[engine::task]
pub fn search(masked: u64, turn: u64, object: Option<Bytes>) -> (u64, u64) {
    black_box(&object);
    let fresh = grow(2 + (turn % 6) as usize);
    let dirty = fresh.map_or(0, |words| words.iter().filter(|word| **word != 0).count() as u64);
    let bytes = memory_size::<0>() * PAGE_BYTES;
    let found = (8..bytes)
        .step_by(8)
        .filter(|at| {
            // SAFETY: it lies within the memory, and any eight bytes are a number.
            let word = unsafe { std::ptr::read_volatile(*at as *const u64) };
            word ^ MASK == masked
        })
        .count();
    (found as u64, dirty)
}

/// Looks so many times; what was found.
pub fn search_many(count: u64, masked: u64) -> Result<Json> {
    let (mut found, mut dirty, mut looked) = (0, 0, 0);
    for first in (0..count).step_by(BATCH as usize) {
        let mut refs = Vec::new();
        for turn in first..(first + BATCH).min(count) {
            refs.push(match turn % OBJECT_EVERY {
                // Its last page is not full: what lies behind it?
                0 => search::spawn(masked, turn, &Some(Bytes::from(vec![1_u8; ODD_BYTES])))?,
                _ => search::spawn(masked, turn, &None)?,
            });
        }
        for (more, words) in engine::get_all(&refs)? {
            found += more;
            dirty += words;
            looked += 1;
        }
    }
    Ok(json!({ "looked": looked, "found": found, "dirty": dirty }))
}
