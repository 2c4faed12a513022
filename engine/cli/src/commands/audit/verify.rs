//! `engine audit verify`: whether the lines are those that were written.

use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  engine audit verify /var/lib/engine/audit
  engine audit verify /var/lib/engine/audit --knows 7d0a9c…   that line is among them

It reads the files, needs no engine, and says with exit status 1 which line is not the one that was written: a line
that was changed, removed or put in. That lines were cut off at the end is seen by who has kept the hash of a later
line, as this command tells it, elsewhere.";

/// Check that no line of an audit log was changed, removed or put in
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Verify {
    /// The folder of the log, as the engine names it when it starts
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The hash of a line that has to be among them
    #[arg(long, value_name = "HASH")]
    knows: Option<String>,
}

pub(super) fn run(args: &Verify) -> Result<(), Failure> {
    let known = args.knows.as_deref();
    let verified =
        engine_audit::verify(&args.folder, known).map_err(|error| Failure::Other(error.to_string()))?;
    if let Some(known) = known
        && !verified.has_known
    {
        return Err(Failure::Other(format!(
            "no line of {} has the hash {known}: lines were cut off, or it is another log",
            args.folder.display()
        )));
    }
    if verified.first > 1 {
        eprintln!("lines before {} are in files that were removed (--audit-files-max)", verified.first);
    }
    output::print(&format!(
        "lines {} to {} are as they were written; the last one has the hash {}",
        verified.first, verified.last, verified.hash
    ))
}
