//! The repository's text files, and the code in them without comments, strings and tests.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;

/// Folders that hold what is built, or is not ours.
const SKIPPED: [&str; 5] = [".git", "target", "node_modules", "__pycache__", ".venv"];

#[derive(Debug, Default)]
pub(super) struct Tree {
    pub files: Vec<File>,
}

#[derive(Debug)]
pub(super) struct File {
    /// Relative to the root, with `/`.
    pub path: String,
    pub text: String,
}

/// One line of code, comments and the contents of strings blanked out.
#[derive(Debug)]
pub(super) struct Line {
    /// From 1.
    pub number: usize,
    pub code: String,
    pub in_test: bool,
}

impl Tree {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.read_folder(root, "")?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(tree)
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                if !SKIPPED.contains(&name.as_str()) {
                    self.read_folder(&entry.path(), &format!("{path}/"))?;
                }
            } else if kind.is_file() {
                let bytes = fs::read(entry.path()).with_context(|| format!("cannot read {path}"))?;
                // What is not text has no lines to look at.
                if let Ok(text) = String::from_utf8(bytes) {
                    self.files.push(File { path, text });
                }
            }
        }
        Ok(())
    }

    pub(super) fn rust_below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| file.path.starts_with(prefix) && file.path.ends_with(".rs"))
    }

    pub(super) fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File { path: (*path).into(), text: (*text).into() };
        Self { files: files.iter().map(file).collect() }
    }
}

impl File {
    /// Whether all of it is test code, by where it lies.
    pub(super) fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || name == "tests.rs"
            || name.ends_with("_tests.rs")
            || name.starts_with("test_")
    }

    /// Its lines of code outside tests.
    pub(super) fn production(&self) -> impl Iterator<Item = Line> {
        self.lines().into_iter().filter(|line| !line.in_test)
    }

    /// Its lines of code.
    pub(super) fn lines(&self) -> Vec<Line> {
        let blanked = blank(&self.text);
        let mut lines = Vec::new();
        let mut depth = 0usize;
        // The depth at which a test module began, while in one.
        let mut test_depth = None;
        let mut test_follows = false;
        for (index, code) in blanked.lines().enumerate() {
            if test_depth.is_none() && code.contains("#[cfg(test)]") {
                test_follows = true;
            }
            let in_test = self.is_test() || test_follows || test_depth.is_some();
            for character in code.chars() {
                match character {
                    '{' => {
                        if test_follows && test_depth.is_none() {
                            test_depth = Some(depth);
                            test_follows = false;
                        }
                        depth += 1;
                    }
                    '}' => {
                        depth = depth.saturating_sub(1);
                        if test_depth == Some(depth) {
                            test_depth = None;
                        }
                    }
                    // `#[cfg(test)] mod tests;` and `use`: nothing to skip here.
                    ';' if test_follows => test_follows = false,
                    _ => {}
                }
            }
            lines.push(Line { number: index + 1, code: code.to_owned(), in_test });
        }
        lines
    }
}

/// The same text with comments and the contents of strings and character literals as spaces.
fn blank(text: &str) -> String {
    let source: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let keep_lines = |out: &mut String, part: &[char]| {
        out.extend(part.iter().map(|character| if *character == '\n' { '\n' } else { ' ' }));
    };
    while at < source.len() {
        let end = literal_end(&source, at);
        if end > at {
            keep_lines(&mut out, &source[at..end]);
            at = end;
        } else {
            out.push(source[at]);
            at += 1;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins there.
fn literal_end(source: &[char], at: usize) -> usize {
    let starts =
        |at: usize, text: &str| text.chars().enumerate().all(|(i, c)| source.get(at + i) == Some(&c));
    let find = |from: usize, text: &str| {
        (from..source.len()).find(|at| starts(*at, text)).map_or(source.len(), |at| at + text.len())
    };
    if starts(at, "//") {
        return (at..source.len()).find(|at| source[*at] == '\n').unwrap_or(source.len());
    }
    if starts(at, "/*") {
        return block_comment_end(source, at);
    }
    match source[at] {
        '"' => quoted_end(source, at, '"'),
        'r' if at == 0
            || !(source[at - 1].is_alphanumeric() || source[at - 1] == '_')
            || source[at - 1] == 'b' =>
        {
            let hashes = source[at + 1..].iter().take_while(|c| **c == '#').count();
            if source.get(at + 1 + hashes) == Some(&'"') {
                find(at + 2 + hashes, &format!("\"{}", "#".repeat(hashes)))
            } else {
                at
            }
        }
        // A lifetime is a quote that no other follows closely.
        '\'' if source.get(at + 1) == Some(&'\\') => quoted_end(source, at, '\''),
        '\'' if source.get(at + 2) == Some(&'\'') => at + 3,
        _ => at,
    }
}

fn quoted_end(source: &[char], at: usize, quote: char) -> usize {
    let mut index = at + 1;
    while index < source.len() {
        match source[index] {
            '\\' => index += 2,
            character if character == quote => return index + 1,
            _ => index += 1,
        }
    }
    source.len()
}

fn block_comment_end(source: &[char], at: usize) -> usize {
    let mut depth = 0usize;
    let mut index = at;
    while index + 1 < source.len() {
        match (source[index], source[index + 1]) {
            ('/', '*') => (depth, index) = (depth + 1, index + 2),
            ('*', '/') => {
                (depth, index) = (depth - 1, index + 2);
                if depth == 0 {
                    return index;
                }
            }
            _ => index += 1,
        }
    }
    source.len()
}

/// Whether `word` stands in `code` with no identifier character before its first or after its last.
pub(super) fn has_word(code: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back().is_some_and(is_part);
        let after = code[at + word.len()..].chars().next().is_some_and(is_part);
        let (opens, closes) = (word.starts_with(is_part), word.ends_with(is_part));
        !(before && opens || after && closes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(text: &str) -> String {
        let tree = Tree::of(&[("engine/a/src/lib.rs", text)]);
        tree.files[0].production().map(|line| line.code + "\n").collect()
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        let code =
            code_of("a(); // tokio\n/* x /* y */ tokio */ b(\"tokio\\\"\", r#\"tokio\"#, 'x', '\\'');\n");
        assert!(!code.contains("tokio"), "{code}");
        assert!(code.contains("a();") && code.contains("b("));
    }

    #[test]
    fn lifetimes_are_no_literals() {
        assert!(code_of("fn f<'a>(x: &'a str) { tokio() } // 'z").contains("tokio()"));
    }

    #[test]
    fn test_modules_end_where_their_brace_does() {
        let code = code_of("one();\n#[cfg(test)]\nmod tests {\n  fn f() { two(); }\n}\nthree();\n");
        assert!(code.contains("one") && code.contains("three") && !code.contains("two"), "{code}");
    }

    #[test]
    fn a_test_module_in_another_file_hides_nothing_here() {
        assert!(code_of("#[cfg(test)]\nmod tests;\nfn f() { one(); }\n").contains("one"));
    }

    #[test]
    fn words_are_whole() {
        assert!(has_word("use tokio::time", "tokio") && !has_word("my_tokio()", "tokio"));
        assert!(has_word("x.sleep(1)", "sleep(") && !has_word("no_sleep(1)", "sleep("));
    }
}
