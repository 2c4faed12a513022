//! Tasks that end in every way a guest can end badly, and a neighbour who counts.
use engine::prelude::*;
use serde_json::{Value as Json, json};
use std::hint::black_box;

/// Tasks that are waited for at once.
const BATCH: u64 = 500;
/// What is behind the end of any memory here.
const OUTSIDE: usize = 0xffff_fff0;

/// How many ways there are.
const WAYS: u64 = 8;

/// Ends badly, in one of the ways.
#[engine::task(memory = 33_554_432)]
pub fn trap(way: u64) -> Result<u64> {
    match way % WAYS {
        0 => std::process::abort(),
        1 => panic!("on purpose"),
        // SAFETY: there is none, and that is the point: the sandbox is to trap.
        2 => Ok(unsafe { std::ptr::read_volatile(OUTSIDE as *const u64) }),
        3 => {
            // SAFETY: as above.
            unsafe { std::ptr::write_volatile(OUTSIDE as *mut u64, 7) };
            Ok(0)
        }
        4 => Ok(deeper(way)),
        5 => {
            // SAFETY: as above: the table of functions has no such entry.
            let nobody: fn() -> u64 = unsafe { std::mem::transmute(black_box(0x7fff_ffff_usize)) };
            Ok(nobody())
        }
        6 => {
            let mut kept = Vec::new();
            loop {
                kept.push(black_box(vec![1_u8; 4 << 20]));
            }
        }
        _ => std::process::exit(3),
    }
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "that is what it is for")]
fn deeper(depth: u64) -> u64 {
    let page = black_box([depth; 512]);
    black_box(deeper(depth + 1)) + page[0]
}

/// Ends badly so many times; how often it was told why.
pub fn many(count: u64) -> Result<Json> {
    let mut told = 0;
    let mut other = Vec::new();
    for first in (0..count).step_by(BATCH as usize) {
        let ways: Vec<u64> = (first..(first + BATCH).min(count)).collect();
        let refs = ways.iter().map(|way| trap::spawn(*way)).collect::<Result<Vec<_>>>()?;
        for (way, trapped) in ways.iter().zip(refs) {
            let expected = match way % WAYS {
                6 => "OUT_OF_MEMORY",
                7 => "TASK_FAILED",
                _ => "TRAPPED",
            };
            match trapped.get() {
                Err(error) if error.code().as_str() == expected => told += 1,
                Err(error) => other.push(json!([way % WAYS, crate::shown(&error)])),
                Ok(value) => other.push(json!([way % WAYS, value])),
            }
        }
        other.truncate(10);
    }
    Ok(json!({ "told": told, "other": other }))
}

/// One of many parts of a sum.
#[engine::task]
pub fn part(from: u64, to: u64) -> u64 {
    (from..to).map(black_box).sum()
}

/// Sums up in so many tasks; all of them have to be right.
pub fn honest(count: u64) -> Result<Json> {
    let mut right = 0;
    for first in (0..count).step_by(BATCH as usize) {
        let ranges: Vec<u64> = (first..(first + BATCH).min(count)).collect();
        let refs = ranges.iter().map(|n| part::spawn(*n, n + 1_000)).collect::<Result<Vec<_>>>()?;
        for (n, sum) in ranges.iter().zip(engine::get_all(&refs)?) {
            right += u64::from(sum == (*n..n + 1_000).sum::<u64>());
        }
    }
    Ok(json!({ "right": right }))
}
