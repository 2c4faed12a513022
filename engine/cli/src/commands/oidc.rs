//! `--oidc`: who may log in to an engine.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use engine_oidc::{Oidc, Rules};

use crate::failure::Failure;

/// Bytes of the file that are read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Who may log in.
#[derive(Debug, Args)]
pub(crate) struct OidcArgs {
    /// Whose ID tokens `engine login` exchanges for tokens, and what people get: docs/login.md
    #[arg(long, value_name = "FILE.toml")]
    oidc: Option<PathBuf>,
}

impl OidcArgs {
    /// What judges those who log in; none: nobody does.
    pub(crate) fn open(&self) -> Result<Option<Arc<Oidc>>, Failure> {
        let Some(path) = &self.oidc else { return Ok(None) };
        let wrong = |why: &str| Failure::Usage(format!("--oidc {}: {why}", path.display()));
        let size = std::fs::metadata(path).map_err(|error| wrong(&error.to_string()))?.len();
        if size > FILE_BYTES_MAX {
            return Err(wrong(&format!("it has {size} bytes, at most {FILE_BYTES_MAX} are read")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
        let rules = Rules::parse(&text).map_err(|error| wrong(error.message()))?;
        let oidc = Oidc::new(rules).map_err(|error| wrong(error.message()))?;
        eprintln!("people log in with ID tokens of {}", oidc.issuer());
        Ok(Some(Arc::new(oidc)))
    }
}
