//! Objects on disk: many in one file, each from a page boundary on, with a checksum per block.

pub(crate) mod accounts;
mod aligned;
mod errors;
mod folder;
mod local;
mod local_writer;
mod object;
mod read;
mod readers;
#[cfg(feature = "s3")]
mod s3;
#[cfg(feature = "s3")]
mod s3_writer;
mod target;
mod write;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine_core::{Error, ErrorCode};

pub use accounts::SpillUsage;
pub use local::LocalTarget;
pub(crate) use object::SpilledObject;
#[cfg(feature = "s3")]
pub use s3::{S3Options, S3Target};
pub use target::{SpillTarget, SpillWriter};
pub use write::SpillDraft;

use accounts::{Accounts, Janitor};
use readers::Readers;

/// Where and how much may be spilled.
#[derive(Debug, Clone)]
pub struct SpillOptions {
    /// A folder, in which each process makes one of its own; or, with the feature `s3`, the URL
    /// `s3://bucket/prefix`. None: nothing is spilled.
    pub folder: Option<std::path::PathBuf>,
    /// Bytes of all spill files together.
    pub spill_bytes_max: u64,
    /// Bytes that have one checksum, and the least that a read takes from the disk; rounded up to
    /// whole pages of 4096 bytes, and at most 8 MiB. Two of them should fit into the
    /// cache of a core: each is checked, and then copied from there.
    pub block_bytes: usize,
}

impl Default for SpillOptions {
    fn default() -> Self {
        Self { folder: None, spill_bytes_max: u64::MAX, block_bytes: 128 << 10 }
    }
}

/// The spill files of one store.
pub(crate) struct Spill {
    // Declared before the target, so that the files are gone before the folder is.
    janitor: Janitor,
    target: Arc<dyn SpillTarget>,
    accounts: Arc<Accounts>,
    readers: Readers,
    block_bytes: usize,
    files_named: AtomicU64,
}

impl Spill {
    /// Spills to `target`.
    pub(crate) fn new(target: Arc<dyn SpillTarget>, options: &SpillOptions) -> Result<Arc<Self>, Error> {
        let accounts = Arc::new(Accounts::new(options.spill_bytes_max));
        let janitor = Janitor::start(target.clone(), accounts.clone())
            .map_err(|error| Error::internal(format!("the system gives no thread for spilling: {error}")))?;
        let block_bytes =
            options.block_bytes.clamp(1, aligned::BUFFER_BYTES).next_multiple_of(aligned::ALIGN_BYTES);
        Ok(Arc::new(Self {
            janitor,
            target,
            accounts,
            readers: Readers::new(),
            block_bytes,
            files_named: AtomicU64::new(0),
        }))
    }

    /// What is spilled.
    pub(crate) fn usage(&self) -> SpillUsage {
        SpillUsage { free_bytes: self.target.free_bytes().ok().flatten(), ..self.accounts.usage() }
    }

    fn next_name(&self) -> String {
        self.files_named.fetch_add(1, Ordering::Relaxed).to_string()
    }
}

/// The target that [`SpillOptions::folder`] names.
///
/// # Errors
/// INVALID_ARGUMENT when it cannot be used; UNSUPPORTED for S3 in a build without.
pub fn open_target(folder: &Path) -> Result<Arc<dyn SpillTarget>, Error> {
    if let Some(url) = folder.to_str().filter(|text| text.starts_with("s3://")) {
        return open_s3(url);
    }
    match LocalTarget::new(folder) {
        Ok(target) => Ok(Arc::new(target)),
        Err(error) => Err(Error::new(
            ErrorCode::InvalidArgument,
            format!(
                "the spill folder {} cannot be used: {error}; name a folder that this process may write to",
                folder.display()
            ),
        )),
    }
}

#[cfg(feature = "s3")]
fn open_s3(url: &str) -> Result<Arc<dyn SpillTarget>, Error> {
    Ok(Arc::new(S3Target::new(url, &S3Options::default())?))
}

#[cfg(not(feature = "s3"))]
fn open_s3(url: &str) -> Result<Arc<dyn SpillTarget>, Error> {
    Err(Error::new(
        ErrorCode::Unsupported,
        format!(
            "this engine was built without S3, so it cannot spill to {url}; name a folder of a local disk"
        ),
    ))
}
