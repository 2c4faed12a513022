//! The faults have stopped: everything ends, and nothing is left.

use std::collections::BTreeSet;

use super::checker::is_ended;
use super::simulation::Simulation;
use crate::error::ErrorCode;
use crate::ids::TaskId;
use crate::node::{Counters, TaskState, TaskView, Until, Waitable};
use crate::value::Handle;

/// What happened in one run.
pub struct Summary {
    pub counters: Counters,
    pub codes: BTreeSet<ErrorCode>,
    pub reused: u64,
    pub deadlocks: usize,
}

impl Simulation {
    /// Lets everything end, and returns what there was to see.
    pub fn drain(mut self) -> Summary {
        self.roots_wait();
        self.settle();
        self.check_who_is_left();
        self.roots_end();
        self.kill_detached();
        self.settle();
        for job in self.world.roots.clone().into_keys() {
            assert!(self.world.ended.contains_key(&job), "{job} has not ended");
        }
        assert_eq!(self.world.node.leftover(), None);
        assert!(self.world.sandboxes.is_empty(), "sandboxes are left");
        let ended = self.world.node.tasks(None, usize::MAX).into_iter().filter_map(|view| view.error);
        let errors: Vec<_> = ended.collect();
        let mut codes = std::mem::take(&mut self.checker.errors);
        codes.extend(errors.iter().map(|error| error.code()));
        let deadlocks = errors.iter().filter(|error| error.message().contains("deadlock: ")).count();
        Summary {
            counters: self.world.node.node_view().counters,
            codes,
            reused: self.world.reused,
            deadlocks,
        }
    }

    /// Each root keeps only what is not there yet, and waits for it.
    fn roots_wait(&mut self) {
        for root in self.world.roots.clone().into_values() {
            if !self.world.running.contains_key(&root) || self.waiting.contains_key(&root) {
                continue;
            }
            let guest = self.world.caller(root);
            let mut items = Vec::new();
            for handle in self.held.remove(&guest.instance).unwrap_or_default() {
                match handle {
                    Handle::Object(id) if self.world.outcome(guest, id).is_none() => {
                        items.push(Waitable::Object(id));
                    }
                    handle => self.world.release(guest, handle),
                }
            }
            let count = items.len() as u32;
            let state = self
                .world
                .event(|node, now, fx| node.wait(now, guest, &items, Until::Count(count), None, fx));
            self.may_block(guest, state, items);
            self.look_around();
        }
    }

    /// Whatever can go on does, until nothing can.
    fn settle(&mut self) {
        for _ in 0..200_000 {
            self.look_around();
            let roots: Vec<TaskId> = self.world.roots.values().copied().collect();
            let sandboxes = &self.world.sandboxes;
            self.stopping.retain(|instance| sandboxes.contains_key(instance));
            if !self.stopping.is_empty() {
                self.end_stopping();
                continue;
            }
            if !self.world.spills.is_empty() || !self.world.restores.is_empty() {
                self.world.write_out(None);
                self.world.bring_back(None);
                continue;
            }
            let awake: Vec<TaskId> = self.awake().into_iter().filter(|task| !roots.contains(task)).collect();
            if let Some(task) = self.random.pick(&awake) {
                self.finishes(task);
                continue;
            }
            match self.world.next_timer() {
                Some(at) => {
                    let by = at.since(self.world.now);
                    self.world.advance(by);
                }
                None => return,
            }
        }
        panic!("it does not come to rest");
    }

