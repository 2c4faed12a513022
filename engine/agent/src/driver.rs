//! Brings events to the core and carries its effects out.
//!
//! Whoever brings an event takes the lock, so a call that a guest makes costs no hop to another
//! thread. Effects are carried out after the lock was let go, in the order of their events: the turn
//! is taken before the lock is released.

use std::sync::{Arc, OnceLock, Weak};

use engine_core::node::{Effect, Effects, Load, Node, Standstill};
use engine_core::tenant::Isolation;
use engine_core::work::{CallReport, GoneReport, Start};
use engine_core::{Error, InstanceId, Time};
use engine_head::Head;
use engine_objects::Store;
use engine_runtime::{JobContext, Runtime};
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use crate::background::{self, Kind};
use crate::client::{Attached, AttachedEntry, Lines};
use crate::clock::Clock;
use crate::cluster::{Network, Starts, leave};
use crate::groups::Groups;
use crate::jobs::Jobs;
use crate::log_rates::LogRates;
use crate::storage;
use crate::timer::Timer;
use crate::waits::Waits;
use crate::workers::{WorkerOptions, Workers};

/// A node's state machine and what its effects reach.
pub(crate) struct Driver {
    node: Mutex<Node>,
    turn: Mutex<()>,
    clock: Clock,
    runtime: OnceLock<Runtime>,
    pub(crate) store: Store,
    pub(crate) head: Arc<Head>,
    pub(crate) jobs: Jobs,
    pub(crate) log_rates: LogRates,
    /// What it has of its cluster, when it is a node of one.
    network: OnceLock<Arc<Network>>,
    pub(crate) starts: Starts,
    pub(crate) groups: Groups,
    pub(crate) waits: Arc<Waits>,
    /// Processes that run guests apart from this one.
    pub(crate) workers: Workers,
    /// Clients outside that are roots of their jobs.
    pub(crate) attached: Attached,
    /// Those of them that are elsewhere.
    pub(crate) lines: Lines,
    pub(crate) timer: Arc<Timer>,
    /// Held while a component is loaded on demand.
    pub(crate) loading: tokio::sync::Mutex<()>,
    /// What goes to disk and comes back does so on threads of this.
    pub(crate) background: tokio::runtime::Handle,
    this: Weak<Self>,
}

/// The right to carry effects out, one event's after the other's. Whoever has it must not wait for the
/// core: the next event holds the core while it waits for its turn. Debug builds check that.
struct Turn<'a>(#[expect(dead_code, reason = "held, not read")] MutexGuard<'a, ()>);

