//! Machine code between runs, keyed by the component's content, the engine's configuration and
//! wasmtime's version. A file that is not as it was written is ignored and made again.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use engine_core::ComponentId;
use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::compiling::Compiler;
use crate::counters::Count;

/// The cache of one node; without a directory it keeps nothing.
pub(crate) struct CompileCache {
    directory: Option<PathBuf>,
    bytes_max: u64,
    compiler: Compiler,
    pub(crate) hits: Count,
    pub(crate) compilations: Count,
}

impl CompileCache {
    /// A cache in this directory, which is made if need be. One that others may write to is not used.
    pub(crate) fn new(directory: Option<PathBuf>, bytes_max: u64) -> Self {
        let directory = directory.filter(|directory| match prepare(directory) {
            Ok(()) => true,
            Err(reason) => {
                tracing::warn!(directory = %directory.display(), "machine code is not kept: {reason}");
                false
            }
        });
        let compiler = Compiler::default();
        Self { directory, bytes_max, compiler, hits: Count::default(), compilations: Count::default() }
    }

    /// The component, out of the cache or compiled.
    pub(crate) fn compile(
        &self,
        engine: &Engine,
        id: ComponentId,
        bytes: &[u8],
    ) -> wasmtime::Result<Component> {
        let Some(directory) = &self.directory else {
            self.compilations.up();
            return self.compiler.compile(engine, bytes);
        };
        let path = directory.join(file_name(engine, id));
        if let Some(component) = read(engine, &path) {
            self.hits.up();
            return Ok(component);
        }
        self.compilations.up();
        let component = self.compiler.compile(engine, bytes)?;
        let code = component.serialize()?;
        match write(directory, &path, &code) {
            Ok(()) => self.evict(directory, &path),
            Err(error) => tracing::warn!(path = %path.display(), "machine code was not kept: {error}"),
        }
        Ok(component)
    }

    /// Removes what was not used for longest until the rest fits.
    fn evict(&self, directory: &Path, keep: &Path) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "cwasm"))
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        files.sort();
        for (_, size, path) in files {
            if total <= self.bytes_max {
                return;
            }
            if path != keep && fs::remove_file(&path).is_ok() {
                // The digest without its file is never read.
                drop(fs::remove_file(digest_path(&path)));
                total -= size;
            }
        }
    }
}

/// A component whose machine code is kept in this directory and mapped from there, as that of the engine's
/// own is: for measurements of wasmtime alone.
///
/// # Errors
/// What wasmtime says of the bytes.
pub fn mapped_component(engine: &Engine, directory: &Path, bytes: &[u8]) -> wasmtime::Result<Component> {
    let cache = CompileCache::new(Some(directory.to_owned()), u64::MAX);
    let id = ComponentId(Sha256::digest(bytes).into());
    // The first time makes the file, unless it is there.
    drop(cache.compile(engine, id, bytes)?);
    cache.compile(engine, id, bytes)
}

fn file_name(engine: &Engine, id: ComponentId) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let content: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{content}-{:016x}.cwasm", hasher.finish())
}

fn digest_path(path: &Path) -> PathBuf {
    path.with_extension("sha256")
}

/// Makes the directory, and checks that nobody else can write there.
fn prepare(directory: &Path) -> Result<(), String> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| error.to_string())?;
    let metadata = fs::metadata(directory).map_err(|error| error.to_string())?;
    if !metadata.is_dir() {
        return Err("it is not a directory".to_owned());
    }
    is_own(&metadata)
}

fn is_own(metadata: &fs::Metadata) -> Result<(), String> {
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user {
        return Err(format!("it belongs to user {}, and this process runs as user {user}", metadata.uid()));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(format!("others may write to it (mode {:o}): chmod go-w", metadata.mode() & 0o777));
    }
    Ok(())
}

fn read(engine: &Engine, path: &Path) -> Option<Component> {
    let file = fs::File::options().read(true).write(true).open(path).ok()?;
    is_own(&file.metadata().ok()?).ok()?;
    let expected = fs::read(digest_path(path)).ok()?;
    // Read whole once: a flipped bit in machine code has no other guard.
    let code = fs::read(path).ok()?;
    if Sha256::digest(&code)[..] != expected[..] {
        tracing::warn!(path = %path.display(), "machine code in the cache is damaged and is made again");
        return None;
    }
    drop(code);
    drop(file.set_modified(SystemTime::now()));
    // SAFETY: deserialising runs whatever machine code the file holds. Only this process's user can
    // have written the file or its directory (checked above and at start), this module writes only
    // what wasmtime compiled for the very component and configuration that the name is made of, and
    // the digest shows that it is still that. The file is replaced by renaming, never changed in
    // place, so the mapping stays what it is.
    #[allow(unsafe_code)]
    let component = unsafe { Component::deserialize_file(engine, path) };
    match component {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::warn!(path = %path.display(), "machine code in the cache does not fit and is made again: {error:#}");
            None
        }
    }
}

fn write(directory: &Path, path: &Path, code: &[u8]) -> std::io::Result<()> {
    replace(directory, &digest_path(path), &Sha256::digest(code))?;
    replace(directory, path, code)
}

/// Puts a file in place whole or not at all.
fn replace(directory: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let temporary = directory.join(format!(".{}-{number}.tmp", std::process::id()));
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        drop(fs::remove_file(&temporary));
    }
    written
}
