//! Whose guests run next, where guests of several tenants want the same threads.
//!
//! Sandboxes hold CPUs, and mostly there are as many threads; but an actor holds none unless it asks, and
//! may compute all the same. So that a thousand such do not keep other tenants' guests waiting, a sandbox is
//! handed to the executor only when a thread is about to be free, and of the tenants whose sandboxes wait
//! the one is next that has used least of the threads, in relation to the CPUs that those of its sandboxes
//! hold that want to run. A new one is in line from its start, before the executor has heard of it.
//! Sandboxes of one tenant take turns. This is stride scheduling (Waldspurger and
//! Weihl, 1995) with the tenants as clients, charged after each turn for the time that it took.
//!
//! While all sandboxes are of one tenant nothing of this happens: they go to the executor as they come.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use engine_core::TenantName;
use engine_core::resources::Quantity;
use parking_lot::Mutex;

/// What all sandboxes of a tenant together count as besides the CPUs that they hold, in ten-thousandths: so
/// much have those that hold none.
const WITHOUT_CPUS: u64 = 1_000;
/// For how long what the sandboxes of a tenant held together goes on counting: between two tasks that follow one
/// another only their parent wants to run, which may hold nothing.
const RECENT: Duration = Duration::from_millis(10);
/// How often those that run are asked to make room at once, at most.
const HURRY_EVERY: Duration = Duration::from_micros(200);
/// Tenants without sandboxes that are remembered.
const TENANTS_KEPT_MAX: usize = 1_000;

/// The turns of all sandboxes of a runtime.
pub(crate) struct Turns {
    state: Mutex<State>,
    /// Tenants that have sandboxes.
    tenants: AtomicUsize,
    /// How many sandboxes are with the executor at once.
    threads: usize,
    /// Asks those that run to end their turns soon.
    hurry: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

#[derive(Default)]
struct State {
    of: HashMap<TenantName, usize>,
    table: Vec<Tenant>,
    free: Vec<usize>,
    /// Tenants of which sandboxes wait.
    hungry: Vec<usize>,
    /// Sandboxes that are with the executor.
    running: usize,
    /// Where whoever begins to wait begins: what the one had used that was served last.
    floor: u128,
    /// When those that run were asked to end their turns.
    hurried: Option<Instant>,
}

/// Of one tenant.
#[derive(Default)]
struct Tenant {
    name: TenantName,
    sandboxes: usize,
    waiting: VecDeque<Arc<Turn>>,
    /// Those that are with the executor.
    running: usize,
    /// CPUs, in ten-thousandths, of those that run or wait.
    wanting: u64,
    /// The most of these lately, and when that was.
    recent: (u64, Option<Instant>),
    /// Nanoseconds of threads, for each CPU that it wanted to use.
    used: u128,
}

/// Where a sandbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    /// It wants nothing, or runs while nobody counts.
    Idle,
    /// It wants to run.
    Waiting,
    /// It is with the executor, which has yet to run it.
    Given,
    /// It runs.
    Running,
    /// It runs, and wants to run again.
    RunningAgain,
    /// It has ended.
    Gone,
}

const PHASES: [Phase; 6] =
    [Phase::Idle, Phase::Waiting, Phase::Given, Phase::Running, Phase::RunningAgain, Phase::Gone];

#[derive(Default)]
struct AtomicPhase(AtomicU8);

impl AtomicPhase {
    fn get(&self) -> Phase {
        PHASES[usize::from(self.0.load(Ordering::Acquire))]
    }

    fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Release);
    }
}

/// A sandbox's place in it.
struct Turn {
    turns: Arc<Turns>,
    tenant: usize,
    cpus: u64,
    /// Changed under the state's lock only.
    phase: AtomicPhase,
    /// What hands it to the executor.
    executor: Mutex<Executor>,
}

/// What hands a sandbox to the executor.
#[derive(Default)]
enum Executor {
    /// Nothing yet.
    #[default]
    Nobody,
    /// It is new, and this gives it to the executor.
    New(Box<dyn FnOnce() + Send>),
    /// This has it polled again.
    Known(Waker),
}

impl Turns {
    pub(crate) fn new(threads: usize) -> Arc<Self> {
        let threads = threads.max(1);
        let (state, tenants, hurry) = (Mutex::default(), AtomicUsize::new(0), OnceLock::new());
        Arc::new(Self { state, tenants, threads, hurry })
    }

