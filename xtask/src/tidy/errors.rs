//! Every error code has a page, and every page a code.

use super::Violation;
use super::tree::Tree;

const WIT: &str = "wit/compute.wit";
const PAGES: &str = "docs/errors/";

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let Some(wit) = tree.get(WIT) else {
        return vec![Violation::new(WIT, 0, "the WIT package is missing")];
    };
    let codes = codes(&wit.text);
    if codes.is_empty() {
        return vec![Violation::new(WIT, 0, "`enum error-code` is missing or empty")];
    }
    let mut found = Vec::new();
    for (line, code) in &codes {
        let page = format!("{PAGES}{code}.md");
        match tree.get(&page) {
            None => {
                let what = format!("the code {code} has no page; write {page} (cause, what to do)");
                found.push(Violation::new(WIT, *line, what));
            }
            Some(file) if file.text.trim().is_empty() => {
                found.push(Violation::new(&page, 1, "the page is empty; write cause and what to do"));
            }
            Some(_) => {}
        }
    }
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        let Some(name) = file.path.strip_prefix(PAGES).and_then(|name| name.strip_suffix(".md")) else {
            continue;
        };
        if name != "README" && !codes.iter().any(|(_, code)| code == name) {
            let what = format!("no error code is called {name}; name the page after one of {WIT}");
            found.push(Violation::new(&file.path, 1, what));
        }
    }
    found
}

/// The cases of `enum error-code` in capitals, with their lines.
fn codes(wit: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut inside = false;
    for (index, line) in wit.lines().enumerate() {
        let line = line.split("//").next().unwrap_or_default();
        let (line, ends) = match line.split_once('}') {
            Some((before, _)) => (before, true),
            None => (line, false),
        };
        let mut cases = line;
        if let Some((_, after)) = line.split_once("enum error-code") {
            inside = true;
            cases = after.trim_start().trim_start_matches('{');
        }
        if inside {
            let names = cases.split([',', ' ', '{']).map(str::trim).filter(|name| !name.is_empty());
            found.extend(names.map(|name| (index + 1, name.replace('-', "_").to_ascii_uppercase())));
        }
        if ends {
            inside = false;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "enum codec { raw }\n/// Codes.\nenum error-code {\n  // the task's\n  task-failed, trapped,\n}\nenum x { y }\n";

    fn found(pages: &[(&str, &str)]) -> Vec<String> {
        let mut files = vec![(WIT, TEXT)];
        files.extend(pages);
        check(&Tree::of(&files)).into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn codes_are_read_from_the_wit() {
        assert_eq!(codes(TEXT), [(5, "TASK_FAILED".to_owned()), (5, "TRAPPED".to_owned())]);
    }

    #[test]
    fn every_code_has_its_page_and_every_page_its_code() {
        let both = [("docs/errors/TASK_FAILED.md", "x"), ("docs/errors/TRAPPED.md", "x")];
        assert!(found(&both).is_empty());
        assert!(found(&both[..1])[0].contains("TRAPPED has no page"));
        let more = [both[0], both[1], ("docs/errors/LOST_SOCKS.md", "x")];
        assert!(found(&more)[0].contains("LOST_SOCKS"));
        assert!(found(&[both[0], ("docs/errors/TRAPPED.md", " ")])[0].contains("empty"));
    }
}
