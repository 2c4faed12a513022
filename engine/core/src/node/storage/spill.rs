//! Out of the arena: objects that nobody uses go to disk, so that there is room for others.

use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::ObjectId;
use crate::node::edges::State;
use crate::node::storage::{Fits, ROOM_ATTEMPTS_MAX, Room, RoomTicket, SPILL_STEP_PERCENT, Whereabouts};
use crate::node::{Caller, Effect, Effects, Node};
use crate::resources::bytes;
use crate::time::Time;
use crate::value::Place;

impl Node {
    /// Writes out what lies above the mark, so that room is there before it is asked for.
    pub(super) fn spill_above_mark(&mut self, fx: &mut Effects) {
        if !self.limits.spill {
            return;
        }
        let percent = |percent: u64| self.limits.store_bytes_max.saturating_mul(percent) / 100;
        let staying = self.storage.arena_bytes - self.storage.spilling_bytes;
        if staying > percent(self.limits.spill_above_percent) {
            let target = percent(self.limits.spill_above_percent.saturating_sub(SPILL_STEP_PERCENT));
            self.spill(staying - target, fx);
        }
    }

    /// Moves idle objects out until `wanted` bytes are free or about to be; how many will be.
    pub(super) fn spill(&mut self, wanted: u64, fx: &mut Effects) -> u64 {
        let mut coming = 0;
        let mut batch = Vec::new();
        while coming < wanted {
            let Some((_, id)) = self.storage.idle.pop_first() else { break };
            let Some(record) = self.storage.records.get_mut(&id) else { continue };
            coming += record.size;
            if record.on_disk.is_some() {
                self.evict(id);
                continue;
            }
            record.whereabouts = Whereabouts::Spilling;
            self.storage.spilling_bytes += record.size;
            if let Some(value) = self.objects.get(&id).and_then(|object| object.state.value()) {
                batch.push((id, value.place.clone()));
            }
        }
        if !batch.is_empty() {
            fx.push(Effect::Spill(batch));
        }
        coming
    }

    /// Forgets the copy in the arena of an object that has one on disk.
    pub(super) fn evict(&mut self, id: ObjectId) {
        let Some(record) = self.storage.records.get_mut(&id) else { return };
        let Some(place) = record.on_disk.clone() else { return };
        record.whereabouts = Whereabouts::Spilled;
        self.storage.arena_bytes -= record.size;
        self.storage.spilled_bytes += record.size;
        self.set_place(id, place);
    }

    pub(super) fn set_place(&mut self, id: ObjectId, place: Place) {
        if let Some(State::Ready(value)) = self.objects.get_mut(&id).map(|object| &mut object.state) {
            value.place = place;
        }
    }

    /// Objects of one `Effect::Spill` are on disk, or are not and why.
    pub fn spilled(&mut self, now: Time, results: Vec<(ObjectId, Result<Place, Error>)>, fx: &mut Effects) {
        for (id, result) in results {
            let Some(record) = self.storage.records.get_mut(&id) else { continue };
            if record.whereabouts != Whereabouts::Spilling {
                continue;
            }
            record.whereabouts = Whereabouts::Arena;
            let size = record.size;
            self.storage.spilling_bytes -= size;
            match result {
                Ok(place) => {
                    record.on_disk = Some(place);
                    self.counters.objects_spilled += 1;
                    self.counters.bytes_spilled += record.size;
                    if !self.storage.pins.contains_key(&id) {
                        self.evict(id);
                    }
                }
                Err(error) => {
                    self.note_failed_spill(now, size, &error);
                    self.storage.failures += 1;
                    self.storage.last_failure = Some(Arc::new(error));
                    self.storage.set_idle(id);
                    // Whoever waits for room hears why there is none.
                    for (wait, _) in std::mem::take(&mut self.storage.rooms) {
                        self.wait_over(wait);
                    }
                }
            }
        }
        self.schedule(now, fx);
    }

    /// Where a value of the caller's goes for which the store had no room.
    ///
    /// # Errors
    /// STORE_FULL when nothing is spilled here; OUT_OF_DISK, or whatever kept objects from being
    /// written out.
    pub fn make_room(
        &mut self,
        now: Time,
        from: Caller,
        ticket: &mut RoomTicket,
        fx: &mut Effects,
    ) -> Result<Room, Error> {
        let key = self.serving(from)?;
        if !self.limits.spill {
            let error = self.store_full(ticket.size);
            self.note_full_store(now, &error);
            return Err(error);
        }
        if ticket.attempts == 0 {
            ticket.failures_seen = self.storage.failures;
        } else if self.storage.failures > ticket.failures_seen
            && let Some(error) = &self.storage.last_failure
        {
            return Err(Error::clone(error));
        }
        ticket.attempts += 1;
        if ticket.size > self.limits.store_bytes_max || ticket.attempts > ROOM_ATTEMPTS_MAX {
            return Ok(Room::OnDisk);
        }
        if ticket.attempts > 1 {
            // The sum says that it fits, and no piece is large enough.
            self.spill(ticket.size, fx);
        }
        if let Fits::Never = self.fits_in_arena(ticket.size, fx) {
            return Ok(Room::OnDisk);
        }
        let wait = self.new_wait(now, from.instance, key, Box::default(), 1, None, fx);
        self.storage.rooms.push_back((wait, ticket.size));
        self.schedule(now, fx);
        Ok(Room::Wait(wait))
    }

    pub(super) fn store_full(&self, size: u64) -> Error {
        Error::new(
            ErrorCode::StoreFull,
            format!(
                "a value of {} does not fit: {} of {} are in use, and this node has no place to spill to; drop references that are no longer needed, or start the node with a larger --store-memory or with a --spill-dir",
                bytes(size),
                bytes(self.storage.arena_bytes),
                bytes(self.limits.store_bytes_max),
            ),
        )
    }

    /// Whether so much fits into the arena, now or once what is written out is gone; starts writing
    /// out what is needed for that.
    pub(super) fn fits_in_arena(&mut self, size: u64, fx: &mut Effects) -> Fits {
        let max = self.limits.store_bytes_max;
        let free = max.saturating_sub(self.storage.arena_bytes);
        if size <= free {
            return Fits::Now;
        }
        let short = size - free;
        let coming = self.storage.spilling_bytes;
        if coming < short && self.limits.spill {
            self.spill(short - coming, fx);
        }
        if size <= max.saturating_sub(self.storage.arena_bytes) {
            Fits::Now
        } else if self.storage.is_moving() {
            Fits::Soon
        } else {
            Fits::Never
        }
    }
}
