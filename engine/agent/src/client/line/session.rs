//! One client that is attached from elsewhere: what both sides have said, whatever connection brought it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use engine_core::{Error, ErrorCode};
use engine_net::{ClientMessages, Replies};
use engine_proto::convert::client::handle_from;
use engine_proto::convert::peer::{id, id_from};
use engine_proto::limits::{
    CLIENT_REQUESTS_MAX, HEARD_EVERY_BYTES, HEARD_EVERY_MESSAGES, LINE_BYTES_MAX, PIECE_BYTES_MAX,
};
use engine_proto::line::{Inbox, Outbox};
use engine_proto::v1;
use engine_proto::v1::client_message::Message;
use engine_proto::v1::client_reply::Message as Reply;
use futures::StreamExt;
use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Key;
use super::held::Holding;
use super::pieces::{Pieces, Room};
use crate::background::{self, Kind};
use crate::client::Client;

/// What is said to one client and was not heard: who asks for more then is heard no more.
const UNHEARD_MAX: usize = 4 * CLIENT_REQUESTS_MAX;

/// A client that is attached from elsewhere.
pub(super) struct Session {
    client: Client,
    key: Key,
    namespace: String,
    tenant: String,
    pub(super) holding: Holding,
    pub(super) pieces: Mutex<Pieces>,
    /// Requests that have no answer yet, and how those are ended that may be given up.
    pub(super) waiting: Mutex<HashMap<u64, Option<AbortHandle>>>,
    line: Mutex<Line>,
    /// Counts what may be news to whoever waits for the line.
    news: watch::Sender<u64>,
}

#[derive(Default)]
struct Line {
    outbox: Outbox<Reply>,
    inbox: Inbox,
    /// How far this side has said that it has heard, and the bytes of pieces that it has heard since.
    said_heard: u64,
    bytes_since: usize,
    /// Which connection it is.
    connection: u64,
    next_pieces: u64,
    is_over: bool,
}

impl Line {
    /// Whether it is time to say how far this side has heard.
    fn owes_heard(&self) -> bool {
        self.inbox.heard() - self.said_heard >= HEARD_EVERY_MESSAGES || self.bytes_since >= HEARD_EVERY_BYTES
    }

    fn pieces_number(&mut self) -> u64 {
        self.next_pieces += 1;
        self.next_pieces
    }

    /// Says the next piece of these bytes; false when too much was said that was not heard.
    fn say_piece(&mut self, of: u64, bytes: &mut Bytes) -> bool {
        let has_room = self.outbox.bytes() < LINE_BYTES_MAX;
        if has_room {
            let piece = bytes.split_to(bytes.len().min(PIECE_BYTES_MAX));
            let length = piece.len();
            self.outbox.say(Reply::Piece(v1::Piece { of, bytes: piece }), length);
        }
        has_room
    }

    fn reply(&mut self, number: u64, message: Reply) -> v1::ClientReply {
        self.said_heard = self.inbox.heard();
        self.bytes_since = 0;
        v1::ClientReply { number, heard: self.said_heard, message: Some(message) }
    }
}

