//! Output that floods, or that is meant for somebody's terminal.
use engine::prelude::*;
use serde_json::{Value as Json, json};
use std::io::Write;

/// Writes this to both streams, and as a record.
#[engine::task]
pub fn speak(text: String, record: String) {
    println!("{text}");
    eprintln!("{text}");
    engine::log::warn!("{record}");
}

/// Has a task of this name write it.
pub fn say(name: &str, text: &str, record: &str) -> Result<Json> {
    speak::options().name(name).spawn(text, record)?.get()?;
    println!("{text}");
    Ok(json!({}))
}

/// Fails with this.
pub fn fail(kind: &str, message: &str) -> Result<Json> {
    Err(Failure::new(kind, message))?
}

/// Logs so many records without a word, from a target of so many bytes.
pub fn records(count: u64, target_bytes: u64) -> Result<Json> {
    let target = "t".repeat(target_bytes as usize);
    for _ in 0..count {
        engine::log::info!(target: target.as_str(), "");
    }
    Ok(json!({ "records": count }))
}

/// Writes these bytes to standard output.
pub fn bytes(bytes: &[Json]) -> Result<Json> {
    let bytes: Vec<u8> = bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok()).collect();
    std::io::stdout().write_all(&bytes).context("it is written")?;
    println!();
    Ok(json!({}))
}
