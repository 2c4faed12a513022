//! Deadlines and timeouts. The outside is told the next time at which to call [`Node::timer`].

use std::collections::BTreeSet;

use crate::error::{Error, ErrorCode};
use crate::ids::WaitId;
use crate::node::{Effect, Effects, Node, TaskKey};
use crate::time::Time;
use crate::work::StopReason;

#[derive(Default)]
pub(super) struct Timers {
    deadlines: BTreeSet<(Time, TaskKey)>,
    waits: BTreeSet<(Time, WaitId)>,
    warm: Option<Time>,
    /// When a session with another node wants to be looked at.
    pub peers: Option<Time>,
    /// When a job is to be stopped whose client is away.
    pub clients: Option<Time>,
    /// When the drain of this node wants to be looked at.
    pub drain: Option<Time>,
    /// When the head is to be told what is used of quotas.
    pub leases: Option<Time>,
    /// When room is to be made for a tenant that waits for its share.
    pub claims: Option<Time>,
    armed: Option<Time>,
}

impl Timers {
    pub fn add_deadline(&mut self, at: Time, task: TaskKey) {
        self.deadlines.insert((at, task));
    }

    pub fn remove_deadline(&mut self, at: Time, task: TaskKey) {
        self.deadlines.remove(&(at, task));
    }

    pub fn add_wait(&mut self, at: Time, wait: WaitId) {
        self.waits.insert((at, wait));
    }

    pub fn remove_wait(&mut self, at: Time, wait: WaitId) {
        self.waits.remove(&(at, wait));
    }

    pub fn set_warm(&mut self, at: Option<Time>) {
        self.warm = at;
    }

    /// Whether time alone will let some call go on or end.
    pub fn any_pending(&self) -> bool {
        !self.deadlines.is_empty() || !self.waits.is_empty()
    }

    /// Deadlines and timeouts that have not passed.
    pub fn pending(&self) -> usize {
        self.deadlines.len() + self.waits.len()
    }

    fn next(&self) -> Option<Time> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let wait = self.waits.first().map(|(at, _)| *at);
        [deadline, wait, self.warm, self.peers, self.clients, self.drain, self.leases, self.claims]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Node {
    /// Asks for the next call of [`Self::timer`], when it must come earlier than was asked for.
    pub(super) fn arm_timer(&mut self, fx: &mut Effects) {
        self.forget_begun();
        self.timers.peers = self.peers.next_timer();
        self.timers.clients = self.clients.next_timer();
        self.timers.drain = self.drain.next_timer();
        let Some(next) = self.timers.next() else { return };
        if self.timers.armed.is_none_or(|armed| next < armed) {
            self.timers.armed = Some(next);
            fx.push(Effect::ArmTimer(next));
        }
    }

    /// Time has come.
    pub fn timer(&mut self, now: Time, fx: &mut Effects) {
        self.timers.armed = None;
        while let Some((at, wait)) = self.timers.waits.first().copied()
            && at <= now
        {
            self.timers.waits.pop_first();
            self.wait_over(wait);
        }
        while let Some((at, task)) = self.timers.deadlines.first().copied()
            && at <= now
        {
            self.timers.deadlines.pop_first();
            self.deadline_passed(now, task, fx);
        }
        self.stop_unattended(now, fx);
        self.retire_idle(now, fx);
        self.give_back_late(now, fx);
        self.drain_timer(now, fx);
        self.peer_timers(now, fx);
        self.arm_timer(fx);
        self.schedule(now, fx);
    }

    fn deadline_passed(&mut self, now: Time, key: TaskKey, fx: &mut Effects) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        task.deadline = None;
        let message = format!(
            "it had not ended {:?} after it was submitted, its deadline: it was {}",
            now.since(task.submitted),
            task.state
        );
        self.end_now(now, key, Error::new(ErrorCode::DeadlineExceeded, message), StopReason::Deadline, fx);
    }
}
