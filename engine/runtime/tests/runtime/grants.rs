//! What a guest reaches of the machine: its job's grants, and nothing else; and what it writes.

use engine_core::ErrorCode;
use engine_core::options::Returns;
use engine_runtime::{DirectoryGrant, Options};

use crate::host::FakeHost;
use crate::{Bench, bytes, guests, options};

fn lines(host: &FakeHost) -> Vec<String> {
    host.lines()
}

fn saying(text: &str, body: &str) -> Vec<u8> {
    let items = format!("{} (data (i32.const 600) \"{text}\")", guests::WRITERS);
    guests::program_with_wasi(guests::WRITES, &items, body)
}

#[test]
fn output_is_kept_by_line_with_its_task() {
    let bench = Bench::new();
    // "one\ntwo" and " more\nend": three lines, the last without its end.
    let component = bench.load(&saying(
        "one\\0atwo more\\0aend",
        "(call $say (i32.const 600) (i32.const 7)) (call $say (i32.const 607) (i32.const 9)) call $none",
    ));
    let call = bench.run("f");
    let task = call.task;
    bench.end(bench.of(component, call));
    assert_eq!(lines(&bench.host), ["one", "two more", "end"]);
    assert!(bench.host.state.lock().logs.iter().all(|line| line.task == task && line.job == bench.job.job));
}

// contract: L3
#[test]
fn a_gigabyte_of_log_is_cut() {
    let bench =
        Bench::with(Options { log_bytes_per_task_max: 10_000, log_line_bytes_max: 100, ..options() }, |_| {});
    // 4 KiB without a line's end, 2000 times.
    let body = "(local $n i32) (memory.fill (i32.const 8192) (i32.const 120) (i32.const 4096))
        (loop $again (call $say (i32.const 8192) (i32.const 4096))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $n) (i32.const 2000))))
        call $none";
    let (report, _) = bench.end_of(&saying("", body));
    assert!(report.result.is_ok());
    let lines = lines(&bench.host);
    let (last, kept) = lines.split_last().unwrap();
    assert_eq!(kept.len(), 99, "each of 100 bytes and its end");
    assert!(kept.iter().all(|line| line.len() == 100));
    assert!(last.contains("dropped") && last.contains("log_bytes_per_task_max is 9.8 KiB"), "{last}");
}

fn environment() -> Vec<u8> {
    // Gives back all names and values, as they lie in memory.
    let imports =
        r#"(import "wasi:cli/environment@0.2.0" "get-environment" (func $environment (param i32)))"#;
    let body = "(call $environment (i32.const 512))
        (call $one (i32.load (i32.load (i32.const 512))) (i32.sub (global.get $heap) (i32.load (i32.load (i32.const 512)))))";
    guests::program_with_wasi(imports, "", body)
}

#[test]
fn the_environment_is_the_jobs_and_the_tasks() {
    let bench = Bench::with(options(), |job| job.env = vec![("CITY".to_owned(), "Bern".to_owned())]);
    let component = bench.load(&environment());
    let mut call = bench.run("f");
    call.returns = Returns::Fixed(1);
    let mut start = bench.of(component, call);
    start.env = [("RIVER".to_owned(), "Aare".to_owned())].into();
    let (report, _) = bench.end(start);
    let text = String::from_utf8_lossy(&bytes(&report)[0]).into_owned();
    for word in ["CITY", "Bern", "RIVER", "Aare"] {
        assert!(text.contains(word), "{word} in {text:?}");
    }
    assert!(!text.contains("PATH"), "nothing of the node's own: {text:?}");
}

/// Opens a path in its first directory and returns the tag and the code of the result.
fn opening(path: &str, open_flags: u32, flags: u32) -> Vec<u8> {
    let imports = r#"
        (import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $directories (param i32)))
        (import "wasi:filesystem/types@0.2.0" "[method]descriptor.open-at" (func $open (param i32 i32 i32 i32 i32 i32 i32)))"#;
    let items = format!("(data (i32.const 600) \"{path}\")");
    let body = format!(
        "(call $directories (i32.const 512))
        (if (i32.eqz (i32.load (i32.const 516))) (then
            (i32.store (i32.const 528) (i32.const 255)) (return (call $one (i32.const 528) (i32.const 4)))))
        (call $open (i32.load (i32.load (i32.const 512))) (i32.const 1) (i32.const 600) (i32.const {}) (i32.const {open_flags}) (i32.const {flags}) (i32.const 520))
        (i32.store8 (i32.const 528) (i32.load8_u (i32.const 520)))
        (i32.store8 (i32.const 529) (i32.load8_u (i32.const 524)))
        (call $one (i32.const 528) (i32.const 2))",
        path.len()
    );
    guests::program_with_wasi(imports, &items, &body)
}

const NO_ENTRY: u8 = 20;
const NOT_PERMITTED: u8 = 31;

#[test]
fn directories_are_those_granted_and_there_is_no_way_out() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("inside")).unwrap();
    std::fs::write(directory.path().join("secret"), "x").unwrap();
    std::fs::write(directory.path().join("inside/file"), "x").unwrap();
    std::os::unix::fs::symlink("../secret", directory.path().join("inside/link")).unwrap();
    let host = directory.path().join("inside");
    let bench = Bench::with(options(), |job| {
        job.directories = vec![DirectoryGrant { host, guest: "/data".to_owned(), read_only: true }];
    });
    let opened = |path: &str, open_flags: u32, flags: u32| {
        let component = bench.load(&opening(path, open_flags, flags));
        let mut call = bench.run("f");
        call.returns = Returns::Fixed(1);
        bytes(&bench.end(bench.of(component, call)).0).remove(0)
    };
    assert_eq!(opened("file", 0, 1)[0], 0);
    assert_eq!(opened("missing", 0, 1), [1, NO_ENTRY]);
    for escape in ["../secret", "/etc/passwd", "../../../etc/passwd", "link", "x/../../secret"] {
        let result = opened(escape, 0, 1);
        assert_eq!(result[0], 1, "{escape}");
        assert!([NOT_PERMITTED, NO_ENTRY].contains(&result[1]), "{escape}: {result:?}");
    }
    assert_eq!(opened("file", 0, 2), [1, NOT_PERMITTED], "it may only be read");
    assert_eq!(opened("new", 1, 2), [1, NOT_PERMITTED], "nothing is created");
}

#[test]
fn without_a_grant_there_is_no_directory() {
    let bench = Bench::new();
    let component = bench.load(&opening("file", 0, 1));
    let mut call = bench.run("f");
    call.returns = Returns::Fixed(1);
    assert_eq!(bytes(&bench.end(bench.of(component, call)).0), [[255, 0, 0, 0]]);
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let bench = Bench::with(options(), |job| {
        job.directories = vec![DirectoryGrant {
            host: "/no/such/place".into(),
            guest: "/data".to_owned(),
            read_only: true,
        }];
    });
    let error = bench.runtime.check_directories(&bench.job).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotFound);
    assert!(error.message().contains("/no/such/place") && error.message().contains("/data"), "{error}");
}
