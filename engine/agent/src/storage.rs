//! Carries out what the core decides about memory and disk.

use std::sync::{Arc, Weak};

use engine_core::node::{Room, RoomTicket};
use engine_core::{Error, ErrorCode, ObjectId, Place};
use engine_runtime::host::Caller;
use tokio::runtime::Handle;

use crate::background::{self, Kind};
use crate::driver::Driver;
use crate::host::caller;

/// Writes a batch of objects to disk.
pub(crate) fn spill(driver: Weak<Driver>, handle: &Handle, batch: Vec<(ObjectId, Place)>) {
    let Some(store) = driver.upgrade().map(|driver| driver.store.clone()) else { return };
    let (ids, places): (Vec<ObjectId>, Vec<Place>) = batch.into_iter().unzip();
    let all = ids.clone();
    // The places go with the work: what was written has no copy in memory but the core's by then.
    let work = move || ids.into_iter().zip(store.spill(places)).collect::<Vec<_>>();
    background::detached(Kind::Spill, handle, work, move |results| {
        let failed = |error: Error| all.into_iter().map(|id| (id, Err(error.clone()))).collect();
        let results = results.unwrap_or_else(failed);
        if let Some(driver) = driver.upgrade() {
            driver.event(|node, now, fx| node.spilled(now, results, fx));
        }
    });
}

/// Brings an object back into memory.
pub(crate) fn restore(driver: Weak<Driver>, handle: &Handle, id: ObjectId, place: Place) {
    let Some(store) = driver.upgrade().map(|driver| driver.store.clone()) else { return };
    let work = move || store.restore(&place);
    background::detached(Kind::Restore, handle, work, move |result| {
        let result = result.and_then(|restored| restored);
        if let Some(driver) = driver.upgrade() {
            driver.event(|node, now, fx| node.restored(now, id, result, fx));
        }
    });
}

/// Stores a value for which there was no room: when there is, or on disk, as the core says.
pub(crate) async fn store_when_room(driver: Arc<Driver>, from: Caller, place: Place) -> Result<Place, Error> {
    let bytes = || engine_objects::slice(&place).unwrap_or_default();
    let mut ticket = RoomTicket::new(bytes().len() as u64);
    loop {
        let room = driver.event(|node, now, fx| {
            let room = node.make_room(now, caller(from), &mut ticket, fx)?;
            Ok::<_, Error>(match room {
                Room::Wait(id) => Some(driver.waits.register(id)),
                Room::OnDisk => None,
            })
        })?;
        let Some(over) = room else { break };
        over.await;
        match driver.store.write(&[bytes()]) {
            Err(error) if error.code() == ErrorCode::StoreFull => {}
            stored => return stored,
        }
    }
    let store = driver.store.clone();
    let write = move || store.write_through(&[engine_objects::slice(&place).unwrap_or_default()]);
    let write = driver.background.spawn_blocking(write);
    write.await.map_err(|error| Error::internal(format!("{:?} did not end: {error}", Kind::Spill)))?
}

/// Part of the bytes of a value, wherever they lie.
pub(crate) async fn read(
    driver: Arc<Driver>,
    place: Place,
    offset: u64,
    length: u64,
) -> Result<Vec<u8>, Error> {
    let store = driver.store.clone();
    let read = driver.background.spawn_blocking(move || store.read(&place, offset, length));
    read.await.map_err(|error| Error::internal(format!("{:?} did not end: {error}", Kind::Restore)))?
}