#[cfg(debug_assertions)]
thread_local! {
    static HAS_TURN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

impl<'a> Turn<'a> {
    fn take(turn: &'a Mutex<()>) -> Self {
        let turn = Self(turn.lock());
        #[cfg(debug_assertions)]
        HAS_TURN.set(true);
        turn
    }

    fn assert_is_elsewhere() {
        #[cfg(debug_assertions)]
        assert!(!HAS_TURN.get(), "the core is locked by a thread that carries effects out: a deadlock");
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        HAS_TURN.set(false);
    }
}

impl Driver {
    /// Must be called inside a tokio runtime.
    pub(crate) fn new(
        node: Node,
        clock: Clock,
        store: Store,
        head: Arc<Head>,
        jobs: Jobs,
        workers: WorkerOptions,
    ) -> Arc<Self> {
        let lines = Lines::new(node.limits().store_bytes_max);
        Arc::new_cyclic(|this| Self {
            node: Mutex::new(node),
            turn: Mutex::default(),
            clock,
            runtime: OnceLock::new(),
            store,
            head,
            jobs,
            log_rates: LogRates::default(),
            network: OnceLock::new(),
            starts: Starts::default(),
            groups: Groups::default(),
            waits: Arc::default(),
            workers: Workers::new(workers),
            attached: Attached::default(),
            lines,
            timer: Arc::default(),
            loading: tokio::sync::Mutex::default(),
            background: tokio::runtime::Handle::current(),
            this: this.clone(),
        })
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Values above this many bytes lie in the arena.
    pub(crate) fn inline_object_bytes_max(&self) -> usize {
        self.store.inline_object_bytes_max()
    }

    /// Gives the driver what its effects start sandboxes in. Once, before the first event.
    pub(crate) fn attach(&self, runtime: Runtime) {
        if self.runtime.set(runtime).is_err() {
            tracing::error!("a node got a second runtime, which it does not use");
        }
    }

    /// Gives the driver its way to other nodes. Once, before the first event.
    pub(crate) fn join(&self, network: Arc<Network>) {
        if self.network.set(network).is_err() {
            tracing::error!("a node got a second network, which it does not use");
        }
    }

    /// The way to other nodes.
    ///
    /// # Errors
    /// INTERNAL when this node is not one of a cluster.
    pub(crate) fn network(&self) -> Result<&Arc<Network>, Error> {
        self.network.get().ok_or_else(|| Error::internal("the node is not one of a cluster"))
    }

    pub(crate) fn runtime(&self) -> Result<&Runtime, Error> {
        self.runtime.get().ok_or_else(|| Error::internal("the node has no runtime"))
    }

    /// Brings an event to the core and carries out what follows.
    pub(crate) fn event<R>(&self, event: impl FnOnce(&mut Node, Time, &mut Effects) -> R) -> R {
        let mut effects = Effects::new();
        let mut node = self.core();
        let now = self.clock.now();
        let result = event(&mut node, now, &mut effects);
        node.flush(now, &mut effects);
        if effects.is_empty() {
            return result;
        }
        // A name is free for whoever comes next to this lock.
        for effect in &effects {
            if let Effect::ReleaseName(actor) = effect {
                match self.network.get() {
                    Some(network) => network.release_name(*actor),
                    None => self.head.release_name(*actor),
                }
            }
        }
        let turn = Turn::take(&self.turn);
        drop(node);
        let (mut clients, mut ends) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                // What is told of a job is read from the core.
                Effect::JobEnded(..) => ends.push(effect),
                Effect::Stop(instance, _) if let Some(client) = self.attached.leave(instance) => {
                    clients.push(client);
                }
                effect => self.carry_out(effect),
            }
        }
        drop(turn);
        ends.into_iter().for_each(|end| self.carry_out(end));
        // Nothing runs for a client here that would have to end first.
        clients.into_iter().for_each(|client| self.client_ends(client, SmallVec::new()));
        result
    }

    /// A client has ended, by itself with a report of its call, or as it was told to.
    pub(crate) fn client_ends(&self, client: AttachedEntry, calls: SmallVec<[CallReport; 1]>) {
        let report = GoneReport { instance: client.from.instance, calls, cause: None };
        self.event(|node, now, fx| node.gone(now, report, fx));
        let root = self.read(|node| node.task(client.from.task));
        client.tell(root.and_then(|root| root.error));
    }

    /// Reads the core's state.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&Node) -> R) -> R {
        read(&self.core())
    }

    fn core(&self) -> MutexGuard<'_, Node> {
        Turn::assert_is_elsewhere();
        self.node.lock()
    }

    /// What the node has free, for the others, and whether it stands still; none while an event is under way.
    pub(crate) fn try_look(&self) -> Option<(Load, Option<Standstill>)> {
        self.node.try_lock().map(|mut node| (node.load(), node.standstill()))
    }

    /// Starts a sandbox where its job's guests run.
    pub(crate) fn start(&self, runtime: &Runtime, start: Start, context: Arc<JobContext>) {
        match (context.isolation, self.this.upgrade()) {
            (Isolation::Process, Some(this)) => self.workers.start(&this, start, context),
            (Isolation::Process, None) => {}
            (Isolation::Thread, _) => runtime.start(start, context),
        }
    }

    /// Has a sandbox stand still, or go on, where it runs.
    pub(crate) fn pause(&self, runtime: &Runtime, instance: InstanceId, pauses: bool) {
        match (self.workers.pause(instance, pauses), pauses) {
            (true, _) => {}
            (false, true) => runtime.pause(instance),
            (false, false) => runtime.go_on(instance),
        }
    }

    /// Brings an event from which nothing follows; none while another is under way.
    pub(crate) fn try_event<R>(&self, event: impl FnOnce(&mut Node, Time) -> R) -> Option<R> {
        self.node.try_lock().map(|mut node| event(&mut node, self.clock.now()))
    }

    fn carry_out(&self, effect: Effect) {
        let Some(runtime) = self.runtime.get() else { return };
        match effect {
            Effect::Start(start) => match self.jobs.context(start.job) {
                Some(context) => self.start(runtime, *start, context),
                None => match self.this.upgrade() {
                    Some(this) if self.network.get().is_some() => self.starts.prepare(&this, *start),
                    _ => tracing::error!(job = %start.job, "a sandbox of an unknown job is not started"),
                },
            },
            Effect::Deliver(instance, call) => {
                if let Some(call) = self.workers.deliver(instance, call) {
                    runtime.deliver(instance, *call);
                }
            }
            Effect::Stop(instance, reason) => {
                let this = self.network.get().and_then(|_| self.this.upgrade());
                let was_waiting = this.is_some_and(|this| self.starts.stop(&this, instance));
                if !was_waiting && !self.workers.stop(instance, reason) {
                    runtime.stop(instance, reason);
                }
            }
            Effect::Pause(instance) => {
                if !self.starts.pause(instance, true) {
                    self.pause(runtime, instance, true);
                }
            }
            Effect::GoOn(instance) => {
                if !self.starts.pause(instance, false) {
                    self.pause(runtime, instance, false);
                }
            }
            Effect::Interrupt(instance, task) => {
                if !self.workers.interrupt(instance, task) {
                    runtime.interrupt(instance, task);
                }
            }
            Effect::Wake(wait) => self.waits.wake(wait),
            Effect::ArmTimer(at) => self.timer.arm(at),
            Effect::JobEnded(job, end) => {
                self.say_dropped(Some(job));
                let forgotten = self.head.job_ended(self.clock.now(), job, end);
                self.report_end(job);
                self.jobs.ended(job);
                if let Some(forgotten) = forgotten {
                    self.jobs.forget(forgotten);
                }
            }
            Effect::JobForgotten(job) => {
                self.say_dropped(Some(job));
                self.jobs.close(job);
                runtime.close_directories(job);
                self.workers.close_job(job);
            }
            Effect::ReleaseName(_) => {}
            Effect::Spill(batch) => storage::spill(self.this.clone(), &self.background, batch),
            Effect::ToHead(message) => match self.network.get() {
                Some(network) => network.requests.tell_of_groups(&message),
                None => self.groups.tell_own_head(*message),
            },
            Effect::TellLedger(report) => match self.network.get() {
                Some(network) => network.requests.tell_ledger(&report),
                None => self.groups.tell_own_ledger(report),
            },
            Effect::AskForLoads(wants) => {
                if let Some(network) = self.network.get() {
                    network.requests.ask_for_loads(wants);
                }
            }
            Effect::RunGone(run) => match self.network.get() {
                Some(network) => network.requests.run_is_gone(run),
                None => tracing::error!(%run, "a node of its own was asked for the end of a lost run"),
            },
            Effect::Leave { in_order } => {
                if let (Some(network), Some(this)) = (self.network.get(), self.this.upgrade()) {
                    drop(background::spawn_on(
                        &self.background,
                        Kind::Leave,
                        leave(this, network.clone(), in_order),
                    ));
                }
            }
            Effect::GroupAnswered(group, answer) => self.groups.answered(group, answer),
            Effect::Send(packet) => match self.network.get() {
                Some(network) => network.peers.send(packet),
                // A node that was told of no other has nobody to tell anything.
                None => tracing::error!(to = %packet.to, "a packet has no way to its node"),
            },
            Effect::Restore(id, place) => storage::restore(self.this.clone(), &self.background, id, place),
        }
    }
}
