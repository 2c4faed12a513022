//! Bounds what requests take that have not come in whole.
//!
//! A message is kept until its last byte is there, so whoever begins many large ones and ends none would fill the
//! memory. What is here of them counts against who sends them: a tenant, or all strangers together. Nodes and
//! the operator are trusted with it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use engine_core::{Error, ErrorCode, TenantName};
use engine_proto::status_from_error;
use http_body::Frame;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};
use tonic::Status;
use tonic::body::Body;

use crate::limits::{
    UNFINISHED_BYTES_MAX, UNFINISHED_BYTES_OF_STRANGERS_MAX, UNFINISHED_BYTES_OF_TENANT_MAX,
    UNFINISHED_IDLE_MAX,
};

/// Bytes before each message: whether it is compressed, and how long it is.
const HEADER_BYTES: usize = 5;

/// Who sends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Sender {
    /// This tenant.
    Tenant(TenantName),
    /// One of those of whom nothing is known.
    Stranger,
}

/// Bytes of messages that are not whole, of all connections of a server.
#[derive(Clone, Default)]
pub(crate) struct Unfinished(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    by_sender: HashMap<Sender, u64>,
    all: u64,
}

impl Unfinished {
    /// The body, which ends with LIMIT_EXCEEDED where too much of it would be kept, or nothing more comes of a
    /// message.
    pub(crate) fn bounded(&self, sender: Sender, body: Body) -> Body {
        let message = Message { of: self.clone(), sender, header: Vec::new(), left: 0, held: 0 };
        Body::new(Bounded { body, message, idle: Box::pin(tokio::time::sleep(UNFINISHED_IDLE_MAX)) })
    }

    fn take(&self, sender: &Sender, bytes: u64) -> Result<(), Error> {
        let mut held = self.0.lock();
        let (whose, name, max) = match sender {
            Sender::Tenant(tenant) => (
                format!("the tenant {tenant} has begun"),
                "unfinished_bytes_of_tenant_max",
                UNFINISHED_BYTES_OF_TENANT_MAX,
            ),
            Sender::Stranger => (
                "those without a token have begun".to_owned(),
                "unfinished_bytes_of_strangers_max",
                UNFINISHED_BYTES_OF_STRANGERS_MAX,
            ),
        };
        let own = held.by_sender.get(sender).copied().unwrap_or_default() + bytes;
        if own > max {
            let message = format!(
                "{whose} messages of more than {max} bytes here and not ended them ({name}): end some first"
            );
            return Err(Error::new(ErrorCode::LimitExceeded, message));
        }
        if held.all + bytes > UNFINISHED_BYTES_MAX {
            let message = format!(
                "messages of {UNFINISHED_BYTES_MAX} bytes are begun here and not ended (unfinished_bytes_max): try it again"
            );
            return Err(Error::new(ErrorCode::LimitExceeded, message));
        }
        held.all += bytes;
        held.by_sender.insert(sender.clone(), own);
        Ok(())
    }

    fn give_back(&self, sender: &Sender, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let mut held = self.0.lock();
        held.all -= bytes;
        if let Some(own) = held.by_sender.get_mut(sender) {
            *own -= bytes;
            if *own == 0 {
                held.by_sender.remove(sender);
            }
        }
    }
}

/// How far the message is that comes in.
struct Message {
    of: Unfinished,
    sender: Sender,
    /// What is there of its header.
    header: Vec<u8>,
    /// Bytes that are yet to come.
    left: u64,
    /// Bytes that count.
    held: u64,
}

impl Message {
    fn heard(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let (header, rest) = bytes.split_at(bytes.len().min(HEADER_BYTES - self.header.len()));
                self.header.extend(header);
                bytes = rest;
                if let [_, a, b, c, d] = self.header[..] {
                    self.left = u32::from_be_bytes([a, b, c, d]).into();
                    self.header.clear();
                }
                continue;
            }
            let here = self.left.min(bytes.len() as u64);
            bytes = &bytes[here as usize..];
            self.left -= here;
            if self.left == 0 {
                self.of.give_back(&self.sender, std::mem::take(&mut self.held));
            } else {
                self.of.take(&self.sender, here)?;
                self.held += here;
            }
        }
        Ok(())
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.of.give_back(&self.sender, self.held);
    }
}

