//! What an engine is told of its audit log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use engine_audit::limits::AUDIT_FILE_BYTES_MIN;
use engine_audit::{AuditLog, Limits};

use crate::failure::Failure;
use crate::parse::size;

/// Where the audit log is kept, and how much of it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AuditArgs {
    /// Where the audit log is kept; default: audit/ in the engine's folder, and nowhere when it has none
    #[arg(long, value_name = "DIR")]
    audit_log: Option<PathBuf>,
    /// Of a file of it; then the next is begun. Default: 16MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    audit_file_bytes_max: Option<u64>,
    /// How many files of it are kept; then the oldest is removed. Default: 64
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    audit_files_max: Option<u32>,
}

impl AuditArgs {
    /// The log of an engine that keeps what it has in this folder; none: it keeps none.
    pub(crate) fn open(&self, folder: Option<&Path>) -> Result<Option<Arc<AuditLog>>, Failure> {
        let own = folder.map(|folder| folder.join("audit"));
        let Some(folder) = self.audit_log.clone().or(own) else { return Ok(None) };
        let mut limits = Limits::default();
        if let Some(bytes) = self.audit_file_bytes_max {
            if bytes < AUDIT_FILE_BYTES_MIN {
                return Err(Failure::Usage(format!(
                    "--audit-file-bytes-max {bytes}: it is at least {AUDIT_FILE_BYTES_MIN}"
                )));
            }
            limits.audit_file_bytes_max = bytes;
        }
        if let Some(files) = self.audit_files_max {
            limits.audit_files_max = usize::try_from(files).unwrap_or(usize::MAX);
        }
        let log = AuditLog::open(&folder, limits).map_err(|error| Failure::Other(error.to_string()))?;
        eprintln!("its audit log:      {}", folder.display());
        Ok(Some(Arc::new(log)))
    }
}
