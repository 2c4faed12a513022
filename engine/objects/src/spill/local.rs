//! Spill files in a folder, by direct I/O where the file system knows it: the page cache would hold the
//! same bytes again, and writing through it is several times slower (0.25 against 1.9 GB/s to the ext4
//! of a virtual disk).

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZeroU64;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise, fallocate, fstatvfs};
use rustix::io::{Errno, pread};

use super::aligned::{ALIGN_BYTES, BUFFER_BYTES, Buffer, is_aligned};
use super::folder::OwnFolder;
use super::local_writer::LocalWriter;
use super::target::{SpillTarget, SpillWriter};

/// So many files that were read last stay open, for the next read of them.
const OPEN_FILES_MAX: usize = 32;

/// Spill files in a folder of this process's own, which is removed when this is dropped.
pub struct LocalTarget {
    folder: OwnFolder,
    /// Files that were read last, open; the last is the latest.
    readers: Mutex<VecDeque<Arc<Reader>>>,
}

struct Reader {
    name: String,
    file: File,
    direct: bool,
}

impl LocalTarget {
    /// Files in a new folder within `parent`. What dead processes left there is removed.
    ///
    /// # Errors
    /// When the folder cannot be made or written to.
    pub fn new(parent: &Path) -> io::Result<Self> {
        Ok(Self { folder: OwnFolder::new(parent)?, readers: Mutex::default() })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn reader(&self, name: &str) -> io::Result<Arc<Reader>> {
        let mut readers = self.readers.lock();
        if let Some(at) = readers.iter().position(|reader| reader.name == name)
            && let Some(reader) = readers.remove(at)
        {
            readers.push_back(reader.clone());
            return Ok(reader);
        }
        drop(readers);
        let (file, direct) = open(OpenOptions::new().read(true), &self.file(name))?;
        let reader = Arc::new(Reader { name: name.into(), file, direct });
        let mut readers = self.readers.lock();
        if readers.len() == OPEN_FILES_MAX {
            readers.pop_front();
        }
        readers.push_back(reader.clone());
        Ok(reader)
    }
}

impl SpillTarget for LocalTarget {
    fn path(&self, name: &str) -> String {
        self.file(name).display().to_string()
    }

    fn create(&self, name: &str, bytes: Option<u64>) -> io::Result<Box<dyn SpillWriter>> {
        // Asked before room is made: on some file systems making too much room takes all there is
        // before it fails.
        if let (Some(bytes), Some(free)) = (bytes, self.free_bytes()?)
            && bytes > free
        {
            return Err(Errno::NOSPC.into());
        }
        let path = self.file(name);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let (file, direct) = open(&mut options, &path)?;
        let made = match bytes {
            Some(bytes) if bytes > 0 => fallocate(&file, FallocateFlags::empty(), 0, bytes),
            _ => Ok(()),
        };
        match made {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            Err(error) => {
                drop(file);
                let _ = std::fs::remove_file(path);
                return Err(error.into());
            }
        }
        Ok(Box::new(LocalWriter::new(file, direct)))
    }

    fn read(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let reader = self.reader(name)?;
        let file = &reader.file;
        if !reader.direct {
            read_all(file, offset, buffer)?;
            return Ok(fadvise(file, offset, NonZeroU64::new(buffer.len() as u64), Advice::DontNeed)?);
        }
        if is_aligned(buffer) && offset.is_multiple_of(ALIGN_BYTES as u64) {
            return read_all(file, offset, buffer);
        }
        let mut bounce = Buffer::take(BUFFER_BYTES);
        let mut done = 0;
        while done < buffer.len() {
            let from = offset + done as u64;
            let skip = (from % ALIGN_BYTES as u64) as usize;
            let count = (buffer.len() - done).min(BUFFER_BYTES - skip);
            let pages = &mut bounce.as_mut_slice()[..(skip + count).next_multiple_of(ALIGN_BYTES)];
            read_all(file, from - skip as u64, pages)?;
            buffer[done..done + count].copy_from_slice(&pages[skip..skip + count]);
            done += count;
        }
        Ok(())
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        // A file that is open keeps its room on the disk.
        self.readers.lock().retain(|reader| reader.name != name);
        match std::fs::remove_file(self.file(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        let stat = fstatvfs(File::open(self.folder.path())?)?;
        Ok(Some(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }
}

/// Opens for direct I/O, or as usual where the file system does not know it.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<(File, bool)> {
    let direct = (OFlags::DIRECT | OFlags::NOFOLLOW).bits().cast_signed();
    match options.custom_flags(direct).open(path) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
            // It may have been made before it was refused.
            let exists = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path);
            match exists {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    std::fs::remove_file(path)?;
                    options.open(path)
                }
                other => other,
            }
            .map(|file| (file, false))
        }
        Err(error) => Err(error),
    }
}

/// Reads until the buffer is full. A direct read that ends within a page goes on from that page.
fn read_all(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < buffer.len() {
        match pread(file, &mut buffer[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) if count < buffer.len() - done && count >= ALIGN_BYTES => {
                done += count - count % ALIGN_BYTES;
            }
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
