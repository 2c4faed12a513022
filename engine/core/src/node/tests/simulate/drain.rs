//! The faults have stopped: everything ends, and nothing is left.

use super::checker::is_ended;
use super::simulation::Simulation;
use crate::ids::TaskId;
use crate::node::{TaskState, Until, Waitable};
use crate::value::Handle;

impl Simulation {
    /// Lets everything end, and returns the trace.
    pub fn drain(mut self) -> Vec<String> {
        self.roots_wait();
        self.settle();
        self.check_who_is_left();
        self.roots_end();
        self.settle();
        self.kill_detached();
        self.settle();
        for job in self.world.roots.clone().into_keys() {
            assert!(self.world.ended.contains_key(&job), "{job} has not ended");
        }
        assert_eq!(self.world.node.leftover(), None);
        assert!(self.world.sandboxes.is_empty(), "sandboxes are left");
        self.world.trace.take().unwrap_or_default()
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
            let state = self.world.event(|node, now, fx| node.wait(now, guest, &items, Until::Count(count), None, fx));
            self.may_block(guest, state);
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

    /// What has not ended waits for resources that are in use while its root could go on.
    fn check_who_is_left(&self) {
        let node = &self.world.node;
        let left: Vec<_> = node.tasks(None, usize::MAX).into_iter().filter(|view| !view.state.is_end()).collect();
        let is_root = |task: TaskId| self.world.roots.values().any(|root| *root == task);
        let others: Vec<_> = left.iter().filter(|view| !is_root(view.id)).collect();
        if others.is_empty() {
            return;
        }
        let awake = self.awake();
        assert!(awake.iter().any(|task| is_root(*task)), "nothing can go on: {others:?}");
        let waits_for_resources = |view: &&&crate::node::TaskView| {
            view.state == TaskState::PendingPlacement && node.lacking(view.id).is_some()
        };
        assert!(others.iter().any(|view| waits_for_resources(&view)), "nobody lacks anything: {others:?}");
        for view in others {
            assert_ne!(view.state, TaskState::Running, "{view:?}");
        }
    }

    fn roots_end(&mut self) {
        loop {
            let roots: Vec<TaskId> = self.world.roots.values().copied().collect();
            let Some(root) = roots.iter().copied().find(|root| self.world.running.contains_key(root)) else {
                // Roots that wait for resources which others gave back now run.
                let pending = roots.iter().any(|root| !is_ended(&self.world, *root));
                assert!(!pending || !self.stopping.is_empty(), "a root never ran");
                if pending {
                    self.settle();
                    continue;
                }
                return;
            };
            if self.waiting.contains_key(&root) {
                let job = self.world.job_of(self.world.caller(root));
                self.world.event(|node, now, fx| node.stop_job(now, job, "the end", fx));
                self.look_around();
                self.settle();
            } else {
                self.world.finish(root);
                self.look_around();
            }
        }
    }

    /// A job of its own looks up every detached actor, and kills it.
    fn kill_detached(&mut self) {
        let live: Vec<_> = self.detached.iter().copied().filter(|id| self.is_alive(*id)).collect();
        for job in self.world.roots.keys() {
            assert!(self.world.ended.contains_key(job), "{job} does not end before its detached actors");
        }
        if live.is_empty() {
            return;
        }
        let root = self.world.submit(crate::resources::Quantity::ZERO, None);
        self.settle();
        let guest = self.world.caller(root);
        for actor in live {
            self.world.acquire(guest, Handle::Actor(actor));
            self.world.kill(guest, actor, false);
            self.world.release(guest, Handle::Actor(actor));
        }
        self.world.finish(root);
    }

    fn is_alive(&self, actor: crate::ids::ActorId) -> bool {
        self.world.node.actor(actor).is_some_and(|view| view.state != "DEAD")
    }
}
