//! A log of what has happened, for people: which nodes joined and died, which jobs began and ended.
//!
//! Each state machine notes what it has decided itself, when it decides it. The log is bounded, and nothing
//! is ever decided by it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use crate::ids::{ActorId, EventId, IdGenerator, JobId, NodeId, PlacementGroupId};
use crate::time::Time;

/// Bytes of an event's message; what is longer is cut.
const MESSAGE_BYTES_MAX: usize = 1_000;

/// How much an event asks to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// As it should be.
    Info,
    /// Something was lost or refused, and the engine sees to it.
    Warning,
    /// Something is lost for good, or somebody has to see to it.
    Error,
}

/// What kind of thing has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// The head has started, or has come back with its memory.
    HeadStarted,
    /// A node is a new member.
    NodeJoined,
    /// The connection to a node broke; it has a moment to come back.
    NodeDisconnected,
    /// A node has come back, after its connection broke or after the head came back.
    NodeReturned,
    /// A node takes no new work and is to leave.
    NodeDraining,
    /// A node that was drained has left.
    NodeLeft,
    /// A node was declared dead.
    NodeDied,
    /// A process that wanted to join as a node may not.
    NodeRefused,
    /// A job was accepted.
    JobSubmitted,
    /// A job was not started after all, and whoever submitted it was told so.
    JobWithdrawn,
    /// A run of a job has begun: a node has its root task.
    JobRunStarted,
    /// A run of a job was lost with the node of its root task, and there will be another.
    JobRunLost,
    /// A job has ended.
    JobEnded,
    /// An actor's sandbox has ended by itself or with its node, and the actor is made anew.
    ActorRestarted,
    /// An actor has died by itself or with its node, for good.
    ActorDied,
    /// All bundles of a placement group are reserved for the first time.
    GroupCreated,
    /// No nodes that are there could hold a placement group, even if nothing else was on them.
    GroupInfeasible,
    /// Bundles of a placement group were lost with a node, or are to leave it.
    GroupRescheduling,
    /// All bundles of a placement group are reserved again.
    GroupReplaced,
    /// A placement group is gone.
    GroupRemoved,
    /// A value did not fit into a node's object store, and there is no disk for it.
    StoreFull,
    /// A node could not write objects to its disk.
    SpillFailed,
    /// A tenant uses as much of a quota as is to be told of.
    QuotaAlert,
}

/// What an event is about: what there is of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct About {
    /// A node.
    pub node: Option<NodeId>,
    /// A job, whichever run of it.
    pub job: Option<JobId>,
    /// An actor.
    pub actor: Option<ActorId>,
    /// A placement group.
    pub group: Option<PlacementGroupId>,
}

impl About {
    /// A node.
    pub fn node(node: NodeId) -> Self {
        Self { node: Some(node), ..Self::default() }
    }

    /// A job, by its own id or that of a run.
    pub fn job(job: JobId) -> Self {
        Self { job: Some(job.job()), ..Self::default() }
    }

    /// The same, at this node.
    pub fn at(self, node: Option<NodeId>) -> Self {
        Self { node, ..self }
    }
}

/// One thing that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// When.
    pub time: Time,
    /// How much it asks to be looked at.
    pub severity: Severity,
    /// What kind of thing has happened.
    pub kind: EventKind,
    /// What it is about.
    pub about: About,
    /// What has happened, with numbers, for people.
    pub message: String,
}

/// What has happened, the newest last.
#[derive(Debug)]
pub struct Events {
    kept: VecDeque<Event>,
    max: usize,
    forgotten: u64,
    ids: IdGenerator,
    /// When events were noted of those kinds that are not noted each time.
    rare: BTreeMap<EventKind, Time>,
}

impl Events {
    /// An empty log of at most `max` events. `id_key`: as that of whoever has the log.
    pub fn new(mut id_key: [u8; 16], max: usize) -> Self {
        // Ids of events are no ids of tasks, also when somebody takes off what they begin with.
        id_key[0] ^= 0xe7;
        let ids = IdGenerator::new(id_key);
        Self { kept: VecDeque::new(), max, forgotten: 0, ids, rare: BTreeMap::new() }
    }

