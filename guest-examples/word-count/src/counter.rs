//! Counting words: one pass over the bytes, one table.
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// How often each word occurred.
#[derive(Default)]
pub struct Counter {
    table: HashTable<Word>,
    /// The letters of all words, one after another.
    letters: Vec<u8>,
    /// Words met so far, each time they were met.
    total: u64,
}

struct Word {
    hash: u64,
    start: u32,
    length: u32,
    count: u64,
}

/// Words and their counts, as they travel: two arrays instead of a map of small texts.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Counts {
    /// The words, each followed by a newline.
    pub words: String,
    /// The count of each.
    pub counts: Vec<u64>,
    /// What was read to count them.
    pub seen: Seen,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Seen {
    pub files: u64,
    pub bytes: u64,
}

impl AddAssign for Seen {
    fn add_assign(&mut self, other: Seen) {
        self.files += other.files;
        self.bytes += other.bytes;
    }
}

impl Counts {
    /// Each word with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.words.lines().zip(self.counts.iter().copied())
    }
}

impl Counter {
    /// Counts the words of a text, which is turned to lower case on the way.
    pub fn add_text(&mut self, text: &mut [u8]) {
        text.make_ascii_lowercase();
        let mut at = 0;
        while at < text.len() {
            if !text[at].is_ascii_lowercase() {
                at += 1;
                continue;
            }
            let start = at;
            let mut hash = Hash::default();
            while at < text.len() && text[at].is_ascii_lowercase() {
                hash.add(text[at]);
                at += 1;
            }
            self.add_word(&text[start..at], hash.finish(), 1);
            self.total += 1;
        }
    }

    /// Adds counts that were made elsewhere.
    pub fn add_counts(&mut self, counts: &Counts) {
        for (word, count) in counts.iter() {
            let mut hash = Hash::default();
            word.bytes().for_each(|letter| hash.add(letter));
            self.add_word(word.as_bytes(), hash.finish(), count);
            self.total += count;
        }
    }

    /// Words, each time they were met.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Different words.
    pub fn distinct(&self) -> u64 {
        self.table.len() as u64
    }

    /// Each word with its count, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        // Only ASCII letters were ever put in.
        self.table
            .iter()
            .map(|word| (std::str::from_utf8(self.letters_of(word)).unwrap_or_default(), word.count))
    }

    /// The counts in so many parts; a word is in the same part whoever counted it.
    pub fn into_parts(self, parts: usize) -> Vec<Counts> {
        let mut split: Vec<Counts> = (0..parts).map(|_| Counts::default()).collect();
        for word in &self.table {
            let part = &mut split[(word.hash >> 32) as usize % parts];
            part.words.extend(self.letters_of(word).iter().map(|&letter| char::from(letter)));
            part.words.push('\n');
            part.counts.push(word.count);
        }
        split
    }

    fn letters_of(&self, word: &Word) -> &[u8] {
        &self.letters[word.start as usize..(word.start + word.length) as usize]
    }

    fn add_word(&mut self, letters: &[u8], hash: u64, count: u64) {
        let arena = &self.letters;
        let is_same = |word: &Word| {
            let known = &arena[word.start as usize..(word.start + word.length) as usize];
            word.hash == hash && known == letters
        };
        match self.table.entry(hash, is_same, |word| word.hash) {
            Entry::Occupied(mut known) => known.get_mut().count += count,
            Entry::Vacant(vacant) => {
                // Offsets of 32 bits are those of WebAssembly's memory.
                let (start, length) = (self.letters.len() as u32, letters.len() as u32);
                vacant.insert(Word { hash, start, length, count });
                self.letters.extend_from_slice(letters);
            }
        }
    }
}

/// A hash of letters that come one by one: eight at a time are folded in.
#[derive(Default)]
struct Hash {
    hash: u64,
    pending: u64,
    letters: u32,
}

impl Hash {
    #[inline]
    fn add(&mut self, letter: u8) {
        self.pending = self.pending << 8 | u64::from(letter);
        self.letters += 1;
        if self.letters.is_multiple_of(8) {
            self.fold();
        }
    }

    #[inline]
    fn fold(&mut self) {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = (self.hash ^ self.pending).wrapping_mul(ODD);
        self.hash = mixed ^ mixed >> 29;
        self.pending = 0;
    }

    #[inline]
    fn finish(mut self) -> u64 {
        self.fold();
        self.fold();
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn counted(texts: &[&str]) -> BTreeMap<String, u64> {
        let mut counter = Counter::default();
        for text in texts {
            counter.add_text(&mut text.as_bytes().to_vec());
        }
        counter.iter().map(|(word, count)| (word.to_owned(), count)).collect()
    }

    #[test]
    fn words_are_runs_of_letters_in_lower_case() {
        let words = counted(&["The cat_the 2CATS, the-cat's naïve", "", "123", "x"]);
        let expected = [("cat", 2), ("cats", 1), ("na", 1), ("s", 1), ("the", 3), ("ve", 1), ("x", 1)];
        assert_eq!(words, expected.map(|(word, count)| (word.to_owned(), count)).into());
    }

    #[test]
    fn words_of_one_prefix_and_great_length_are_kept_apart() {
        let words = counted(&["abcdefgh abcdefghi abcdefgha abcdefg", &"z".repeat(1000), "zz"]);
        assert_eq!(words.len(), 6);
        assert!(words.values().all(|&count| count == 1));
    }

    #[test]
    fn parts_hold_every_word_once_and_agree_on_where() {
        let mut one = Counter::default();
        one.add_text(&mut b"a b c d e f g h a b".to_vec());
        let mut other = Counter::default();
        other.add_text(&mut b"h g f e d c b a zebra".to_vec());
        let (one, other) = (one.into_parts(3), other.into_parts(3));
        let mut total = 0;
        let mut distinct = 0;
        for (one, other) in one.iter().zip(&other) {
            let mut merged = Counter::default();
            merged.add_counts(one);
            merged.add_counts(other);
            total += merged.total();
            distinct += merged.distinct();
        }
        assert_eq!((total, distinct), (19, 9));
    }
}
