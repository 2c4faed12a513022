//! `unsafe` stands in few crates, and there each with its reason beside it.

use super::Violation;
use super::tree::{File, Tree, has_word};

/// The crates that may hold unsafe code.
const MAY: [&str; 5] =
    ["engine/objects/", "engine/runtime/", "engine/gpu/", "sdk/python/native/", "guest-examples/attacks/"];
/// How far above the keyword its reason may begin.
const REASON_LINES_MAX: usize = 8;

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in &tree.files {
        let may = MAY.iter().any(|prefix| file.path.starts_with(prefix));
        if file.path.ends_with(".rs") {
            found.extend(check_source(file, may));
        } else if file.path.ends_with("/Cargo.toml") && !may && in_workspace(file) {
            found.extend(check_manifest(file));
        }
    }
    found
}

fn in_workspace(file: &File) -> bool {
    file.text.contains("[package]") && !file.path.starts_with("guest-examples/")
}

fn check_source(file: &File, may: bool) -> Vec<Violation> {
    let original: Vec<&str> = file.text.lines().collect();
    let mut found = Vec::new();
    for line in file.lines() {
        if line.code.contains("allow(unsafe_code)") && !may {
            let what = "this crate may not allow unsafe code; only objects, runtime, gpu, the Python binding and a guest that attacks may";
            found.push(Violation::new(&file.path, line.number, what));
        }
        if !has_word(&line.code, "unsafe") || line.code.contains("unsafe_") && !line.code.contains("unsafe ")
        {
            continue;
        }
        if !may {
            let what = "`unsafe` outside objects, runtime, gpu, the Python binding and a guest that attacks; find a safe way, or move it there";
            found.push(Violation::new(&file.path, line.number, what));
        } else if !line.in_test && needs_reason(&line.code) && !has_reason(&original, line.number - 1) {
            let what = "`unsafe` without its reason; write `// SAFETY: …` above it";
            found.push(Violation::new(&file.path, line.number, what));
        }
    }
    found
}

/// The type of a function pointer, or the signature inside a trait impl, runs nothing by itself.
fn needs_reason(code: &str) -> bool {
    ["unsafe {", "unsafe impl"].iter().any(|form| code.contains(form)) || code.trim_end().ends_with("unsafe")
}

fn has_reason(lines: &[&str], at: usize) -> bool {
    let from = at.saturating_sub(REASON_LINES_MAX);
    let says = |line: &&str| line.to_ascii_lowercase().contains("safety");
    lines.get(from..=at).is_some_and(|lines| lines.iter().any(says))
}

fn check_manifest(file: &File) -> Vec<Violation> {
    let takes_lints = file.text.contains("[lints]\nworkspace = true");
    let forbids =
        ["unsafe_code = \"forbid\"", "unsafe_code = \"deny\""].iter().any(|lint| file.text.contains(lint));
    if takes_lints || forbids {
        return Vec::new();
    }
    let what = "the crate does not forbid unsafe code; write [lints] workspace = true";
    vec![Violation::new(&file.path, 1, what)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn unsafe_is_found_where_it_may_not_be() {
        assert_eq!(found("engine/agent/src/a.rs", "fn f() { unsafe { g() } }\n"), 1);
        assert_eq!(found("engine/agent/src/a.rs", "#![allow(unsafe_code)]\n"), 1);
        assert_eq!(found("engine/agent/src/a.rs", "// unsafe\nfn f() { g(\"unsafe\") }\n"), 0);
    }

    #[test]
    fn where_it_may_be_it_has_a_reason() {
        assert_eq!(found("engine/objects/src/a.rs", "fn f() { unsafe { g() } }\n"), 1);
        assert_eq!(found("engine/objects/src/a.rs", "// SAFETY: g is sound.\nunsafe { g() };\n"), 0);
        assert_eq!(found("engine/objects/src/a.rs", "#![deny(unsafe_op_in_unsafe_fn)]\n"), 0);
    }

    #[test]
    fn manifests_take_the_lints() {
        assert_eq!(found("engine/net/Cargo.toml", "[package]\nname = \"x\"\n"), 1);
        assert_eq!(found("engine/net/Cargo.toml", "[package]\nname = \"x\"\n[lints]\nworkspace = true\n"), 0);
    }
}
