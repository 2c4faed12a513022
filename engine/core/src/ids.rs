//! Identifiers: opaque, unguessable, printable.
//!
//! Every id is 96 bits from a keyed pseudo-random function, followed by a 32-bit index. A task's
//! index is zero; the objects that it makes have its bits and an index of their own, so that a
//! re-run makes the same objects (contract I1) and an object tells which task made it. A job's index
//! is zero too; that of a later run of it says which, so that each run is a job of its own to the nodes
//! (contract J2).

use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::str::FromStr;

use siphasher::sip128::{Hasher128, SipHasher24};

/// Set in an object's index when the object was made by `put`, not returned or yielded.
const PUT_BIT: u32 = 1 << 31;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            high: u64,
            low: u64,
        }

        impl $name {
            /// What every printed id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// The id's bits, for the wire.
            pub fn bits(self) -> (u64, u64) {
                (self.high, self.low)
            }

            /// An id from its bits, as [`Self::bits`] gave them.
            pub fn from_bits(high: u64, low: u64) -> Self {
                Self { high, low }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "-{:016x}{:08x}"), self.high, self.low >> 32)?;
                match self.low as u32 {
                    0 => Ok(()),
                    index if index & PUT_BIT != 0 => write!(f, ".p{}", index & !PUT_BIT),
                    index => write!(f, ".{}", index - 1),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let (high, low) = parse(text, $prefix).ok_or_else(|| ParseIdError {
                    text: text.chars().take(80).collect(),
                    prefix: $prefix,
                })?;
                Ok(Self { high, low })
            }
        }
    };
}

id!(
    /// A job, or one run of it.
    JobId, "job"
);
id!(
    /// A task or an actor call.
    TaskId, "task"
);
id!(
    /// An object: what a task returns or yields, or what was put.
    ObjectId, "obj"
);
id!(
    /// An actor, through all its incarnations.
    ActorId, "actor"
);
id!(
    /// A node of the cluster.
    NodeId, "node"
);
id!(
    /// A placement group.
    PlacementGroupId, "pg"
);

id!(
    /// Something that has happened.
    EventId, "event"
);

/// A text that is not the printed form of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseIdError {
    text: String,
    prefix: &'static str,
}

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, prefix } = self;
        write!(f, "{text:?} is not an id of this kind: expected {prefix}- and 24 hexadecimal digits")
    }
}

impl std::error::Error for ParseIdError {}

fn parse(text: &str, prefix: &str) -> Option<(u64, u64)> {
    let rest = text.strip_prefix(prefix)?.strip_prefix('-')?;
    let (digits, index) = match rest.split_once('.') {
        None => (rest, 0),
        Some((digits, index)) => (digits, parse_index(index)?),
    };
    let lower = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if digits.len() != 24 || !digits.chars().all(lower) {
        return None;
    }
    let high = u64::from_str_radix(digits.get(..16)?, 16).ok()?;
    let low = u64::from_str_radix(digits.get(16..)?, 16).ok()?;
    Some((high, low << 32 | u64::from(index)))
}

fn parse_index(text: &str) -> Option<u32> {
    match text.strip_prefix('p') {
        Some(put) => put.parse().ok().filter(|n| n & PUT_BIT == 0).map(|n: u32| n | PUT_BIT),
        None => text.parse::<u32>().ok()?.checked_add(1).filter(|n| n & PUT_BIT == 0),
    }
}

impl TaskId {
    /// The object that this task returns or yields at `index`.
    pub fn output(self, index: u32) -> ObjectId {
        debug_assert!(index < PUT_BIT - 1);
        ObjectId { high: self.high, low: self.low | u64::from(index + 1) }
    }

    /// The `index`-th object that this task puts.
    pub fn put(self, index: u32) -> ObjectId {
        debug_assert!(index < PUT_BIT);
        ObjectId { high: self.high, low: self.low | u64::from(index | PUT_BIT) }
    }
}

impl JobId {
    /// The id of the job's `run`-th re-run: 0 is the first run, and the job's own id.
    pub fn at_run(self, run: u32) -> Self {
        let index = if run == 0 { 0 } else { u64::from(run + 1) };
        Self { high: self.high, low: self.low & !u64::from(u32::MAX) | index }
    }

    /// Which run of its job this is, from 0.
    pub fn run(self) -> u32 {
        (self.low as u32).saturating_sub(1)
    }

    /// The job, whichever run of it this is.
    pub fn job(self) -> Self {
        self.at_run(0)
    }
}

impl ObjectId {
    /// The task that made, or will make, this object.
    pub fn task(self) -> TaskId {
        TaskId { high: self.high, low: self.low & !u64::from(u32::MAX) }
    }

    /// The position among the returned or yielded objects; none for one that was put.
    pub fn output_index(self) -> Option<u32> {
        let index = self.low as u32;
        (index & PUT_BIT == 0 && index != 0).then(|| index - 1)
    }
}

