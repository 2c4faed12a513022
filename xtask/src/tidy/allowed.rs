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
        path: "engine/runtime/src/imports/arrays.rs",
        text: "fn choose(",
        reason: "of two elements one, by the guest's own mask; the name is that of the interface",
    },
    Allowed {
        path: "engine/gpu/src/vulkan/compile.rs",
        text: "std::thread::Builder::new()",
        reason: "the compiler needs a stack of its own; the thread is joined before its caller goes on",
    },
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
    Allowed {
        path: "engine/net/src/admission.rs",
        text: "tokio::time::sleep(FIRST_REQUEST_TIME_MAX)",
        reason: "a connection of nobody that is known is closed; nothing that runs waits for that",
    },
    Allowed {
        path: "engine/net/src/services/access/bodies.rs",
        text: "tokio::time::sleep(UNFINISHED_IDLE_MAX)",
        reason: "a message of which nothing more comes is dropped; nothing that runs waits for that",
    },
    Allowed {
        path: "engine/net/src/services/access.rs",
        text: "sleep_until(self.look_at)",
        reason: "looks whether who follows a stream still may; nothing that runs waits for that",
    },
    Allowed {
        path: "engine/audit/src/writer.rs",
        text: "sleep(RETRY_PAUSE)",
        reason: "lines of the audit log that the disk has refused are tried again; changes are refused meanwhile",
    },
    Allowed {
        path: "engine/net/src/faults/mod.rs",
        text: "sleep(delay)",
        reason: "a delay that a test asks for; in a shipped build there is none",
    },
    Allowed {
        path: "engine/agent/src/timer.rs",
        text: "sleep_until(",
        reason: "carries out the core's effect ArmTimer; what happens at that time the core decides",
    },
    Allowed {
        path: "engine/head/src/cluster/memory.rs",
        text: "std::thread::Builder::new()",
        reason: "the one thread that writes the head's memory, named engine-meta; it ends with the head, and its panic fails the memory",
    },
    Allowed {
        path: "engine/agent/src/groups.rs",
        text: "sleep(LOOK_EVERY)",
        reason: "says what the node has free to the head inside this process, as a line would",
    },
    Allowed {
        path: "engine/agent/src/groups.rs",
        text: "sleep(USAGE_LOOK_EVERY)",
        reason: "looks whether the core has usage to tell, as a line does at its signs of life",
    },
    Allowed {
        path: "engine/agent/src/cluster/line.rs",
        text: "sleep(RECONNECT_PAUSE)",
        reason: "a node whose head is away looks for it again; nothing that runs waits for that",
    },
    Allowed {
        path: "engine/agent/src/cluster/line.rs",
        text: "interval(",
        reason: "signs of life at the interval that the head has said in its welcome",
    },
    Allowed {
        path: "engine/agent/src/cluster/starts.rs",
        text: "sleep(ASK_PAUSE)",
        reason: "what a job is granted is asked for again while who knows it lives; no attempt is spent on it",
    },
    Allowed {
        path: "engine/agent/src/cluster/enroll.rs",
        text: "sleep(RECONNECT_PAUSE)",
        reason: "a node that has no certificate yet looks again for its head; nothing runs on it",
    },
    Allowed {
        path: "engine/agent/src/cluster/enroll.rs",
        text: "sleep_until(",
        reason: "a certificate is renewed before it expires; nothing that runs waits for that",
    },
    Allowed {
        path: "engine/agent/src/cluster/enroll.rs",
        text: "sleep(RENEWAL_PAUSE)",
        reason: "a certificate that was not renewed is asked for again; nothing that runs waits for that",
    },
    Allowed {
        path: "engine/agent/src/node.rs",
        text: "sleep(LEAK_LOOK_INTERVAL)",
        reason: "a node that ends looks whether its store is empty; nothing runs on it any more",
    },
    Allowed {
        path: "engine/agent/src/backend/watch.rs",
        text: "interval(",
        reason: "how often a watcher is shown the progress; no task depends on it",
    },
    Allowed {
        path: "engine/runtime/src/compile_cache.rs",
        text: "fn evict(",
        reason: "files that only make the next compilation faster; nothing that the core knows of",
    },
    Allowed {
        path: "engine/runtime/src/concurrent/imports.rs",
        text: "sleep(",
        reason: "the guest's own sleep, an import of its world",
    },
    Allowed {
        path: "engine/runtime/src/runtime.rs",
        text: "std::thread::Builder::new()",
        reason: "the one ticker of the epochs, named guest-ticker; it ends with the runtime",
    },
    Allowed {
        path: "engine/cli/src/commands/submit/follow.rs",
        text: "tokio::spawn(",
        reason: "the stop of a job that Ctrl-C asked for; its error is printed, and it ends with the command",
    },
    Allowed {
        path: "engine/embedded/src/lib.rs",
        text: "tokio::spawn(",
        reason: "the server of the embedded engine; its handle is awaited when the engine stops",
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