    /// How those that run are asked to end their turns soon, for a tenant of which none does.
    pub(crate) fn hurry_by(&self, hurry: impl Fn() + Send + Sync + 'static) {
        drop(self.hurry.set(Box::new(hurry)));
    }

    /// Runs a new sandbox's future on an executor, in turn with those of other tenants.
    pub(crate) fn spawn<F: Future<Output = ()> + Send + 'static>(
        self: &Arc<Self>,
        on: &tokio::runtime::Handle,
        tenant: &TenantName,
        cpus: Quantity,
        future: F,
    ) {
        let sandbox = self.take_turns(tenant, cpus, future);
        if self.is_alone() {
            on.spawn(sandbox);
            return;
        }
        let (turn, on) = (sandbox.turn.clone(), on.clone());
        *turn.executor.lock() = Executor::New(Box::new(move || drop(on.spawn(sandbox))));
        turn.wake();
    }

    /// Drops the sandboxes that were never begun, as nothing runs any more.
    pub(crate) fn finish(&self) {
        let state = self.state.lock();
        let waiting: Vec<_> = state.table.iter().flat_map(|tenant| tenant.waiting.iter().cloned()).collect();
        drop(state);
        for turn in waiting {
            let executor = std::mem::take(&mut *turn.executor.lock());
            drop(executor);
        }
    }

    /// Runs a sandbox's future in turn with those of other tenants.
    fn take_turns<F: Future<Output = ()>>(
        self: &Arc<Self>,
        tenant: &TenantName,
        cpus: Quantity,
        future: F,
    ) -> InTurn<F> {
        let tenant = self.state.lock().come(tenant, &self.tenants);
        let turn = Turn {
            turns: self.clone(),
            tenant,
            cpus: cpus.0,
            phase: AtomicPhase::default(),
            executor: Mutex::default(),
        };
        let turn = Arc::new(turn);
        InTurn { waker: Waker::from(turn.clone()), turn, future: Box::pin(future) }
    }

    fn hurry(&self, hurries: bool) {
        if hurries && let Some(hurry) = self.hurry.get() {
            hurry();
        }
    }

    fn is_alone(&self) -> bool {
        self.tenants.load(Ordering::Relaxed) <= 1
    }
}

impl State {
    fn come(&mut self, name: &TenantName, tenants: &AtomicUsize) -> usize {
        let at = match self.of.get(name) {
            Some(at) => *at,
            None => {
                let at = self.free.pop().unwrap_or_else(|| {
                    self.table.push(Tenant::default());
                    self.table.len() - 1
                });
                self.table[at] = Tenant { name: name.clone(), ..Tenant::default() };
                self.of.insert(name.clone(), at);
                at
            }
        };
        let tenant = &mut self.table[at];
        tenant.sandboxes += 1;
        tenants.fetch_add(usize::from(tenant.sandboxes == 1), Ordering::Relaxed);
        at
    }

    fn go(&mut self, at: usize, tenants: &AtomicUsize) {
        let tenant = &mut self.table[at];
        tenant.sandboxes -= 1;
        if tenant.sandboxes == 0 {
            tenants.fetch_sub(1, Ordering::Relaxed);
            if self.of.len() > TENANTS_KEPT_MAX {
                self.of.remove(&tenant.name);
                self.free.push(at);
            }
        }
    }

    /// A sandbox wants to run. [`Self::next`] says who does.
    fn wants(&mut self, turn: &Arc<Turn>) {
        let floor = self.floor;
        let tenant = &mut self.table[turn.tenant];
        if tenant.running == 0 && tenant.waiting.is_empty() {
            // Nobody has credit for the time in which it wanted nothing.
            tenant.used = tenant.used.max(floor);
        }
        tenant.wanting += turn.cpus;
        if tenant.waiting.is_empty() {
            self.hungry.push(turn.tenant);
        }
        tenant.waiting.push_back(turn.clone());
        turn.phase.set(Phase::Waiting);
    }

    /// The next one that waits goes to the executor, as a thread is about to be free.
    fn next(&mut self, threads: usize) -> Option<Arc<Turn>> {
        if self.running >= threads {
            return None;
        }
        let (at, key) =
            self.hungry.iter().copied().enumerate().min_by_key(|(_, key)| self.table[*key].used)?;
        let tenant = &mut self.table[key];
        self.floor = self.floor.max(tenant.used);
        let turn = tenant.waiting.pop_front()?;
        if tenant.waiting.is_empty() {
            self.hungry.swap_remove(at);
        }
        tenant.running += 1;
        self.running += 1;
        turn.phase.set(Phase::Given);
        Some(turn)
    }