/// Makes ids that nobody can guess who does not know the key: SipHash-2-4 with 128 bits of output
/// (Aumasson and Bernstein, 2012) over a counter.
#[derive(Debug, Clone)]
pub struct IdGenerator {
    key: [u8; 16],
    counter: u64,
}

impl IdGenerator {
    /// A generator whose key is `key`: fresh random bits in production, a seed in a simulation.
    pub fn new(key: [u8; 16]) -> Self {
        Self { key, counter: 0 }
    }

    fn next(&mut self) -> (u64, u64) {
        self.counter += 1;
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_u64(self.counter);
        let hash = hasher.finish128();
        (hash.h1, hash.h2 & !u64::from(u32::MAX))
    }

    /// A new task's id.
    pub fn task(&mut self) -> TaskId {
        let (high, low) = self.next();
        TaskId { high, low }
    }

    /// A new actor's id.
    pub fn actor(&mut self) -> ActorId {
        let (high, low) = self.next();
        ActorId { high, low }
    }

    /// A new job's id.
    pub fn job(&mut self) -> JobId {
        let (high, low) = self.next();
        JobId { high, low }
    }

    /// A new placement group's id.
    pub fn placement_group(&mut self) -> PlacementGroupId {
        let (high, low) = self.next();
        PlacementGroupId { high, low }
    }

    /// A new event's id.
    pub fn event(&mut self) -> EventId {
        let (high, low) = self.next();
        EventId { high, low }
    }

    /// A new node's id.
    pub fn node(&mut self) -> NodeId {
        let (high, low) = self.next();
        NodeId { high, low }
    }
}

/// A hasher for ids only: they are pseudo-random already, so folding their words is enough.
#[derive(Debug, Default, Clone, Copy)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // The multiplication spreads an object's small index over the bits that the table uses.
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }
}

/// A map keyed by ids.
pub type IdMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<IdHasher>>;
/// A set of ids.
pub type IdSet<K> = std::collections::HashSet<K, BuildHasherDefault<IdHasher>>;

/// One incarnation of a sandbox on this node: a task's instance, or one life of an actor. Never
/// used twice in the life of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u64);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instance-{}", self.0)
    }
}

/// A queue into an actor: calls of one lane run in the order in which they were made. A handle and
/// its duplicates share one (contract A1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u64);

/// One wait of a guest or client on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaitId(pub u64);

/// A component: the SHA-256 of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentId(pub [u8; 32]);

impl ComponentId {
    /// Stands where there is none: that of a client outside.
    pub const NONE: Self = Self([0; 32]);
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // contract: I1
    #[test]
    fn an_object_id_follows_from_its_task_and_index() {
        let mut ids = IdGenerator::new([7; 16]);
        let (a, b) = (ids.task(), ids.task());
        assert_eq!(a.output(3), a.output(3));
        assert_ne!(a.output(0), a.output(1));
        assert_ne!(a.output(0), b.output(0));
        assert_ne!(a.output(0), a.put(0));
        assert_eq!(a.output(5).task(), a);
        assert_eq!(a.put(5).task(), a);
        assert_eq!(a.output(5).output_index(), Some(5));
        assert_eq!(a.put(5).output_index(), None);
    }

    #[test]
    fn printed_ids_read_back() {
        let mut ids = IdGenerator::new([1; 16]);
        let task = ids.task();
        assert_eq!(task.to_string().parse(), Ok(task));
        for object in [task.output(0), task.output(41), task.put(0), task.put(9)] {
            assert_eq!(object.to_string().parse(), Ok(object));
        }
    }

    // contract: J2
    #[test]
    fn each_run_of_a_job_has_an_id_of_its_own() {
        let job = IdGenerator::new([1; 16]).job();
        let runs: Vec<JobId> = (0..4).map(|run| job.at_run(run)).collect();
        assert_eq!(runs[0], job);
        for (number, run) in (0..).zip(&runs) {
            assert_eq!((run.run(), run.job(), run.at_run(2)), (number, job, runs[2]));
            assert_eq!(run.to_string().parse(), Ok(*run));
            assert_eq!(runs.iter().filter(|other| *other == run).count(), 1);
        }
        assert_eq!(runs[1].to_string(), format!("{job}.1"));
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in
            ["", "task", "task-", "task-12", "job-0123456789abcdef01234567", "task-0123456789ABCDEF01234567"]
        {
            assert!(text.parse::<TaskId>().is_err(), "{text}");
        }
        for text in ["obj-0123456789abcdef01234567.-1", "obj-0123456789abcdef01234567.4294967295"] {
            assert!(text.parse::<ObjectId>().is_err(), "{text}");
        }
    }

    // contract: I1
    #[test]
    fn another_key_gives_other_ids() {
        let first = |key| IdGenerator::new(key).task();
        assert_ne!(first([1; 16]), first([2; 16]));
    }
}
