//! The three kinds of tasks.
use crate::counter::{Counter, Counts, Seen};
use crate::files::{self, File};
use crate::top::{self, Entry};
use engine::prelude::*;
use serde::{Deserialize, Serialize};
use std::io::Read;

/// Into how many parts the words are dealt; each is reduced by a task of its own.
pub const PARTS: usize = 8;

/// What a part comes to.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part {
    pub seen: Seen,
    pub words: u64,
    pub distinct: u64,
    pub top: Vec<Entry>,
}

/// Lists the files of some trees.
#[engine::task]
pub fn list(directories: Vec<String>) -> Result<Vec<File>> {
    let mut files = Vec::new();
    for directory in directories {
        files.extend(files::list_tree(directory)?);
    }
    Ok(files)
}

/// Counts the words of some files, in as many parts; what was seen is in the first.
#[engine::task(num_returns = PARTS)]
pub fn map(files: Vec<File>) -> Vec<Counts> {
    let mut counter = Counter::default();
    let mut seen = Seen::default();
    let mut text = Vec::new();
    for file in files {
        match read(&file, &mut text) {
            Ok(()) => {
                seen.files += 1;
                seen.bytes += text.len() as u64;
                counter.add_text(&mut text);
            }
            Err(error) => engine::log::warn!("{} cannot be read ({error}); left out", file.path),
        }
    }
    let mut parts = counter.into_parts(PARTS);
    parts[0].seen = seen;
    parts
}

/// Adds up the counts of one part.
#[engine::task]
pub fn reduce(parts: Vec<ObjectRef<Counts>>) -> Result<Part> {
    /// So many are in memory at once.
    const PARTS_READ_MAX: usize = 64;
    let mut counter = Counter::default();
    let mut seen = Seen::default();
    for parts in parts.chunks(PARTS_READ_MAX) {
        for counts in engine::get_all(parts)? {
            counter.add_counts(&counts);
            seen += counts.seen;
        }
    }
    Ok(Part { seen, words: counter.total(), distinct: counter.distinct(), top: top::of(counter.iter()) })
}

/// Reads a whole file into `text`, in as few calls of the host as can be.
fn read(file: &File, text: &mut Vec<u8>) -> std::io::Result<()> {
    text.clear();
    text.resize(file.size as usize, 0);
    let mut from = std::fs::File::open(&file.path)?;
    let mut filled = 0;
    while filled < text.len() {
        match from.read(&mut text[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    text.truncate(filled);
    Ok(())
}
