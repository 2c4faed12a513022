//! Faults on lines: of nodes to the head, both ways, and between nodes.

use std::collections::HashSet;
use std::sync::Arc;

use engine_core::{Error, ErrorCode};
use engine_proto::v1::{HeadMessage, NodeMessage, PeerFrame, head_message, node_message};
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use parking_lot::Mutex;

use super::{Faults, Loss, names};
use crate::backend::Replies;

/// Requests on a line whose answers are lost.
pub(crate) type Unanswered = Arc<Mutex<HashSet<u64>>>;

fn broken() -> Error {
    Error::new(ErrorCode::NodeDied, "a fault of a test: the line breaks")
}

/// What a node says on its line to the head, until a fault ends it.
pub(crate) fn to_head(
    faults: &'static Faults,
    messages: BoxStream<'static, Result<NodeMessage, Error>>,
    unanswered: Unanswered,
) -> BoxStream<'static, Result<NodeMessage, Error>> {
    let next = move |messages: Option<BoxStream<'static, Result<NodeMessage, Error>>>| {
        let unanswered = unanswered.clone();
        async move {
            // None: the line is over.
            let mut messages = messages?;
            let message = match messages.next().await? {
                Ok(message) => message,
                Err(error) => return Some((Err(error), None)),
            };
            let Some(name) = names::of_node(&message) else { return Some((Ok(message), Some(messages))) };
            match (faults.fate(name).delayed().await, &message.message) {
                (None, _) => Some((Ok(message), Some(messages))),
                (Some(Loss::Request), _) => Some((Err(broken()), None)),
                // Its answer ends the line.
                (Some(Loss::Reply), Some(node_message::Message::Request(request))) => {
                    unanswered.lock().insert(request.id);
                    Some((Ok(message), Some(messages)))
                }
                (Some(Loss::Reply), _) => {
                    let end = futures::stream::once(std::future::ready(Err(broken()))).boxed();
                    Some((Ok(message), Some(end)))
                }
            }
        }
    };
    unfold(Some(messages), next).boxed()
}

/// What the head says to a node, until a fault ends its line.
pub(crate) fn from_head(
    faults: &'static Faults,
    replies: Replies<HeadMessage>,
    unanswered: Unanswered,
) -> Replies<HeadMessage> {
    let next = move |mut replies: Replies<HeadMessage>| {
        let unanswered = unanswered.clone();
        async move {
            let message = match replies.next().await? {
                Ok(message) => message,
                Err(error) => return Some((Err(error), replies)),
            };
            let end = |first: Option<Result<HeadMessage, Error>>| {
                let mut rest = first.into_iter().chain([Err(broken())]);
                let next = rest.next()?;
                Some((next, futures::stream::iter(rest).boxed() as Replies<HeadMessage>))
            };
            if let Some(head_message::Message::Reply(reply)) = &message.message
                && unanswered.lock().remove(&reply.id)
            {
                return end(None);
            }
            let Some(name) = names::of_head(&message) else { return Some((Ok(message), replies)) };
            match faults.fate(name).delayed().await {
                None => Some((Ok(message), replies)),
                Some(Loss::Request) => end(None),
                Some(Loss::Reply) => end(Some(Ok(message))),
            }
        }
    };
    unfold(replies, next).boxed()
}

/// Packets of another node that have come.
pub(crate) struct Frame {
    /// What is to be taken in.
    pub(crate) taken: PeerFrame,
    /// Then the line breaks.
    pub(crate) breaks: bool,
}

/// What is taken in of packets that have come together, after a while when they come late.
pub(crate) async fn of_frame(faults: &'static Faults, mut frame: PeerFrame) -> Frame {
    let (mut taken, mut breaks) = (frame.packets.len(), false);
    'packets: for (at, packet) in frame.packets.iter().enumerate() {
        let of_messages = packet.messages.iter().filter_map(names::of_peer);
        for name in of_messages.chain([names::PACKET]) {
            if let Some(loss) = faults.fate(name).delayed().await {
                (taken, breaks) = (at + usize::from(loss == Loss::Reply), true);
                break 'packets;
            }
        }
    }
    frame.packets.truncate(taken);
    Frame { taken: frame, breaks }
}

