//! What can go wrong between a crate and a component, each with what to do about it.

use std::path::PathBuf;

/// Why a guest could not be built or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was being done, e.g. `cannot read`.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A program could not be started.
    #[error("cannot run `{program}`: {source}; {hint}")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// A program ran and failed.
    #[error("`{command}` failed ({status}){}", indented(.output))]
    Failed {
        /// The command line, shortened.
        command: String,
        /// Its exit status, or that it ran past its time.
        status: String,
        /// The end of what it wrote.
        output: String,
    },
    /// No Rust toolchain for WebAssembly is there, and none could be added or built.
    #[error(
        "no Rust toolchain for WebAssembly guests: {reason}\n  run `rustup target add wasm32-wasip2` and try again"
    )]
    NoToolchain {
        /// What was tried, and why each did not work.
        reason: String,
    },
    /// `ENGINE_GUEST_TOOLCHAIN` holds something else than its choices.
    #[error(
        "ENGINE_GUEST_TOOLCHAIN is `{value}`; it may be `installed`, `rustup` or `sysroot`, or be left unset to take whichever works"
    )]
    UnknownChoice {
        /// What it held.
        value: String,
    },
    /// The path is neither a crate nor a core module.
    #[error("{}: {reason}", path.display())]
    NotBuildable {
        /// The path that was given.
        path: PathBuf,
        /// What it is instead, and what to do.
        reason: String,
    },
    /// The crate has no target that makes a component, or more than one package has.
    #[error("{}: {reason}", manifest.display())]
    Crate {
        /// The manifest.
        manifest: PathBuf,
        /// What is missing, and what to write.
        reason: String,
    },
    /// A core module could not be made a component.
    #[error("cannot make a component of this module: {reason}")]
    Componentize {
        /// Why not, and what to do.
        reason: String,
    },
    /// The bytes are not WebAssembly, or are damaged.
    #[error("{reason}")]
    NotWasm {
        /// What they look like, or where they are damaged.
        reason: String,
    },
}

impl Error {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Error::Io { what, path, source }
    }
}

fn indented(output: &str) -> String {
    let mut text = String::new();
    for line in output.trim_end().lines() {
        text.push_str("\n  ");
        text.push_str(line);
    }
    text
}
