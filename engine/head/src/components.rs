//! The component registry: bytes by their digest, uploaded once.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine_core::{ComponentId, Error, ErrorCode, TenantName, resources};
use engine_net::Scope;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// Components that this cluster knows, in memory, and on disk when there is a folder for them.
pub struct Components {
    folder: Option<PathBuf>,
    /// What is kept must be there after the machine has stopped.
    is_durable: bool,
    bytes_max: u64,
    known: Mutex<Known>,
    /// Which of them each tenant has brought itself, the latest last. After a restart it brings them again.
    brought: Mutex<HashMap<TenantName, IndexedIds>>,
}

/// Components of one tenant that are remembered as its own; it brings the older ones again.
const BROUGHT_PER_TENANT_MAX: usize = 10_000;

/// Ids, and the order in which they came.
#[derive(Default)]
struct IndexedIds {
    order: VecDeque<ComponentId>,
    ids: HashSet<ComponentId>,
}

#[derive(Default)]
struct Known {
    by_id: HashMap<ComponentId, Arc<[u8]>>,
    bytes: u64,
}

impl Components {
    /// A registry that holds `bytes_max` at most. With a folder, what it holds outlives the process.
    pub fn new(folder: Option<PathBuf>, bytes_max: u64) -> Self {
        Self { folder, is_durable: false, bytes_max, known: Mutex::default(), brought: Mutex::default() }
    }

    /// The same, and what it has taken is on the disk whatever happens to the process or the machine.
    pub fn durable(folder: PathBuf, bytes_max: u64) -> Self {
        Self {
            folder: Some(folder),
            is_durable: true,
            bytes_max,
            known: Mutex::default(),
            brought: Mutex::default(),
        }
    }

    /// Whether a component is there for somebody: a tenant has brought it itself, whatever others have.
    pub fn is_there_for(&self, scope: &Scope, id: ComponentId) -> bool {
        let is_its_own = match &scope.tenant {
            Some(tenant) => self.brought.lock().get(tenant).is_some_and(|brought| brought.ids.contains(&id)),
            None => true,
        };
        is_its_own && self.get(id).is_some()
    }

    /// Somebody has brought a component.
    pub fn is_brought_by(&self, scope: &Scope, id: ComponentId) {
        let Some(tenant) = &scope.tenant else { return };
        let mut all = self.brought.lock();
        let brought = all.entry(tenant.clone()).or_default();
        if brought.ids.insert(id) {
            brought.order.push_back(id);
        }
        while brought.order.len() > BROUGHT_PER_TENANT_MAX {
            brought.order.pop_front().map(|oldest| brought.ids.remove(&oldest));
        }
    }

    /// The id of these bytes.
    pub fn id_of(bytes: &[u8]) -> ComponentId {
        ComponentId(Sha256::digest(bytes).into())
    }

    /// Keeps a component that may never be asked for, and gives its id: not in memory when its file is there.
    ///
    /// # Errors
    /// As [`Components::insert`].
    pub fn add(&self, bytes: &[u8]) -> Result<ComponentId, Error> {
        let id = Self::id_of(bytes);
        let file = self.path(id).and_then(|path| std::fs::metadata(path).ok());
        if file.is_none_or(|file| file.len() != bytes.len() as u64) {
            self.keep(id, bytes)?;
        }
        Ok(id)
    }

    /// Keeps a component.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when the bytes are not those of the id; LIMIT_EXCEEDED when the registry is
    /// full; OUT_OF_DISK when a durable one cannot write.
    pub fn insert(&self, id: ComponentId, bytes: &[u8]) -> Result<(), Error> {
        let found = Self::id_of(bytes);
        if found != id {
            return Err(Error::invalid_argument(format!(
                "what was uploaded as {id} is {found}: it was damaged on its way, upload it again"
            )));
        }
        self.keep(id, bytes)
    }

