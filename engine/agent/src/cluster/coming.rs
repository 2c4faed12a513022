//! Objects that this node is being given, and gives on meanwhile.

use std::ops::Range;
use std::sync::Arc;

use engine_core::ids::IdMap;
use engine_core::{Error, ErrorCode, ObjectId};
use engine_net::bulk::limits::SIGN_EVERY;
use engine_objects::{Filling, Store};
use parking_lot::{Condvar, Mutex};

/// By their ids. As many as the core fetches at once.
#[derive(Default)]
pub(crate) struct AllComing(Mutex<IdMap<ObjectId, Arc<Coming>>>);

/// An object that is on its way here.
#[derive(Default)]
pub(crate) struct Coming {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// None as long as nobody has said how many bytes it has.
    room: Option<Filling>,
    /// Why no more of it will come.
    over: Option<Error>,
}

/// Others find an object that is on its way as long as this lives: until the core knows how the fetch ended.
pub(crate) struct Announced {
    all: Arc<AllComing>,
    object: ObjectId,
    pub(super) coming: Arc<Coming>,
}

impl AllComing {
    /// An object is about to come.
    pub(crate) fn announce(self: &Arc<Self>, object: ObjectId) -> Announced {
        let coming = Arc::<Coming>::default();
        self.0.lock().insert(object, coming.clone());
        Announced { all: self.clone(), object, coming }
    }

    pub(super) fn get(&self, object: ObjectId) -> Option<Arc<Coming>> {
        self.0.lock().get(&object).cloned()
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let mut all = self.all.0.lock();
        if all.get(&self.object).is_some_and(|coming| Arc::ptr_eq(coming, &self.coming)) {
            all.remove(&self.object);
        }
        drop(all);
        self.coming.is_over(&Error::new(ErrorCode::ObjectLost, "its fetch has ended"));
    }
}

impl Coming {
    /// The object has so many bytes: room for it.
    ///
    /// # Errors
    /// STORE_FULL when there is none; OBJECT_LOST when it was said to have another number.
    pub(super) fn room(&self, store: &Store, bytes: u64) -> Result<Filling, Error> {
        let mut state = self.state.lock();
        let room = match &state.room {
            Some(room) if room.size() as u64 == bytes => return Ok(room.clone()),
            Some(room) => {
                let known = room.size();
                let message = format!("its size was {known} bytes at one node and {bytes} at another");
                return Err(Error::new(ErrorCode::ObjectLost, message));
            }
            None => store.receive(usize::try_from(bytes).unwrap_or(usize::MAX))?,
        };
        state.room = Some(room.clone());
        self.changed.notify_all();
        Ok(room)
    }

    /// More of it was written.
    pub(super) fn has_more(&self) {
        // Under the lock: whoever has just found nothing waits by now.
        let _state = self.state.lock();
        self.changed.notify_all();
    }

    fn is_over(&self, why: &Error) {
        self.state.lock().over.get_or_insert_with(|| why.clone());
        self.changed.notify_all();
    }

    /// Its bytes, once somebody has said how many; none when nobody has within [`SIGN_EVERY`].
    pub(super) fn size(&self) -> Result<Option<u64>, Error> {
        self.wait_until(|state| state.room.as_ref().map(|room| room.size() as u64))
    }

    /// Its room, once these bytes are there; none when they have not come within [`SIGN_EVERY`].
    pub(super) fn with_bytes(&self, range: Range<usize>) -> Result<Option<Filling>, Error> {
        let has = |room: &&Filling| room.read(range.clone()).is_some();
        self.wait_until(|state| state.room.as_ref().filter(has).cloned())
    }

    fn wait_until<T>(&self, find: impl Fn(&State) -> Option<T>) -> Result<Option<T>, Error> {
        let mut state = self.state.lock();
        let mut has_waited = false;
        loop {
            if let Some(found) = find(&state) {
                return Ok(Some(found));
            }
            if let Some(why) = &state.over {
                let message = format!("its bytes do not come here any more: {}", why.message());
                return Err(Error::new(ErrorCode::ObjectLost, message));
            }
            if has_waited {
                return Ok(None);
            }
            has_waited = self.changed.wait_for(&mut state, SIGN_EVERY).timed_out();
        }
    }
}