    /// Whether those that run are to end their turns, as one waits of a tenant of which none runs.
    fn hurries(&mut self, turn: &Turn) -> bool {
        if turn.phase.get() != Phase::Waiting || self.table[turn.tenant].running > 0 {
            return false;
        }
        let now = Instant::now();
        let is_due = self.hurried.is_none_or(|at| now.duration_since(at) >= HURRY_EVERY);
        if is_due {
            self.hurried = Some(now);
        }
        is_due
    }

    /// A turn has ended that took so long.
    fn ended(&mut self, turn: &Turn, nanoseconds: u128, now: Instant) {
        let tenant = &mut self.table[turn.tenant];
        // In relation to what those hold that want to run.
        let wanting = u128::from(tenant.wanting_lately(now) + WITHOUT_CPUS);
        tenant.used += nanoseconds * u128::from(Quantity::units(1).0) / wanting;
        tenant.wanting -= turn.cpus;
        tenant.running -= 1;
        self.running -= 1;
    }
}

impl Tenant {
    /// The most CPUs that those held together that wanted to run lately.
    fn wanting_lately(&mut self, now: Instant) -> u64 {
        let (most, at) = self.recent;
        if self.wanting >= most || at.is_none_or(|at| now.duration_since(at) > RECENT) {
            self.recent = (self.wanting, Some(now));
        }
        self.recent.0
    }
}

/// Hands a sandbox to the executor.
fn give(turn: Option<Arc<Turn>>) {
    let Some(turn) = turn else { return };
    let mut executor = turn.executor.lock();
    match std::mem::take(&mut *executor) {
        Executor::Nobody => {}
        Executor::Known(waker) => {
            waker.wake_by_ref();
            *executor = Executor::Known(waker);
        }
        Executor::New(begin) => {
            drop(executor);
            begin();
        }
    }
}

impl Wake for Turn {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.turns.is_alone() {
            // Where it is given or waits, being run once more harms nobody.
            return give(Some(self.clone()));
        }
        let mut state = self.turns.state.lock();
        match self.phase.get() {
            Phase::Idle => {
                state.wants(self);
                let next = state.next(self.turns.threads);
                let hurries = state.hurries(self);
                drop(state);
                give(next);
                self.turns.hurry(hurries);
            }
            Phase::Running => self.phase.set(Phase::RunningAgain),
            Phase::Waiting | Phase::Given | Phase::RunningAgain | Phase::Gone => {}
        }
    }
}

/// A sandbox's future that runs when it is its turn.
pub(crate) struct InTurn<F> {
    turn: Arc<Turn>,
    waker: Waker,
    future: Pin<Box<F>>,
}

impl<F: Future<Output = ()>> Future for InTurn<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.turn.comes_by(cx.waker());
        if !this.turn.begins() {
            return Poll::Pending;
        }
        let is_counted = this.turn.phase.get() == Phase::Running;
        let began = is_counted.then(Instant::now);
        let polled = this.future.as_mut().poll(&mut Context::from_waker(&this.waker));
        if let Some(began) = began {
            let now = Instant::now();
            this.turn.ends(now.duration_since(began).as_nanos(), now);
        }
        polled
    }
}

impl<F> Drop for InTurn<F> {
    fn drop(&mut self) {
        self.turn.goes();
    }
}

impl Turn {
    /// What hands it to the executor from now on.
    fn comes_by(&self, waker: &Waker) {
        let mut executor = self.executor.lock();
        if !matches!(&*executor, Executor::Known(known) if known.will_wake(waker)) {
            *executor = Executor::Known(waker.clone());
        }
    }

    /// Whether it runs now; if not, it waits.
    fn begins(self: &Arc<Self>) -> bool {
        if self.phase.get() == Phase::Idle && self.turns.is_alone() {
            return true;
        }
        let mut state = self.turns.state.lock();
        let mut next = None;
        if self.phase.get() == Phase::Idle {
            // It came by itself, as those do that are new.
            state.wants(self);
            next = state.next(self.turns.threads);
        }
        let hurries = state.hurries(self);
        let is_given = self.phase.get() != Phase::Waiting;
        if is_given {
            self.phase.set(Phase::Running);
        }
        drop(state);
        give(next.filter(|next| !Arc::ptr_eq(next, self)));
        self.turns.hurry(hurries);
        is_given
    }

