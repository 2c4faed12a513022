//! Which files are counted: walking the tree, and dealing files out to tasks.
use engine::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// The extensions of the files that are counted.
pub const EXTENSIONS: [&str; 6] = ["rs", "md", "txt", "toml", "c", "h"];

/// A file to be counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    pub path: String,
    /// Bytes, when it was listed.
    pub size: u64,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub struct Listing {
    pub directories: Vec<String>,
    pub files: Vec<File>,
}

/// Lists one directory. What cannot be read is left out with a warning.
///
/// # Errors
/// When the directory itself cannot be read.
pub fn list(directory: &str) -> Result<Listing> {
    let entries = fs::read_dir(directory).context(format_args!(
        "reading the directory {directory} (is it granted, with --dir HOST_DIR::{directory}?)"
    ))?;
    let mut listing = Listing::default();
    for entry in entries {
        let entry = entry.context(format_args!("reading the directory {directory}"))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            engine::log::warn!("a name in {directory} is not text; left out");
            continue;
        };
        let path = format!("{}/{name}", directory.trim_end_matches('/'));
        // Of the link itself, where there is one.
        let Ok(kind) = entry.file_type() else {
            engine::log::warn!("{path} cannot be looked at; left out");
            continue;
        };
        if kind.is_dir() {
            listing.directories.push(path);
        } else if kind.is_file() && is_counted(name) {
            match entry.metadata() {
                Ok(metadata) => listing.files.push(File { path, size: metadata.len() }),
                Err(error) => engine::log::warn!("{path} cannot be looked at ({error}); left out"),
            }
        }
    }
    Ok(listing)
}

/// Lists a whole tree.
///
/// # Errors
/// When a directory cannot be read.
pub fn list_tree(directory: String) -> Result<Vec<File>> {
    let mut files = Vec::new();
    let mut pending = vec![directory];
    while let Some(directory) = pending.pop() {
        let listing = list(&directory)?;
        files.extend(listing.files);
        pending.extend(listing.directories);
    }
    Ok(files)
}

fn is_counted(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
}

/// Deals files out to tasks: gathers them until there are bytes enough for one.
#[derive(Default)]
pub struct Dealer {
    files: Vec<File>,
    bytes: u64,
}

/// A task has no more files than this, however small they are.
const FILES_PER_TASK_MAX: usize = 4096;

impl Dealer {
    /// Takes one more file, and gives the next task's when they are enough.
    pub fn deal(&mut self, file: File, tasks_bytes: u64) -> Option<Vec<File>> {
        self.bytes += file.size;
        self.files.push(file);
        let is_enough = self.bytes >= tasks_bytes || self.files.len() >= FILES_PER_TASK_MAX;
        if is_enough { self.rest() } else { None }
    }

    /// The files that were not enough for a task.
    pub fn rest(&mut self) -> Option<Vec<File>> {
        self.bytes = 0;
        let files = std::mem::take(&mut self.files);
        (!files.is_empty()).then_some(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_extensions_of_the_list_are_counted() {
        let counted = ["a.rs", "b.c.h", "README.md"];
        let other = ["a.RS", "rs", ".md", "a.rs.bak", "Cargo.lock", "noext"];
        assert!(counted.iter().all(|name| is_counted(name)));
        assert!(!other.iter().any(|name| is_counted(name)));
    }

    #[test]
    fn files_are_dealt_out_until_there_is_enough_for_a_task() {
        let mut dealer = Dealer::default();
        let mut deal = |size| dealer.deal(File { path: String::new(), size }, 10).map(|files| files.len());
        assert_eq!([deal(4), deal(5), deal(1), deal(100), deal(9)], [None, None, Some(3), Some(1), None]);
        assert_eq!(dealer.rest().map(|files| files.len()), Some(1));
        assert_eq!(dealer.rest(), None);
    }

    #[test]
    fn a_tree_is_listed_without_following_links() {
        let root = std::env::temp_dir().join(format!("word-count-test-{}", std::process::id()));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/b/deep.md"), "12345").unwrap();
        fs::write(root.join("top.txt"), "1").unwrap();
        fs::write(root.join("other.png"), "1").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(root.join("a"), root.join("link")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(root.join("top.txt"), root.join("link.txt")).unwrap();
        let mut files = list_tree(root.to_str().unwrap().to_owned()).unwrap();
        files.sort_by_key(|file| file.size);
        let sizes: Vec<u64> = files.iter().map(|file| file.size).collect();
        assert_eq!(sizes, [1, 5], "{files:?}");
        fs::remove_dir_all(root).unwrap();
    }
}
