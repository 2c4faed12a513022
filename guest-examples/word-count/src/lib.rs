//! Counts the words of a directory tree: map, shuffle, reduce.
//!
//! `engine submit word-count.wasm --dir HOST_DIR::/data -- /data [--tasks-bytes N]`
//!
//! A word is a maximal run of ASCII letters, in lower case. Counted are regular files whose extension
//! is one of [`files::EXTENSIONS`]; symbolic links are not followed.

mod counter;
mod files;
mod options;
mod plan;
mod stages;
mod top;

use engine::prelude::*;
use options::Options;

#[engine::main]
fn main(args: Vec<String>) -> Result<()> {
    let options = Options::parse(args)?;
    let totals = plan::count(&options)?;
    print!("{}", totals.report()?);
    Ok(())
}
