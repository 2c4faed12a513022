//! The binary itself: what it prints, and how it exits.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// The binary, apart from any engine of whoever runs the tests.
fn engine(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_engine"));
    command
        .env("ENGINE_ADDRESS", format!("unix:{}", home.join("run/engine.sock").display()))
        .env("ENGINE_CACHE_DIR", home.join("cache"))
        .env_remove("ENGINE_LOG");
    command
}

fn run(home: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = engine(home).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn an_engine_that_is_not_there_is_exit_status_3() {
    let home = TempDir::new().unwrap();
    for verb in [&["status"][..], &["list", "tasks"], &["job", "stop", "x"]] {
        let (status, stdout, stderr) = run(home.path(), verb);
        assert_eq!((status, stdout.as_str()), (Some(3), ""), "{verb:?}");
        assert!(stderr.contains("start one with `engine up`"), "{stderr}");
    }
}

#[test]
fn a_wrong_command_is_exit_status_2() {
    let home = TempDir::new().unwrap();
    let (notes, core) = (home.path().join("notes.txt"), home.path().join("core.wasm"));
    std::fs::write(&notes, "hello").unwrap();
    std::fs::write(&core, b"\0asm\x01\0\0\0").unwrap();
    let (notes, core) = (notes.to_str().unwrap(), core.to_str().unwrap());
    let cases = [
        (&["frobnicate"][..], "frobnicate"),
        (&["submit", "/nowhere/x.wasm"], "cannot read /nowhere/x.wasm"),
        (&["submit", notes], "is not WebAssembly"),
        (&["submit", core], "`engine build "),
        (&["error", "OOPS"], "is not an error code"),
        (&["status", "--address", "nowhere"], "is not an address"),
    ];
    for (arguments, said) in cases {
        let (status, _, stderr) = run(home.path(), arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}

// contract: E1
#[test]
fn the_page_of_an_error_is_printed() {
    let home = TempDir::new().unwrap();
    let (status, stdout, _) = run(home.path(), &["error", "out-of-memory"]);
    assert_eq!(status, Some(0));
    assert!(stdout.starts_with("# OUT_OF_MEMORY\n"), "{stdout}");
    let (_, all, _) = run(home.path(), &["error"]);
    assert_eq!(all.lines().count(), 30, "{all}");
}

/// `engine up`, killed at the latest with the test.
struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        // It has ended already when all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn up_serves_until_it_is_told_to_stop() {
    let home = TempDir::new().unwrap();
    let started = engine(home.path())
        .args(["up", "--cpus", "1.5", "--memory", "64MiB", "--resources", "licence=2"])
        .stderr(Stdio::piped())
        .spawn();
    let mut up = Up(started.unwrap());
    let mut said = BufReader::new(up.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let listening = said.find(|line| line.starts_with("listening on ")).unwrap();
    assert!(listening.ends_with("run/engine.sock"), "{listening}");

    let (status, stdout, stderr) = run(home.path(), &["status", "--format", "json"]);
    assert_eq!(status, Some(0), "{stderr}");
    let shown: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(shown["total"]["cpus"], 1.5);
    assert_eq!(shown["total"]["memory_bytes"], 64 << 20);
    assert_eq!(shown["available"]["custom"]["licence"], 2.0);
    let (status, stdout, _) = run(home.path(), &["list", "nodes"]);
    assert_eq!(status, Some(0));
    assert!(stdout.contains("ALIVE"), "{stdout}");
    let (status, _, stderr) = run(home.path(), &["list", "nodes", "--filter", "colour=red"]);
    assert_eq!(status, Some(2));
    assert!(stderr.contains("hostname"), "{stderr}");
    let (status, _, stderr) = run(home.path(), &["job", "status", "nowhere"]);
    assert_eq!(status, Some(2));
    assert!(stderr.contains("NOT_FOUND"), "{stderr}");
    let (status, _, stderr) = run(home.path(), &["up"]);
    assert_eq!(status, Some(2));
    assert!(stderr.contains("running already"), "{stderr}");

    let told = Command::new("kill").args(["-TERM", &up.0.id().to_string()]).status().unwrap();
    assert!(told.success());
    assert_eq!(up.0.wait().unwrap().code(), Some(0));
    assert_eq!(said.last().as_deref(), Some("stopped"));
    assert!(!home.path().join("run/engine.sock").exists());
    assert_eq!(run(home.path(), &["status"]).0, Some(3));
}
