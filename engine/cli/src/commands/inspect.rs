//! `engine inspect`: what a component offers and asks for.

use std::path::PathBuf;

use clap::Args;

use crate::commands::build;
use crate::failure::Failure;
use crate::output::{self, Format};

const EXAMPLES: &str = "\
Examples:
  engine inspect add.wasm
  engine inspect add.wasm --format json | jq .invokable";

/// Show what a component offers, what it asks for, and what has to be granted
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Inspect {
    /// A component or core module
    #[arg(value_name = "MODULE.wasm")]
    module: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(args: &Inspect) -> Result<(), Failure> {
    let shown = args.module.display();
    let file = std::fs::read(&args.module)
        .map_err(|error| Failure::Usage(format!("cannot read {shown}: {error}")))?;
    let found = engine_toolchain::inspect(&file).map_err(|error| match build::failure(&error) {
        Failure::Usage(text) => Failure::Usage(format!("{shown}: {text}")),
        other => other,
    })?;
    match args.format {
        Format::Table => output::print(&found.to_string()),
        Format::Json => {
            let json = serde_json::to_value(&found)
                .map_err(|error| Failure::Other(format!("cannot write JSON: {error}")))?;
            output::print_json(&json)
        }
    }
}
