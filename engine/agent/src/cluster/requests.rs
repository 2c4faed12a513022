//! What this node asks of the head: in order, again when the line broke, until it is answered.

use std::collections::BTreeMap;

use engine_core::group::GroupMessage;
use engine_core::ids::PlacementGroupId;
use engine_core::node::Standstill;
use engine_core::quota::LedgerReport;
use engine_core::{ActorId, Error, ErrorCode, JobId, NodeId};
use engine_proto::convert::peer;
use engine_proto::v1::{self, node_message, node_reply, node_request};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Questions of guests that wait for the head's answer; further ones are refused.
const REQUESTS_MAX: usize = 100_000;

/// Requests that have no answer yet.
#[derive(Default)]
pub(crate) struct Requests(Mutex<State>);

#[derive(Default)]
struct State {
    next: u64,
    pending: BTreeMap<u64, Pending>,
    /// The line, while there is one.
    line: Option<UnboundedSender<v1::NodeMessage>>,
    /// What is told of placement groups goes out, as the line has the node's report.
    groups_are_reported: bool,
    /// The whole of what is used of quotas was told on this line.
    ledger_is_reported: bool,
}

struct Pending {
    request: v1::NodeRequest,
    /// Who waits for the answer.
    answer: Option<oneshot::Sender<Answer>>,
}

/// What the head answers, when it does not refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It was done.
    Nothing,
    /// An actor, and the node that it belongs to.
    Actor(ActorId, NodeId),
    /// A placement group.
    Group(PlacementGroupId),
}

type Answer = Result<Found, Error>;

impl Requests {
    /// A new line: what is said on it, beginning with the join and what was not answered.
    pub(super) fn open(&self, join: v1::Join) -> UnboundedReceiver<v1::NodeMessage> {
        let (line, messages) = unbounded();
        let mut state = self.0.lock();
        let say = |message| drop(line.unbounded_send(v1::NodeMessage { message: Some(message) }));
        say(node_message::Message::Join(join));
        for pending in state.pending.values() {
            say(node_message::Message::Request(pending.request.clone()));
        }
        state.line = Some(line);
        (state.groups_are_reported, state.ledger_is_reported) = (false, false);
        messages
    }

    /// The line broke.
    pub(super) fn close(&self) {
        self.0.lock().line = None;
    }

    /// Whether there is a line.
    pub(super) fn has_line(&self) -> bool {
        self.0.lock().line.is_some()
    }

    /// Says what this node has free.
    pub(super) fn say_load(&self, load: v1::Load) {
        if let Some(line) = &self.0.lock().line {
            drop(line.unbounded_send(v1::NodeMessage { message: Some(node_message::Message::Load(load)) }));
        }
    }

    /// Says that this node stands still.
    pub(super) fn say_standstill(&self, Standstill { changes, waits }: Standstill) {
        if let Some(line) = &self.0.lock().line {
            let message = node_message::Message::Standstill(v1::Standstill { changes, waits });
            drop(line.unbounded_send(v1::NodeMessage { message: Some(message) }));
        }
    }

    /// Says whether this node wants to be told what others have free. Without a line nothing is said: on a
    /// new one it is told.
    pub(crate) fn ask_for_loads(&self, wants: bool) {
        if let Some(line) = &self.0.lock().line {
            let message = node_message::Message::WantsLoads(wants);
            drop(line.unbounded_send(v1::NodeMessage { message: Some(message) }));
        }
    }

    /// Tells the head of placement groups. Before the report of a new line, and without one, nothing is said:
    /// the report tells all.
    pub(crate) fn tell_of_groups(&self, message: &GroupMessage) {
        let mut state = self.0.lock();
        state.groups_are_reported |= matches!(message, GroupMessage::Report { .. });
        if let (Some(line), true) = (&state.line, state.groups_are_reported) {
            let message = node_message::Message::Group(peer::group_message(message));
            drop(line.unbounded_send(v1::NodeMessage { message: Some(message) }));
        }
    }

    /// Whether the head hears what it is told of quotas and usage. What is told before is told again on the next
    /// line.
    pub(super) fn takes_ledger(&self) -> bool {
        let state = self.0.lock();
        state.line.is_some() && state.ledger_is_reported
    }

    /// Tells the head what is used and wanted of quotas. Without a line, and before the whole of it was told
    /// on a new one, nothing is said: that comes first.
    pub(crate) fn tell_ledger(&self, report: &LedgerReport) {
        let mut state = self.0.lock();
        state.ledger_is_reported |= report.is_whole;
        if let (Some(line), true) = (&state.line, state.ledger_is_reported) {
            let message = node_message::Message::Ledger(engine_proto::convert::ledger_report(report));
            drop(line.unbounded_send(v1::NodeMessage { message: Some(message) }));
        }
    }

    /// Tells the head that nothing of a lost run of a job is left here.
    pub(crate) fn run_is_gone(&self, run: JobId) {
        self.tell(node_request::Request::RunGone(v1::JobRun { run_id: run.to_string() }));
    }

    /// Tells the head something. It gets there sooner or later, in the order in which it was told.
    pub(crate) fn tell(&self, request: node_request::Request) {
        self.push(&mut self.0.lock(), request, None);
    }

