//! What the simulation watches of the calls of actors.

use super::{Made, Simulation};
use crate::ids::TaskId;
use crate::options::Returns;

impl Simulation {
    /// What the owner of a task calls it that runs on this node.
    pub(super) fn known_as(&self, index: usize, task: TaskId) -> TaskId {
        let node = &self.cluster.worlds[index].node;
        let behalf = node.task_index.get(&task).and_then(|key| node.tasks[*key].behalf());
        behalf.map_or(task, |behalf| behalf.results.id)
    }

    /// Calls of one lane begin in order, without retries once, and never again once their callers have
    /// their results (contract A1, A2).
    pub(super) fn check_call(&mut self, index: usize, task: TaskId) {
        let id = self.known_as(index, task);
        let Some(Made { lane, place, is_retried }) = self.calls.get(&id).copied() else { return };
        let is_hosted = self.cluster.worlds[index].node.task_index.get(&task).is_some_and(|key| {
            let task = &self.cluster.worlds[index].node.tasks[*key];
            task.behalf().is_some()
        });
        self.summary.hosted += u64::from(is_hosted);
        self.summary.calls += 1;
        let begun = self.begun_calls.entry(id).or_insert(0);
        *begun += 1;
        if *begun > 1 {
            assert!(is_retried, "a call without retries was begun twice");
            let result = self.cluster.worlds[lane.0].node.object(id.output(0));
            let is_known = result.is_some_and(|object| object.state == "READY");
            let streams = self.cluster.worlds[index].running.get(&task).map(|(_, call)| call.returns);
            let is_fixed = matches!(streams, Some(Returns::Fixed(_)));
            assert!(!is_known || !is_fixed, "a call whose result is known was begun again");
            return;
        }
        // One that was declared dead goes on until it hears so: whatever it does has no effect (contract H3).
        if !self.head.is_alive(self.cluster.id(index)) {
            return;
        }
        let last = self.begun_in_lane.entry(lane).or_insert(0);
        assert!(*last < place, "call {place} of a lane was begun after call {last}");
        *last = place;
    }
}
