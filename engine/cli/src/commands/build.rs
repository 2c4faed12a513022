//! `engine build`: from a crate, a core module or a Python program to a component.

use std::path::PathBuf;

use clap::Args;
use engine_toolchain::{BuildOptions, Progress};

use crate::failure::Failure;
use crate::python;

const EXAMPLES: &str = "\
Examples:
  engine build .                              a crate, into its own name
  engine build guest-examples/pi -o pi.wasm
  engine build legacy.wasm -o component.wasm  a core module for WASI preview 1
  engine build app.py                         a Python program, into app.wasm

The first build of a crate looks for a Rust toolchain with the target wasm32-wasip2 or wasm32-wasip1,
adds it by rustup, or builds it; ENGINE_GUEST_TOOLCHAIN=installed|rustup|sysroot chooses.

A Python program takes the modules beside it that it imports along. Its component runs it from its first line
(`engine submit app.wasm -- ARGS`), and components of other languages call its functions and make actors
of its classes by name. No Python is needed here: it is a copy of python.wasm, which runs Python, with the
program in it.";

/// Make a component of a Rust crate, a core module or a Python program
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Build {
    /// A crate's folder, its Cargo.toml, a core .wasm module, or a Python file
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Where the component is written; default: the crate's or program's name in the current folder
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The cargo profile; default: release
    #[arg(long)]
    profile: Option<String>,
    /// Keep line numbers for backtraces; function names are always kept
    #[arg(long)]
    keep_debug: bool,
}

pub(crate) fn run(args: &Build) -> Result<(), Failure> {
    let output = match &args.output {
        Some(output) => output.clone(),
        None => default_output(&args.path)?,
    };
    let component = if python::is_program(&args.path) { of_program(args)? } else { of_crate(args)? };
    std::fs::write(&output, &component)
        .map_err(|error| Failure::Other(format!("cannot write {}: {error}", output.display())))?;
    let size = engine_core::resources::bytes(component.len() as u64);
    eprintln!("{} ({size}): run it with `engine submit {0}`", output.display());
    Ok(())
}

fn of_program(args: &Build) -> Result<Vec<u8>, Failure> {
    if args.profile.is_some() || args.keep_debug {
        let said =
            "--profile and --keep-debug are for crates: a Python program keeps its source and its lines";
        return Err(Failure::Usage(said.to_owned()));
    }
    python::component(&args.path)
}

fn of_crate(args: &Build) -> Result<Vec<u8>, Failure> {
    let default = BuildOptions::default();
    let options = BuildOptions {
        profile: args.profile.clone().unwrap_or_else(|| default.profile.clone()),
        keep_debug: args.keep_debug,
        progress: Progress::stderr(),
        ..default
    };
    engine_toolchain::build(&args.path, &options).map_err(|error| failure(&error))
}

/// What the toolchain says about a path that is of no use is the caller's mistake; what goes wrong
/// while it builds is not.
pub(crate) fn failure(error: &engine_toolchain::Error) -> Failure {
    use engine_toolchain::Error as E;
    match error {
        E::NotBuildable { .. } | E::Crate { .. } | E::NotWasm { .. } | E::UnknownChoice { .. } => {
            Failure::Usage(error.to_string())
        }
        E::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Failure::Usage(error.to_string())
        }
        _ => Failure::Other(error.to_string()),
    }
}

fn default_output(path: &std::path::Path) -> Result<PathBuf, Failure> {
    let unnamed = || Failure::Usage(format!("{} has no name to write to: give one with -o", path.display()));
    if path.extension().is_some_and(|extension| extension == "wasm") {
        return Err(Failure::Usage(format!(
            "where should the component of {} go? Give a file with -o, for example -o component.wasm",
            path.display()
        )));
    }
    if python::is_program(path) {
        let name = path.file_stem().ok_or_else(unnamed)?;
        return Ok(PathBuf::from(name).with_extension("wasm"));
    }
    let folder = match path.file_name() {
        Some(name) if name == "Cargo.toml" => path.parent().unwrap_or(path),
        _ => path,
    };
    let folder = if folder.as_os_str().is_empty() { std::path::Path::new(".") } else { folder };
    let folder = folder
        .canonicalize()
        .map_err(|error| Failure::Usage(format!("cannot find {}: {error}", folder.display())))?;
    let name = folder.file_name().ok_or_else(unnamed)?;
    Ok(PathBuf::from(name).with_extension("wasm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_gets_the_name_of_its_crate() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("pi");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(default_output(&folder).unwrap(), PathBuf::from("pi.wasm"));
        assert_eq!(default_output(&folder.join("Cargo.toml")).unwrap(), PathBuf::from("pi.wasm"));
        assert_eq!(default_output(&folder.join("app.py")).unwrap(), PathBuf::from("app.wasm"));
        assert!(default_output(&folder.join("core.wasm")).is_err());
        assert!(default_output(&temp.path().join("nowhere")).is_err());
    }
}
