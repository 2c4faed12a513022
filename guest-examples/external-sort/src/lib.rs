//! Sorts numbers that take several times the memory of the object store.
//!
//! `engine submit external_sort.wasm -- [TOTAL_MIB] [CHUNK_MIB]`
//!
//! A sample sort: chunks of numbers are made, each is split by bounds that a sample of all of them
//! gives, and each range is gathered from every chunk and sorted. No task holds more than a few chunks;
//! what memory has no room for lies on disk meanwhile.

use engine::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

const NUMBER_BYTES: usize = 8;
/// Numbers of each chunk that the bounds are taken from.
const SAMPLE: u64 = 512;

/// One chunk, split by the bounds.
#[derive(Serialize, Deserialize)]
struct Split {
    parts: Vec<ObjectRef<Bytes>>,
    sum: u64,
}

/// One range of the result.
#[derive(Serialize, Deserialize)]
struct Sorted {
    numbers: ObjectRef<Bytes>,
    count: u64,
    sum: u64,
}

#[engine::task]
fn generate(seed: u64, count: u64) -> Bytes {
    let mut random = fastrand::Rng::with_seed(seed);
    packed((0..count).map(|_| random.u64(..)))
}

/// Part `i` has the numbers below bound `i` and not below the one before it.
#[engine::task]
fn split(chunk: Bytes, bounds: Vec<u64>) -> Result<Split> {
    let mut parts: Vec<Vec<u8>> = (0..=bounds.len()).map(|_| Vec::new()).collect();
    let mut sum = 0_u64;
    for number in unpacked(&chunk) {
        let part = bounds.partition_point(|bound| *bound <= number);
        parts[part].extend(number.to_le_bytes());
        sum = sum.wrapping_add(number);
    }
    drop(chunk);
    let parts = parts.into_iter().map(|part| engine::put(&Bytes::from(part))).collect::<Result<_>>()?;
    Ok(Split { parts, sum })
}

/// Sorts one range out of all chunks.
#[engine::task]
fn merge(parts: Vec<ObjectRef<Bytes>>) -> Result<Sorted> {
    let mut numbers = Vec::new();
    for part in &parts {
        numbers.extend(unpacked(&part.get()?));
    }
    numbers.sort_unstable();
    let sum = numbers.iter().fold(0, |sum: u64, number| sum.wrapping_add(*number));
    let count = numbers.len() as u64;
    let numbers = engine::put(&packed(numbers.into_iter()))?;
    Ok(Sorted { numbers, count, sum })
}

#[engine::main]
fn main(args: Vec<String>) -> Result<()> {
    let total: u64 = args.first().map_or(Ok(256), |text| text.parse()).context("TOTAL_MIB")?;
    let chunk: u64 = args.get(1).map_or(Ok(16), |text| text.parse()).context("CHUNK_MIB")?;
    engine::ensure!(chunk >= 1 && total >= chunk, "CHUNK_MIB is at least 1 and at most TOTAL_MIB");
    let chunk_bytes = chunk << 20;
    let (chunks, per_chunk) = (total / chunk, chunk_bytes / NUMBER_BYTES as u64);
    println!("sorting {} numbers in {chunks} chunks of {chunk} MiB", chunks * per_chunk);

    // What is read, what is made of it, and as much again while vectors grow.
    let memory = (32 << 20) + 6 * chunk_bytes;
    let made: Vec<ObjectRef<Bytes>> = (0..chunks)
        .map(|seed| generate::options().memory(memory).spawn(seed, per_chunk))
        .collect::<Result<_>>()?;
    let bounds = bounds(&made, chunks)?;

    let split: Vec<ObjectRef<Split>> = made
        .into_iter()
        .map(|chunk| split::options().memory(memory).spawn(chunk, bounds.clone()))
        .collect::<Result<_>>()?;
    let mut ranges: Vec<Vec<ObjectRef<Bytes>>> = (0..chunks).map(|_| Vec::new()).collect();
    let mut sum = 0_u64;
    for split in split {
        let split = split.get()?;
        sum = sum.wrapping_add(split.sum);
        for (range, part) in ranges.iter_mut().zip(split.parts) {
            range.push(part);
        }
    }

    let merged: Vec<ObjectRef<Sorted>> = ranges
        .into_iter()
        .map(|parts| merge::options().memory(memory).spawn(parts))
        .collect::<Result<_>>()?;
    let sorted: Vec<Sorted> = merged.into_iter().map(|sorted| sorted.get()).collect::<Result<_>>()?;

    check_order(&sorted)?;
    let count: u64 = sorted.iter().map(|range| range.count).sum();
    let sum_after = sorted.iter().fold(0, |sum: u64, range| sum.wrapping_add(range.sum));
    let is_same = count == chunks * per_chunk && sum_after == sum;
    engine::ensure!(is_same, "the numbers that came back are not those that went");
    println!(
        "{}",
        json!({ "bytes": count * NUMBER_BYTES as u64, "count": count, "chunks": chunks, "sorted": true })
    );
    Ok(())
}

/// Where to split, so that every range has about as many numbers as a chunk: from the first numbers of
/// each chunk, of which nothing else is read.
fn bounds(chunks: &[ObjectRef<Bytes>], ranges: u64) -> Result<Vec<u64>> {
    let mut sample = Vec::new();
    for chunk in chunks {
        sample.extend(unpacked(&Bytes::from(chunk.read(0, SAMPLE * NUMBER_BYTES as u64)?)));
    }
    sample.sort_unstable();
    Ok((1..ranges).map(|range| sample[sample.len() * range as usize / ranges as usize]).collect())
}

/// Each range ends below the beginning of the next.
fn check_order(ranges: &[Sorted]) -> Result<()> {
    let mut last = 0;
    for range in ranges.iter().filter(|range| range.count > 0) {
        let numbers = &range.numbers;
        let end = (range.count - 1) * NUMBER_BYTES as u64;
        let at = |offset| -> Result<u64> {
            let bytes = Bytes::from(numbers.read(offset, NUMBER_BYTES as u64)?);
            unpacked(&bytes).next().context("a number that is there")
        };
        engine::ensure!(at(0)? >= last, "a range begins before the one in front of it ends");
        last = at(end)?;
    }
    Ok(())
}

fn packed(numbers: impl Iterator<Item = u64>) -> Bytes {
    let mut bytes = Vec::with_capacity(numbers.size_hint().0 * NUMBER_BYTES);
    numbers.for_each(|number| bytes.extend(number.to_le_bytes()));
    Bytes::from(bytes)
}

fn unpacked(bytes: &Bytes) -> impl ExactSizeIterator<Item = u64> {
    let (numbers, _) = bytes.as_chunks::<NUMBER_BYTES>();
    numbers.iter().map(|&number| u64::from_le_bytes(number))
}
