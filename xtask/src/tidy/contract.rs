//! Every clause of the contract that is due is named by a test (`contract: T4`).

use super::Violation;
use super::tree::{File, Tree};
use std::collections::BTreeMap;

const CONTRACT: &str = "docs/contract.md";
const DUE_HEADING: &str = "## Due now";

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let Some(contract) = tree.get(CONTRACT) else {
        return vec![Violation::new(CONTRACT, 0, "the contract is missing")];
    };
    let defined = defined_clauses(contract);
    let due = due_clauses(contract);
    let mut found = Vec::new();
    if due.is_empty() {
        let what = format!("no clause is due; list them below `{DUE_HEADING}`");
        found.push(Violation::new(CONTRACT, 0, what));
    }
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".rs") || file.path.ends_with(".py")) {
        for (line, clause) in named_clauses(file) {
            if !defined.contains_key(&clause) {
                let what = format!("the contract has no clause {clause}; see {CONTRACT}");
                found.push(Violation::new(&file.path, line, what));
            }
            if has_tests(file) {
                *named.entry(clause).or_default() += 1;
            }
        }
    }
    for (clause, line) in due {
        if !defined.contains_key(&clause) {
            let what = format!("{clause} is due but not defined above");
            found.push(Violation::new(CONTRACT, line, what));
        } else if !named.contains_key(&clause) {
            let line = defined[&clause];
            let what =
                format!("{clause} is due and no test names it; write one with `// contract: {clause}`");
            found.push(Violation::new(CONTRACT, line, what));
        }
    }
    found
}

/// The clauses that `- **T4** …` defines, with their lines.
fn defined_clauses(contract: &File) -> BTreeMap<String, usize> {
    let lines = contract.text.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let (clause, _) = line.strip_prefix("- **")?.split_once("**")?;
            is_clause(clause).then(|| (clause.to_owned(), index + 1))
        })
        .collect()
}

/// The clauses named in backticks below the heading, up to the next one.
fn due_clauses(contract: &File) -> Vec<(String, usize)> {
    let mut due = Vec::new();
    let lines = contract.text.lines().enumerate().skip_while(|(_, line)| line.trim() != DUE_HEADING).skip(1);
    for (index, line) in lines.take_while(|(_, line)| !line.starts_with("## ")) {
        let quoted = line.split('`').skip(1).step_by(2).filter(|word| is_clause(word));
        due.extend(quoted.map(|clause| (clause.to_owned(), index + 1)));
    }
    due
}

fn named_clauses(file: &File) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let line = line.trim_start();
        // A marker is a comment of its own; this file's own strings are none.
        let comment = ["// ", "/// ", "# "].iter().find_map(|start| line.strip_prefix(start));
        let Some(list) = comment.and_then(|comment| comment.strip_prefix("contract: ")) else { continue };
        let words = list.split([',', ' ']).filter(|word| !word.is_empty());
        found.extend(words.take_while(|word| is_clause(word)).map(|word| (index + 1, word.to_owned())));
    }
    found
}

fn has_tests(file: &File) -> bool {
    ["#[test]", "::test]", "::test(", "def test_", "proptest!"].iter().any(|mark| file.text.contains(mark))
}

fn is_clause(word: &str) -> bool {
    let digits = word.trim_start_matches(|character: char| character.is_ascii_uppercase());
    digits.len() < word.len()
        && !digits.is_empty()
        && digits.chars().all(|character| character.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# c\n- **T1** one\n- **T2** two\n\n## Due now\n`T1`, not T2\n\n## Later\n`T2`\n";

    fn found(test: &str) -> Vec<String> {
        let tree = Tree::of(&[(CONTRACT, TEXT), ("tests/tests/a.rs", test)]);
        check(&tree).into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn a_due_clause_without_a_test_is_found() {
        let what = found("#[test]\nfn a() {}\n");
        assert!(what.len() == 1 && what[0].starts_with("T1 is due"), "{what:?}");
    }

    #[test]
    fn a_comment_in_a_file_of_tests_names_it() {
        assert!(found("// contract: T1\n#[test]\nfn a() {}\n").is_empty());
        assert!(found("    // contract: T2, T1\n#[tokio::test]\nasync fn a() {}\n").is_empty());
        assert_eq!(found("// contract: T1\nfn a() {}\n").len(), 1, "no test is there");
        assert_eq!(found("const A: &str = \"contract: T1\"; #[test]\n").len(), 1, "no comment");
    }

    #[test]
    fn a_clause_that_does_not_exist_is_found() {
        let what = found("// contract: T1 Z9\n#[test]\nfn a() {}\n");
        assert_eq!(what, ["the contract has no clause Z9; see docs/contract.md"]);
    }

    #[test]
    fn an_empty_or_missing_list_is_found() {
        assert_eq!(check(&Tree::of(&[])).len(), 1);
        assert_eq!(check(&Tree::of(&[(CONTRACT, "- **T1** one\n")])).len(), 1);
    }
}
