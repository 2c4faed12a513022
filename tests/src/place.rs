//! A corner of the machine where nothing is yet.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::running::Running;
use crate::{Outcome, files, terminal};

/// A directory of its own, and commands that know of no engine but one that runs in it.
#[derive(Debug)]
pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// Makes the directory.
    ///
    /// # Panics
    /// When the system does not let us.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("engine-tests-").tempdir().expect("a directory");
        for name in ["run", "tmp", "files"] {
            fs::DirBuilder::new().mode(0o700).create(directory.path().join(name)).expect("a directory");
        }
        Self { directory }
    }

    /// The path of a file of the test's own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("files").join(name)
    }

    /// Writes a file of the test's own, and gives its path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, bytes).expect("the file is written");
        path
    }

    /// Where an engine of this place listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("run/engine/engine.sock")
    }

    /// What lies where commands put their temporary files.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn temporary_files(&self) -> Vec<PathBuf> {
        ["run", "tmp"].iter().flat_map(|name| tree(&self.directory.path().join(name))).collect()
    }

    /// A command of the engine, not run yet.
    pub fn engine<I: IntoIterator<Item: AsRef<OsStr>>>(&self, arguments: I) -> Invocation {
        let arguments: Vec<OsString> = arguments.into_iter().map(|a| a.as_ref().to_owned()).collect();
        let mut command = Command::new(files::engine_binary());
        command.args(&arguments);
        self.run_here(command)
    }

    /// Lines of a shell, not run yet, in which `engine` is the binary that is tested.
    ///
    /// # Panics
    /// When the paths of programs are no text.
    pub fn shell(&self, lines: &str) -> Invocation {
        let binary = files::engine_binary();
        let own = binary.parent().expect("a folder").to_owned();
        let others = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::env::join_paths([own].into_iter().chain(std::env::split_paths(&others)));
        let mut command = Command::new("sh");
        command.args(["-c", lines]).env("PATH", paths.expect("paths"));
        self.run_here(command)
    }

    fn run_here(&self, mut command: Command) -> Invocation {
        command
            .current_dir(self.directory.path().join("files"))
            .env_remove("ENGINE_ADDRESS")
            .env_remove("ENGINE_TOKEN")
            .env("XDG_RUNTIME_DIR", self.directory.path().join("run"))
            .env("TMPDIR", self.directory.path().join("tmp"))
            .env("ENGINE_CACHE_DIR", files::cache_dir())
            .env("ENGINE_STATE_DIR", self.directory.path().join("state"))
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null());
        Invocation { command }
    }

    /// A submit of a guest example with arguments of its main, not run yet.
    pub fn submit(&self, name: &str, arguments: &[&str]) -> Invocation {
        self.submit_with(name, &[], arguments)
    }

    /// The same with options of `engine submit`.
    pub fn submit_with(&self, name: &str, options: &[&str], arguments: &[&str]) -> Invocation {
        let module = files::guest(name);
        let mut words: Vec<&OsStr> = vec![OsStr::new("submit"), module.as_os_str()];
        words.extend(options.iter().map(OsStr::new));
        if !arguments.is_empty() {
            words.push(OsStr::new("--"));
            words.extend(arguments.iter().map(OsStr::new));
        }
        self.engine(words)
    }
}

fn tree(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(tree(&path));
        }
        found.push(path);
    }
    found
}

/// A command that is not run yet.
#[derive(Debug)]
pub struct Invocation {
    command: Command,
}

impl Invocation {
    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// What comes on its standard input.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn input(mut self, text: &str) -> Self {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text.as_bytes()).and_then(|()| file.rewind()).expect("it is written");
        self.command.stdin(file);
        self
    }

    /// The same, run by another program.
    pub(crate) fn run_by(self, program: &str, words: &[&str]) -> Self {
        let mut command = Command::new(program);
        command
            .args(words)
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .stdin(Stdio::null());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(directory) = self.command.get_current_dir() {
            command.current_dir(directory);
        }
        Self { command }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`](crate::PATIENCE).
    #[track_caller]
    pub fn run(self) -> Outcome {
        let outcome = self.start().wait();
        // What an engine says that ends with objects in its store which its books do not know.
        assert!(!outcome.stderr.contains("leaked: "), "{outcome}");
        outcome
    }

    /// Starts it.
    ///
    /// # Panics
    /// When the system does not let us.
    pub fn start(self) -> Running {
        Running::start(self.command, false)
    }

    /// Runs it to its end at a terminal; what that is sent, by standard output and standard error.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    #[track_caller]
    pub fn run_at_terminal(self) -> String {
        terminal::run(&self.command).stdout
    }

    /// Runs it to its end while nobody reads its standard output, as `| true` does.
    ///
    /// # Panics
    /// As [`run`](Self::run).
    #[track_caller]
    pub fn run_unread(self) -> Outcome {
        Running::start(self.command, true).wait()
    }
}