struct Bounded {
    body: Body,
    message: Message,
    /// When too long nothing has come of a message.
    idle: Pin<Box<Sleep>>,
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            if self.message.held > 0 && self.idle.as_mut().poll(cx).is_ready() {
                let message = format!(
                    "nothing has come of a message for {} s (unfinished_idle_max): send it again",
                    UNFINISHED_IDLE_MAX.as_secs()
                );
                return Poll::Ready(Some(Err(status_from_error(&Error::new(
                    ErrorCode::LimitExceeded,
                    message,
                )))));
            }
            return Poll::Pending;
        };
        if let Some(Ok(frame)) = &frame
            && let Some(bytes) = frame.data_ref()
        {
            self.message.heard(bytes).map_err(|error| status_from_error(&error))?;
            if self.message.held > 0 {
                self.idle.as_mut().reset(Instant::now() + UNFINISHED_IDLE_MAX);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::channel::mpsc;
    use http_body::Body as _;

    use super::*;

    fn sender(name: &str) -> Sender {
        Sender::Tenant(name.parse().expect("a name"))
    }

    fn message(length: u32) -> Vec<u8> {
        [&[0], length.to_be_bytes().as_slice(), &vec![7; length as usize]].concat()
    }

    /// A body that has what is sent to it.
    struct Fed(mpsc::UnboundedReceiver<Bytes>);

    impl http_body::Body for Fed {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            futures::Stream::poll_next(Pin::new(&mut self.0), cx).map(|next| Some(Ok(Frame::data(next?))))
        }
    }

    async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
        std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
    }

    #[test]
    fn what_is_not_whole_counts_until_it_is_or_is_given_up() {
        let all = Unfinished::default();
        let of =
            |name| Message { of: all.clone(), sender: sender(name), header: Vec::new(), left: 0, held: 0 };
        let held = || all.0.lock().all;
        let mut red = of("red");
        // Wherever it is cut, also within its header.
        let whole = [message(10), message(0), message(3)].concat();
        for at in 0..=whole.len() {
            let (first, rest) = whole.split_at(at);
            red.heard(first).expect("room");
            assert!(held() < 10, "{at}");
            red.heard(rest).expect("room");
            assert_eq!((held(), red.left, red.header.len()), (0, 0, 0), "{at}");
        }
        for byte in &whole {
            red.heard(std::slice::from_ref(byte)).expect("room");
        }
        assert_eq!(held(), 0);
        red.heard(&message(100)[..50]).expect("room");
        let mut blue = of("blue");
        blue.heard(&message(100)[..25]).expect("room");
        assert_eq!(held(), 45 + 20);
        drop(red);
        assert_eq!(held(), 20);
        drop(blue);
        assert!(all.0.lock().by_sender.is_empty());
    }

    #[test]
    fn each_has_so_much_and_all_together() {
        let all = Unfinished::default();
        let mut taken = Vec::new();
        for tenant in 0..UNFINISHED_BYTES_MAX / UNFINISHED_BYTES_OF_TENANT_MAX {
            let red = sender(&format!("red-{tenant}"));
            all.take(&red, UNFINISHED_BYTES_OF_TENANT_MAX).expect("its part");
            let error = all.take(&red, 1).expect_err("more than its part");
            assert!(error.message().contains("unfinished_bytes_of_tenant_max"), "{error}");
            taken.push(red);
        }
        let blue = sender("blue");
        let error = all.take(&blue, 1).expect_err("no room");
        assert!(error.message().contains("(unfinished_bytes_max)"), "{error}");
        all.give_back(&taken[0], 1);
        all.take(&blue, 1).expect("room");
        let strangers = Unfinished::default();
        strangers.take(&Sender::Stranger, UNFINISHED_BYTES_OF_STRANGERS_MAX).expect("their part");
        let error = strangers.take(&Sender::Stranger, 1).expect_err("more");
        assert_eq!(error.code(), ErrorCode::LimitExceeded);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_of_which_nothing_more_comes_is_given_up() {
        let all = Unfinished::default();
        let (feed, fed) = mpsc::unbounded();
        let mut body = all.bounded(sender("red"), Body::new(Fed(fed)));
        // Between messages there may be any time.
        feed.unbounded_send(message(3).into()).expect("open");
        assert!(next(&mut body).await.expect("a frame").is_ok());
        tokio::time::advance(UNFINISHED_IDLE_MAX * 10).await;
        feed.unbounded_send(message(3)[..6].to_vec().into()).expect("open");
        assert!(next(&mut body).await.expect("a frame").is_ok());
        tokio::time::advance(UNFINISHED_IDLE_MAX / 2).await;
        feed.unbounded_send(vec![7].into()).expect("open");
        assert!(next(&mut body).await.expect("a frame").is_ok());
        let begun = Instant::now();
        let error = next(&mut body).await.expect("its end").expect_err("given up");
        assert!(error.message().contains("unfinished_idle_max"), "{error}");
        assert!(begun.elapsed() >= UNFINISHED_IDLE_MAX);
        drop(body);
        assert_eq!(all.0.lock().all, 0);
    }
}
