//! What is said and heard on a session's line, whichever connection carries it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use engine_core::{Error, ErrorCode};
use engine_proto::limits::{
    CLIENT_REQUESTS_MAX, HEARD_EVERY_BYTES, HEARD_EVERY_MESSAGES, LINE_BYTES_MAX, MESSAGE_BYTES_MAX,
};
use engine_proto::line::{Inbox, Outbox};
use engine_proto::prost::Message as _;
use engine_proto::v1;
use engine_proto::v1::client_message::Message;
use engine_proto::v1::client_reply::Message as Said;
use engine_proto::v1::client_request::Request;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::session::answer::{Answer, Pieces};
use crate::session::value::Failure;

/// What a message has beside its request.
const ENVELOPE_BYTES: usize = 64;

/// Whether a session has ended, and with what error.
pub(super) type End = Option<Option<Error>>;

/// A line outlives its connections.
pub(super) struct Line {
    state: Mutex<State>,
    /// What comes in pieces. Only who hears takes it.
    pieces: Mutex<Pieces>,
    /// Changes when there may be something to say.
    news: watch::Sender<()>,
    /// Bytes of pieces that may be said before the node has heard others.
    room: Semaphore,
    is_connected: watch::Sender<bool>,
    ended: watch::Sender<End>,
}

#[derive(Default)]
struct State {
    outbox: Outbox<Message>,
    inbox: Inbox,
    waiting: HashMap<u64, Waiting>,
    /// How far this side has said that it has heard, and the bytes of pieces that it has heard since.
    said_heard: u64,
    bytes_since: usize,
    /// Which connection it is.
    connection: u64,
    lanes: u64,
    values: u64,
    is_over: bool,
    /// The node waits to hear that its last message has come.
    owes_last_word: bool,
}

/// A request that has no answer yet.
struct Waiting {
    give: oneshot::Sender<Answer>,
    /// The lane that it has named.
    lane: Option<u64>,
    /// Whether it makes nothing, so that it may stay without an answer once it is given up.
    only_waits: bool,
}

impl State {
    fn owes_heard(&self) -> bool {
        self.inbox.heard() - self.said_heard >= HEARD_EVERY_MESSAGES || self.bytes_since >= HEARD_EVERY_BYTES
    }

    fn message(&mut self, number: u64, message: Message) -> v1::ClientMessage {
        self.said_heard = self.inbox.heard();
        self.bytes_since = 0;
        v1::ClientMessage { number, heard: self.said_heard, message: Some(message) }
    }

    /// The node has heard so much; the bytes that there is room for again.
    fn heard(&mut self, number: u64) -> Result<usize, Error> {
        let before = self.outbox.bytes();
        self.outbox.heard(number)?;
        Ok(before - self.outbox.bytes())
    }
}

