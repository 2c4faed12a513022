//! Actors, good and bad.
use engine::prelude::*;
use std::time::Duration;

/// Counts.
pub struct Counter {
    count: u64,
}

#[engine::actor]
impl Counter {
    pub fn new(start: u64) -> Self {
        Counter { count: start }
    }

    pub fn add(&mut self, n: u64) -> u64 {
        self.count += n;
        self.count
    }

    pub fn value(&self) -> u64 {
        self.count
    }

    /// The node that it lives on.
    pub fn node(&self) -> String {
        engine::context().node_id()
    }

    pub fn was_restarted(&self) -> bool {
        engine::context().was_restarted()
    }

    /// Its own handle, as a value.
    pub fn myself(&self) -> Result<CounterHandle> {
        CounterHandle::current().context("this is not an actor")
    }

    /// Panics, which ends this incarnation.
    pub fn panics(&self, message: String) {
        panic!("{message}");
    }

    /// Fails, which leaves the actor alive.
    pub fn fails(&self, kind: String) -> Result<u64, Failure> {
        Err(Failure::new(kind, format!("at {}", self.count)))
    }

    pub fn up_to(&self, n: u64) -> impl Iterator<Item = u64> {
        self.count..n
    }
}

/// Takes its time.
pub struct Slow {
    log: Vec<u64>,
}

#[engine::actor]
impl Slow {
    pub fn new() -> Self {
        Slow { log: Vec::new() }
    }

    /// Sleeps, and gives what calls there were, in their order.
    pub fn sleep(&mut self, milliseconds: u64, mark: u64) -> Vec<u64> {
        std::thread::sleep(Duration::from_millis(milliseconds));
        self.log.push(mark);
        self.log.clone()
    }

    /// Runs until it is asked to stop.
    pub fn until_cancelled(&mut self) -> u64 {
        let mut asked = 0;
        while !engine::context().is_cancelled() {
            asked += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
        asked
    }

    pub fn spin_forever(&self) {
        loop {
            std::hint::black_box(0);
        }
    }

    /// The marks so far.
    pub fn marks(&self) -> Vec<u64> {
        self.log.clone()
    }
}

/// Keeps what it is given.
pub struct Keeper {
    kept: Vec<ObjectRef<u64>>,
}

#[engine::actor]
impl Keeper {
    pub fn new() -> Self {
        Keeper { kept: Vec::new() }
    }

    pub fn keep(&mut self, refs: Vec<ObjectRef<u64>>) -> u64 {
        self.kept.extend(refs);
        self.kept.len() as u64
    }

    pub fn take(&mut self) -> Vec<ObjectRef<u64>> {
        std::mem::take(&mut self.kept)
    }
}

/// Cannot be made.
pub struct Stillborn;

#[engine::actor]
impl Stillborn {
    pub fn new(kind: String) -> Result<Self, Failure> {
        Err(Failure::new(kind, "it cannot be made"))
    }

    pub fn nothing(&self) {}
}
