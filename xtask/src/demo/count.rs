//! The same count by one plain loop: what the engine's result is compared with.

use anyhow::{Context, Result};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

const EXTENSIONS: [&str; 6] = ["rs", "md", "txt", "toml", "c", "h"];

/// What was counted. A word is a maximal run of ASCII letters, in lower case.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub files: u64,
    pub bytes: u64,
    pub words: u64,
    pub counts: HashMap<Vec<u8>, u64>,
}

/// Counts the files below `dir` with the extensions above; symbolic links are not followed.
pub(super) fn count(dir: &Path) -> Result<Totals> {
    let mut totals = Totals::default();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
            let path = entry.path();
            let kind = entry.file_type().with_context(|| format!("cannot read {}", path.display()))?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && is_counted(&path) {
                let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
                totals.files += 1;
                totals.bytes += text.len() as u64;
                totals.add(&text);
            }
        }
    }
    Ok(totals)
}

fn is_counted(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| EXTENSIONS.contains(&extension))
}

impl Totals {
    pub(super) fn add(&mut self, text: &[u8]) {
        let mut word = Vec::new();
        for run in text.split(|byte| !byte.is_ascii_alphabetic()) {
            if run.is_empty() {
                continue;
            }
            self.words += 1;
            word.clear();
            word.extend(run.iter().map(u8::to_ascii_lowercase));
            match self.counts.get_mut(&word) {
                Some(count) => *count += 1,
                None => {
                    self.counts.insert(word.clone(), 1);
                }
            }
        }
    }

    /// The most frequent words, the greatest count first.
    pub(super) fn top(&self, number: usize) -> Vec<(u64, &[u8])> {
        let mut words: Vec<_> = self.counts.iter().map(|(word, count)| (*count, word.as_slice())).collect();
        words.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        words.truncate(number);
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_runs_of_letters_in_lower_case() {
        let mut totals = Totals::default();
        totals.add("The the_THE 2x caf\u{e9}".as_bytes());
        assert_eq!(totals.words, 5);
        assert_eq!(totals.top(2), [(3, b"the".as_slice()), (1, b"caf".as_slice())]);
    }

    #[test]
    fn only_regular_files_with_the_right_extension_count() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("deep")).unwrap();
        fs::write(dir.path().join("deep/a.rs"), "one two").unwrap();
        fs::write(dir.path().join("b.bin"), "three").unwrap();
        fs::write(dir.path().join("README"), "four").unwrap();
        std::os::unix::fs::symlink(dir.path().join("deep/a.rs"), dir.path().join("link.rs")).unwrap();
        let totals = count(dir.path()).unwrap();
        assert_eq!((totals.files, totals.bytes, totals.words), (1, 7, 2));
    }
}
