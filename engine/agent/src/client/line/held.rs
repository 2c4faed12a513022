//! What a client elsewhere holds: of each thing one handle in the node's books, and how many handles of the
//! client's that stands for.

use std::collections::HashMap;
use std::sync::Arc;

use engine_core::{ActorId, Error, ErrorCode, Handle};
use parking_lot::Mutex;

use crate::client::{ActorRef, Client, Held};

/// Lanes that one client has open.
const LANES_MAX: usize = 100_000;

/// Handles and lanes of one client.
#[derive(Default)]
pub(super) struct Holding {
    handles: Mutex<HashMap<Handle, (Held, u64)>>,
    lanes: Mutex<Lanes>,
}

#[derive(Default)]
struct Lanes {
    open: HashMap<u64, Arc<ActorRef>>,
    /// How many there are to each actor.
    to: HashMap<ActorId, usize>,
}

impl Lanes {
    fn open(&mut self, lane: u64, actor: ActorRef) -> Option<Arc<ActorRef>> {
        *self.to.entry(actor.actor).or_default() += 1;
        let earlier = self.open.insert(lane, Arc::new(actor));
        earlier.inspect(|earlier| self.forget(earlier.actor))
    }

    fn close(&mut self, lane: u64) -> Option<Arc<ActorRef>> {
        self.open.remove(&lane).inspect(|closed| self.forget(closed.actor))
    }

    fn forget(&mut self, actor: ActorId) {
        let count = self.to.get_mut(&actor).map(|count| {
            *count -= 1;
            *count
        });
        if count == Some(0) {
            self.to.remove(&actor);
        }
    }
}

impl Holding {
    /// The client is given a handle.
    pub(super) fn give(&self, held: Held) {
        let handle = held.handle();
        let mut handles = self.handles.lock();
        let spare = match handles.get_mut(&handle) {
            Some((_, count)) => {
                *count += 1;
                Some(held)
            }
            None => {
                handles.insert(handle, (held, 1));
                None
            }
        };
        drop(handles);
        drop(spare);
    }

    /// The client holds one more of what it holds; nothing when it holds none.
    pub(super) fn hold(&self, handle: Handle) {
        if let Some((_, count)) = self.handles.lock().get_mut(&handle) {
            *count += 1;
        }
    }

    /// The client holds one less; nothing when it holds none.
    pub(super) fn release(&self, handle: Handle) {
        let mut handles = self.handles.lock();
        let Some((_, count)) = handles.get_mut(&handle) else { return };
        *count -= 1;
        let last = if *count == 0 { handles.remove(&handle) } else { None };
        drop(handles);
        drop(last);
    }

    /// The client calls an actor that it holds by another lane; nothing when it does not, or has too many.
    pub(super) fn open_lane(&self, client: &Client, lane: u64, actor: ActorId) {
        let is_called = self.lanes.lock().to.contains_key(&actor);
        if is_called || self.handles.lock().contains_key(&Handle::Actor(actor)) {
            // That there is none is said to whoever calls by it.
            drop(self.give_lane(lane, client.hold_actor(actor)));
        }
    }

    /// The client is given an actor by this lane.
    ///
    /// # Errors
    /// LIMIT_EXCEEDED when it has too many, and the actor is not given.
    pub(super) fn give_lane(&self, lane: u64, actor: ActorRef) -> Result<(), Error> {
        let mut lanes = self.lanes.lock();
        if lanes.open.len() >= LANES_MAX && !lanes.open.contains_key(&lane) {
            drop(lanes);
            let message = format!(
                "the client holds {LANES_MAX} handles to actors (lanes_max): drop some before it takes more"
            );
            return Err(Error::new(ErrorCode::LimitExceeded, message));
        }
        let earlier = lanes.open(lane, actor);
        drop(lanes);
        drop(earlier);
        Ok(())
    }

    pub(super) fn close_lane(&self, lane: u64) {
        let closed = self.lanes.lock().close(lane);
        drop(closed);
    }

    /// # Errors
    /// INVALID_ARGUMENT when the client has not opened it.
    pub(super) fn lane(&self, lane: u64) -> Result<Arc<ActorRef>, Error> {
        self.lanes.lock().open.get(&lane).cloned().ok_or_else(|| {
            Error::invalid_argument(format!(
                "lane {lane} is not open: the client holds no actor by it, or has opened {LANES_MAX} others (lanes_max)"
            ))
        })
    }
}