    /// A turn is over that took so many nanoseconds.
    fn ends(self: &Arc<Self>, nanoseconds: u128, now: Instant) {
        let mut state = self.turns.state.lock();
        let wants_more = self.phase.get() == Phase::RunningAgain;
        self.phase.set(Phase::Idle);
        state.ended(self, nanoseconds, now);
        if wants_more {
            state.wants(self);
        }
        let next = state.next(self.turns.threads);
        drop(state);
        give(next);
    }

    /// Its sandbox has ended, wherever it stood.
    fn goes(&self) {
        let mut state = self.turns.state.lock();
        let tenant = &mut state.table[self.tenant];
        match self.phase.get() {
            Phase::Waiting => {
                tenant.waiting.retain(|other| !std::ptr::eq(&**other, self));
                tenant.wanting -= self.cpus;
                if tenant.waiting.is_empty() {
                    state.hungry.retain(|key| *key != self.tenant);
                }
            }
            Phase::Given | Phase::Running | Phase::RunningAgain => state.ended(self, 0, Instant::now()),
            Phase::Idle | Phase::Gone => {}
        }
        self.phase.set(Phase::Gone);
        state.go(self.tenant, &self.turns.tenants);
        let next = state.next(self.turns.threads);
        drop(state);
        give(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    fn executor(threads: usize) -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(threads).global_queue_interval(4).enable_time().build().expect("threads")
    }

    fn tenant(name: &str) -> TenantName {
        name.parse().expect("a name")
    }

    type Sandbox = InTurn<std::future::Pending<()>>;

    fn sandbox(turns: &Arc<Turns>, name: &str, cpus: u64) -> Sandbox {
        turns.take_turns(&tenant(name), Quantity::units(cpus), std::future::pending())
    }

    /// Has a sandbox want to run.
    fn wants(turns: &Turns, sandbox: &Sandbox) {
        turns.state.lock().wants(&sandbox.turn);
    }

    /// One thread gives so many slices of the same time, after each of which the sandbox wants another; how
    /// many each tenant got, by who came first.
    fn slices(turns: &Turns, count: usize) -> Vec<usize> {
        let mut state = turns.state.lock();
        let (mut got, now) = (vec![0; state.table.len()], Instant::now());
        for _ in 0..count {
            let turn = state.next(1).expect("some wait");
            got[turn.tenant] += 1;
            turn.phase.set(Phase::Idle);
            state.ended(&turn, 1_000, now);
            state.wants(&turn);
        }
        got
    }

    #[test]
    fn who_has_many_that_compute_leaves_the_others_their_part() {
        let turns = Turns::new(1);
        let of_a: Vec<Sandbox> = (0..100).map(|_| sandbox(&turns, "a", 0)).collect();
        of_a.iter().for_each(|sandbox| wants(&turns, sandbox));
        slices(&turns, 1_000);
        let of_b = sandbox(&turns, "b", 1);
        wants(&turns, &of_b);
        assert!(slices(&turns, 2)[1] >= 1, "it waits for one slice at most");
        // Those of a hold no CPUs and count as a tenth together, that of b holds one.
        let got = slices(&turns, 1_200);
        assert!((1_090..=1_110).contains(&got[1]), "{got:?}");
    }

    #[test]
    fn what_each_holds_of_cpus_is_its_part() {
        let turns = Turns::new(1);
        let all = [sandbox(&turns, "a", 3), sandbox(&turns, "b", 1)];
        all.iter().for_each(|sandbox| wants(&turns, sandbox));
        let got = slices(&turns, 4_200);
        assert!((3_090..=3_110).contains(&got[0]), "{got:?} of 3.1 and 1.1 CPUs");
        // Nobody has credit for the time in which it wanted nothing.
        let late = sandbox(&turns, "c", 1);
        wants(&turns, &late);
        let got = slices(&turns, 53);
        assert!((10..=12).contains(&got[2]), "{got:?} of 3.1, 1.1 and 1.1 CPUs");
    }

    #[test]
    fn a_tenant_whose_tasks_follow_one_another_has_the_part_of_what_they_hold() {
        let turns = Turns::new(1);
        let (parent, task) = (sandbox(&turns, "a", 0), sandbox(&turns, "a", 1));
        let of_b = sandbox(&turns, "b", 1);
        wants(&turns, &of_b);
        let mut state = turns.state.lock();
        let (mut now, mut got) = (Instant::now(), [0_u64; 2]);
        let mut next_of_a = [&parent.turn, &task.turn].into_iter().cycle();
        state.wants(next_of_a.next().expect("it never ends"));
        for _ in 0..4_000 {
            let turn = state.next(1).expect("some wait");
            // The parent takes a tenth of what each task does.
            let ran = if turn.cpus == 0 { 100_000 } else { 1_000_000 };
            now += Duration::from_nanos(ran);
            got[turn.tenant] += ran;
            turn.phase.set(Phase::Idle);
            state.ended(&turn, u128::from(ran), now);
            match turn.tenant {
                0 => state.wants(next_of_a.next().expect("it never ends")),
                _ => state.wants(&turn),
            }
        }
        drop(state);
        let part = got[0] as f64 / (got[0] + got[1]) as f64;
        assert!((0.45..0.55).contains(&part), "{part} of the thread");
    }

    #[test]
    fn a_new_sandbox_is_in_line_before_the_executor_has_heard_of_it() {
        let (turns, guests) = (Turns::new(1), executor(1));
        // The only thread does something else, and the turn is of a.
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        guests.spawn(async move { receiver.recv().is_err() });
        let of_a = [sandbox(&turns, "a", 1), sandbox(&turns, "a", 1)];
        of_a.iter().for_each(|sandbox| wants(&turns, sandbox));
        assert!(turns.state.lock().next(1).is_some_and(|next| Arc::ptr_eq(&next, &of_a[0].turn)));
        let (ended, ends) = std::sync::mpsc::channel::<()>();
        turns.spawn(guests.handle(), &tenant("b"), Quantity::units(1), async move { drop(ended) });
        assert_eq!(turns.state.lock().hungry.len(), 2, "it waits beside the other of a");
        of_a[0].turn.phase.set(Phase::Running);
        of_a[0].turn.ends(1_000, Instant::now());
        // It was given the thread, and has it as soon as that is free.
        assert_eq!(turns.state.lock().hungry.len(), 1);
        drop(sender);
        assert!(ends.recv().is_err(), "it came to its end");
        drop(of_a);
        while turns.state.lock().running > 0 {
            std::thread::yield_now();
        }
        // What was never begun is dropped at the end.
        let of_a = sandbox(&turns, "a", 1);
        wants(&turns, &of_a);
        assert!(turns.state.lock().next(1).is_some());
        let (kept, is_dropped) = std::sync::mpsc::channel::<()>();
        turns.spawn(guests.handle(), &tenant("b"), Quantity::units(1), async move { drop(kept) });
        turns.finish();
        assert!(is_dropped.recv().is_err());
    }

    /// As a guest does whose slice is over: it wants to go on at once.
    async fn yields() {
        let mut has = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut has, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[test]
    fn everyone_ends_whoever_wakes_whom() {
        let (turns, guests) = (Turns::new(2), executor(2));
        let ended = Arc::new(AtomicU64::new(0));
        let handles: Vec<_> = (0..400_u64)
            .map(|which| {
                let ended = ended.clone();
                let future = async move {
                    for round in 0..20 {
                        match (which + round) % 3 {
                            0 if round % 2 == 0 => tokio::task::yield_now().await,
                            0 => yields().await,
                            1 => tokio::time::sleep(Duration::from_micros(which)).await,
                            _ => drop(tokio::spawn(async {}).await),
                        }
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                };
                let name = tenant(["a", "b", "c"][(which % 3) as usize]);
                guests.spawn(turns.take_turns(&name, Quantity::ZERO, future))
            })
            .collect();
        // Some are ended from outside, wherever they stand.
        handles.iter().step_by(7).for_each(tokio::task::JoinHandle::abort);
        let aborted = guests.block_on(async {
            let mut aborted = 0;
            for handle in handles {
                aborted += u64::from(handle.await.is_err());
            }
            aborted
        });
        assert_eq!(ended.load(Ordering::Relaxed) + aborted, 400);
        let state = turns.state.lock();
        assert_eq!((state.running, state.hungry.len()), (0, 0));
        assert!(state.table.iter().all(|t| (t.sandboxes, t.wanting, t.running) == (0, 0, 0)));
        assert!(turns.is_alone());
    }
}
