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

#[cfg(test)]
mod tests {
    use std::thread;

    use engine_core::ids::IdGenerator;
    use engine_objects::Options;

    use super::*;

    const SIZE: u64 = 3 << 20;

    fn store() -> Store {
        Store::new(&Options { arena_bytes_max: 8 << 20, ..Options::default() }).expect("a store")
    }

    fn announced() -> (Arc<AllComing>, Announced) {
        let all = Arc::<AllComing>::default();
        let announced = all.announce(IdGenerator::new([1; 16]).task().put(0));
        (all, announced)
    }

    #[test]
    fn whoever_waits_for_bytes_has_them_once_they_have_come() {
        let (all, announced) = announced();
        let coming = all.get(announced.object).expect("it is announced");
        let reader = thread::spawn(move || {
            // Each wait is bounded, and begins anew as long as the fetch goes on.
            let size = loop {
                if let Some(size) = coming.size().expect("it is coming") {
                    break size;
                }
            };
            let range = 0..size as usize;
            loop {
                if let Some(room) = coming.with_bytes(range.clone()).expect("it is coming") {
                    break room.read(range).expect("it has come").to_vec();
                }
            }
        });
        let room = announced.coming.room(&store(), SIZE).expect("room");
        let mut piece = room.take(0..SIZE as usize).expect("nobody has it");
        for byte in 1..=3 {
            piece
                .append_with(1 << 20, |bytes| {
                    bytes.fill(byte);
                    Ok(())
                })
                .expect("it fits");
            announced.coming.has_more();
        }
        let bytes = reader.join().expect("it ends");
        assert!((0..3).all(|part| bytes[part << 20..][..1 << 20].iter().all(|byte| *byte == part as u8 + 1)));
    }

    #[test]
    fn whoever_waits_hears_that_no_more_will_come() {
        let (all, announced) = announced();
        let (object, coming) = (announced.object, all.get(announced.object).expect("it is announced"));
        announced.coming.room(&store(), SIZE).expect("room");
        // One that was announced again is not taken away with the one before.
        let again = all.announce(object);
        drop(announced);
        let error = coming.with_bytes(0..1).expect_err("nobody brings it any more");
        assert_eq!(error.code(), ErrorCode::ObjectLost);
        assert!(Arc::ptr_eq(&all.get(object).expect("it is coming again"), &again.coming));
        drop(again);
        assert!(all.get(object).is_none());
    }

    #[test]
    fn two_that_say_another_size_are_not_both_believed() {
        let (_all, announced) = announced();
        announced.coming.room(&store(), SIZE).expect("room");
        let error = announced.coming.room(&store(), SIZE + 1).expect_err("it was said to have fewer");
        assert_eq!(error.code(), ErrorCode::ObjectLost);
        assert!(error.message().contains("3145728"), "{error}");
    }
}
