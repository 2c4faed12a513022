//! core has no clock, randomness, thread, lock, file or socket; and names follow the manifests in
//! sources too.

use super::Violation;
use super::tree::{Tree, has_word};

/// What no line of core's own code may name, and what to do instead.
const NOT_IN_CORE: &[(&str, &str)] = &[
    ("Instant", "time comes in with the event"),
    ("SystemTime", "time comes in with the event"),
    ("std::thread", "core is driven from outside and starts nothing"),
    ("std::net", "send an effect instead"),
    ("std::fs", "send an effect instead"),
    ("std::env", "options come in when the machine is made"),
    ("std::process", "send an effect instead"),
    ("std::io", "send an effect instead"),
    ("Mutex", "whoever drives the machine holds the lock"),
    ("RwLock", "whoever drives the machine holds the lock"),
    ("Condvar", "whoever drives the machine holds the lock"),
    ("RandomState", "its seed differs from run to run; use core's own hasher"),
    ("HashMap::new", "its order differs from run to run; use core's own map"),
    ("HashSet::new", "its order differs from run to run; use core's own set"),
    ("println!", "send an effect instead"),
    ("eprintln!", "send an effect instead"),
    ("tokio", "core is plain functions"),
    ("wasmtime", "core knows no sandbox"),
    ("rand", "random bits come in with the event"),
];

const ONLY_RUNTIME: &str = "only engine-runtime names wasmtime";

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in tree.rust_below("engine/core/src/") {
        for line in file.production() {
            for (word, instead) in NOT_IN_CORE {
                if has_word(&line.code, word) {
                    let what = format!("core is pure and may not name `{word}`: {instead}");
                    found.push(Violation::new(&file.path, line.number, what));
                }
            }
        }
    }
    for file in tree.rust_below("engine/").chain(tree.rust_below("sdk/")) {
        if file.path.starts_with("engine/runtime/") || file.path.starts_with("engine/core/") {
            continue;
        }
        for line in file.production().filter(|line| has_word(&line.code, "wasmtime")) {
            found.push(Violation::new(&file.path, line.number, ONLY_RUNTIME));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn a_clock_or_lock_in_core_is_found() {
        assert_eq!(found("engine/core/src/a.rs", "use std::time::Instant;\n"), 1);
        assert_eq!(found("engine/core/src/a.rs", "struct S { m: Mutex<u8> }\n"), 1);
        assert_eq!(found("engine/core/src/a.rs", "let m: Map<u8, u8> = HashMap::new();\n"), 1);
    }

    #[test]
    fn words_tests_and_other_crates_are_left_alone() {
        assert_eq!(found("engine/core/src/a.rs", "// an Instant\nfn f(s: &str) { g(\"Mutex\") }\n"), 0);
        assert_eq!(found("engine/core/src/a.rs", "#[cfg(test)]\nmod tests { use std::fs; }\n"), 0);
        assert_eq!(found("engine/agent/src/a.rs", "use std::time::Instant;\n"), 0);
    }

    #[test]
    fn wasmtime_outside_the_runtime_is_found() {
        assert_eq!(found("engine/agent/src/a.rs", "use wasmtime::Engine;\n"), 1);
        assert_eq!(found("engine/runtime/src/a.rs", "use wasmtime::Engine;\n"), 0);
    }
}
