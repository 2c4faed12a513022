//! Messages between two nodes arrive once, in order, whatever becomes of the packets.
//!
//! Each direction is numbered from 1. What was not acknowledged is kept and sent again: after a while
//! without progress, or when the connection was made anew. What comes twice or out of order is not
//! looked at. (Go-back-N: over a stream transport nothing else is needed, as packets are lost only with
//! their connection.)

use std::collections::VecDeque;
use std::time::Duration;

use crate::node::peers::message::Message;
use crate::time::Time;

/// How long nothing that was sent is acknowledged before it is sent again.
pub(super) const RESEND_AFTER: Duration = Duration::from_millis(200);
/// An acknowledgement that nothing else carries is sent after so long, or after so many messages.
pub(super) const ACKNOWLEDGE_AFTER: Duration = Duration::from_millis(20);
const UNACKNOWLEDGED_MAX: u64 = 256;

/// How long a message waits for others to go with.
pub(super) const HOLD_MAX: Duration = Duration::from_millis(1);

/// Both directions with one peer, as one end sees them.
#[derive(Default)]
pub(super) struct Session {
    /// Sent and not acknowledged, then not yet sent.
    out: VecDeque<Message>,
    /// The number of the first of `out`.
    first: u64,
    /// How many of `out` were sent.
    sent: usize,
    /// Something in `out` is to be sent at once.
    is_urgent: bool,
    /// Messages that were put to wait since something was sent.
    held: usize,
    /// When they are to be sent at the latest.
    hold_until: Option<Time>,
    /// The number of the last message that came, with all before it.
    received: u64,
    /// The number of the last one that the peer was told of.
    told: u64,
    /// When to send again what was sent.
    resend_at: Option<Time>,
    /// When to acknowledge, at the latest.
    acknowledge_at: Option<Time>,
}

/// What a packet carries of a session.
pub(super) struct Batch {
    pub first: u64,
    pub messages: Vec<Message>,
    pub received: u64,
}

impl Session {
    pub fn new() -> Self {
        Self { first: 1, ..Self::default() }
    }

    /// Queues a message; its number.
    pub fn push(&mut self, message: Message) -> u64 {
        self.out.push_back(message);
        self.is_urgent = true;
        self.first + self.out.len() as u64 - 1
    }

    /// Queues a message that waits a little for others to go with; its number.
    pub fn push_held(&mut self, now: Time, message: Message) -> u64 {
        self.out.push_back(message);
        self.held += 1;
        self.hold_until.get_or_insert(now + HOLD_MAX);
        self.first + self.out.len() as u64 - 1
    }

