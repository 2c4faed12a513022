//! A process that writes and is killed, again and again.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::super::{Embedded, MetaStore, Revision};
use super::put;

const FOLDER: &str = "ENGINE_TEST_META_FOLDER";
const KILLS: u64 = 20;

/// Not a test: the process that is killed. It says each revision once it is committed.
#[test]
#[ignore = "run by the test below, in a process of its own"]
fn writes_until_it_is_killed() {
    let folder = std::env::var_os(FOLDER).expect("it is run by the test below");
    let mut store = Embedded::open(folder.as_ref()).expect("nobody else has it");
    let (mut revision, _) = store.read().expect("whole");
    let mut out = std::io::stdout();
    loop {
        let number = revision.0 + 1;
        let value = format!("{number} {}", "x".repeat((number % 50) as usize * 100));
        let writes = [put(&format!("key/{}", number % 100), &value), put("last", &number.to_string())];
        revision = store.commit(revision, &writes).expect("room");
        writeln!(out, "committed {number}").and_then(|()| out.flush()).expect("somebody listens");
    }
}

// contract: H2
#[test]
fn what_a_killed_process_has_committed_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut last = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--ignored", "--exact", "--nocapture", "meta::tests::killed::writes_until_it_is_killed"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a process");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let mut said = Vec::new();
        for line in out.lines() {
            let line = line.expect("text");
            // The harness says something too, on the first line perhaps.
            if let Some((_, number)) = line.split_once("committed ") {
                said.push(number.trim().parse::<u64>().expect("a number"));
            }
            if said.len() as u64 == 1 + kill % 7 {
                // Whatever it is doing now; what it says until then is read below.
                child.kill().expect("it runs");
            }
        }
        child.wait().expect("it is gone");
        let acknowledged = said.last().copied().expect("it has committed something");
        assert!(acknowledged > last, "it goes on from {last}");
        let mut store = Embedded::open(folder.path()).expect("the lock went with the process");
        let (Revision(found), entries) = store.read().expect("whole");
        assert!(found == acknowledged || found == acknowledged + 1, "{found} after {acknowledged}");
        let value = |key: &str| {
            let entry = entries.iter().find(|(name, _)| name == key.as_bytes());
            String::from_utf8(entry.expect("it was written").1.clone()).expect("text")
        };
        assert_eq!(value("last"), found.to_string());
        for number in (1..=found).rev().take(100) {
            let value = value(&format!("key/{}", number % 100));
            assert_eq!(value.split(' ').next(), Some(number.to_string().as_str()));
        }
        last = found;
    }
}
