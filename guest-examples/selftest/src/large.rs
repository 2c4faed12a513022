//! Many things, and large ones.
use engine::Varargs;
use engine::prelude::*;
use serde_json::{Value as Json, json};
use std::io::Write;

/// The sum of any number of arguments.
#[engine::task(memory = 256 << 20)]
pub fn total(first: u64, others: Varargs<u64>) -> u64 {
    first + others.into_iter().sum::<u64>()
}

/// Byte `index` of what [`write_in_pieces`] writes.
fn byte(index: u64) -> u8 {
    (index ^ (index >> 8) ^ (index >> 16) ^ (index >> 24)) as u8
}

/// Writes an object that the guest never holds whole, and reads parts of it.
pub fn write_in_pieces(bytes: u64, piece_bytes: u64) -> Result<Json> {
    let mut writer = engine::ObjectWriter::new();
    let mut piece = Vec::with_capacity(piece_bytes as usize);
    let mut written = 0;
    while written < bytes {
        let end = bytes.min(written + piece_bytes);
        piece.clear();
        piece.extend((written..end).map(byte));
        writer.write_all(&piece)?;
        written = end;
    }
    let object = writer.finish()?;
    let size = object.metadata()?.size;
    let mut wrong = 0;
    let mut read = 0;
    // The beginning, the end, and places in between that lie across the edges of pages and blocks.
    let mut offsets = vec![0, bytes.saturating_sub(5_000)];
    offsets.extend((1..64).map(|part| bytes / 64 * part));
    for offset in offsets {
        let part = object.read(offset, 5_000)?;
        read += part.len();
        wrong += (offset..).zip(&part).filter(|(index, found)| byte(*index) != **found).count();
    }
    Ok(json!({ "size": size, "read": read, "wrong": wrong, "past_the_end": object.read(bytes, 10)?.len() }))
}

/// Why an object that is larger than this task's memory cannot be read in one piece.
#[engine::task(memory = 16 << 20)]
pub fn read_at_once(object: Vec<ObjectRef<Bytes>>) -> Result<String> {
    let object = object.first().context("there is no object")?;
    let error = object.read(0, u64::MAX).err().context("it was read")?;
    Ok(error.code().to_string())
}

/// Leaves an object that is larger than memory to a task that wants all of it.
pub fn read_too_much(bytes: u64) -> Result<Json> {
    let mut writer = engine::ObjectWriter::new();
    let piece = vec![7; 1 << 20];
    for _ in 0..bytes >> 20 {
        writer.write_all(&piece)?;
    }
    let code = read_at_once::spawn(vec![writer.finish()?])?.get()?;
    Ok(json!({ "code": code }))
}

/// One task with so many arguments, each an object.
pub fn many_arguments(count: u64) -> Result<Json> {
    let numbers = (0..count).map(|number| engine::put(&number)).collect::<Result<Vec<_>>>()?;
    let first = numbers.first().context("there is no argument")?;
    Ok(json!({ "total": total::spawn(first, &numbers[1..])?.get()? }))
}

/// One get of so many objects.
pub fn get_many(count: u64) -> Result<Json> {
    let numbers = (0..count).map(|number| engine::put(&number)).collect::<Result<Vec<_>>>()?;
    let got = engine::get_all(&numbers)?;
    let wrong = (0..count).zip(&got).filter(|(expected, found)| expected != *found).count();
    Ok(json!({ "got": got.len(), "wrong": wrong }))
}

/// So many small objects alive at once, each read.
pub fn small_objects(count: u64) -> Result<Json> {
    let numbers = (0..count).map(|number| engine::put(&number)).collect::<Result<Vec<_>>>()?;
    let mut wrong = 0;
    for (number, object) in (0..count).zip(&numbers) {
        wrong += usize::from(object.get()? != number);
    }
    Ok(json!({ "objects": numbers.len(), "wrong": wrong }))
}
