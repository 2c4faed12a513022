//! Async code in a guest: one thread, and the host's `wait` when nothing else can be done.
use crate::bindings::engine::compute::{objects, types as wit};
use crate::codec::Value;
use crate::error::Result;
use crate::object::ObjectRef;
use crate::time::nanoseconds;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

/// Runs a future to its end. While it waits for objects ([`ObjectRef`] is awaited), streams or
/// [`sleep`], the guest is suspended until one of them is ready; `futures::join_all`,
/// `FuturesUnordered`, `select!` and the like work as ever.
///
/// ```no_run
/// # use engine::prelude::*;
/// # fn run(a: ObjectRef<u64>, b: ObjectRef<u64>) -> Result<u64> {
/// engine::block_on(async {
///     let (a, b) = futures::join!(a.into_future(), b.into_future());
///     Ok(a? + b?)
/// })
/// # }
/// ```
///
/// # Panics
/// When the future waits for something that is neither, which nobody in the sandbox could wake.
pub fn block_on<F: Future>(future: F) -> F::Output {
    // Nothing else in the instance goes on meanwhile, whatever world it is of.
    let _restored = Restored(WAIT_IN_HOST.take());
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if flag.0.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                return output;
            }
            continue;
        }
        if !turn() {
            panic!(
                "engine::block_on: the future waits for something that is neither an object, a stream nor \
                 engine::sleep, so nothing can wake it"
            );
        }
    }
}

/// Waits so long without keeping the guest's other futures from going on.
pub async fn sleep(duration: Duration) {
    let until = Instant::now() + duration;
    let mut ticket = None;
    std::future::poll_fn(|context| poll(&mut ticket, Waitable::Until(until), context)).await;
}

/// How a component of the concurrent world waits: the host polls and wakes its futures, not [`turn`].
/// Only that world's program names the function, so that other components do not import what it needs.
pub(crate) type WaitInHost = fn(Waitable) -> Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    static WAIT_IN_HOST: Cell<Option<WaitInHost>> = const { Cell::new(None) };
}

struct Restored(Option<WaitInHost>);

impl Drop for Restored {
    fn drop(&mut self) {
        WAIT_IN_HOST.set(self.0);
    }
}

/// From now on futures wait like this.
pub(crate) fn wait_in_host(wait: WaitInHost) {
    WAIT_IN_HOST.set(Some(wait));
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a future may wait for.
#[derive(Clone)]
pub(crate) enum Waitable {
    Object(Arc<wit::Object>),
    NextOf(Arc<wit::Task>),
    Until(Instant),
}

impl Waitable {
    /// Whether it is ready now, and the host knows without being asked to wait.
    fn is_ready(&self) -> bool {
        match self {
            Waitable::Object(object) => object.is_ready(),
            Waitable::NextOf(task) => {
                matches!(objects::wait(&[objects::Waitable::NextOf(task)], 1, Some(0)), Ok(ready) if ready.len() == 1)
            }
            Waitable::Until(instant) => *instant <= Instant::now(),
        }
    }

    fn lend(&self) -> Option<objects::Waitable<'_>> {
        match self {
            Waitable::Object(object) => Some(objects::Waitable::Object(object)),
            Waitable::NextOf(task) => Some(objects::Waitable::NextOf(task)),
            Waitable::Until(_) => None,
        }
    }
}

impl Waitable {
    fn address(&self) -> usize {
        match self {
            Waitable::Object(object) => Arc::as_ptr(object) as usize,
            Waitable::NextOf(task) => Arc::as_ptr(task) as usize,
            Waitable::Until(_) => 0,
        }
    }

    fn id(&self) -> String {
        match self {
            Waitable::Object(object) => object.id(),
            Waitable::NextOf(task) => task.id(),
            Waitable::Until(_) => String::new(),
        }
    }
}

struct Entry {
    waitable: Waitable,
    waker: Waker,
    is_ready: bool,
}

#[derive(Default)]
struct Waits {
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

thread_local! {
    static WAITS: RefCell<Waits> = RefCell::default();
}

/// A future that has begun to wait.
pub(crate) enum Ticket {
    /// A place among those whom [`turn`] wakes.
    Place(Place),
    /// The host's own future.
    Host(Pin<Box<dyn Future<Output = ()>>>),
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ticket::Place(_) => "Place",
            Ticket::Host(_) => "Host",
        })
    }
}

/// A place among those who wait; dropping it gives the place up.
pub(crate) struct Place(u64);

impl Drop for Place {
    fn drop(&mut self) {
        WAITS.with(|waits| waits.borrow_mut().entries.remove(&self.0));
    }
}

/// Ready when the thing is; otherwise the context's waker is kept until it is so.
pub(crate) fn poll(ticket: &mut Option<Ticket>, waitable: Waitable, context: &mut Context<'_>) -> Poll<()> {
    let polled = match ticket {
        Some(Ticket::Place(place)) => place.poll(context),
        Some(Ticket::Host(future)) => future.as_mut().poll(context),
        None if waitable.is_ready() => return Poll::Ready(()),
        None => match WAIT_IN_HOST.get() {
            Some(wait_in_host) => {
                let mut future = wait_in_host(waitable);
                let polled = future.as_mut().poll(context);
                *ticket = Some(Ticket::Host(future));
                polled
            }
            None => {
                *ticket = Some(Ticket::Place(Place::take(waitable, context)));
                Poll::Pending
            }
        },
    };
    if polled.is_ready() {
        *ticket = None;
    }
    polled
}

