//! Kind 5, at a terminal: what a tenant says does not drive that of who reads it.

use engine_tests::{Invocation, Up};
use serde_json::json;

use super::{two, unharmed};

/// Sets the title, clears the screen, turns the direction of text, and begins a line anew.
const DRIVING: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}2J\u{202e}drow\u{8}\u{7f}\rfaked";
/// The same in one name after another, and with line breaks that fake rows.
const ROWS: &str = "\u{1b}]0;owned\u{7}\nfaked row\n\u{9b}A";

/// What of it a terminal would obey: nothing may be left but colours and the ends of lines.
#[track_caller]
fn drives_nothing(shown: &str) {
    let mut rest = shown;
    while let Some(at) = rest.find(|c: char| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c)) {
        let bad = &rest[at..];
        let c = bad.chars().next().expect("it was found");
        let is_line_end = c == '\n' || bad.starts_with("\r\n") || c == '\t';
        let colour = bad.strip_prefix("\u{1b}[").and_then(|text| {
            let end = text.find(|c: char| !c.is_ascii_digit() && c != ';')?;
            text[end..].starts_with('m').then_some(end + 3)
        });
        assert!(is_line_end || colour.is_some(), "{c:?} in {shown:?}");
        rest = &bad[colour.unwrap_or(c.len_utf8())..];
    }
}

#[test]
fn a_terminal_is_not_driven_by_what_a_tenant_says() {
    let up = Up::start();
    let [red, _] = two(up.place());
    let said = red.attack(&[], "say", &[json!("a task"), json!(DRIVING), json!(DRIVING)]).exits(0);
    assert!(said.stdout.contains("\u{1b}]0;owned"), "its own output, to a file, is as it wrote it");
    red.attack(&[], "fail", &[json!(ROWS), json!(DRIVING)]).exits(1);
    // As the name of a task, of an actor and of a namespace, where they are taken.
    red.attack(&[], "say", &[json!(ROWS), json!("x"), json!("y")]);
    red.attack(&[], "detach", &[json!(ROWS), json!(ROWS)]);
    red.attack(&[], &format!("scenario{DRIVING}"), &[]);
    let jobs = red.items("jobs");
    let id = |at: usize| jobs[at]["job_id"].as_str().expect("an id").to_owned();
    let mut commands: Vec<Vec<String>> = Vec::new();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    for at in 0..jobs.len() {
        commands.push(words(&["logs", &id(at)]));
        commands.push(words(&["job", "status", &id(at)]));
        commands.push(words(&["get", "job", &id(at)]));
    }
    for kind in ["jobs", "tasks", "actors", "objects", "placement-groups", "events", "nodes"] {
        commands.push(words(&["list", kind]));
    }
    commands.extend([
        words(&["job", "list"]),
        words(&["memory"]),
        words(&["status"]),
        words(&["tenant", "usage"]),
    ]);
    for task in red.items("tasks") {
        let id = task["task_id"].as_str().expect("an id");
        commands.push(words(&["get", "task", id]));
        commands.push(words(&["explain", id]));
    }
    let mut shown_escaped = 0;
    for command in &commands {
        for format in [None, Some("json")] {
            let with_format = !command.starts_with(&words(&["explain"]));
            let format = format.filter(|_| with_format).map(|format| ["--format", format]);
            let words = command.iter().map(String::as_str).chain(format.into_iter().flatten());
            let invocation: Invocation = up.place().engine(words);
            let shown = invocation.run_at_terminal();
            drives_nothing(&shown);
            shown_escaped +=
                usize::from(shown.contains("\\u{1b}]0;owned") || shown.contains("\\u001b]0;owned"));
        }
    }
    assert!(shown_escaped > 10, "{shown_escaped} of them showed it: the others had nothing to show");
    // Who follows the job sees the same.
    let module = engine_tests::guest("attacks");
    let text = json!(DRIVING).to_string();
    let words = ["submit", module.to_str().expect("text"), "--progress", "none", "--", "fail", &text, &text];
    let shown = up.place().engine(words).run_at_terminal();
    assert!(shown.contains("\\u{1b}]0;owned"), "{shown:?}");
    drives_nothing(&shown);
    unharmed(up);
}
