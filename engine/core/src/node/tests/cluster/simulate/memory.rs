//! The memory of the simulated head: a store that commits after a while, outputs that wait for it, and
//! crashes that lose what was not committed and all that had not left. What has left is what somebody was
//! told: no head that comes back may say otherwise.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::Simulation;
use crate::head::{self, Change, Head, Key, Record, Submission, Submitted};
use crate::ids::{ActorId, IdGenerator, JobId, NodeId};
use crate::tenant::TenantName;
use crate::time::Time;

/// What leaves the head, once all that it follows from is committed.
pub(super) enum Output {
    Effect(head::Effect),
    /// A node's line is made: it is a member, and these are not any more.
    Welcome(usize, Vec<NodeId>),
    /// A node is told that it is dead.
    Fenced(usize),
    /// A name was granted.
    Named((&'static str, ActorId, NodeId)),
    /// A name is free again, as somebody asked.
    Released(ActorId),
    /// A job was accepted.
    Accepted(&'static str, JobId),
    /// A run of a job is to begin on a node.
    Start(JobId, NodeId),
}

/// The store, and what waits for it.
pub(super) struct Memory {
    limits: head::Limits,
    stored: BTreeMap<Key, Record>,
    /// The transaction that is being written, when it will be, and what it lets out.
    writing: Option<(Time, Vec<Change>, Vec<Output>)>,
    /// What follows from changes that the next transaction will have.
    waiting: Vec<Output>,
    ids: IdGenerator,
    /// What was told to somebody who counts on it.
    names: BTreeMap<&'static str, (ActorId, NodeId)>,
    jobs: BTreeMap<&'static str, JobId>,
    /// Nodes that are dead, as somebody may have been told.
    buried: BTreeSet<NodeId>,
    /// A planted bug: what the head says leaves at once.
    is_early: bool,
    /// So long a transaction may take: on a slow disk longer than a node may be silent.
    commit_millis_max: usize,
    pub crashes: u64,
    /// Crashes that lost changes, and such in which what was being written turned out to be there.
    pub lost: u64,
    pub kept: u64,
    pub counted_on: u64,
}

impl Memory {
    pub fn new(limits: head::Limits, commit_millis_max: usize) -> Self {
        Self {
            limits,
            commit_millis_max,
            stored: BTreeMap::new(),
            writing: None,
            waiting: Vec::new(),
            ids: IdGenerator::new([78; 16]),
            names: BTreeMap::new(),
            jobs: BTreeMap::new(),
            buried: BTreeSet::new(),
            is_early: false,
            crashes: 0,
            lost: 0,
            kept: 0,
            counted_on: 0,
        }
    }

    /// A head that has what is stored.
    pub fn head(&self, now: Time, fx: &mut Vec<head::Effect>) -> Head {
        let key = [77 + self.crashes as u8; 16];
        Head::restore(key, self.limits.clone(), now, self.stored.values().cloned(), fx)
    }

    fn write(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Put(record) => drop(self.stored.insert(record.key(), record)),
                Change::Delete(key) => drop(self.stored.remove(&key)),
            }
        }
    }
}

impl Simulation {
    /// The head has worked: what it says leaves when what it follows from is committed.
    pub(super) fn let_out(&mut self, outputs: Vec<Output>) {
        let (mut now, mut later) = (Vec::new(), Vec::new());
        for output in outputs {
            match output {
                Output::Effect(head::Effect::ArmTimer(at)) => self.head_timer = Some(at),
                output => later.push(output),
            }
        }
        match self.memory.is_early {
            true => now.append(&mut later),
            false => self.memory.waiting.append(&mut later),
        }
        if let Some((at, changes, outputs)) = self.memory.writing.take() {
            if at > self.now {
                self.memory.writing = Some((at, changes, outputs));
                return;
            }
            self.memory.write(changes);
            now.extend(outputs);
        }
        let changes = self.head.take_changes();
        let waiting = std::mem::take(&mut self.memory.waiting);
        if changes.is_empty() {
            now.extend(waiting);
        } else {
            let at = self.after(self.memory.commit_millis_max);
            self.memory.writing = Some((at, changes, waiting));
        }
        now.into_iter().for_each(|output| self.leaves(output));
    }

    fn leaves(&mut self, output: Output) {
        match output {
            Output::Effect(head::Effect::Tell(id, notice)) => {
                let to = self.cluster.index(id);
                let at = self.after(30);
                let queue = self.notices.entry(to).or_default();
                let after = queue.back().map_or(at, |(last, _)| at.max(*last));
                queue.push_back((after, notice));
            }
            Output::Effect(head::Effect::Died(id, _)) => drop(self.memory.buried.insert(id)),
            Output::Effect(head::Effect::StartRun(run, home)) | Output::Start(run, home) => {
                self.start_run(run, home);
            }
            Output::Effect(_) => {}
            Output::Welcome(index, dead) => {
                let mut fx = Vec::new();
                self.head.node_welcomed(self.now, self.cluster.id(index), &mut fx);
                fx.into_iter().for_each(|effect| self.leaves(Output::Effect(effect)));
                self.welcome(index, dead);
            }
            Output::Fenced(index) => self.stop_node(index),
            Output::Named((name, actor, node)) => {
                // Whoever had it before is dead, or gave it up.
                if let Some((before, at)) = self.memory.names.insert(name, (actor, node)) {
                    let is_free = before == actor || self.head.is_dead(at).is_some();
                    assert!(is_free, "{actor} and {before} have the name {name}");
                }
            }
            Output::Released(actor) => self.memory.names.retain(|_, (had, _)| *had != actor),
            Output::Accepted(id, job) => {
                let before = self.memory.jobs.insert(id, job);
                assert!(before.is_none_or(|before| before == job), "{id} is {before:?} and {job}");
            }
        }
    }

