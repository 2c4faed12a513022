//! A disk with the faults that a test asked for (`engine_net::faults`).

use std::io::{self, IoSlice};
use std::sync::Arc;

use engine_net::faults::{self, DiskCall};
use engine_objects::{SpillTarget, SpillWriter};

/// The disk, with its faults when there are any.
pub(crate) fn with_faults(disk: Arc<dyn SpillTarget>) -> Arc<dyn SpillTarget> {
    if faults::are_installed() { Arc::new(FaultyDisk(disk)) } else { disk }
}

struct FaultyDisk(Arc<dyn SpillTarget>);

struct FaultyWriter(Box<dyn SpillWriter>);

impl SpillTarget for FaultyDisk {
    fn path(&self, name: &str) -> String {
        self.0.path(name)
    }

    fn create(&self, name: &str, bytes: Option<u64>) -> io::Result<Box<dyn SpillWriter>> {
        let writer = faults::disk(DiskCall::SpillWrite, || self.0.create(name, bytes))?;
        Ok(Box::new(FaultyWriter(writer)))
    }

    fn read(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        faults::disk(DiskCall::SpillRead, || self.0.read(name, offset, buffer))
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        self.0.delete(name)
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        self.0.free_bytes()
    }
}

impl SpillWriter for FaultyWriter {
    fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        faults::disk(DiskCall::SpillWrite, || self.0.append(parts))
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        faults::disk(DiskCall::SpillWrite, || self.0.finish())
    }
}
