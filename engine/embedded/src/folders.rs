//! Where an engine keeps what it would like to find again.

use std::path::PathBuf;

use engine_agent::Options;

/// Where components and their machine code are kept between runs: in the user's cache. Without one
/// they are compiled anew each time.
pub fn data_dir() -> Option<PathBuf> {
    match engine_toolchain::cache_dir() {
        Ok(cache) => Some(cache.join("node")),
        Err(error) => {
            tracing::warn!(%error, "nothing is kept for the next run");
            None
        }
    }
}

/// Where objects go that memory has no room for: the folder named, else next to what is kept between
/// runs.
pub fn spill_folder(named: Option<PathBuf>, options: &Options) -> Option<PathBuf> {
    named.or_else(|| options.data_dir.as_ref().map(|dir| dir.join("spill")))
}