    /// Whatever has not ended has a reason.
    fn check_who_is_left(&self) {
        let left: Vec<TaskView> =
            self.world.node.tasks(None, usize::MAX).into_iter().filter(|view| !view.state.is_end()).collect();
        let runs = |view: &TaskView| {
            let stands_still = |id| self.world.paused.contains(&self.world.caller(id).instance);
            view.state == TaskState::Running && !stands_still(view.id)
        };
        let somebody_runs = left.iter().any(runs);
        for view in left {
            let has_a_reason = match view.state {
                TaskState::Running => {
                    let is_paused = || self.world.paused.contains(&self.world.caller(view.id).instance);
                    self.world.roots.values().any(|root| *root == view.id) || (somebody_runs && is_paused())
                }
                // While nothing runs, whoever lacks resources waits in vain, and was told so.
                TaskState::PendingPlacement | TaskState::PendingStoreMemory => somebody_runs,
                // Of several arguments one is back, and for another there is no room.
                TaskState::FetchingArgs => somebody_runs,
                TaskState::Blocked => {
                    self.waits_for_something(&view) || (somebody_runs && self.lacks_cpus(&view))
                }
                TaskState::PendingArgs => {
                    self.world.node.missing_arguments(view.id, 1).is_some_and(|missing| !missing.is_empty())
                }
                TaskState::Submitted => !self.could_serve(&view),
                _ => false,
            };
            assert!(has_a_reason, "{:?}: {view:?}", self.world.node.explain(view.id));
        }
    }

    /// Of what it waits for, something is not there. Nobody breaks a circle of tasks that wait for
    /// one another.
    fn waits_for_something(&self, view: &TaskView) -> bool {
        let guest = self.world.caller(view.id);
        self.waiting.get(&view.id).is_some_and(|waiting| {
            waiting.items.is_empty()
                || waiting.items.iter().any(|item| !self.world.node.is_ready(guest, *item))
        })
    }

    fn lacks_cpus(&self, view: &TaskView) -> bool {
        // Whoever was passed over often enough is waited for.
        let node = &self.world.node;
        if node.resuming_holds_others_up() {
            return true;
        }
        let actor = view.actor.and_then(|id| self.world.node.actor(id));
        let needs = actor.map_or(view.needs.cpus, |actor| actor.held.cpus);
        self.world.free().cpus < needs
    }

    /// Its actor is there and has nothing else to do.
    fn could_serve(&self, view: &TaskView) -> bool {
        let actor = view.actor.and_then(|id| self.world.node.actor(id));
        actor.is_none_or(|actor| {
            actor.state == "ALIVE" && actor.running_calls == 0 && actor.pending_calls == 1
        })
    }

    fn roots_end(&mut self) {
        loop {
            self.settle();
            let roots: Vec<TaskId> = self.world.roots.values().copied().collect();
            let Some(root) = roots.iter().copied().find(|root| self.world.running.contains_key(root)) else {
                assert!(roots.iter().all(|root| is_ended(&self.world, *root)), "a root never ran");
                return;
            };
            if self.waiting.contains_key(&root) {
                let job = self.world.job_of(self.world.caller(root));
                self.world.event(|node, now, fx| node.stop_job(now, job, "the end", fx));
            } else {
                self.world.finish(root);
            }
        }
    }

    /// A job of its own looks up every detached actor, and kills it.
    fn kill_detached(&mut self) {
        for job in self.world.roots.keys() {
            assert!(self.world.ended.contains_key(job), "{job} does not end before its detached actors");
        }
        loop {
            let live: Vec<_> = self.detached.iter().copied().filter(|id| self.is_alive(*id)).collect();
            if live.is_empty() {
                return;
            }
            let root = self.world.submit(crate::resources::Quantity::ZERO, None);
            self.settle();
            if self.world.running.contains_key(&root) {
                let guest = self.world.caller(root);
                for actor in live {
                    self.world.acquire(guest, Handle::Actor(actor));
                    self.world.kill(guest, actor, false);
                    self.world.release(guest, Handle::Actor(actor));
                }
                self.world.finish(root);
            } else if let Some(instance) = self.world.sandboxes.keys().next().copied() {
                // They hold what the job needs.
                self.world.die(instance);
            }
            self.settle();
        }
    }

    fn is_alive(&self, actor: crate::ids::ActorId) -> bool {
        self.world.node.actor(actor).is_some_and(|view| view.state != "DEAD")
    }
}
