//! What is still to happen, by time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use engine_core::head::Notice;
use engine_core::node::{Load, Packet};
use engine_core::{InstanceId, TaskId, Time};

/// What happens. Nodes are named by their place in the list.
pub enum Event {
    /// A packet arrives.
    Packet(u32, Box<Packet>),
    /// A guest is done.
    GuestDone(u32, InstanceId, TaskId),
    /// A node looks whether it has something to say to the head.
    Turn(u32),
    /// A node's timer.
    Timer(u32),
    /// The head hears that a node wants to join.
    Joins(u32),
    /// The head hears what a node has free.
    Heard(u32, Load),
    /// The head hears whether a node wants to be told of loads.
    Wants(u32, bool),
    /// The head sees that the connection to a node broke.
    Broke(u32),
    /// The head's timer.
    HeadTimer,
    /// It is looked where the tasks are.
    Census,
    /// A node hears from the head.
    Told(u32, Notice),
}

struct Entry {
    at: Reverse<(Time, u64)>,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// Events by time; those of one time in the order in which they were added.
#[derive(Default)]
pub struct Queue {
    heap: BinaryHeap<Entry>,
    added: u64,
}

impl Queue {
    pub fn add(&mut self, at: Time, event: Event) {
        self.added += 1;
        self.heap.push(Entry { at: Reverse((at, self.added)), event });
    }

    pub fn next(&mut self) -> Option<(Time, Event)> {
        self.heap.pop().map(|entry| (entry.at.0.0, entry.event))
    }
}

/// A timer that is set anew more often than it rings: one entry in the queue, not one for each setting.
#[derive(Default)]
pub struct Alarm {
    wanted: Option<Time>,
    queued: Option<Time>,
}

impl Alarm {
    /// To ring at this time, whatever was set before; when the queue must be told, at which time.
    pub fn set(&mut self, at: Time) -> Option<Time> {
        self.wanted = Some(at);
        let is_sooner = self.queued.is_none_or(|queued| at < queued);
        is_sooner.then(|| {
            self.queued = Some(at);
            at
        })
    }

    /// An entry of the queue has come: whether to ring now, and else when to come again.
    pub fn has_come(&mut self, now: Time) -> Result<(), Option<Time>> {
        if self.queued != Some(now) {
            return Err(None);
        }
        self.queued = None;
        match self.wanted {
            Some(at) if at <= now => {
                self.wanted = None;
                Ok(())
            }
            Some(at) => {
                self.queued = Some(at);
                Err(Some(at))
            }
            None => Err(None),
        }
    }
}
