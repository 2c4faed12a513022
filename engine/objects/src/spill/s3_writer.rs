//! Writes a spill file in a bucket: a small one by one request, a larger one in parts that travel at
//! the same time.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::sync::Arc;

use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, ObjectStoreExt};

use super::s3::{Link, Pending};
use super::target::SpillWriter;

/// Parts of one file that travel at the same time; each takes its bytes of memory meanwhile.
const PARTS_IN_FLIGHT_MAX: usize = 4;

/// A file that is being written. An upload that does not come to its end is given up when the file is
/// deleted, again and again until that works: it would be paid for.
pub(super) struct S3Writer {
    link: Arc<Link>,
    name: String,
    path: Path,
    part_bytes: usize,
    /// Bytes of a part that is not on its way yet.
    begun: Vec<u8>,
    /// None while the file is no larger than a part.
    upload: Option<Upload>,
}

struct Upload {
    id: MultipartId,
    /// Those that arrived, in order.
    parts: Vec<PartId>,
    /// Those after them, in order.
    in_flight: VecDeque<Pending<PartId>>,
}

impl S3Writer {
    pub(super) fn new(link: Arc<Link>, name: String, path: Path, part_bytes: usize) -> Self {
        Self { link, name, path, part_bytes, begun: Vec::new(), upload: None }
    }

    /// Sends what was begun as a part, once there is room for one more on the way.
    fn send(&mut self) -> io::Result<()> {
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => {
                let path = self.path.clone();
                let id = self.link.wait(|link| async move { link.store.create_multipart(&path).await })?;
                self.link.upload_begun(&self.name, &id);
                self.upload.insert(Upload { id, parts: Vec::new(), in_flight: VecDeque::new() })
            }
        };
        upload.wait_for_parts(PARTS_IN_FLIGHT_MAX - 1)?;
        let number = upload.parts.len() + upload.in_flight.len();
        let (path, id, bytes) = (self.path.clone(), upload.id.clone(), mem::take(&mut self.begun));
        upload.in_flight.push_back(
            self.link
                .start(|link| async move { link.store.put_part(&path, &id, number, bytes.into()).await }),
        );
        Ok(())
    }
}

impl Upload {
    /// Waits until at most so many parts are on their way.
    fn wait_for_parts(&mut self, in_flight_max: usize) -> io::Result<()> {
        while self.in_flight.len() > in_flight_max {
            let Some(first) = self.in_flight.pop_front() else { break };
            self.parts.push(first.wait()?);
        }
        Ok(())
    }
}

impl SpillWriter for S3Writer {
    fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        for part in parts {
            let mut bytes: &[u8] = part;
            while !bytes.is_empty() {
                // Only now is it known that more comes than one request takes.
                if self.begun.len() == self.part_bytes {
                    self.send()?;
                }
                let count = bytes.len().min(self.part_bytes - self.begun.len());
                let (now, rest) = bytes.split_at(count);
                self.begun.extend_from_slice(now);
                bytes = rest;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if self.upload.is_none() {
            let (path, bytes) = (self.path.clone(), mem::take(&mut self.begun));
            return self.link.wait(|link| async move { link.store.put(&path, bytes.into()).await }).map(drop);
        }
        self.send()?;
        let Some(mut upload) = self.upload.take() else { return Ok(()) };
        upload.wait_for_parts(0)?;
        let (path, id, parts) = (self.path.clone(), upload.id, upload.parts);
        self.link.wait(|link| async move { link.store.complete_multipart(&path, &id, parts).await })?;
        self.link.upload_ended(&self.name);
        Ok(())
    }
}
