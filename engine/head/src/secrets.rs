//! Secrets of tenants: values that jobs are given by name.
//!
//! A value is in memory, and on disk only sealed: where the engine keeps what it has, in a file of its own for
//! each secret, by a key that lies elsewhere. Which file is whose stands in what is sealed, so that one cannot be
//! put in the place of another.

mod sealed;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use engine_core::{Error, ErrorCode, TenantName};
use engine_proto::limits::{SECRET_BYTES_MAX, SECRETS_MAX};
use engine_proto::v1;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use sealed::Sealer;

/// The secrets of all tenants.
#[derive(Default)]
pub struct Secrets {
    of_tenants: Mutex<HashMap<TenantName, BTreeMap<String, Secret>>>,
    /// Where they are kept; none: nowhere.
    kept: Option<Sealer>,
}

/// One of them.
struct Secret {
    value: Zeroizing<String>,
    set_at: SystemTime,
}

/// What is kept of secrets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The system refused something.
    #[error("the secrets: cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not what an engine writes, or was written with another key.
    #[error("the secrets: {}: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is the matter.
        what: &'static str,
    },
    /// Others can reach it.
    #[error("the secrets: {} is open to others (mode {mode:o}): say chmod {} {}", path.display(), if *is_folder { "700" } else { "600" }, path.display())]
    Open {
        /// Which file or folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// Whether it is a folder.
        is_folder: bool,
    },
}

impl From<engine_private::Error> for SecretsError {
    fn from(error: engine_private::Error) -> Self {
        use engine_private::Error as Private;
        match error {
            Private::File { action, path, source } => Self::File { action, path, source },
            Private::Open { path, mode, is_folder, .. } => Self::Open { path, mode, is_folder },
            Private::TooLarge { path, .. } => Self::Damaged {
                path,
                what: "it is larger than what an engine writes: put back a copy of it, or remove it with all secrets",
            },
        }
    }
}

impl Secrets {
    /// Those that are kept in this folder, by the key in that file, which is made where there is none.
    ///
    /// # Errors
    /// When what is there cannot be used: it is open to others, damaged, or of another key.
    pub fn open(folder: &Path, key: &Path) -> Result<Self, SecretsError> {
        let sealer = Sealer::open(folder, key)?;
        let mut of_tenants: HashMap<TenantName, BTreeMap<String, Secret>> = HashMap::new();
        for found in sealer.all()? {
            let secret = Secret { value: found.value, set_at: found.set_at };
            of_tenants.entry(found.tenant).or_default().insert(found.name, secret);
        }
        Ok(Self { of_tenants: Mutex::new(of_tenants), kept: Some(sealer) })
    }

    /// Gives a secret this value, which it has on disk too when this returns, where there is one.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for what is no name or no value, LIMIT_EXCEEDED beyond `secret_bytes_max` and
    /// `secrets_max`, OUT_OF_DISK and INTERNAL when it cannot be kept; then it has the value that it had.
    pub fn set(&self, tenant: &TenantName, name: &str, value: Zeroizing<String>) -> Result<(), Error> {
        check_name(name)?;
        check_value(&value)?;
        let mut all = self.of_tenants.lock();
        let own = all.get(tenant);
        let is_new = own.is_none_or(|own| !own.contains_key(name));
        if is_new && own.is_some_and(|own| own.len() >= SECRETS_MAX) {
            return Err(Error::new(
                ErrorCode::LimitExceeded,
                format!(
                    "the tenant {tenant} has {SECRETS_MAX} secrets, which is the most (secrets_max): delete one that \
                     no job needs (engine secret delete)"
                ),
            ));
        }
        let secret = Secret { value, set_at: SystemTime::now() };
        if let Some(kept) = &self.kept {
            kept.write(tenant, name, &secret.value, secret.set_at).map_err(not_kept)?;
        }
        all.entry(tenant.clone()).or_default().insert(name.to_owned(), secret);
        Ok(())
    }

    /// Forgets a secret. Jobs that were given it go on with it.
    ///
    /// # Errors
    /// NOT_FOUND when there is none; INTERNAL when its file cannot be removed.
    pub fn delete(&self, tenant: &TenantName, name: &str) -> Result<(), Error> {
        check_name(name)?;
        let mut all = self.of_tenants.lock();
        let own = all.get_mut(tenant).filter(|own| own.contains_key(name));
        let own = own.ok_or_else(|| missing(tenant, name))?;
        if let Some(kept) = &self.kept {
            kept.remove(tenant, name).map_err(not_kept)?;
        }
        own.remove(name);
        if own.is_empty() {
            all.remove(tenant);
        }
        Ok(())
    }

    /// The names of a tenant's secrets, and when each was set last.
    pub fn names(&self, tenant: &TenantName) -> Vec<(String, SystemTime)> {
        let all = self.of_tenants.lock();
        let own = all.get(tenant).into_iter().flatten();
        own.map(|(name, secret)| (name.clone(), secret.set_at)).collect()
    }

    /// The variables of the environment that a job of this tenant is given.
    ///
    /// # Errors
    /// NOT_FOUND, with its name, for a secret that the tenant does not have.
    pub fn environment(
        &self,
        tenant: &TenantName,
        wanted: &[v1::JobSecret],
    ) -> Result<HashMap<String, String>, Error> {
        let all = self.of_tenants.lock();
        let value = |secret: &v1::JobSecret| {
            let found = all.get(tenant).and_then(|own| own.get(&secret.name));
            let found = found.ok_or_else(|| missing(tenant, &secret.name))?;
            Ok((secret.variable.clone(), found.value.as_str().to_owned()))
        };
        wanted.iter().map(value).collect()
    }
}

fn missing(tenant: &TenantName, name: &str) -> Error {
    Error::new(
        ErrorCode::NotFound,
        format!(
            "the tenant {tenant} has no secret {name:?}: engine secret set {name} makes it, engine secret list shows those there are"
        ),
    )
}

fn not_kept(error: SecretsError) -> Error {
    let is_full = matches!(&error, SecretsError::File { source, .. }
        if matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded));
    Error::new(if is_full { ErrorCode::OutOfDisk } else { ErrorCode::Internal }, error.to_string())
}

fn check_name(name: &str) -> Result<(), Error> {
    engine_net::check_secret_name(name)
}

fn check_value(value: &str) -> Result<(), Error> {
    if value.len() > SECRET_BYTES_MAX {
        return Err(Error::new(
            ErrorCode::LimitExceeded,
            format!(
                "the value has {} bytes, at most {SECRET_BYTES_MAX} are allowed (secret_bytes_max)",
                value.len()
            ),
        ));
    }
    match value.contains('\0') {
        true => {
            Err(Error::invalid_argument("the value has a zero byte, which no environment variable can have"))
        }
        false => Ok(()),
    }
}
