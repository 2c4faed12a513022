//! Exceptions from the rules about decisions and background work, each with its reason.

use super::Violation;
use super::tree::Tree;

/// One exception: lines of a file that hold some text.
#[derive(Debug)]
pub(super) struct Allowed {
    pub path: &'static str,
    pub text: &'static str,
    pub reason: &'static str,
}

pub(super) const ALLOWED: &[Allowed] = &[
    Allowed {
        path: "engine/toolchain/src/process.rs",
        text: "std::thread::spawn(",
        reason: "readers of a child's pipes; they end with the child, and the tool ends with them",
    },
    Allowed {
        path: "engine/net/src/connection.rs",
        text: "tokio::time::sleep(ACCEPT_PAUSE)",
        reason: "a listener without free descriptors must not spin; no request waits on it",
    },
];

/// Whether this line of this file is an exception.
pub(super) fn is_allowed(path: &str, code: &str) -> bool {
    ALLOWED.iter().any(|allowed| allowed.path == path && code.contains(allowed.text))
}

/// Exceptions that no line needs any more, or that give no reason.
pub(super) fn stale(tree: &Tree) -> Vec<Violation> {
    stale_among(tree, ALLOWED)
}

fn stale_among(tree: &Tree, exceptions: &[Allowed]) -> Vec<Violation> {
    let needed = |allowed: &Allowed| {
        !allowed.reason.is_empty()
            && tree
                .get(allowed.path)
                .is_some_and(|file| file.production().any(|line| line.code.contains(allowed.text)))
    };
    exceptions
        .iter()
        .filter(|allowed| !needed(allowed))
        .map(|allowed| {
            let what = format!(
                "the exception for `{}` is not needed, or has no reason; remove it from xtask/src/tidy/allowed.rs",
                allowed.text
            );
            Violation::new(allowed.path, 0, what)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_that_nothing_needs_is_stale() {
        let tree = Tree::of(&[("a.rs", "fn f() { sleep(1) }")]);
        let exception = |text| Allowed { path: "a.rs", text, reason: "because" };
        assert!(stale_among(&tree, &[exception("sleep(")]).is_empty());
        assert_eq!(stale_among(&tree, &[exception("interval(")]).len(), 1);
    }
}
