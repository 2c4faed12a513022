//! What carries decisions out (agent, runtime, objects, net) takes none: no retries, no timers, no
//! placement, no choice of source, no eviction. All of that is core's.

use super::Violation;
use super::allowed::is_allowed;
use super::tree::{Tree, has_word};

const CARRIERS: [&str; 4] =
    ["engine/agent/src/", "engine/runtime/src/", "engine/objects/src/", "engine/net/src/"];

/// Words that show a decision, and whose it is. A word that begins or ends with `_` or `(` is part
/// of a name.
const WORDS: &[(&str, &str)] = &[
    ("backoff", "when to try again is core's to say"),
    ("retries_left", "how often to try again is core's to count"),
    ("attempts_left", "how often to try again is core's to count"),
    ("sleep(", "a timer is an effect of core (arm a timer), and its end an event"),
    ("sleep_until(", "a timer is an effect of core (arm a timer), and its end an event"),
    ("interval(", "a timer is an effect of core (arm a timer), and its end an event"),
    ("interval_at(", "a timer is an effect of core (arm a timer), and its end an event"),
    ("thread_rng", "random bits are drawn at the edge and come in with an event"),
];

/// Parts of the names of functions that decide; with `_` at its end, only a name's beginning.
const VERBS: &[(&str, &str)] = &[
    ("retry", "whether to try again is core's to say"),
    ("choose", "choosing is core's"),
    ("pick", "choosing is core's"),
    ("place_", "placement is core's"),
    ("evict", "what to drop is core's to say"),
    ("rebalance", "placement is core's"),
    ("reschedule", "placement is core's"),
    ("schedule", "placement is core's"),
    ("admit", "admission is core's"),
];

/// Names whose value decides when it is compared.
const COMPARED: [&str; 4] = ["max_retries", "max_restarts", "max_task_retries", "priority"];

pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in CARRIERS.iter().flat_map(|prefix| tree.rust_below(prefix)) {
        for line in file.production() {
            for what in decisions_in(&line.code) {
                if !is_allowed(&file.path, &line.code) {
                    let what = format!(
                        "{what}; move it to engine-core, or give the reason in xtask/src/tidy/allowed.rs"
                    );
                    found.push(Violation::new(&file.path, line.number, what));
                }
            }
        }
    }
    found
}

fn decisions_in(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (word, whose) in WORDS {
        if has_word(code, word) {
            found.push(format!("`{word}` looks like a decision: {whose}"));
        }
    }
    if let Some(name) = defined_function(code) {
        let verbs = VERBS.iter().filter(|(verb, _)| match verb.ends_with('_') {
            true => name.starts_with(verb),
            false => name.split('_').any(|part| part == *verb) && !name.starts_with("is_"),
        });
        found.extend(verbs.map(|(verb, whose)| format!("fn {name} looks like a decision ({verb}): {whose}")));
    }
    for name in COMPARED {
        if has_word(code, name) && ["<", ">", "==", "!="].iter().any(|sign| compares(code, name, sign)) {
            found.push(format!("a comparison with `{name}` looks like a decision: core counts"));
        }
    }
    found
}

fn defined_function(code: &str) -> Option<&str> {
    let (before, after) = code.split_once("fn ")?;
    if before.chars().next_back().is_some_and(|character| !character.is_whitespace()) {
        return None;
    }
    let end = after.find(|character: char| !(character.is_alphanumeric() || character == '_'))?;
    Some(&after[..end])
}

/// Whether the sign stands next to the name, as in `max_retries > 0` or `tries < x.max_retries`.
fn compares(code: &str, name: &str, sign: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let after = code[at + name.len()..].trim_start();
        let owner = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '(' | ')');
        let before = code[..at].trim_end_matches(owner).trim_end();
        let arrow = before.ends_with("->") || before.ends_with("=>") || after.starts_with("=>");
        !arrow && (after.starts_with(sign) || before.ends_with(sign) && !before.ends_with("::<"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&Tree::of(&[(path, text)])).len()
    }

    #[test]
    fn planted_decisions_are_found() {
        for planted in [
            "async fn retry_fetch() {",
            "fn choose_source(places: &[Node]) -> Node {",
            "pub(crate) fn pick_node() {",
            "tokio::time::sleep(delay).await;",
            "let mut ticks = tokio::time::interval(period);",
            "if attempt < options.max_retries {",
            "if spec.max_retries != 0 {",
            "let delay = backoff(attempt);",
            "fn place_task(&mut self) {",
        ] {
            assert_eq!(found("engine/agent/src/a.rs", planted), 1, "{planted}");
        }
    }

    #[test]
    fn carrying_out_is_no_decision() {
        for fine in [
            "max_retries: options.max_retries,",
            "fn replace_template() {",
            "// we sleep( here",
            "fn place(&self) -> Extent {",
            "fn placed(&self) -> Option<u32> {",
            "fn f() -> max_retries {",
            "let displaced = 3;",
        ] {
            assert_eq!(found("engine/agent/src/a.rs", fine), 0, "{fine}");
        }
        assert_eq!(found("engine/core/src/a.rs", "fn choose_node() {"), 0);
        assert_eq!(found("engine/net/src/a.rs", "#[cfg(test)]\nmod tests { fn f() { sleep(1) } }"), 0);
    }
}
