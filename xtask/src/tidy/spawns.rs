//! Every background task is a named kind with a policy for cancel and error: nothing is spawned
//! outside the module that names the kinds.

use super::Violation;
use super::allowed::is_allowed;
use super::tree::{Tree, has_word};

/// Files (and folders) of kinds of background tasks: there, spawning is the business.
const KINDS: [&str; 4] = ["background.rs", "task_kind.rs", "task_kinds.rs", "background/mod.rs"];

const FORMS: [&str; 7] = [
    "tokio::spawn(",
    "task::spawn(",
    "task::spawn_blocking(",
    "tokio::task::spawn_local(",
    "thread::spawn(",
    "thread::Builder::new(",
    "Handle::current().spawn(",
];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in tree.rust_below("engine/").chain(tree.rust_below("sdk/client/")) {
        if KINDS.iter().any(|name| file.path.ends_with(&format!("/{name}"))) {
            continue;
        }
        for line in file.production() {
            let spawns = FORMS.iter().any(|form| has_word(&line.code, form));
            if spawns && !is_allowed(&file.path, &line.code) {
                let what = "anonymous background work; start it as a named kind in background.rs, or give the \
                            reason in xtask/src/tidy/allowed.rs";
                found.push(Violation::new(&file.path, line.number, what));
            }
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
    fn planted_spawns_are_found() {
        for planted in [
            "tokio::spawn(async {});",
            "std::thread::spawn(|| ());",
            "let t = std::thread::Builder::new().name(x);",
            "tokio::task::spawn_blocking(f);",
        ] {
            assert_eq!(found("engine/agent/src/a.rs", planted), 1, "{planted}");
        }
    }

    #[test]
    fn named_kinds_tests_and_guests_tasks_are_fine() {
        assert_eq!(found("engine/agent/src/background.rs", "tokio::spawn(f);"), 0);
        assert_eq!(
            found("engine/agent/src/a.rs", "#[cfg(test)]\nmod tests { fn f() { tokio::spawn(g); } }"),
            0
        );
        assert_eq!(found("engine/agent/src/a.rs", "self.machine.spawn(task);"), 0);
    }
}
