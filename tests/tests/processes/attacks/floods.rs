//! Kind 5: output, watchers and submissions without end.

use std::fs;
use std::time::Duration;

use engine_client::messages as v1;
use engine_client::messages::client_answer::Answer;
use engine_client::messages::client_message::Message;
use engine_client::messages::client_request::{CallActor, LookupActor, Request};
use engine_tests::{Up, until};
use futures::StreamExt;
use serde_json::json;

use super::client_lines::{Line, bits, channel, job_of_client, stamped};
use super::{batches, component, runtime, two, unharmed};

/// Resident memory of a process, in bytes.
pub(super) fn resident_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

pub(super) fn open_files(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).expect("the process runs").count()
}

/// A record of a million empty fields, so many times: sixteen bytes each in the guest, and nothing is written.
fn empty_fields(records: u32) -> String {
    format!(
        r#"(component
        (type $level' (enum "trace" "debug" "info" "warn" "error"))
        (import "engine:compute/logging@0.1.0" (instance $logging
            (type $level' (enum "trace" "debug" "info" "warn" "error"))
            (export "level" (type $level (eq $level')))
            (export "log" (func (param "level" $level) (param "target" string) (param "message" string)
                (param "fields" (list (tuple string string)))))))
        (alias export $logging "log" (func $log))
        (core module $memory (memory (export "memory") 260))
        (core instance $memory (instantiate $memory))
        (core func $log (canon lower (func $log) (memory (core memory $memory "memory"))))
        (core module $guest
            (import "host" "log" (func $log (param i32 i32 i32 i32 i32 i32 i32)))
            (func (export "go") (local $n i32)
                (loop $again
                    (call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                        (i32.const 0) (i32.const 1000000))
                    (local.set $n (i32.add (local.get $n) (i32.const 1)))
                    (br_if $again (i32.lt_u (local.get $n) (i32.const {records}))))))
        (core instance $guest (instantiate $guest (with "host" (instance (export "log" (func $log))))))
        (func (export "go") (canon lift (core func $guest "go"))))"#
    )
}

#[test]
fn records_of_a_million_empty_fields_are_dropped_and_told() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    let before = resident_bytes(up.process_id());
    let file = component(up.place(), "fields.wasm", &empty_fields(30));
    let outcome = red.engine(&["submit", file.to_str().expect("text"), "--invoke", "go()"]).exits(0);
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(said.contains("log_bytes_per_task_max"), "{outcome}");
    // They would be more than a gigabyte.
    let grown = resident_bytes(up.process_id()).saturating_sub(before);
    assert!(grown < 512 << 20, "the engine took {grown} bytes");
    assert_eq!(blue.attacks("honest", &[json!(200)])["right"], 200);
    unharmed(up);
}

#[test]
fn bytes_that_are_no_text_are_shown_as_such_and_stay_lines() {
    let up = Up::start();
    let [red, _] = two(up.place());
    // Overlong forms, halves of pairs, bytes that begin nothing, and a line without an end.
    let bytes: Vec<u8> =
        [b"\xff\xfe\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\x80\r\r\n".as_slice(), &[0x80; 50_000]].concat();
    let arguments: Vec<serde_json::Value> = vec![json!(bytes)];
    // An argument is one of the command line, which has its own bound.
    let outcome =
        red.attack(&[], "bytes", &[arguments[0].as_array().expect("bytes")[..4_000].into()]).exits(0);
    assert!(outcome.stdout.contains('\u{fffd}'), "{outcome}");
    let job = &red.items("jobs")[0]["job_id"];
    let logs = red.engine(&["logs", job.as_str().expect("an id"), "--format", "json"]).exits(0);
    for line in logs.stdout.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("each is JSON");
        assert!(line["text"].as_str().expect("text").len() <= 3 * (16 << 10), "lines are cut");
    }
    unharmed(up);
}

/// Many follow a job at once, on as many streams as a connection has, and go without a word.
#[test]
fn watchers_without_number_leave_nothing() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    let job = red.attacks_on(&[], "keep", &[json!("x")]);
    let before = open_files(up.process_id());
    let runtime = runtime();
    batches("watchers came and went", 600, 60_000, 200, |_, count| {
        runtime.block_on(async {
            let channel = channel(up.place()).await;
            let mut watched = Vec::new();
            for _ in 0..count {
                let mut jobs = v1::jobs_client::JobsClient::new(channel.clone());
                let request = v1::WatchJobRequest { job_id: job.clone(), ..v1::WatchJobRequest::default() };
                watched.push(
                    jobs.watch(stamped(&red.token, request)).await.expect("it is its own").into_inner(),
                );
            }
            for events in &mut watched {
                events.next().await.expect("it says something").expect("an event");
            }
        });
    });
    assert_eq!(blue.attacks("honest", &[json!(100)])["right"], 100);
    until("their connections are gone", || match open_files(up.process_id()) {
        now if now <= before + 2 => Ok(()),
        now => Err(format!("{now} open files instead of {before}")),
    });
    red.engine(&["job", "stop", &job]).exits(0);
    unharmed(up);
}

/// A client that asks and never says that it has heard: its line ends before its answers fill the node.
#[test]
fn who_hears_no_answer_asks_no_more() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    let job = runtime().block_on(async {
        let job = job_of_client(&red).await;
        let mut line = Line::attach(&red, &job).await.expect("it is its own");
        let object = bits("obj-000000000000000000000000");
        let item = v1::ClientWaitable { item: Some(v1::client_waitable::Item::Object(object)) };
        let ask = v1::client_message::Message::Request(v1::ClientRequest {
            request: Some(v1::client_request::Request::IsReady(item)),
        });
        let mut asked = 0;
        // Where nobody reads any more, nothing goes on: what was sent is not taken.
        while let Ok(true) = tokio::time::timeout(Duration::from_secs(10), line.say(ask.clone())).await {
            asked += 1;
            assert!(asked < 2_000_000, "it listens for ever");
        }
        assert!(asked >= 262_144, "what is asked for is answered up to the bound: {asked}");
        line.ended().await;
        job
    });
    assert_eq!(blue.attacks("honest", &[json!(100)])["right"], 100);
    red.engine(&["job", "stop", &job]).exits(0);
    unharmed(up);
}