    /// Asks the head something.
    ///
    /// # Errors
    /// LIMIT_EXCEEDED when too much waits for an answer; the head's refusal.
    pub(crate) async fn ask(&self, request: node_request::Request) -> Answer {
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.0.lock();
            if state.pending.len() >= REQUESTS_MAX {
                return Err(Error::new(
                    ErrorCode::LimitExceeded,
                    format!(
                        "{REQUESTS_MAX} requests wait for the head's answer (requests_max): is it running?"
                    ),
                ));
            }
            self.push(&mut state, request, Some(answer));
        }
        answered.await.unwrap_or_else(|_| Err(Error::new(ErrorCode::NodeDied, "the node is shutting down")))
    }

    fn push(
        &self,
        state: &mut State,
        request: node_request::Request,
        answer: Option<oneshot::Sender<Answer>>,
    ) {
        state.next += 1;
        let request = v1::NodeRequest { id: state.next, request: Some(request) };
        if let Some(line) = &state.line {
            let message = node_message::Message::Request(request.clone());
            drop(line.unbounded_send(v1::NodeMessage { message: Some(message) }));
        }
        state.pending.insert(state.next, Pending { request, answer });
    }

    /// The head has answered.
    pub(super) fn answered(&self, reply: v1::NodeReply) {
        let Some(pending) = self.0.lock().pending.remove(&reply.id) else { return };
        let answer = match reply.reply {
            Some(node_reply::Reply::Error(error)) => Err(error.into()),
            Some(node_reply::Reply::Actor(actor)) => match (actor.actor_id.parse(), actor.node_id.parse()) {
                (Ok(actor), Ok(node)) => Ok(Found::Actor(actor, node)),
                _ => Err(Error::internal(format!("the head names no actor: {actor:?}"))),
            },
            Some(node_reply::Reply::PlacementGroup(group)) => Ok(Found::Group(peer::id_from(group))),
            Some(node_reply::Reply::Done(_)) | None => Ok(Found::Nothing),
        };
        match pending.answer {
            // Whoever asked may be gone.
            Some(waiting) => drop(waiting.send(answer)),
            None => {
                if let Err(error) = answer {
                    tracing::warn!(%error, "the head refuses what it was told");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    fn release(n: u64) -> node_request::Request {
        let actor = ActorId::from_bits(n, 0);
        node_request::Request::ReleaseName(v1::ReleaseName { actor_id: actor.to_string() })
    }

    fn ids(messages: &mut UnboundedReceiver<v1::NodeMessage>) -> Vec<u64> {
        let mut ids = Vec::new();
        while let Some(Some(message)) = messages.next().now_or_never() {
            if let Some(node_message::Message::Request(request)) = message.message {
                ids.push(request.id);
            }
        }
        ids
    }

    #[test]
    fn what_was_not_answered_is_said_again_in_order_on_the_next_line() {
        let requests = Requests::default();
        requests.tell(release(1));
        let mut first = requests.open(v1::Join::default());
        requests.tell(release(2));
        assert_eq!(ids(&mut first), [1, 2]);
        requests.answered(v1::NodeReply { id: 1, reply: None });
        requests.close();
        let mut asked = Box::pin(requests.ask(release(3)));
        assert!(asked.as_mut().now_or_never().is_none());
        let mut second = requests.open(v1::Join::default());
        assert_eq!(ids(&mut second), [2, 3]);
        let (actor, node) = (ActorId::from_bits(1, 0), NodeId::from_bits(2, 0));
        let named = v1::NamedActor { actor_id: actor.to_string(), node_id: node.to_string() };
        requests.answered(v1::NodeReply { id: 3, reply: Some(node_reply::Reply::Actor(named)) });
        let answer = asked.now_or_never().expect("it was answered").expect("well");
        assert_eq!(answer, Found::Actor(actor, node));
        requests.close();
        assert_eq!(ids(&mut requests.open(v1::Join::default())), [2]);
    }

    #[test]
    fn nothing_is_told_of_groups_before_the_report_of_a_line() {
        let told = |messages: &mut UnboundedReceiver<v1::NodeMessage>| {
            let mut told = Vec::new();
            while let Some(Some(message)) = messages.next().now_or_never() {
                if let Some(node_message::Message::Group(message)) = message.message {
                    told.push(peer::group_message_from(message).expect("whole"));
                }
            }
            told
        };
        let requests = Requests::default();
        let watch = GroupMessage::Watch(PlacementGroupId::from_bits(1, 2));
        let report =
            || GroupMessage::Report { bundles: Vec::new(), load: engine_core::node::Load::default() };
        for _ in 0..2 {
            requests.tell_of_groups(&watch);
            let mut line = requests.open(v1::Join::default());
            requests.tell_of_groups(&watch);
            requests.tell_of_groups(&report());
            requests.tell_of_groups(&watch);
            let told = told(&mut line);
            assert!(matches!(told[..], [GroupMessage::Report { .. }, GroupMessage::Watch(_)]), "{told:?}");
            requests.close();
        }
    }
}