    /// Messages that wait for others to go with.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Messages that the peer has not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.out.len()
    }

    /// The number of the last message that came, with all before it.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The number of the last message that the peer has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.first - 1
    }

    /// What is to be sent now, when something is.
    pub fn take_batch(&mut self, now: Time) -> Option<Batch> {
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if due(self.resend_at) {
            self.sent = 0;
            self.is_urgent = true;
        }
        let has_news = self.sent < self.out.len() && (self.is_urgent || due(self.hold_until));
        let must_acknowledge = due(self.acknowledge_at) || self.received - self.told >= UNACKNOWLEDGED_MAX;
        if !has_news && !must_acknowledge {
            return None;
        }
        let first = self.first + self.sent as u64;
        let messages = self.out.iter().skip(self.sent).cloned().collect();
        self.sent = self.out.len();
        (self.is_urgent, self.held, self.hold_until) = (false, 0, None);
        if !self.out.is_empty() && (has_news || self.resend_at.is_none()) {
            self.resend_at = Some(now + RESEND_AFTER);
        }
        self.told = self.received;
        self.acknowledge_at = None;
        Some(Batch { first, messages, received: self.received })
    }

    /// Takes a packet in; those of its messages that are new.
    pub fn take_in(&mut self, now: Time, batch: Batch) -> Vec<Message> {
        self.acknowledge(now, batch.received);
        let Batch { first, mut messages, .. } = batch;
        let count = messages.len() as u64;
        if count == 0 {
            return messages;
        }
        // It came again although it was acknowledged: that got lost.
        let is_again = first <= self.received;
        // Something before it is missing: it will come again.
        if first > self.received + 1 {
            self.acknowledge_soon(now, true);
            return Vec::new();
        }
        let known = (self.received + 1 - first).min(count);
        messages.drain(..known as usize);
        self.received += messages.len() as u64;
        self.acknowledge_soon(now, is_again);
        messages
    }

    fn acknowledge_soon(&mut self, now: Time, at_once: bool) {
        let at = if at_once { now } else { now + ACKNOWLEDGE_AFTER };
        self.acknowledge_at = Some(self.acknowledge_at.map_or(at, |before| before.min(at)));
    }

    fn acknowledge(&mut self, now: Time, received: u64) {
        // A peer that acknowledges what was never sent is not believed.
        let sent_until = self.first + self.sent as u64;
        if received < self.first || received >= sent_until {
            return;
        }
        let count = (received + 1 - self.first) as usize;
        self.out.drain(..count);
        self.first += count as u64;
        self.sent -= count;
        self.resend_at = (self.sent > 0).then(|| now + RESEND_AFTER);
    }

    /// The connection was made anew: what was sent may be lost. `numbers_anew` is a planted bug.
    pub fn reconnected(&mut self, numbers_anew: bool) {
        self.sent = 0;
        self.is_urgent = true;
        self.resend_at = None;
        if numbers_anew {
            self.first = 1;
        }
    }

    /// When [`Self::take_batch`] is to be called at the latest.
    pub fn next_timer(&self) -> Option<Time> {
        [self.resend_at, self.acknowledge_at, self.hold_until].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{IdGenerator, ObjectId};

    fn message(n: u32) -> Message {
        Message::Drop(object(n))
    }

    fn object(n: u32) -> ObjectId {
        IdGenerator::new([0; 16]).task().put(n)
    }

    fn numbers(messages: &[Message]) -> Vec<ObjectId> {
        let number = |message: &Message| match message {
            Message::Drop(object) => *object,
            other => panic!("{other:?}"),
        };
        messages.iter().map(number).collect()
    }

    /// Two ends and a transport that loses, repeats and reorders packets.
    #[test]
    fn everything_arrives_once_and_in_order_through_a_bad_transport() {
        for seed in 0..200_u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut next = move |below: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random % below
            };
            let mut ends = [Session::new(), Session::new()];
            let mut flying: Vec<(usize, Batch)> = Vec::new();
            let mut got = [Vec::new(), Vec::new()];
            let (mut now, mut sent) = (Time(0), [0_u32, 0]);
            for step in 0..3_000 {
                let calm = step >= 2_000;
                let end = next(2) as usize;
                match next(6) {
                    0 if !calm => {
                        ends[end].push(message(sent[end]));
                        sent[end] += 1;
                    }
                    1 if !calm && next(20) == 0 => ends[end].reconnected(false),
                    2..=3 if !flying.is_empty() => {
                        let at = next(flying.len() as u64) as usize;
                        let (to, batch) = &flying[at];
                        let copy = Batch { messages: batch.messages.clone(), ..*batch };
                        let to = *to;
                        let is_repeated = !calm && next(4) == 0;
                        let batch = if is_repeated { copy } else { flying.remove(at).1 };
                        got[to].extend(ends[to].take_in(now, batch));
                    }
                    4 if !flying.is_empty() && !calm => {
                        let at = next(flying.len() as u64) as usize;
                        flying.swap_remove(at);
                    }
                    _ => now = now + Duration::from_millis(next(80)),
                }
                for (from, end) in ends.iter_mut().enumerate() {
                    if let Some(batch) = end.take_batch(now) {
                        flying.push((1 - from, batch));
                    }
                }
            }
            for to in 0..2 {
                let expected: Vec<ObjectId> = (0..sent[1 - to]).map(object).collect();
                assert_eq!(numbers(&got[to]), expected, "seed {seed}");
                assert_eq!(ends[to].unacknowledged(), 0, "seed {seed}");
            }
        }
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_is_not_believed() {
        let mut session = Session::new();
        session.push(message(0));
        session.take_in(Time(0), Batch { first: 1, messages: Vec::new(), received: 7 });
        assert_eq!(session.unacknowledged(), 1);
        assert_eq!(session.acknowledged(), 0);
    }
}