    /// Nodes that a node knows, and that the head knows to be dead; and the latest of these, which it may not know.
    pub(super) fn known_dead(&self, index: usize) -> Vec<NodeId> {
        let known = self.cluster.worlds[index].node.members();
        let known = known.iter().map(|(info, _)| info.id);
        let known = known.filter(|id| self.head.check_join(*id).is_err());
        known.chain(self.head.latest_departed()).collect()
    }

    /// A node begins a new line, on which it first hears who is not a member any more.
    fn welcome(&mut self, index: usize, dead: Vec<NodeId>) {
        if !self.cluster.alive[index] {
            return;
        }
        let queue = self.notices.entry(index).or_default();
        let at = queue.back().map_or(self.now, |(at, _)| *at);
        let why = || "it is no member any more".to_owned();
        queue.extend(dead.into_iter().map(|id| (at, head::Notice::Dead(id, why()))));
        if self.leaving.contains_key(&index) {
            self.to_head.push((self.now, super::Hears::Leave(index)));
        }
        self.break_line(index);
    }

    /// Clients and guests that ask the head itself for something.
    pub(super) fn clients_ask(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        if !self.faults || !self.random.once_in(4) {
            return outputs;
        }
        let id = self.random.of(["one", "four", "three", "twelve"]);
        let submission = Submission {
            submission_id: id.to_owned(),
            retries: id.len() as u32 - 3,
            ..Submission::default()
        };
        match self.head.submit(self.now, submission) {
            Ok(Submitted::New(job)) => match self.head.place_job(job) {
                Ok(home) => outputs.extend([Output::Accepted(id, job), Output::Start(job, home)]),
                Err(error) => self.head.withdraw_job(self.now, job, &error),
            },
            Ok(Submitted::Known(job)) => outputs.push(Output::Accepted(id, job)),
            Err(_) => {}
        }
        let name = self.random.of(["a", "b", "c"]);
        let members: Vec<NodeId> = self.head.nodes().map(|(info, _)| info.id).collect();
        let Some(node) = self.random.pick(&members) else { return outputs };
        let actor = self.memory.ids.actor();
        if self.head.claim_name("n", name, (actor, node), false).is_ok() {
            outputs.push(Output::Named((name, actor, node)));
        } else if self.random.once_in(4)
            && let Some((actor, _)) = self.memory.names.get(name).copied()
        {
            // Said before the answer comes: nobody counts on it any more.
            self.memory.names.remove(name);
            self.head.release_name(actor);
            outputs.push(Output::Released(actor));
        }
        outputs
    }

    /// The head is killed, and another comes back with what is stored.
    pub(super) fn crash_head(&mut self) {
        self.memory.crashes += 1;
        self.memory.waiting.clear();
        if let Some((_, changes, _)) = self.memory.writing.take() {
            // Nobody knows whether the last transaction was written: whole, or not at all.
            match self.random.once_in(2) {
                true => {
                    self.memory.kept += 1;
                    self.memory.write(changes);
                }
                false => self.memory.lost += 1,
            }
        }
        let mut fx = Vec::new();
        self.head_timer = None;
        self.head = self.memory.head(self.now, &mut fx);
        self.check_memory();
        self.let_out(fx.into_iter().map(Output::Effect).collect());
        // What was said to it is lost with the lines; nodes make new ones.
        let heard = std::mem::take(&mut self.to_head);
        let asks = heard.into_iter().filter(|(_, hears)| matches!(hears, super::Hears::Ask(..)));
        self.to_head = asks.collect();
        for index in self.alive() {
            self.lines.forget_line(index);
            self.notices.insert(index, VecDeque::new());
            let at = self.after(40);
            self.to_head.push((at, super::Hears::Join(index)));
        }
    }

    /// What somebody was told is so.
    fn check_memory(&mut self) {
        for (name, (actor, node)) in &self.memory.names {
            if self.head.is_dead(*node).is_none() {
                let found = self.head.lookup_name("n", name).map(|(actor, _)| actor);
                assert_eq!(found.ok(), Some(*actor), "{name} was granted");
                self.memory.counted_on += 1;
            }
        }
        for (id, job) in &self.memory.jobs {
            let found = self.head.job_by_submission(&TenantName::default(), id).map(|record| record.id);
            assert_eq!(found.ok(), Some(*job), "{id} was accepted");
            self.memory.counted_on += 1;
        }
        for node in &self.memory.buried {
            assert!(self.head.check_join(*node).is_err(), "{node} was declared dead, and may come back");
            self.memory.counted_on += 1;
        }
    }

    /// Whether nothing waits for the store.
    pub(super) fn is_settled(&self) -> bool {
        self.memory.writing.is_none() && self.memory.waiting.is_empty()
    }

    /// How long nodes may be silent after the head has come back, here.
    pub(super) const RETURN_MAX: Duration = Duration::from_millis(150);
}

/// A simulation that finds nothing shows nothing.
#[test]
fn what_leaves_before_it_is_committed_is_found() {
    let found = (0..1_000).find(|seed| {
        let seed = *seed;
        let run = move || {
            let mut simulation = Simulation::new(seed);
            simulation.memory.is_early = true;
            (0..super::STEPS).for_each(|_| simulation.step());
            simulation.drain();
        };
        std::panic::catch_unwind(run).is_err()
    });
    println!("it is found by seed {found:?}");
    assert!(found.is_some(), "it was not found in 1 000 runs");
}
