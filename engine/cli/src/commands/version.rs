//! `engine version`: what this build is.

use clap::Args;
use engine_proto::version::{PROTOCOL, VERSION};
use serde_json::json;

use crate::failure::Failure;
use crate::output::{self, Format, details};

const EXAMPLES: &str = "\
Examples:
  engine version
  engine version --format json

Which wasmtime a build has says whether an advisory is about it; SECURITY.md says how soon we take one.";

/// Which wasmtime this build has.
const WASMTIME: &str = env!("WASMTIME_VERSION");

/// Say which version this is, and which wasmtime its sandboxes are
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Version {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(args: &Version) -> Result<(), Failure> {
    let value = json!({
        "engine": VERSION,
        "wasmtime": WASMTIME,
        "protocol": PROTOCOL,
        "system": format!("{} {}", std::env::consts::ARCH, std::env::consts::OS),
    });
    match args.format {
        Format::Json => output::print_json(&value),
        Format::Table => output::print(&details::render(&value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_wasmtime_is_one() {
        let parts: Vec<u32> = WASMTIME.split('.').filter_map(|part| part.parse().ok()).collect();
        assert!(parts.len() == 3 && parts[0] >= 48, "{WASMTIME}");
    }
}
