//! What an engine holds of the machine is what it held before its jobs.

use std::fs;

use engine_tests::{Up, until};

/// The kinds of open files of a process, sorted; the names of sockets and the like without their numbers.
fn open_files(process: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{process}/fd")).expect("the process runs");
    let targets = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let mut names: Vec<String> = targets
        .map(|target| target.to_string_lossy().split('[').next().unwrap_or_default().to_owned())
        .collect();
    names.sort();
    names
}

fn threads(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/task")).expect("the process runs").count()
}

// contract: T5, O6, J2
#[test]
fn jobs_good_and_bad_leave_files_and_threads_as_they_were() {
    let mut up = Up::start();
    up.place().file("granted/inside.txt", "inside");
    let grant = format!("{}::/data", up.place().path("granted").display());
    let round = || {
        for arguments in [
            &["noop", "50"][..],
            &["noop-warm", "50"],
            &["bytes", "3000000"],
            &["counter", "5"],
            &["stream-drop"],
            &["panic"],
            &["allocate-forever"],
            &["spin-forever", "30"],
            &["drop-everything", "500"],
            &["fail-here"],
            &["read-file", "/data/inside.txt"],
        ] {
            up.place().submit_with("selftest", &["--dir", &grant], arguments).run();
        }
        let job = up.submit_no_wait(&["--dir", &grant], &["spin-forever-here"]);
        up.engine(&["job", "stop", &job]).exits(0);
        up.wait_until_idle();
    };
    // The first time some things are opened for good.
    round();
    let (files, threads_before) = (open_files(up.process_id()), threads(up.process_id()));
    for _ in 0..3 {
        round();
    }
    until("the open files are those of before", || {
        let now = open_files(up.process_id());
        if now.len() <= files.len() { Ok(()) } else { Err(format!("{now:#?} instead of {files:#?}")) }
    });
    let threads_now = threads(up.process_id());
    // Tokio's threads for blocking work come and go.
    assert!(threads_now <= threads_before + 8, "{threads_now} threads instead of {threads_before}");
    up.still_serves();
}
