//! `engine build`: from a crate or a core module to a component.

use std::path::PathBuf;

use clap::Args;
use engine_toolchain::{BuildOptions, Progress};

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  engine build .                              a crate, into its own name
  engine build guest-examples/pi -o pi.wasm
  engine build legacy.wasm -o component.wasm  a core module for WASI preview 1

The first build looks for a Rust toolchain with the target wasm32-wasip2 or wasm32-wasip1, adds it by
rustup, or builds it; ENGINE_GUEST_TOOLCHAIN=installed|rustup|sysroot chooses.";

/// Make a component of a Rust crate or a core module
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Build {
    /// A crate's folder, its Cargo.toml, or a core .wasm module
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Where the component is written; default: the crate's or module's name in the current folder
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The cargo profile
    #[arg(long, default_value = "release")]
    profile: String,
    /// Keep line numbers for backtraces; function names are always kept
    #[arg(long)]
    keep_debug: bool,
}

pub(crate) fn run(args: &Build) -> Result<(), Failure> {
    let output = match &args.output {
        Some(output) => output.clone(),
        None => default_output(&args.path)?,
    };
    let options = BuildOptions {
        profile: args.profile.clone(),
        keep_debug: args.keep_debug,
        progress: Progress::stderr(),
        ..BuildOptions::default()
    };
    let component = engine_toolchain::build(&args.path, &options).map_err(|e| failure(&e))?;
    std::fs::write(&output, &component)
        .map_err(|error| Failure::Other(format!("cannot write {}: {error}", output.display())))?;
    let size = engine_core::resources::bytes(component.len() as u64);
    eprintln!("{} ({size}): run it with `engine submit {0}`", output.display());
    Ok(())
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
        assert!(default_output(&folder.join("core.wasm")).is_err());
        assert!(default_output(&temp.path().join("nowhere")).is_err());
    }
}
