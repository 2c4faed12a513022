//! What a client elsewhere holds: of each thing one handle in the node's books, and how many handles of the
//! client's that stands for.

use std::collections::HashMap;
use std::sync::Arc;

use engine_core::{ActorId, Error, Handle};
use parking_lot::Mutex;

use crate::client::{ActorRef, Client, Held};

/// Handles and lanes of one client.
#[derive(Default)]
pub(super) struct Holding {
    handles: Mutex<HashMap<Handle, (Held, u64)>>,
    lanes: Mutex<HashMap<u64, Arc<ActorRef>>>,
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

    /// The client calls an actor that it holds by another lane; nothing when it does not.
    pub(super) fn open_lane(&self, client: &Client, lane: u64, actor: ActorId) {
        let is_called = self.lanes.lock().values().any(|open| open.actor == actor);
        if is_called || self.handles.lock().contains_key(&Handle::Actor(actor)) {
            self.give_lane(lane, client.hold_actor(actor));
        }
    }

    /// The client is given an actor by this lane.
    pub(super) fn give_lane(&self, lane: u64, actor: ActorRef) {
        let earlier = self.lanes.lock().insert(lane, Arc::new(actor));
        drop(earlier);
    }

    pub(super) fn close_lane(&self, lane: u64) {
        let closed = self.lanes.lock().remove(&lane);
        drop(closed);
    }

    /// # Errors
    /// INVALID_ARGUMENT when the client has not opened it.
    pub(super) fn lane(&self, lane: u64) -> Result<Arc<ActorRef>, Error> {
        self.lanes.lock().get(&lane).cloned().ok_or_else(|| {
            Error::invalid_argument(format!("lane {lane} is not open: the client holds no actor by it"))
        })
    }
}
