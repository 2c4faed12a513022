//! The bytes of objects that are here, or on their way here, for other nodes.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock, Weak};

use engine_core::node::{Serve, Transfer};
use engine_core::transfer::Way;
use engine_core::{Error, ErrorCode, Place};
use engine_net::bulk::{Asked, BulkObject, BulkSource, Opened};
use engine_objects::{Filling, Store};

use super::coming::Coming;
use crate::driver::Driver;

/// What this node has for others.
pub(super) struct HeldBytes(pub(super) Weak<Driver>);

impl BulkSource for HeldBytes {
    fn open(&self, Asked { object, asker, way }: Asked) -> Result<Opened, Error> {
        let driver =
            self.0.upgrade().ok_or_else(|| Error::new(ErrorCode::NodeDied, "the node is shutting down"))?;
        let sent = |transfer| Sent { driver: self.0.clone(), transfer, bytes: 0, is_whole: false };
        // First: what has come is in the core's books before it is not on its way any more.
        if way.takes_what_is_coming()
            && let Some(coming) = driver.network().ok().and_then(|network| network.coming.get(object))
        {
            return Ok(Opened::Here(Box::new(OnItsWay { coming, room: OnceLock::new(), sent: sent(None) })));
        }
        match driver.event(|node, _, _| node.serve(object, asker, way)) {
            Some(Serve::Here { place, size, transfer }) => {
                let sent = sent(Some(transfer));
                Ok(Opened::Here(Box::new(Held { store: driver.store.clone(), place, size, way, sent })))
            }
            Some(Serve::Ask(node)) => Ok(Opened::Ask(node)),
            Some(Serve::Several(size, others)) => Ok(Opened::Several(size, others)),
            None => {
                Err(Error::new(ErrorCode::ObjectLost, format!("the bytes of {object} are not on this node")))
            }
        }
    }
}

/// Tells the core, when it is dropped, what was sent.
struct Sent {
    driver: Weak<Driver>,
    /// None: the bytes were on their way here.
    transfer: Option<Transfer>,
    bytes: u64,
    is_whole: bool,
}

impl Drop for Sent {
    fn drop(&mut self) {
        let Self { transfer, bytes, is_whole, .. } = *self;
        if let Some(driver) = self.driver.upgrade() {
            driver.event(|node, _, _| node.served(transfer, bytes, is_whole));
        }
    }
}

/// An object that is here.
struct Held {
    store: Store,
    place: Place,
    size: u64,
    way: Way,
    sent: Sent,
}

impl BulkObject for Held {
    fn size(&self) -> Result<Option<u64>, Error> {
        Ok(Some(self.size))
    }

    fn read(&self, offset: u64, length: usize) -> Result<Option<Cow<'_, [u8]>>, Error> {
        let bytes = match engine_objects::slice(&self.place) {
            Some(bytes) => {
                let bytes = range(offset, length).and_then(|range| bytes.get(range));
                bytes.map(Cow::Borrowed).ok_or_else(outside)?
            }
            None => Cow::Owned(self.store.read(&self.place, offset, length as u64)?),
        };
        Ok(Some(bytes))
    }

    fn sent(&mut self, offset: u64, end: u64) {
        self.sent.bytes += end - offset;
        self.sent.is_whole = end == self.size && self.way != Way::Part;
    }
}

/// An object that is on its way here.
struct OnItsWay {
    coming: Arc<Coming>,
    room: OnceLock<Filling>,
    sent: Sent,
}

impl BulkObject for OnItsWay {
    fn size(&self) -> Result<Option<u64>, Error> {
        self.coming.size()
    }

    fn read(&self, offset: u64, length: usize) -> Result<Option<Cow<'_, [u8]>>, Error> {
        let range = range(offset, length).ok_or_else(outside)?;
        let Some(room) = self.coming.with_bytes(range.clone())? else { return Ok(None) };
        let bytes = self.room.get_or_init(|| room).read(range);
        bytes.map(|bytes| Some(Cow::Borrowed(bytes))).ok_or_else(outside)
    }

    fn sent(&mut self, offset: u64, end: u64) {
        self.sent.bytes += end - offset;
    }
}

fn range(offset: u64, length: usize) -> Option<Range<usize>> {
    let offset = usize::try_from(offset).ok()?;
    Some(offset..offset.checked_add(length)?)
}

fn outside() -> Error {
    Error::internal("a range of an object lies outside it")
}
