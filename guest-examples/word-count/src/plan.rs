//! The order of the work: list, map as the lists come in, reduce.
use crate::counter::{Counts, Seen};
use crate::files::{self, Dealer, File};
use crate::options::Options;
use crate::stages::{self, PARTS, Part};
use crate::top;
use engine::prelude::*;
use serde_json::json;
use std::collections::VecDeque;

/// What a listing task is given at least, where the tree has so much.
const DIRECTORIES_WANTED: usize = 64;
/// And into how many tasks the directories are dealt.
const LIST_TASKS_MAX: usize = 16;

/// What the whole tree comes to.
#[derive(Debug, Default)]
pub struct Totals {
    parts: Vec<Part>,
    tasks: u64,
}

/// The references to the parts that one map task makes.
type Mapped = Vec<ObjectRef<Counts>>;

/// Counts the tree.
///
/// # Errors
/// When a directory cannot be read, or a task fails.
pub fn count(options: &Options) -> Result<Totals> {
    let mut totals = Totals::default();
    let maps = spawn_maps(options, &mut totals.tasks)?;
    // The reducing tasks would wait, too, but hold memory meanwhile.
    let firsts: Vec<_> = maps.iter().filter_map(|parts| parts.first().cloned()).collect();
    engine::wait(&firsts, firsts.len(), None)?;
    let mut by_part: Vec<Mapped> = vec![Vec::new(); PARTS];
    for parts in maps {
        for (all, part) in by_part.iter_mut().zip(parts) {
            all.push(part);
        }
    }
    let reduced = by_part.into_iter().map(stages::reduce::spawn).collect::<Result<Vec<_>>>()?;
    totals.tasks += reduced.len() as u64;
    totals.parts = engine::get_all(&reduced)?;
    Ok(totals)
}

/// Spawns the listing tasks, and a map task whenever files enough are known.
fn spawn_maps(options: &Options, tasks: &mut u64) -> Result<Vec<Mapped>> {
    let (directories, files) = first_levels(&options.root)?;
    let mut maps = Vec::new();
    let mut dealer = Dealer::default();
    let mut spawn = |files: Option<Vec<File>>| -> Result<()> {
        if let Some(files) = files {
            maps.push(stages::map::spawn(files)?);
        }
        Ok(())
    };
    let shares = shares(directories, LIST_TASKS_MAX);
    let mut lists = shares.into_iter().map(stages::list::spawn).collect::<Result<Vec<_>>>()?;
    *tasks += lists.len() as u64;
    for file in files {
        spawn(dealer.deal(file, options.tasks_bytes))?;
    }
    while !lists.is_empty() {
        let (ready, rest) = engine::wait(&lists, 1, None)?;
        for file in engine::get_all(&ready)?.into_iter().flatten() {
            spawn(dealer.deal(file, options.tasks_bytes))?;
        }
        lists = rest;
    }
    spawn(dealer.rest())?;
    *tasks += maps.len() as u64;
    Ok(maps)
}

/// Goes down from the root until there are directories enough to be listed side by side; gives them
/// and the files met on the way.
fn first_levels(root: &str) -> Result<(Vec<String>, Vec<File>)> {
    let mut files = Vec::new();
    let mut pending = VecDeque::from([root.to_owned()]);
    while pending.len() < DIRECTORIES_WANTED {
        let Some(directory) = pending.pop_front() else { break };
        let listing = files::list(&directory)?;
        files.extend(listing.files);
        pending.extend(listing.directories);
    }
    Ok((pending.into(), files))
}

/// Deals the directories out evenly, neighbours to different shares.
fn shares(directories: Vec<String>, shares_max: usize) -> Vec<Vec<String>> {
    let mut shares = vec![Vec::new(); directories.len().min(shares_max)];
    let count = shares.len();
    for (index, directory) in directories.into_iter().enumerate() {
        shares[index % count].push(directory);
    }
    shares
}

impl Totals {
    /// The most frequent words, and the totals as a JSON object on the last line.
    ///
    /// # Errors
    /// When the totals do not encode.
    pub fn report(&self) -> Result<String> {
        let words =
            self.parts.iter().flat_map(|part| &part.top).map(|entry| (entry.word.as_str(), entry.count));
        let mut seen = Seen::default();
        self.parts.iter().for_each(|part| seen += part.seen);
        let totals = json!({
            "files": seen.files,
            "bytes": seen.bytes,
            "words": self.parts.iter().map(|part| part.words).sum::<u64>(),
            "distinct": self.parts.iter().map(|part| part.distinct).sum::<u64>(),
            "tasks": self.tasks,
        });
        Ok(format!("{}{totals}\n", top::table(&top::of(words))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_dealt_out_evenly() {
        let names = |count| (0..count).map(|n: u32| n.to_string()).collect::<Vec<_>>();
        let dealt: Vec<usize> = shares(names(10), 4).iter().map(Vec::len).collect();
        assert_eq!(dealt, [3, 3, 2, 2]);
        assert_eq!(shares(names(2), 4).len(), 2);
        assert!(shares(names(0), 4).is_empty());
    }
}