impl Session {
    pub(super) fn new(client: Client, key: Key, room: Arc<Room>) -> Arc<Self> {
        let tenant = client.tenant();
        Arc::new(Self {
            namespace: client.namespace(),
            pieces: Mutex::new(Pieces::new(room, tenant.clone())),
            tenant,
            client,
            key,
            holding: Holding::default(),
            waiting: Mutex::default(),
            line: Mutex::default(),
            news: watch::Sender::new(0),
        })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether this is the key of its client. Takes as long for each.
    pub(super) fn is_of(&self, key: Key) -> bool {
        self.key.ct_eq(&key).into()
    }

    fn tell(&self) {
        self.news.send_modify(|news| *news += 1);
    }

    /// A connection of the client, which has heard so much; it takes the place of an earlier one.
    pub(super) fn connect(
        self: &Arc<Self>,
        heard: u64,
        messages: ClientMessages,
    ) -> Result<Replies<v1::ClientReply>, Error> {
        let mut line = self.line.lock();
        line.outbox.heard(heard)?;
        line.connection += 1;
        let connection = line.connection;
        drop(line);
        self.client.set_here(true);
        self.tell();
        let attached = v1::client_reply::Attached {
            node: Some(id(self.client.node())),
            task: Some(id(self.client.task())),
            namespace: self.namespace.clone(),
            tenant: self.tenant.clone(),
        };
        let writer = Writer {
            session: self.clone(),
            connection,
            at: heard,
            first: Some(Reply::Attached(attached)),
            news: self.news.subscribe(),
        };
        drop(background::spawn(Kind::Client, self.clone().listen(connection, messages)));
        Ok(futures::stream::unfold(
            writer,
            |mut writer| async move { Some((Ok(writer.next().await?), writer)) },
        )
        .boxed())
    }

    async fn listen(self: Arc<Self>, connection: u64, mut messages: ClientMessages) {
        while let Some(Ok(message)) = messages.next().await {
            match self.hear(connection, message) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(job = %self.client.job(), %error, "a client has said what makes no sense");
                    break;
                }
            }
        }
        self.is_away(connection);
    }

    /// A connection has ended.
    fn is_away(&self, connection: u64) {
        let mut line = self.line.lock();
        if line.connection == connection {
            // Whoever answers on it stops.
            line.connection += 1;
            self.client.set_here(false);
        }
        drop(line);
        self.tell();
    }

    /// Takes what the client has said; false: by a connection that another one has taken the place of.
    fn hear(self: &Arc<Self>, connection: u64, said: v1::ClientMessage) -> Result<bool, Error> {
        let mut line = self.line.lock();
        if line.connection != connection {
            return Ok(false);
        }
        line.outbox.heard(said.heard)?;
        if line.outbox.len() >= UNHEARD_MAX {
            let message = format!(
                "the client has not heard {UNHEARD_MAX} answers (unheard_answers_max), and asks for more: it is to \
                 say what it has heard first"
            );
            return Err(Error::new(ErrorCode::LimitExceeded, message));
        }
        let is_new = said.number > 0 && line.inbox.hear(said.number)?;
        if let Some(Message::Piece(piece)) = &said.message {
            line.bytes_since += piece.bytes.len();
        }
        drop(line);
        self.tell();
        if let (true, Some(message)) = (is_new, said.message) {
            self.take(said.number, message)?;
        }
        Ok(true)
    }

    /// Does what the client has said, once.
    fn take(self: &Arc<Self>, number: u64, message: Message) -> Result<(), Error> {
        match message {
            Message::Attach(_) | Message::Nothing(_) => {}
            Message::Piece(piece) => self.pieces.lock().add(piece)?,
            Message::Request(request) => self.begin(number, request),
            Message::GiveUp(request) => {
                if let Some(Some(waiting)) = self.waiting.lock().get(&request) {
                    waiting.abort();
                }
            }
            Message::Hold(handle) => self.holding.hold(handle_from(handle)?),
            Message::Release(handle) => self.holding.release(handle_from(handle)?),
            Message::OpenLane(lane) => {
                let actor = lane.actor.map(id_from);
                let actor = actor.ok_or_else(|| Error::invalid_argument("Lane.actor is missing"))?;
                self.holding.open_lane(&self.client, lane.lane, actor);
            }
            Message::CloseLane(lane) => self.holding.close_lane(lane),
        }
        Ok(())
    }

    /// Says something.
    pub(super) fn say(&self, message: Reply) {
        self.line.lock().outbox.say(message, 0);
        self.tell();
    }

    /// Sends bytes in pieces, as the client hears them; the number by which they are named.
    pub(super) async fn say_pieces(&self, mut bytes: Bytes) -> u64 {
        let of = self.line.lock().pieces_number();
        let mut news = self.news.subscribe();
        while !bytes.is_empty() {
            if self.line.lock().say_piece(of, &mut bytes) {
                self.tell();
            } else if news.changed().await.is_err() {
                break;
            }
        }
        of
    }

    /// The client has ended: says so.
    pub(super) fn end(&self) {
        let why = self.client.why_ended();
        let ended = v1::client_reply::Ended { error: why.as_deref().map(Into::into) };
        let mut line = self.line.lock();
        line.outbox.say(Reply::Ended(ended), 0);
        line.is_over = true;
        drop(line);
        self.tell();
    }

    /// Resolves when the client has heard all that there is to say.
    pub(super) async fn all_heard(&self) {
        let mut news = self.news.subscribe();
        while !self.line.lock().outbox.is_empty() {
            if news.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Says on one connection what there is to say.
struct Writer {
    session: Arc<Session>,
    connection: u64,
    /// The number of the last message that was said on it, or before it.
    at: u64,
    first: Option<Reply>,
    news: watch::Receiver<u64>,
}

impl Writer {
    async fn next(&mut self) -> Option<v1::ClientReply> {
        loop {
            self.news.borrow_and_update();
            if let Some(said) = self.now()? {
                return Some(said);
            }
            self.news.changed().await.ok()?;
        }
    }

    /// What is to be said now, if anything is; none at all: the connection is over.
    fn now(&mut self) -> Option<Option<v1::ClientReply>> {
        let mut line = self.session.line.lock();
        if line.connection != self.connection {
            return None;
        }
        if let Some(first) = self.first.take() {
            return Some(Some(line.reply(0, first)));
        }
        if let Some((number, message)) = line.outbox.after(self.at) {
            self.at = number;
            return Some(Some(line.reply(number, message)));
        }
        if line.is_over && line.outbox.is_empty() {
            return None;
        }
        Some(line.owes_heard().then(|| line.reply(0, Reply::Nothing(v1::Heard {}))))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.session.is_away(self.connection);
    }
}

/// That a request cannot be taken in.
pub(super) fn too_many(max: usize) -> Error {
    let message = format!(
        "{max} requests of this client have no answer yet (client_requests_max): wait for some first"
    );
    Error::new(ErrorCode::LimitExceeded, message)
}
