//! The bytes of objects that are on other nodes, and of those here for others.

use std::borrow::Cow;
use std::sync::{Arc, Weak};

use engine_core::node::RemotePlace;
use engine_core::{Error, ErrorCode, ObjectId, Place};
use engine_net::bulk::{BulkObject, BulkSink, BulkSource};
use engine_objects::{Draft, Store};

use crate::cluster::Network;
use crate::driver::Driver;

/// What this node has for others.
pub(super) struct HeldBytes(pub(super) Weak<Driver>);

impl BulkSource for HeldBytes {
    fn open(&self, object: ObjectId) -> Result<Box<dyn BulkObject>, Error> {
        let driver =
            self.0.upgrade().ok_or_else(|| Error::new(ErrorCode::NodeDied, "the node is shutting down"))?;
        let (value, place) = driver.read(|node| node.bytes_of(object)).ok_or_else(|| {
            Error::new(ErrorCode::ObjectLost, format!("the bytes of {object} are not on this node"))
        })?;
        Ok(Box::new(Held { store: driver.store.clone(), place, size: value.size }))
    }
}

struct Held {
    store: Store,
    place: Place,
    size: u64,
}

impl BulkObject for Held {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, offset: u64, length: usize) -> Result<Cow<'_, [u8]>, Error> {
        match engine_objects::slice(&self.place) {
            Some(bytes) => usize::try_from(offset)
                .ok()
                .and_then(|from| bytes.get(from..from.checked_add(length)?))
                .map(Cow::Borrowed)
                .ok_or_else(|| Error::internal("a range of an object lies outside it")),
            None => self.store.read(&self.place, offset, length as u64).map(Cow::Owned),
        }
    }
}

/// Room in the arena that an object is received into.
struct Receiving {
    store: Store,
    room: Option<Draft>,
}

impl BulkSink for Receiving {
    fn size(&mut self, bytes: u64) -> Result<(), Error> {
        if self.room.is_none() {
            let size = usize::try_from(bytes).unwrap_or(usize::MAX);
            self.room = Some(self.store.allocate(size)?);
        }
        Ok(())
    }

    fn written(&self) -> u64 {
        self.room.as_ref().map_or(0, |room| room.written() as u64)
    }

    fn room(
        &mut self,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let room = self.room.as_mut().ok_or_else(|| Error::internal("bytes came before their size"))?;
        room.append_with(length, fill)
    }
}

fn not_a_node(remote: RemotePlace) -> Error {
    let RemotePlace { object, holder } = remote;
    Error::new(
        ErrorCode::ObjectLost,
        format!("{object}: {holder}, which has its bytes, is no node of the cluster"),
    )
}

/// Whatever the holder or the way to it says, the bytes are not to be had there; that there is no room
/// here is another matter.
fn unless_full(remote: RemotePlace, error: Error) -> Error {
    match error.code() {
        ErrorCode::ObjectLost | ErrorCode::StoreFull => error,
        code => Error::new(
            ErrorCode::ObjectLost,
            format!("{} could not be had from {}: {code}: {}", remote.object, remote.holder, error.message()),
        ),
    }
}

impl Network {
    /// Fetches an object into the arena. Blocks.
    pub(crate) fn fetch(self: &Arc<Self>, store: Store, remote: RemotePlace) -> Result<Place, Error> {
        let at = self.bulk_address(remote.holder).ok_or_else(|| not_a_node(remote))?;
        let mut sink = Receiving { store, room: None };
        let fetched = self.bulk.fetch(at, remote.holder, remote.object, &mut sink);
        fetched.map_err(|error| unless_full(remote, error))?;
        let room = sink.room.ok_or_else(|| Error::internal("an object came without its size"))?;
        Ok(room.seal())
    }

    /// Reads part of an object. Blocks.
    pub(crate) fn read(&self, remote: RemotePlace, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        let at = self.bulk_address(remote.holder).ok_or_else(|| not_a_node(remote))?;
        let read = self.bulk.read(at, remote.holder, remote.object, offset, length);
        read.map_err(|error| unless_full(remote, error))
    }
}
