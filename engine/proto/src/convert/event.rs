//! Events as clients see them.

use std::time::SystemTime;

use engine_core::events::{Event, EventKind, Severity};

use crate::convert::timestamp;
use crate::v1;

impl From<Severity> for v1::EventSeverity {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Info => Self::Info,
            Severity::Warning => Self::Warning,
            Severity::Error => Self::Error,
        }
    }
}

impl From<EventKind> for v1::EventKind {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::HeadStarted => Self::HeadStarted,
            EventKind::NodeJoined => Self::NodeJoined,
            EventKind::NodeDisconnected => Self::NodeDisconnected,
            EventKind::NodeReturned => Self::NodeReturned,
            EventKind::NodeDraining => Self::NodeDraining,
            EventKind::NodeLeft => Self::NodeLeft,
            EventKind::NodeDied => Self::NodeDied,
            EventKind::NodeRefused => Self::NodeRefused,
            EventKind::JobSubmitted => Self::JobSubmitted,
            EventKind::JobWithdrawn => Self::JobWithdrawn,
            EventKind::JobRunStarted => Self::JobRunStarted,
            EventKind::JobRunLost => Self::JobRunLost,
            EventKind::JobEnded => Self::JobEnded,
            EventKind::ActorRestarted => Self::ActorRestarted,
            EventKind::ActorDied => Self::ActorDied,
            EventKind::GroupCreated => Self::GroupCreated,
            EventKind::GroupInfeasible => Self::GroupInfeasible,
            EventKind::GroupRescheduling => Self::GroupRescheduling,
            EventKind::GroupReplaced => Self::GroupReplaced,
            EventKind::GroupRemoved => Self::GroupRemoved,
            EventKind::StoreFull => Self::StoreFull,
            EventKind::SpillFailed => Self::SpillFailed,
            EventKind::QuotaAlert => Self::QuotaAlert,
        }
    }
}

/// An event; `time`: its time on the clock on the wall.
pub fn event_view(event: &Event, time: SystemTime) -> v1::EventView {
    let text = |id: Option<String>| id.unwrap_or_default();
    v1::EventView {
        event_id: event.id.to_string(),
        time: Some(timestamp(time)),
        severity: v1::EventSeverity::from(event.severity).into(),
        kind: v1::EventKind::from(event.kind).into(),
        node_id: text(event.about.node.map(|id| id.to_string())),
        job_id: text(event.about.job.map(|id| id.to_string())),
        actor_id: text(event.about.actor.map(|id| id.to_string())),
        placement_group_id: text(event.about.group.map(|id| id.to_string())),
        message: event.message.clone(),
    }
}

/// Events of several logs, each with the newest first, as one.
pub fn newest_first(logs: impl IntoIterator<Item = Vec<v1::EventView>>) -> Vec<v1::EventView> {
    let mut all: Vec<v1::EventView> = logs.into_iter().flatten().collect();
    let time = |event: &v1::EventView| event.time.map(|time| (time.seconds, time.nanos));
    // Stable: what one log noted at the same time stays in its order.
    all.sort_by_key(|event| std::cmp::Reverse(time(event)));
    all
}

#[cfg(test)]
mod tests {
    use engine_core::events::{About, Events};
    use engine_core::{NodeId, Time};

    use super::*;

    #[test]
    fn logs_are_joined_by_time_and_each_stays_in_its_order() {
        let event = |seconds, text: &str| v1::EventView {
            time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            message: text.to_owned(),
            ..Default::default()
        };
        let one = vec![event(5, "c"), event(5, "b"), event(1, "a")];
        let other = vec![event(7, "y"), event(3, "x")];
        let texts: Vec<String> = newest_first([one, other]).into_iter().map(|event| event.message).collect();
        assert_eq!(texts, ["y", "c", "b", "x", "a"]);
    }

    #[test]
    fn an_event_says_what_it_is_about() {
        let mut events = Events::new([1; 16], 10);
        let node = NodeId::from_bits(1, 2 << 32);
        events.note(Time(5), Severity::Error, EventKind::NodeDied, About::node(node), "it is gone");
        let event = events.newest_first().next().expect("it was noted");
        let view = event_view(event, SystemTime::UNIX_EPOCH);
        assert_eq!((view.node_id.parse(), view.job_id.as_str()), (Ok(node), ""));
        assert_eq!((view.kind().name(), view.severity().name()), ("NODE_DIED", "ERROR"));
        assert_eq!((view.event_id.parse(), view.message.as_str()), (Ok(event.id), "it is gone"));
    }
}
