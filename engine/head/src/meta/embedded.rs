//! A store in one file of this machine, by `redb`: a copy-on-write B-tree whose commits are atomic.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};

use crate::meta::{Entries, MetaError, MetaStore, Revision, Write};

/// The file in the head's folder.
const FILE: &str = "meta.redb";
/// How what is in the file is written. A newer one is refused.
pub(super) const FORMAT: u64 = 1;
/// Memory for pages of the file: the head has all of it in its own tables.
const CACHE_BYTES: usize = 16 << 20;

const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
/// `format` and `revision`.
pub(super) const NUMBERS: TableDefinition<'_, &str, u64> = TableDefinition::new("numbers");

/// A store in a file that this process alone has.
#[derive(Debug)]
pub struct Embedded {
    database: Database,
    path: PathBuf,
}

impl Embedded {
    /// Opens the store in this folder, and makes both when they are not there.
    ///
    /// # Errors
    /// As [`MetaError`] says; what is damaged is not touched.
    pub fn open(folder: &Path) -> Result<Self, MetaError> {
        let io = |what, path: &Path| {
            let path = path.to_owned();
            move |error: io::Error| MetaError::Io { what, path, why: error.to_string() }
        };
        std::fs::create_dir_all(folder).map_err(io("create the folder", folder))?;
        let path = folder.join(FILE);
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
        let database = builder.create(&path).map_err(|error| opening(error, &path))?;
        // The file's name is as durable as what is in it.
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(io("write the folder", folder))?;
        let mut store = Self { database, path };
        store.check_format()?;
        Ok(store)
    }

    #[cfg(test)]
    pub(super) fn of(database: Database) -> Result<Self, MetaError> {
        let mut store = Self { database, path: PathBuf::from("memory") };
        store.check_format()?;
        Ok(store)
    }

    fn check_format(&mut self) -> Result<(), MetaError> {
        let found = self.wrap("read", |database| {
            let transaction = database.begin_write()?;
            let found = transaction.open_table(NUMBERS)?.get("format")?.map(|number| number.value());
            if found.is_none() {
                transaction.open_table(NUMBERS)?.insert("format", FORMAT)?;
                transaction.open_table(RECORDS)?;
                transaction.commit()?;
            }
            Ok(found)
        })?;
        match found {
            Some(found) if found > FORMAT => {
                Err(MetaError::NewerFormat { path: self.path.clone(), found, known: FORMAT })
            }
            _ => Ok(()),
        }
    }

    fn wrap<T>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, MetaError> {
        work(&self.database).map_err(|error| of_error(error, what, &self.path))
    }
}

impl MetaStore for Embedded {
    fn read(&mut self) -> Result<(Revision, Entries), MetaError> {
        self.wrap("read", |database| {
            let transaction = database.begin_read()?;
            let revision = transaction.open_table(NUMBERS)?.get("revision")?;
            let revision = Revision(revision.map_or(0, |number| number.value()));
            let mut entries = Entries::new();
            for entry in transaction.open_table(RECORDS)?.iter()? {
                let (key, value) = entry?;
                entries.push((key.value().to_vec(), value.value().to_vec()));
            }
            Ok((revision, entries))
        })
    }

    fn commit(&mut self, after: Revision, writes: &[Write]) -> Result<Revision, MetaError> {
        let next = Revision(after.0 + 1);
        let found = self.wrap("write", |database| {
            // Dropped without a commit, it has changed nothing.
            let transaction = database.begin_write()?;
            {
                let mut numbers = transaction.open_table(NUMBERS)?;
                let found = Revision(numbers.get("revision")?.map_or(0, |number| number.value()));
                if found != after {
                    return Ok(Err(found));
                }
                numbers.insert("revision", next.0)?;
                let mut records = transaction.open_table(RECORDS)?;
                for write in writes {
                    match write {
                        Write::Put(key, value) => drop(records.insert(key.as_slice(), value.as_slice())?),
                        Write::Delete(key) => drop(records.remove(key.as_slice())?),
                    }
                }
            }
            transaction.commit()?;
            Ok(Ok(next))
        })?;
        found.map_err(|found| MetaError::Conflict { expected: after, found })
    }
}

fn opening(error: DatabaseError, path: &Path) -> MetaError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => MetaError::Locked(path),
        // What the file begins with is not what a store begins with.
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            MetaError::Damaged { path, what: error.to_string() }
        }
        DatabaseError::UpgradeRequired(found) => {
            MetaError::Damaged { path, what: format!("its file format {found} is not known") }
        }
        other => of_error(other.into(), "open", &path),
    }
}

fn of_error(error: redb::Error, what: &'static str, path: &Path) -> MetaError {
    let path = path.to_owned();
    match error {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => MetaError::Full(path),
        redb::Error::Corrupted(what) => MetaError::Damaged { path, what },
        // A table that has other types, or is not there.
        redb::Error::TableTypeMismatch { .. } | redb::Error::TableDoesNotExist(_) => {
            MetaError::Damaged { path, what: error.to_string() }
        }
        other => MetaError::Io { what, path, why: other.to_string() },
    }
}