#[cfg(test)]
mod tests {
    use engine_proto::v1::{self, node_request};

    use super::*;
    use crate::faults::parse;

    fn faults(text: &str) -> &'static Faults {
        Box::leak(Box::new(parse::faults(text).expect("well formed")))
    }

    fn request(id: u64) -> NodeMessage {
        let request = node_request::Request::LookupName(v1::LookupName::default());
        let request = v1::NodeRequest { id, request: Some(request) };
        NodeMessage { message: Some(node_message::Message::Request(request)) }
    }

    fn load() -> NodeMessage {
        NodeMessage { message: Some(node_message::Message::Load(v1::Load::default())) }
    }

    fn reply(id: u64) -> HeadMessage {
        HeadMessage { message: Some(head_message::Message::Reply(v1::NodeReply { id, reply: None })) }
    }

    async fn said(text: &str, messages: Vec<NodeMessage>, unanswered: &Unanswered) -> Vec<bool> {
        let messages = futures::stream::iter(messages.into_iter().map(Ok)).boxed();
        to_head(faults(text), messages, unanswered.clone()).map(|said| said.is_ok()).collect().await
    }

    #[tokio::test]
    async fn a_line_breaks_before_a_message_or_after_it() {
        let unanswered = Unanswered::default();
        let messages = || vec![request(1), load(), request(2)];
        assert_eq!(said("seed=1", messages(), &unanswered).await, [true, true, true]);
        assert_eq!(said("NodeMessage.Load=request:1", messages(), &unanswered).await, [true, false]);
        assert_eq!(said("NodeMessage.Load=reply:1", messages(), &unanswered).await, [true, true, false]);
        assert!(unanswered.lock().is_empty());
    }

    #[tokio::test]
    async fn a_request_whose_reply_is_lost_is_heard_and_its_answer_ends_the_line() {
        let unanswered = Unanswered::default();
        let heard = said("NodeRequest.LookupName=reply:1", vec![request(7)], &unanswered).await;
        assert_eq!(heard, [true]);
        let replies = |ids: &[u64]| {
            let replies: Vec<_> = ids.iter().map(|id| Ok(reply(*id))).collect();
            futures::stream::iter(replies).boxed() as Replies<HeadMessage>
        };
        let answered = from_head(faults("seed=1"), replies(&[6, 7, 8]), unanswered.clone());
        assert_eq!(answered.map(|said| said.is_ok()).collect::<Vec<_>>().await, [true, false]);
        let lost = from_head(faults("HeadMessage.Reply=reply:1"), replies(&[6, 8]), unanswered);
        assert_eq!(lost.map(|said| said.is_ok()).collect::<Vec<_>>().await, [true, false]);
    }

    #[tokio::test]
    async fn packets_are_taken_in_up_to_the_fault() {
        let want = v1::peer_message::Message::Want(v1::Id::default());
        let message = v1::PeerMessage { message: Some(want) };
        let packet = |first, messages| v1::Packet { first, messages, ..v1::Packet::default() };
        let packets = || vec![packet(1, vec![]), packet(2, vec![message.clone()]), packet(3, vec![])];
        for (text, taken, breaks) in [
            ("seed=1", 3, false),
            ("PeerMessage.Want=request:1", 1, true),
            ("PeerMessage.Want=reply:1", 2, true),
            ("PeerMessage.Want=delay:1:1ms", 3, false),
            ("PeerFrame.Packet=request:1", 0, true),
        ] {
            let frame = of_frame(faults(text), PeerFrame { packets: packets(), logs: vec![] }).await;
            assert_eq!((frame.taken.packets.len(), frame.breaks), (taken, breaks), "{text}");
        }
    }
}