/// Beginnings of values that never become whole.
#[test]
fn values_that_never_become_whole_are_bounded() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    let job = runtime().block_on(async {
        let job = job_of_client(&red).await;
        let mut line = Line::attach(&red, &job).await.expect("it is its own");
        let mut said: u64 = 0;
        while line
            .say(v1::client_message::Message::Piece(v1::Piece { of: said, bytes: Default::default() }))
            .await
        {
            said += 1;
            assert!(said < 1_000_000, "it takes beginnings without end");
        }
        assert!(said >= 65_536, "{said}");
        line.ended().await;
        job
    });
    assert_eq!(blue.attacks("honest", &[json!(100)])["right"], 100);
    red.engine(&["job", "stop", &job]).exits(0);
    unharmed(up);
}

/// Lanes without number to one actor: those beyond the bound are not there, and it is said why.
#[test]
fn lanes_of_a_client_are_bounded() {
    const LANES_MAX: u64 = 100_000;
    let up = Up::start();
    let [red, blue] = two(up.place());
    red.attacks("detach", &[json!("called"), json!("shared")]);
    runtime().block_on(async {
        let job = job_of_client(&red).await;
        let mut line = Line::attach(&red, &job).await.expect("it is its own");
        let lookup = LookupActor { lane: 1, name: "called".to_owned(), namespace: Some("shared".to_owned()) };
        let Answer::Actor(actor) = line.ask(Request::LookupActor(lookup)).await else { panic!("no actor") };
        for lane in 2..=LANES_MAX + 1 {
            let open = v1::client_message::Lane { lane, actor: Some(actor) };
            assert!(line.say(Message::OpenLane(open)).await, "it listens");
        }
        let call = |lane| {
            let method = "tenant".to_owned();
            Request::CallActor(CallActor { lane, method, arguments: Vec::new(), options: None })
        };
        let refused = line.refused(call(LANES_MAX + 1)).await;
        assert!(refused.code == "INVALID_ARGUMENT" && refused.message.contains("lanes_max"), "{refused:?}");
        let taken = line.ask(call(LANES_MAX)).await;
        assert!(matches!(taken, Answer::Call(_)), "{taken:?}");
        line.ask(Request::End(v1::Heard {})).await;
    });
    red.submit(&["--namespace", "shared"], &["kill-named", "called"]).exits(0);
    assert_eq!(blue.attacks("honest", &[json!(100)])["right"], 100);
    unharmed(up);
}
