//! What a node answers. Whatever an answer gives is held from here on, and given back when it is dropped.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use engine_core::resources::Quantity;
use engine_core::{Error, Handle};
use engine_proto::convert::client::{Came, value_from};
use engine_proto::convert::peer::id_from;
use engine_proto::v1;
use engine_proto::v1::client_answer::{self as answers, Answer as Wire};

use crate::session::handles::{ActorRef, Call, Held};
use crate::session::line::Line;
use crate::session::value::{Failure, NodeInfo, Value};

/// Values that come in pieces and are not whole yet, by the node's number.
#[derive(Default)]
pub(super) struct Pieces(HashMap<u64, Vec<u8>>);

impl Pieces {
    pub(super) fn add(&mut self, piece: v1::Piece) {
        self.0.entry(piece.of).or_default().extend_from_slice(&piece.bytes);
    }

    fn take(&mut self, number: u64) -> Result<Bytes, Error> {
        let bytes = self.0.remove(&number).ok_or_else(|| {
            Error::internal(format!("the node has answered with the pieces {number}, and has not sent them"))
        })?;
        Ok(bytes.into())
    }

    /// Nobody waits for anything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// An answer.
#[derive(Debug)]
pub(super) enum Answer {
    Failed(Failure),
    Done,
    Object(Held),
    Values(Vec<Value>),
    Ready(Vec<u32>),
    Is(bool),
    Next(Option<Held>),
    Call(Call),
    Actor(ActorRef),
    Group(Held),
    Nodes(Vec<NodeInfo>),
}

macro_rules! expect {
    ($($name:ident: $variant:ident -> $result:ty,)*) => {$(
        pub(super) fn $name(self) -> Result<$result, Failure> {
            match self {
                Self::$variant(it) => Ok(it),
                other => Err(unexpected(&other)),
            }
        }
    )*};
}

impl Answer {
    expect! {
        object: Object -> Held,
        values: Values -> Vec<Value>,
        ready: Ready -> Vec<u32>,
        is: Is -> bool,
        next: Next -> Option<Held>,
        call: Call -> Call,
        actor: Actor -> ActorRef,
        group: Group -> Held,
        nodes: Nodes -> Vec<NodeInfo>,
    }

    pub(super) fn done(self) -> Result<(), Failure> {
        match self {
            Self::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// An answer from the wire. One that makes no sense has failed.
    pub(super) fn read(
        line: &Arc<Line>,
        answer: v1::ClientAnswer,
        lane: Option<u64>,
        pieces: &mut Pieces,
    ) -> Self {
        let read = Reader { line, lane, pieces }.answer(answer);
        read.unwrap_or_else(|error| Self::Failed(error.into()))
    }
}

fn unexpected(answer: &Answer) -> Failure {
    Error::internal(format!("the node has answered something else than was asked: {answer:?}")).into()
}

fn missing(field: &str) -> Error {
    Error::internal(format!("the node's answer makes no sense: {field} is missing"))
}

struct Reader<'a> {
    line: &'a Arc<Line>,
    lane: Option<u64>,
    pieces: &'a mut Pieces,
}

impl Reader<'_> {
    fn answer(&mut self, answer: v1::ClientAnswer) -> Result<Answer, Error> {
        let held = |handle| Held::given(self.line, handle);
        let answer = answer.answer.ok_or_else(|| missing("ClientAnswer.answer"))?;
        Ok(match answer {
            Wire::Failed(failed) => Answer::Failed(self.failure(failed)?),
            Wire::Done(_) => Answer::Done,
            Wire::Object(id) => Answer::Object(held(Handle::Object(id_from(id)))),
            Wire::Values(values) => {
                // All are read, though one makes no sense: each gives what is inside it.
                let read: Vec<_> = values.values.into_iter().map(|value| self.value(value)).collect();
                Answer::Values(read.into_iter().collect::<Result<_, _>>()?)
            }
            Wire::Ready(ready) => Answer::Ready(ready.indexes),
            Wire::Is(is) => Answer::Is(is),
            Wire::Next(next) => Answer::Next(next.object.map(|id| held(Handle::Object(id_from(id))))),
            Wire::Call(call) => {
                let task = id_from(call.task.ok_or_else(|| missing("Call.task"))?);
                Answer::Call(Call::given(self.line, task, call.outputs))
            }
            Wire::Actor(id) => {
                let lane = self.lane.ok_or_else(|| missing("the lane of an actor"))?;
                Answer::Actor(ActorRef::given(self.line, id_from(id), lane))
            }
            Wire::Group(id) => Answer::Group(held(Handle::PlacementGroup(id_from(id)))),
            Wire::Nodes(nodes) => Answer::Nodes(nodes.nodes.into_iter().map(node).collect()),
        })
    }

    fn failure(&mut self, failed: answers::Failed) -> Result<Failure, Error> {
        let payload = failed.payload.map(|payload| self.value(payload)).transpose()?;
        let error = failed.error.ok_or_else(|| missing("Failed.error"))?.into();
        Ok(Failure { error, payload })
    }

    fn value(&mut self, value: v1::ClientValue) -> Result<Value, Error> {
        let (codec, handles, came) = value_from(value)?;
        let held = handles.into_iter().map(|handle| Held::given(self.line, handle)).collect();
        let bytes = match came {
            Came::Inline(bytes) => bytes,
            Came::Pieces(number) => self.pieces.take(number)?,
        };
        Ok(Value::given(codec, bytes, held))
    }
}

fn node(node: answers::Node) -> NodeInfo {
    let mut labels: Vec<_> = node.labels.into_iter().collect();
    labels.sort();
    let amounts = |amounts: HashMap<String, u64>| {
        let mut amounts: Vec<_> =
            amounts.into_iter().map(|(name, quantity)| (name, Quantity(quantity))).collect();
        amounts.sort();
        amounts
    };
    let (total, available) = (amounts(node.total), amounts(node.available));
    NodeInfo { id: node.node_id, labels, total, available }
}