    /// Notes that something has happened. The oldest event is forgotten when there are too many.
    pub fn note(&mut self, time: Time, severity: Severity, kind: EventKind, about: About, message: &str) {
        let id = self.ids.event();
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        let mut text: String = message.chars().map(clean).collect();
        if text.len() > MESSAGE_BYTES_MAX {
            text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
            text.push('…');
        }
        self.kept.push_back(Event { id, time, severity, kind, about, message: text });
        while self.kept.len() > self.max {
            self.kept.pop_front();
            self.forgotten += 1;
        }
    }

    /// The same of what may happen often, unless one of this kind was noted less than `every` ago.
    pub fn note_rarely(
        &mut self,
        (time, every): (Time, Duration),
        severity: Severity,
        kind: EventKind,
        about: About,
        message: &str,
    ) {
        if self.rare.get(&kind).is_none_or(|last| time.since(*last) >= every) {
            self.rare.insert(kind, time);
            self.note(time, severity, kind, about, message);
        }
    }

    /// Those that are kept, the newest first.
    pub fn newest_first(&self) -> impl Iterator<Item = &Event> {
        self.kept.iter().rev()
    }

    /// One that is kept.
    pub fn get(&self, id: EventId) -> Option<&Event> {
        self.kept.iter().find(|event| event.id == id)
    }

    /// How many are forgotten.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

/// A span in a message: to the millisecond.
pub(crate) struct Span(pub Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", Duration::from_millis(self.0.as_millis().try_into().unwrap_or(u64::MAX)))
    }
}

/// A count in a message, with its noun in the singular: `1 node`, `2 nodes`.
pub(crate) struct Count(pub usize, pub &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, noun) = self;
        write!(f, "{count} {noun}{}", if *count == 1 { "" } else { "s" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(events: &mut Events, second: u64, message: &str) {
        let time = Time(0) + Duration::from_secs(second);
        events.note(time, Severity::Info, EventKind::NodeJoined, About::default(), message);
    }

    #[test]
    fn the_oldest_is_forgotten_first_and_counted() {
        let mut events = Events::new([1; 16], 3);
        for second in 0..5 {
            note(&mut events, second, &format!("event {second}"));
        }
        let kept: Vec<&str> = events.newest_first().map(|event| event.message.as_str()).collect();
        assert_eq!(kept, ["event 4", "event 3", "event 2"]);
        assert_eq!(events.forgotten(), 2);
        let first = events.newest_first().next().expect("three are kept").clone();
        assert_eq!(events.get(first.id), Some(&first));
        let mut none = Events::new([1; 16], 0);
        note(&mut none, 0, "nothing is kept");
        assert_eq!((none.newest_first().count(), none.forgotten()), (0, 1));
    }

    #[test]
    fn a_message_is_one_line_of_bounded_length() {
        let mut events = Events::new([1; 16], 3);
        note(&mut events, 0, "two\nlines\u{1b}[31m");
        note(&mut events, 1, &"ä".repeat(MESSAGE_BYTES_MAX));
        let messages: Vec<&str> = events.newest_first().map(|event| event.message.as_str()).collect();
        assert_eq!(messages[1], "two lines [31m");
        assert_eq!(messages[0].chars().count(), MESSAGE_BYTES_MAX / 2 + 1);
        assert!(messages[0].ends_with('…'));
    }

    #[test]
    fn what_happens_often_is_noted_now_and_then() {
        let mut events = Events::new([1; 16], 100);
        let every = Duration::from_secs(10);
        for second in 0..25 {
            let time = Time(0) + Duration::from_secs(second);
            let kind = EventKind::StoreFull;
            events.note_rarely((time, every), Severity::Error, kind, About::default(), "full");
        }
        let seconds: Vec<u64> = events.newest_first().map(|event| event.time.0 / 1_000_000_000).collect();
        assert_eq!(seconds, [20, 10, 0]);
    }

    #[test]
    fn ids_of_events_are_those_of_nothing_else() {
        let mut events = Events::new([1; 16], 10);
        note(&mut events, 0, "one");
        note(&mut events, 0, "two");
        let ids: Vec<_> = events.newest_first().map(|event| event.id.bits()).collect();
        assert_ne!(ids[0], ids[1]);
        let mut others = IdGenerator::new([1; 16]);
        assert!((0..2).all(|_| !ids.contains(&others.task().bits())));
    }
}
