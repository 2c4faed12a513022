//! The words that occur most often.
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// So many are shown.
const SHOWN: usize = 20;

/// A word and its count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub word: String,
    pub count: u64,
}

/// The most frequent first, those of one count by their letters.
pub fn of<'a>(words: impl Iterator<Item = (&'a str, u64)>) -> Vec<Entry> {
    let mut words: Vec<(&str, u64)> = words.collect();
    let key = |&(word, count): &(&'a str, u64)| (Reverse(count), word);
    if words.len() > SHOWN {
        words.select_nth_unstable_by_key(SHOWN, key);
        words.truncate(SHOWN);
    }
    words.sort_unstable_by_key(key);
    words.into_iter().map(|(word, count)| Entry { word: word.to_owned(), count }).collect()
}

/// A table of counts and words, the counts flush right.
pub fn table(entries: &[Entry]) -> String {
    let width = entries.iter().map(|entry| entry.count.to_string().len()).max().unwrap_or_default();
    entries.iter().map(|Entry { word, count }| format!("{count:>width$} {word}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_come_first_and_ties_by_word() {
        let words: Vec<(String, u64)> = (0..100).map(|n| (format!("word{n:02}"), n / 10)).collect();
        let top = of(words.iter().map(|(word, count)| (word.as_str(), *count)));
        let expected: Vec<String> = (90..100).chain(80..90).map(|n| format!("word{n}")).collect();
        assert_eq!(top.iter().map(|entry| entry.word.clone()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn counts_are_flush_right() {
        let entries = of([("b", 7), ("a", 7), ("the", 1234)].into_iter());
        assert_eq!(table(&entries), "1234 the\n   7 a\n   7 b\n");
    }
}