impl Place {
    fn take(waitable: Waitable, context: &Context<'_>) -> Self {
        WAITS.with(|waits| {
            let mut waits = waits.borrow_mut();
            let id = waits.next;
            waits.next += 1;
            let waker = context.waker().clone();
            waits.entries.insert(id, Entry { waitable, waker, is_ready: false });
            Place(id)
        })
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        WAITS.with(|waits| {
            let mut waits = waits.borrow_mut();
            match waits.entries.get_mut(&self.0) {
                Some(entry) if !entry.is_ready => {
                    entry.waker.clone_from(context.waker());
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
    }
}

/// Waits until something that is waited for is ready, and wakes who waits for it. False when nothing
/// is waited for.
fn turn() -> bool {
    let pending: Vec<(u64, Waitable)> = WAITS.with(|waits| {
        let waits = waits.borrow();
        let pending = waits.entries.iter().filter(|(_, entry)| !entry.is_ready);
        pending.map(|(&id, entry)| (id, entry.waitable.clone())).collect()
    });
    if pending.is_empty() {
        return false;
    }
    let until = pending.iter().filter_map(|(_, waitable)| match waitable {
        Waitable::Until(instant) => Some(*instant),
        _ => None,
    });
    let timeout = until.min().map(|until| until.saturating_duration_since(Instant::now()));
    let mut ready = match timeout {
        Some(timeout) if pending.iter().all(|(_, waitable)| waitable.lend().is_none()) => {
            std::thread::sleep(timeout);
            Vec::new()
        }
        timeout => wait_for_one(&pending, timeout),
    };
    let now = Instant::now();
    ready.extend(pending.iter().filter_map(|(id, waitable)| match waitable {
        Waitable::Until(instant) if *instant <= now => Some(*id),
        _ => None,
    }));
    let wakers: Vec<Waker> = WAITS.with(|waits| {
        let mut waits = waits.borrow_mut();
        let woken = ready.iter().filter_map(|id| {
            let entry = waits.entries.get_mut(id)?;
            entry.is_ready = true;
            Some(entry.waker.clone())
        });
        woken.collect()
    });
    wakers.into_iter().for_each(Waker::wake);
    true
}

/// Waits in the host until at least one is ready, and gives the places of all that are by then.
fn wait_for_one(pending: &[(u64, Waitable)], timeout: Option<Duration>) -> Vec<u64> {
    let timeout = timeout.map(nanoseconds);
    // The host refuses an object that is named twice. Clones of one reference share their address;
    // only separate handles to one object need their ids compared, which costs a call each.
    let by_address = by_key(pending, Waitable::address);
    wait_by(&by_address, timeout)
        .or_else(|_| wait_by(&by_key(pending, Waitable::id), timeout))
        // Whoever reads the objects is told why they cannot be waited for.
        .unwrap_or_else(|_| pending.iter().map(|(place, _)| *place).collect())
}

type Group<'a> = (&'a Waitable, Vec<u64>);

fn by_key<K: Ord>(pending: &[(u64, Waitable)], key: impl Fn(&Waitable) -> K) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<K, Group<'_>> = BTreeMap::new();
    for (place, waitable) in pending {
        groups.entry(key(waitable)).or_insert_with(|| (waitable, Vec::new())).1.push(*place);
    }
    groups.into_values().collect()
}

fn wait_by(groups: &[Group<'_>], timeout: Option<u64>) -> std::result::Result<Vec<u64>, wit::Error> {
    let (items, places): (Vec<_>, Vec<_>) =
        groups.iter().filter_map(|(waitable, places)| Some((waitable.lend()?, places))).unzip();
    let all = u32::try_from(items.len()).unwrap_or(u32::MAX);
    let mut indexes = objects::wait(&items, 1, timeout)?;
    if !indexes.is_empty() && all > 1 {
        // As many as are ready by now, so that they are not asked for one by one.
        indexes = objects::wait(&items, all, Some(0))?;
    }
    Ok(indexes
        .iter()
        .filter_map(|&index| places.get(index as usize))
        .flat_map(|p| p.iter().copied())
        .collect())
}

/// Waits for an object's value; made by awaiting an [`ObjectRef`].
pub struct Get<T> {
    reference: ObjectRef<T>,
    ticket: Option<Ticket>,
    value: PhantomData<fn() -> T>,
}

impl<T: Value> Future for Get<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T>> {
        let waitable = Waitable::Object(self.reference.shared());
        poll(&mut self.ticket, waitable, context).map(|()| self.reference.get())
    }
}

impl<T: Value> IntoFuture for ObjectRef<T> {
    type Output = Result<T>;
    type IntoFuture = Get<T>;

    fn into_future(self) -> Get<T> {
        Get { reference: self, ticket: None, value: PhantomData }
    }
}

impl<T: Value> IntoFuture for &ObjectRef<T> {
    type Output = Result<T>;
    type IntoFuture = Get<T>;

    fn into_future(self) -> Get<T> {
        self.clone().into_future()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn futures_that_need_no_host_run_to_their_end() {
        assert_eq!(block_on(async { 1 + 1 }), 2);
        let both = block_on(async { futures::join!(async { 1 }, async { 2 }) });
        assert_eq!(both, (1, 2));
    }

    #[test]
    fn sleeps_end_in_the_order_of_their_times() {
        let order = RefCell::new(Vec::new());
        let nap = |name: &'static str, millis| {
            let order = &order;
            async move {
                sleep(Duration::from_millis(millis)).await;
                order.borrow_mut().push(name);
            }
        };
        block_on(async { futures::join!(nap("late", 30), nap("early", 1), nap("now", 0)) });
        assert_eq!(order.into_inner(), ["now", "early", "late"]);
        WAITS.with(|waits| assert!(waits.borrow().entries.is_empty()));
    }

    #[test]
    #[should_panic(expected = "nothing can wake it")]
    fn waiting_for_nothing_says_so() {
        block_on(std::future::pending::<()>());
    }
}
