//! A disk that fails as it is told to.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use engine_objects::{LocalTarget, SpillTarget, SpillWriter};
use parking_lot::{Condvar, Mutex};

/// What is to go wrong; each stays so until it is changed.
#[derive(Default)]
pub(crate) struct Faults {
    /// Bytes that there is room for, less what was written. Creating does not look at it.
    pub(crate) room: Mutex<Option<u64>>,
    /// Creating looks at the room too, as a disk that can make room in advance does.
    pub(crate) room_is_known: AtomicBool,
    /// Appending writes half and fails with this.
    pub(crate) append: Mutex<Option<io::ErrorKind>>,
    pub(crate) finish: Mutex<Option<io::ErrorKind>>,
    pub(crate) create: Mutex<Option<io::ErrorKind>>,
    pub(crate) read: Mutex<Option<io::ErrorKind>>,
    pub(crate) delete: Mutex<Option<io::ErrorKind>>,
    /// Nothing is written or read while it is held.
    pub(crate) stuck: Mutex<bool>,
    pub(crate) moved: Condvar,
    /// Calls that are stuck.
    pub(crate) waiting: AtomicU64,
    /// The bit of this number, counted within each read, comes back flipped.
    pub(crate) flipped_bit: Mutex<Option<usize>>,
}

pub(crate) struct FaultyTarget {
    disk: LocalTarget,
    faults: Arc<Faults>,
}

struct FaultyWriter {
    writer: Box<dyn SpillWriter>,
    faults: Arc<Faults>,
}

impl FaultyTarget {
    pub(crate) fn new(folder: &Path) -> (Arc<Self>, Arc<Faults>) {
        let faults = Arc::new(Faults::default());
        let disk = LocalTarget::new(folder).expect("a target");
        (Arc::new(Self { disk, faults: faults.clone() }), faults)
    }
}

impl Faults {
    fn pass(&self) {
        let mut stuck = self.stuck.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        while *stuck {
            self.moved.wait(&mut stuck);
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn set_stuck(&self, stuck: bool) {
        *self.stuck.lock() = stuck;
        self.moved.notify_all();
    }
}

fn fail(fault: &Mutex<Option<io::ErrorKind>>) -> io::Result<()> {
    fault.lock().map_or(Ok(()), |kind| Err(kind.into()))
}

impl SpillTarget for FaultyTarget {
    fn path(&self, name: &str) -> String {
        self.disk.path(name)
    }

    fn create(&self, name: &str, bytes: Option<u64>) -> io::Result<Box<dyn SpillWriter>> {
        fail(&self.faults.create)?;
        if self.faults.room_is_known.load(Ordering::SeqCst)
            && self.faults.room.lock().is_some_and(|room| bytes.unwrap_or(0) > room)
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let writer = self.disk.create(name, None)?;
        Ok(Box::new(FaultyWriter { writer, faults: self.faults.clone() }))
    }

    fn read(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.faults.pass();
        fail(&self.faults.read)?;
        self.disk.read(name, offset, buffer)?;
        if let Some(bit) = *self.faults.flipped_bit.lock()
            && let Some(byte) = buffer.get_mut(bit / 8)
        {
            *byte ^= 1 << (bit % 8);
        }
        Ok(())
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        fail(&self.faults.delete)?;
        self.disk.delete(name)
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(*self.faults.room.lock())
    }
}

impl SpillWriter for FaultyWriter {
    fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        self.faults.pass();
        if let Some(kind) = *self.faults.append.lock() {
            self.writer.append(&parts[..parts.len() / 2])?;
            return Err(kind.into());
        }
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        if let Some(room) = &mut *self.faults.room.lock() {
            if bytes > *room {
                self.writer.append(&parts[..1])?;
                return Err(io::ErrorKind::StorageFull.into());
            }
            *room -= bytes;
        }
        self.writer.append(parts)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        fail(&self.faults.finish)?;
        self.writer.finish()
    }
}
