//! docs/tenants.md is run as it stands: each command of its console blocks by whom its prompt names, in order.
//!
//! What is put in place of what the page shows:
//! - the addresses `0.0.0.0:7420` and `192.0.2.1:7420` are one port of this machine;
//! - `job.wasm` lies in the folder where all is run;
//! - a token or an id in shown output (`egt1-…`, `tok-…`) stands for what was printed there, in later commands too.
//!
//! What ends with `&` goes on until another engine or head is started. Each command has to succeed. Where a block
//! shows output, as many lines have to be printed, of the same words; a word with a digit in it may be another with
//! one, and a unit of bytes another unit.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use engine_tests::{Place, Running, guest};

/// One command, who runs it, and what the page shows of its output.
#[derive(Debug)]
struct Step {
    who: String,
    command: String,
    shown: Vec<String>,
}

/// The steps of a page's console blocks, block by block.
fn blocks(page: &str) -> Vec<Vec<Step>> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line != "```console" {
            continue;
        }
        let mut steps: Vec<Step> = Vec::new();
        for line in lines.by_ref().take_while(|line| *line != "```") {
            match line.split_once('$') {
                Some((who, command)) if who.bytes().all(|byte| byte.is_ascii_lowercase()) => {
                    let command = command.split(" # ").next().expect("a part").trim().to_owned();
                    steps.push(Step { who: who.to_owned(), command, shown: Vec::new() });
                }
                _ if line.is_empty() => {}
                _ => steps.last_mut().expect("output follows a command").shown.push(line.to_owned()),
            }
        }
        blocks.push(steps);
    }
    blocks
}

/// What a word is compared by: one with a digit, or that the page cuts short, is like any other such.
fn shape(word: &str) -> &str {
    match word {
        "bytes" | "KiB" | "MiB" | "GiB" => "B",
        _ if word.starts_with("egt1-") || word.contains(|letter: char| letter.is_ascii_digit()) => "1",
        _ => word,
    }
}

/// What stands for the words of shown output that are ids and tokens.
fn placeholders(shown: &[String], printed: &str) -> HashMap<String, String> {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let pairs = shown.iter().zip(printed.lines()).flat_map(|(a, b)| words(a).into_iter().zip(words(b)));
    pairs.filter(|(word, _)| ["egt1-", "tok-"].iter().any(|kind| word.starts_with(kind))).collect()
}

#[track_caller]
fn has_shape(step: &Step, printed: &str) {
    let of = |line: &str| line.split_whitespace().map(shape).collect::<Vec<_>>().join(" ");
    let expected: Vec<String> = step.shown.iter().map(|line| of(line)).collect();
    let found: Vec<String> = printed.lines().map(of).filter(|line| !line.is_empty()).collect();
    assert_eq!(expected, found, "{}: {printed}", step.command);
}

struct Page {
    place: Place,
    port: u16,
    known: BTreeMap<String, String>,
    /// What runs in the background, by who has started it.
    running: Vec<Running>,
}

impl Page {
    fn new() -> Self {
        let place = Place::new();
        fs::copy(guest("pi"), place.path("job.wasm")).expect("it is copied");
        // Free a moment ago.
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        Self { place, port, known: BTreeMap::new(), running: Vec::new() }
    }

    fn in_place(&self, command: &str) -> String {
        let mut command = command
            .replace("0.0.0.0:7420", &format!("0.0.0.0:{}", self.port))
            .replace("192.0.2.1:7420", &format!("127.0.0.1:{}", self.port));
        for (word, found) in &self.known {
            command = command.replace(word, found);
        }
        command
    }

    /// Runs a step in a shell that has what the same one has exported before.
    fn run(&mut self, step: &Step) {
        let command = self.in_place(&step.command);
        if let Some(command) = command.strip_suffix('&') {
            let is_node = command.contains("engine agent ");
            if !is_node {
                self.running.drain(..).rev().for_each(|running| drop(running.kill()));
            }
            let mut running = self.place.shell(&format!("exec {command}")).start();
            running.wait_for_stderr(if is_node { "has joined the cluster" } else { "listening on " });
            return self.running.push(running);
        }
        let kept = format!("env-{}", step.who);
        let script = format!(
            "if [ -e {kept} ]; then . ./{kept}; fi\n{command}\nstatus=$?\nexport -p > {kept}\nexit $status\n"
        );
        let outcome = self.place.shell(&script).run().exits(0);
        if !step.shown.is_empty() {
            has_shape(step, &outcome.stdout);
            self.known.extend(placeholders(&step.shown, &outcome.stdout));
        }
    }
}

#[test]
fn the_page_of_tenants_is_run_as_it_stands() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tenants.md");
    let blocks = blocks(&fs::read_to_string(path).expect("the page"));
    assert!(blocks.len() >= 5, "{blocks:#?}");
    let mut page = Page::new();
    for step in blocks.iter().flatten() {
        page.run(step);
    }
    assert!(page.known.keys().any(|word| word.starts_with("tok-")), "{:?}", page.known.keys());
}
