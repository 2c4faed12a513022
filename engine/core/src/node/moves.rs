//! Objects of this node whose bytes are on nodes that drain: they come here.
//!
//! An object goes with its owner in any case, so the owner's node is where its bytes are safest. A few come
//! at a time, behind what somebody waits for; where they find no room in memory, others are written out.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use crate::ids::{NodeId, ObjectId};
use crate::node::Node;
use crate::node::peers::Message;

/// Objects that are on their way here at once.
const MOVES_MAX: usize = 4;

/// Objects that are to come here.
#[derive(Default)]
pub(super) struct Moves {
    /// And whether they are on their way.
    objects: BTreeMap<ObjectId, bool>,
    /// Those that are not, in the order in which they are looked at; some of them may be gone.
    line: VecDeque<ObjectId>,
    under_way: usize,
}

impl Moves {
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// An object is to come.
    pub fn add(&mut self, id: ObjectId) {
        if let Entry::Vacant(entry) = self.objects.entry(id) {
            entry.insert(false);
            self.line.push_back(id);
        }
    }

    /// An object needs not come any more. Whether it was to.
    pub fn remove(&mut self, id: ObjectId) -> bool {
        let removed = self.objects.remove(&id);
        self.under_way -= usize::from(removed == Some(true));
        removed.is_some()
    }

    /// There was no room for an object.
    pub fn put_off(&mut self, id: ObjectId) {
        if let Some(under_way) = self.objects.get_mut(&id)
            && std::mem::take(under_way)
        {
            self.under_way -= 1;
            self.line.push_back(id);
        }
    }

    fn next(&mut self) -> Option<ObjectId> {
        if self.under_way >= MOVES_MAX {
            return None;
        }
        while let Some(id) = self.line.pop_front() {
            if let Some(under_way) = self.objects.get_mut(&id).filter(|under_way| !**under_way) {
                *under_way = true;
                self.under_way += 1;
                return Some(id);
            }
        }
        None
    }
}

impl Node {
    /// Has the objects come here whose bytes are on a node that drains.
    pub(super) fn plan_moves(&mut self, from: NodeId) {
        let is_there =
            |id: &ObjectId| self.storage.remote_place(*id).is_some_and(|remote| remote.holder == from);
        let own = self.objects.iter().filter(|(_, object)| object.owner().is_none()).map(|(id, _)| *id);
        let mut ids: Vec<ObjectId> = own.filter(is_there).collect();
        // The order must be the same in every run.
        ids.sort();
        ids.into_iter().for_each(|id| self.storage.moves.add(id));
    }

    /// Has the next objects come. Called at the end of every event.
    pub(super) fn serve_moves(&mut self) {
        // Each is looked at once: one that finds no room waits for the next event.
        for _ in 0..self.storage.moves.line.len().min(MOVES_MAX) {
            let Some(id) = self.storage.moves.next() else { return };
            match self.storage.want(id) {
                Some(true) => self.has_come(id),
                Some(false) => {}
                None => drop(self.storage.moves.remove(id)),
            }
        }
    }

    /// The bytes of an object are here. If they were to come, they are not needed where they were.
    pub(super) fn has_come(&mut self, id: ObjectId) {
        if !self.storage.moves.remove(id) {
            return;
        }
        let remote = self.storage.remote_place(id);
        if let Some(remote) = remote
            && self.storage.adopt(id)
        {
            self.counters.objects_moved += 1;
            self.tell(remote.holder, Message::Drop(id));
        }
    }
}