    fn keep(&self, id: ComponentId, bytes: &[u8]) -> Result<(), Error> {
        let known = self.known.lock();
        if known.by_id.contains_key(&id) {
            return Ok(());
        }
        let sum = known.bytes + bytes.len() as u64;
        if sum > self.bytes_max {
            return Err(Error::new(
                ErrorCode::LimitExceeded,
                format!(
                    "component_store_bytes_max of {} is reached, and this component has {}: restart the engine, or give it a larger one",
                    resources::bytes(self.bytes_max),
                    resources::bytes(bytes.len() as u64)
                ),
            ));
        }
        drop(known);
        if let Some(path) = self.path(id)
            && let Err(error) = write(&path, bytes, self.is_durable)
        {
            if self.is_durable {
                let message = format!("{id} cannot be written to {}: {error}", path.display());
                return Err(Error::new(ErrorCode::OutOfDisk, message));
            }
            tracing::warn!(path = %path.display(), %error, "a component stays in memory only");
        }
        let mut known = self.known.lock();
        // Two may bring the same at once.
        if known.by_id.insert(id, bytes.into()).is_none() {
            known.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    /// The bytes of a component; none when it was never uploaded.
    pub fn get(&self, id: ComponentId) -> Option<Arc<[u8]>> {
        if let Some(bytes) = self.known.lock().by_id.get(&id) {
            return Some(bytes.clone());
        }
        let path = self.path(id)?;
        let bytes = std::fs::read(&path).ok()?;
        // A file that was damaged is as good as none.
        if Self::id_of(&bytes) != id {
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "a damaged component cannot be removed");
            }
            return None;
        }
        let bytes: Arc<[u8]> = bytes.into();
        let mut known = self.known.lock();
        if known.bytes + bytes.len() as u64 <= self.bytes_max {
            known.bytes += bytes.len() as u64;
            known.by_id.insert(id, bytes.clone());
        }
        Some(bytes)
    }

    fn path(&self, id: ComponentId) -> Option<PathBuf> {
        let name: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.as_ref().map(|folder| folder.join(name + ".wasm"))
    }
}

/// Writes whole or not at all.
fn write(path: &Path, bytes: &[u8], is_durable: bool) -> std::io::Result<()> {
    // Two may write the same at once.
    static PARTS: AtomicU64 = AtomicU64::new(0);
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let number = PARTS.fetch_add(1, Ordering::Relaxed);
    let part = path.with_extension(format!("part-{}-{number}", std::process::id()));
    std::fs::write(&part, bytes)?;
    if is_durable {
        File::open(&part)?.sync_all()?;
    }
    std::fs::rename(&part, path)?;
    if is_durable {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tenant_has_not_brought_is_not_there_for_it() {
        let components = Components::new(None, 1 << 20);
        let tenant = |name: &str| Scope { tenant: Some(name.parse().unwrap()), ..Scope::ALL };
        let id = Components::id_of(b"x");
        components.insert(id, b"x").unwrap();
        components.is_brought_by(&tenant("a"), id);
        assert!(components.is_there_for(&tenant("a"), id) && components.is_there_for(&Scope::ALL, id));
        assert!(!components.is_there_for(&tenant("b"), id));
        let other = Components::id_of(b"y");
        components.is_brought_by(&tenant("a"), other);
        assert!(!components.is_there_for(&tenant("a"), other), "its bytes are nowhere");
    }

    #[test]
    fn bytes_come_back_and_damage_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let registry = Components::new(Some(folder.path().to_owned()), 10);
        let id = Components::id_of(b"hello");
        registry.insert(id, b"hello").expect("room");
        registry.insert(id, b"hello").expect("known already");
        assert_eq!(registry.get(id).as_deref(), Some(b"hello".as_slice()));
        let error = registry.insert(Components::id_of(b"x"), b"y").expect_err("damaged");
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        let error = registry.insert(Components::id_of(b"large!"), b"large!").expect_err("full");
        assert_eq!(error.code(), ErrorCode::LimitExceeded);

        let again = Components::new(Some(folder.path().to_owned()), 10);
        assert_eq!(again.get(id).as_deref(), Some(b"hello".as_slice()), "it outlives the process");
        std::fs::write(again.path(id).expect("a path"), b"jello").expect("written");
        assert_eq!(Components::new(Some(folder.path().to_owned()), 10).get(id), None);
    }

    #[test]
    fn what_may_never_be_asked_for_is_written_once_and_not_kept_in_memory() {
        let folder = tempfile::tempdir().expect("a folder");
        let of_folder = || Components::new(Some(folder.path().to_owned()), 10);
        let id = of_folder().add(b"hello").expect("room");
        let again = of_folder();
        assert_eq!((again.add(b"hello").expect("known"), again.known.lock().bytes), (id, 0));
        assert_eq!(again.get(id).as_deref(), Some(b"hello".as_slice()));

        std::fs::write(again.path(id).expect("a path"), b"jello").expect("damaged");
        assert_eq!(of_folder().get(id), None);
        let mended = of_folder();
        mended.add(b"hello").expect("room");
        assert_eq!(of_folder().get(id).as_deref(), Some(b"hello".as_slice()), "it is written anew");
    }
}
