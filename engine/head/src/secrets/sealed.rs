//! The files: one for each secret, sealed by ChaCha20-Poly1305.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine_core::TenantName;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::SecretsError;

/// What a file begins with; the number is that of its form.
const MAGIC: &[u8] = b"engine-secret-1\n";
const KEY_BYTES: usize = 32;
/// Bytes of when it was set, which stand before the value.
const TIME_BYTES: usize = 8;

/// Seals and opens the files of a folder.
pub(super) struct Sealer {
    folder: PathBuf,
    key: LessSafeKey,
}

/// A secret, as its file has it.
pub(super) struct Found {
    pub(super) tenant: TenantName,
    pub(super) name: String,
    pub(super) value: Zeroizing<String>,
    pub(super) set_at: SystemTime,
}

impl Sealer {
    /// `key_path`: made when it is not there and there are no secrets yet.
    pub(super) fn open(folder: &Path, key_path: &Path) -> Result<Self, SecretsError> {
        for folder in [Some(folder), key_path.parent()].into_iter().flatten() {
            engine_private::folder(folder)?;
        }
        let key = match engine_private::read(key_path, KEY_BYTES as u64)? {
            Some(bytes) => Zeroizing::new(bytes),
            None => {
                let mut bytes = Zeroizing::new(vec![0; KEY_BYTES]);
                random(&mut bytes, key_path)?;
                engine_private::write(key_path, &bytes)?;
                bytes
            }
        };
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).map_err(|_| SecretsError::Damaged {
            path: key_path.to_owned(),
            what: "it is no key of 32 bytes: put back a copy of it, or remove it with all secrets",
        })?;
        Ok(Self { folder: folder.to_owned(), key: LessSafeKey::new(key) })
    }

    /// No tenant's name has a dot, so that it is clear where it ends.
    fn path(&self, tenant: &TenantName, name: &str) -> PathBuf {
        self.folder.join(format!("{tenant}.{name}"))
    }

    pub(super) fn write(
        &self,
        tenant: &TenantName,
        name: &str,
        value: &str,
        set_at: SystemTime,
    ) -> Result<(), SecretsError> {
        let path = self.path(tenant, name);
        let mut nonce = [0; NONCE_LEN];
        random(&mut nonce, &path)?;
        let since = set_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut sealed =
            Zeroizing::new(Vec::with_capacity(TIME_BYTES + value.len() + CHACHA20_POLY1305.tag_len()));
        sealed.extend_from_slice(&since.to_le_bytes());
        sealed.extend_from_slice(value.as_bytes());
        let whose = whose(tenant, name);
        let done = self.key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(whose.as_bytes()),
            &mut *sealed,
        );
        done.map_err(|_| SecretsError::Damaged { path: path.clone(), what: "the value cannot be sealed" })?;
        Ok(engine_private::write(&path, &[MAGIC, &nonce, &sealed].concat())?)
    }

    pub(super) fn remove(&self, tenant: &TenantName, name: &str) -> Result<(), SecretsError> {
        let path = self.path(tenant, name);
        fs::remove_file(&path).map_err(at("remove", &path))?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(at("write", &self.folder))
    }

    /// All that there are. One that cannot be opened is an error: jobs would miss it.
    pub(super) fn all(&self) -> Result<Vec<Found>, SecretsError> {
        let entries = fs::read_dir(&self.folder).map_err(at("list", &self.folder))?;
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(at("list", &self.folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if engine_private::is_unfinished(name) {
                // Of a process that was killed while it wrote.
                fs::remove_file(&path).map_err(at("remove", &path))?;
                continue;
            }
            found.push(self.read(&path)?);
        }
        Ok(found)
    }

    fn read(&self, path: &Path) -> Result<Found, SecretsError> {
        let damaged = |what| SecretsError::Damaged { path: path.to_owned(), what };
        let strange = "it is no secret that an engine has written: move it away";
        let file_name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let (tenant, name) = file_name.split_once('.').ok_or_else(|| damaged(strange))?;
        let tenant: TenantName = tenant.parse().map_err(|_| damaged(strange))?;
        let bytes = fs::read(path).map_err(at("read", path))?;
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| damaged(strange))?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(|| damaged(strange))?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let whose = whose(&tenant, name);
        let opened = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(whose.as_bytes()), &mut sealed)
            .map_err(|_| {
                damaged(
                    "it cannot be opened by this engine's key: it was changed, renamed, or sealed by another",
                )
            })?;
        let (since, value) = opened.split_first_chunk::<TIME_BYTES>().ok_or_else(|| damaged(strange))?;
        let value = String::from_utf8(value.to_vec()).map_err(|_| damaged(strange))?;
        let set_at = UNIX_EPOCH + Duration::from_secs(u64::from_le_bytes(*since));
        Ok(Found { tenant, name: name.to_owned(), value: Zeroizing::new(value), set_at })
    }
}

fn whose(tenant: &TenantName, name: &str) -> String {
    format!("{tenant}/{name}")
}

fn random(bytes: &mut [u8], of: &Path) -> Result<(), SecretsError> {
    let filled = SystemRandom::new().fill(bytes);
    filled.map_err(|_| at("make random bits for", of)(io::Error::other("the system gave none")))
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SecretsError {
    let path = path.to_owned();
    move |source| SecretsError::File { action, path, source }
}