impl Line {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            pieces: Mutex::default(),
            news: watch::Sender::new(()),
            room: Semaphore::new(LINE_BYTES_MAX),
            is_connected: watch::Sender::new(false),
            ended: watch::Sender::new(None),
        })
    }

    fn tell(&self) {
        self.news.send_replace(());
    }

    pub(super) fn news(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    pub(super) fn ended(&self) -> watch::Receiver<End> {
        self.ended.subscribe()
    }

    /// Resolves once there is no connection.
    async fn away(&self) {
        // A sender that is gone says the same.
        drop(self.is_connected.subscribe().wait_for(|is_connected| !is_connected).await);
    }

    /// Resolves when this time has passed and there is no connection by which the node could say so itself.
    pub(super) async fn timed_out_away(&self, timeout: Option<Duration>) {
        match timeout {
            None => std::future::pending().await,
            Some(timeout) => tokio::time::sleep(timeout).await,
        }
        self.away().await;
    }

    /// A connection is about to be made: its number, and how far this side has heard.
    pub(super) fn begin(&self) -> (u64, u64) {
        let mut state = self.state.lock();
        state.connection += 1;
        state.said_heard = state.inbox.heard();
        (state.connection, state.inbox.heard())
    }

    /// The connection is there, and the node has heard so much.
    pub(super) fn attached(&self, connection: u64, heard: u64) -> Result<(), Error> {
        let mut state = self.state.lock();
        if state.connection != connection {
            return Err(Error::internal("a connection came after the one that took its place"));
        }
        let freed = state.heard(heard)?;
        drop(state);
        self.room.add_permits(freed);
        self.is_connected.send_replace(true);
        Ok(())
    }

    /// There is no connection any more: whoever says something on it stops.
    pub(super) fn disconnected(&self) {
        self.state.lock().connection += 1;
        self.is_connected.send_replace(false);
        self.tell();
    }

    /// What there is to say on this connection after the message of number `at`, if there is anything now;
    /// none at all: nothing follows.
    pub(super) fn next(&self, connection: u64, at: &mut u64) -> Option<Option<v1::ClientMessage>> {
        let mut state = self.state.lock();
        let nothing = Message::Nothing(v1::Heard {});
        if state.connection != connection {
            return None;
        }
        if state.is_over {
            let owes = std::mem::take(&mut state.owes_last_word);
            return owes.then(|| Some(state.message(0, nothing)));
        }
        Some(match state.outbox.after(*at) {
            Some((number, message)) => {
                *at = number;
                Some(state.message(number, message))
            }
            None if state.owes_heard() => Some(state.message(0, nothing)),
            None => None,
        })
    }

    /// Says something that wants no reply; nothing once the session has ended.
    pub(super) fn say(&self, message: Message) {
        let mut state = self.state.lock();
        if !state.is_over {
            state.outbox.say(message, 0);
        }
        drop(state);
        self.tell();
    }

    /// Says a piece of a value, once there is room for it.
    pub(super) async fn say_piece(&self, piece: v1::Piece) -> Result<(), Error> {
        let length = piece.bytes.len();
        let bytes = u32::try_from(length).map_err(|_| Error::internal("a piece is too large"))?;
        self.room.acquire_many(bytes).await.map_err(|_| self.over_error())?.forget();
        let mut state = self.state.lock();
        if state.is_over {
            drop(state);
            return Err(self.over_error());
        }
        state.outbox.say(Message::Piece(piece), length);
        drop(state);
        self.tell();
        Ok(())
    }

    pub(super) fn new_lane(&self) -> u64 {
        let mut state = self.state.lock();
        state.lanes += 1;
        state.lanes
    }

    /// A number for a value that goes in pieces.
    pub(super) fn new_value(&self) -> u64 {
        let mut state = self.state.lock();
        state.values += 1;
        state.values
    }

    /// Asks for something.
    ///
    /// # Errors
    /// OWNER_DIED once the session has ended, LIMIT_EXCEEDED when too much is asked for at once.
    pub(super) fn ask(self: &Arc<Self>, request: Request, lane: Option<u64>) -> Result<Asked, Error> {
        let only_waits = matches!(request, Request::Get(_) | Request::Wait(_) | Request::Next(_));
        let request = v1::ClientRequest { request: Some(request) };
        check_size(&request)?;
        let mut state = self.state.lock();
        if state.is_over {
            drop(state);
            return Err(self.over_error());
        }
        if state.waiting.len() >= CLIENT_REQUESTS_MAX {
            return Err(Error::new(
                ErrorCode::LimitExceeded,
                format!(
                    "{CLIENT_REQUESTS_MAX} requests of this client have no answer yet (client_requests_max): wait for some before making more"
                ),
            ));
        }
        let (give, take) = oneshot::channel();
        let number = state.outbox.say(Message::Request(request), 0);
        state.waiting.insert(number, Waiting { give, lane, only_waits });
        drop(state);
        self.tell();
        Ok(Asked { line: self.clone(), number, take, is_answered: false })
    }

    /// Says something that nobody waits for the reply to; what that gives is given back.
    pub(super) fn ask_for_nobody(&self, request: Request) {
        self.say(Message::Request(v1::ClientRequest { request: Some(request) }));
    }

    fn give_up(&self, number: u64) {
        let mut state = self.state.lock();
        if state.waiting.get(&number).is_some_and(|waiting| waiting.only_waits) {
            state.waiting.remove(&number);
        }
        if !state.is_over {
            state.outbox.say(Message::GiveUp(number), 0);
        }
        let is_quiet = state.waiting.is_empty();
        drop(state);
        if is_quiet {
            self.pieces.lock().clear();
        }
        self.tell();
    }

    /// Takes what the node has said on this connection; false: nothing follows.
    pub(super) fn hear(self: &Arc<Self>, connection: u64, said: v1::ClientReply) -> Result<bool, Error> {
        let mut state = self.state.lock();
        if state.connection != connection || state.is_over {
            return Ok(false);
        }
        let freed = state.heard(said.heard)?;
        let is_new = said.number > 0 && state.inbox.hear(said.number)?;
        let message = said.message.filter(|_| is_new);
        if let Some(Said::Piece(piece)) = &message {
            state.bytes_since += piece.bytes.len();
        }
        let is_awaited = !state.waiting.is_empty();
        let owes_heard = state.owes_heard();
        drop(state);
        self.room.add_permits(freed);
        if owes_heard {
            self.tell();
        }
        match message {
            // Without a request there is no answer that they could belong to: it was given up.
            Some(Said::Piece(piece)) if is_awaited => self.pieces.lock().add(piece),
            Some(Said::Answer(answer)) => self.answered(answer),
            Some(Said::Ended(ended)) => {
                self.state.lock().owes_last_word = true;
                self.over(ended.error.map(Into::into));
                return Ok(false);
            }
            Some(Said::Piece(_) | Said::Attached(_) | Said::Nothing(_)) | None => {}
        }
        Ok(true)
    }

    fn answered(self: &Arc<Self>, answer: v1::ClientAnswer) {
        let mut state = self.state.lock();
        let waiting = state.waiting.remove(&answer.to);
        let is_quiet = state.waiting.is_empty();
        drop(state);
        let mut pieces = self.pieces.lock();
        let lane = waiting.as_ref().and_then(|waiting| waiting.lane);
        let answer = Answer::read(self, answer, lane, &mut pieces);
        if is_quiet {
            pieces.clear();
        }
        drop(pieces);
        match waiting {
            // What nobody waits for any more is given back as it is dropped.
            Some(waiting) => drop(waiting.give.send(answer)),
            None => drop(answer),
        }
    }

    /// The session has ended.
    pub(super) fn over(&self, why: Option<Error>) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.is_over, true) {
            return;
        }
        let waiting = std::mem::take(&mut state.waiting);
        state.outbox = Outbox::default();
        drop(state);
        self.room.close();
        self.is_connected.send_replace(false);
        self.ended.send_replace(Some(why));
        self.tell();
        // They see that it has ended.
        drop(waiting);
    }

    /// What fails once the session has ended.
    pub(super) fn over_error(&self) -> Error {
        let why = match &*self.ended.borrow() {
            Some(Some(error)) => error.to_string(),
            _ => "it was closed".to_owned(),
        };
        Error::new(ErrorCode::OwnerDied, format!("this client has ended, and its job with it: {why}"))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }
}

fn check_size(request: &v1::ClientRequest) -> Result<(), Error> {
    let bytes = request.encoded_len() + ENVELOPE_BYTES;
    if bytes <= MESSAGE_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "what is asked for has {bytes} bytes without its values, at most {MESSAGE_BYTES_MAX} are allowed: ask for less at once"
    );
    Err(Error::new(ErrorCode::LimitExceeded, message))
}

/// Something that was asked for. Dropped before its answer, it is given up.
pub(super) struct Asked {
    line: Arc<Line>,
    number: u64,
    take: oneshot::Receiver<Answer>,
    is_answered: bool,
}

impl Asked {
    /// What becomes of it.
    pub(super) async fn answer(mut self) -> Result<Answer, Failure> {
        let answer = (&mut self.take).await;
        self.is_answered = true;
        match answer {
            // What was refused because of the end says so.
            Ok(Answer::Failed(_)) if self.line.has_ended() => Err(self.line.over_error().into()),
            Ok(Answer::Failed(failure)) => Err(failure),
            Ok(answer) => Ok(answer),
            Err(_) => Err(self.line.over_error().into()),
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_answered && self.take.try_recv().is_err() {
            self.line.give_up(self.number);
        }
    }
}
