//! Carries out what the core decides about memory and disk.

use std::sync::{Arc, Weak};

use engine_core::node::{RemotePlace, Room, RoomTicket};
use engine_core::{Error, ErrorCode, ObjectId, Place};
use engine_objects::SpillDraft;
use engine_runtime::host::{Caller, DiskDraft};
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

/// Brings an object back into memory, from disk or from the node that has its bytes.
pub(crate) fn restore(driver: Weak<Driver>, handle: &Handle, id: ObjectId, place: Place) {
    let Some(this) = driver.upgrade() else { return };
    let (store, network) = (this.store.clone(), this.network().cloned());
    let remote = RemotePlace::of(&place);
    let coming = network.as_ref().ok().zip(remote).map(|(network, _)| Arc::new(network.coming.announce(id)));
    let announced = coming.clone();
    let work = move || match (remote, announced) {
        (Some(remote), Some(announced)) => network?.fetch(&store, remote, &announced),
        (Some(_), None) => Err(network.err().unwrap_or_else(|| Error::internal("it has no network"))),
        (None, _) => store.restore(&place),
    };
    background::detached(Kind::Restore, handle, work, move |result| {
        let result = result.and_then(|restored| restored);
        if let Some(driver) = driver.upgrade() {
            driver.event(|node, now, fx| node.restored(now, id, result, fx));
        }
        // Not before: whoever asks for it finds it on its way, or in the core's books.
        drop(coming);
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
    in_background(driver, Kind::Spill, write).await
}

/// Writes bytes at the end of an object on disk, which is begun when there is none yet.
pub(crate) async fn append(
    driver: Arc<Driver>,
    draft: Option<DiskDraft>,
    bytes: Vec<u8>,
) -> Result<DiskDraft, Error> {
    let store = driver.store.clone();
    let draft = draft.map(DiskDraft::into_inner::<SpillDraft>).transpose()?;
    let append = move || {
        let mut draft = match draft {
            Some(draft) => draft,
            None => store.allocate_through()?,
        };
        draft.append(&bytes)?;
        Ok(DiskDraft::new(draft))
    };
    in_background(driver, Kind::Spill, append).await
}

/// Ends an object on disk.
pub(crate) async fn seal(driver: Arc<Driver>, draft: DiskDraft) -> Result<Place, Error> {
    let draft = draft.into_inner::<SpillDraft>()?;
    in_background(driver, Kind::Spill, move || draft.seal()).await
}

/// Part of the bytes of a value, wherever they lie.
pub(crate) async fn read(
    driver: Arc<Driver>,
    place: Place,
    offset: u64,
    length: u64,
) -> Result<Vec<u8>, Error> {
    let (store, network) = (driver.store.clone(), driver.network().cloned());
    let read = move || match RemotePlace::of(&place) {
        Some(remote) => network?.read(remote, offset, length),
        None => store.read(&place, offset, length),
    };
    in_background(driver, Kind::Restore, read).await
}

/// What work that blocks on the disk gives.
async fn in_background<T: Send + 'static>(
    driver: Arc<Driver>,
    kind: Kind,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = driver.background.spawn_blocking(work).await;
    done.map_err(|error| Error::internal(format!("{kind:?} did not end: {error}")))?
}
