//! Keeps the line of a session: makes its connections, and one after another when they break.

use std::sync::Arc;
use std::time::Duration;

use engine_core::{Error as EngineError, ErrorCode, JobId};
use engine_proto::address::Address;
use engine_proto::convert::peer::id;
use engine_proto::v1;
use engine_proto::v1::client_message::{Attach, Message};
use engine_proto::v1::client_reply::{Attached, Message as Said};
use engine_tls::AccessToken;
use futures::stream;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};
use tonic::Streaming;

use crate::attach::{PAUSE, PAUSE_MAX, UNKNOWN_MAX};
use crate::client::Client;
use crate::connect::Keepalive;
use crate::error::{Error, Result};
use crate::job::Job;
use crate::session::line::Line;

/// One attempt to reach the node, or to hear how the job is.
const ATTEMPT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the node may take to close the connection once it has said that nothing follows.
const LAST_WORD_TIME_MAX: Duration = Duration::from_secs(1);
/// A node that is silent is away well before the `client_grace` of others has passed.
const KEEPALIVE: Keepalive = Keepalive { interval: Duration::from_secs(5), timeout: Duration::from_secs(5) };

/// Why there is no connection, and will be none.
pub(super) enum Over {
    /// The session had ended in order.
    Closed,
    /// Something went wrong.
    Because(EngineError),
}

/// How the line of one session is kept.
pub(super) struct Keeper {
    pub(super) line: Arc<Line>,
    pub(super) job: Job,
    pub(super) id: JobId,
    /// By which the node knows the client when it comes back.
    pub(super) key: Vec<u8>,
    /// Shown where the engine's own address has none.
    pub(super) credentials: Option<std::path::PathBuf>,
    /// Where the node is, once that is known.
    pub(super) node: Option<Address>,
    /// Since when an engine answers that does not know the job.
    pub(super) unknown_since: Option<Instant>,
}

/// A connection that the node has accepted.
pub(super) struct Connection {
    number: u64,
    replies: Streaming<v1::ClientReply>,
    client: Client,
}

impl Keeper {
    /// Keeps the line until the session has ended. Others are tried for `away_max` when a connection breaks.
    pub(super) async fn keep(mut self, mut connection: Connection, away_max: Duration) {
        loop {
            let broke = connection.listen(&self.line).await;
            self.line.disconnected();
            let Some(error) = broke else { return };
            match self.reach(Some(error), away_max).await {
                Ok((again, _)) => connection = again,
                Err(Over::Closed) => return self.line.over(None),
                Err(Over::Because(error)) => return self.line.over(Some(error)),
            }
        }
    }

    /// Connects to the node; tried again for so long while nobody answers. `broke`: why the last connection
    /// is none any more.
    pub(super) async fn reach(
        &mut self,
        broke: Option<Error>,
        away_max: Duration,
    ) -> std::result::Result<(Connection, Attached), Over> {
        let since = Instant::now();
        let mut pause = PAUSE;
        self.unknown_since = None;
        loop {
            let time_max = away_max.saturating_sub(since.elapsed()).min(ATTEMPT_TIME_MAX);
            let failed = match timeout(time_max, self.attach()).await {
                Ok(Ok(attached)) => return Ok(attached),
                Ok(Err(error)) => error,
                Err(_) => self.silent(),
            };
            self.line.disconnected();
            self.look_at_job().await?;
            if !failed.is_unreachable() {
                return Err(Over::Because(failed.into_engine()));
            }
            if since.elapsed() + pause >= away_max {
                // Why it broke says more than that nobody listens there now.
                let error = broke.unwrap_or(failed).into_engine();
                let said = format!("{}; others were tried for {away_max:?}", error.message());
                return Err(Over::Because(EngineError::new(error.code(), said)));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn silent(&self) -> Error {
        let address = self.node.as_ref().unwrap_or_else(|| self.job.client().address()).clone();
        Error::Unreachable { address, reason: format!("it has not answered for {ATTEMPT_TIME_MAX:?}") }
    }

    /// Whether the job is over according to the engine that it was submitted to.
    async fn look_at_job(&mut self) -> std::result::Result<(), Over> {
        let mut job = self.job.clone();
        let Ok(asked) = timeout(ATTEMPT_TIME_MAX, job.refresh()).await else { return Ok(()) };
        match asked {
            Ok(view) if view.state().is_final() => Err(match (&view.error, view.state()) {
                (Some(error), _) => Over::Because(error.clone().into()),
                (None, v1::JobState::Succeeded) => Over::Closed,
                (None, _) => Over::Because(EngineError::new(ErrorCode::TaskCancelled, "it was stopped")),
            }),
            Ok(_) => {
                self.unknown_since = None;
                Ok(())
            }
            Err(error) if error.code() == Some(ErrorCode::NotFound) => {
                let unknown_since = *self.unknown_since.get_or_insert_with(Instant::now);
                match self.job.client().is_outlived_by_jobs() && unknown_since.elapsed() < UNKNOWN_MAX {
                    true => Ok(()),
                    false => Err(Over::Because(error.into_engine())),
                }
            }
            Err(_) => Ok(()),
        }
    }

    async fn attach(&mut self) -> Result<(Connection, Attached)> {
        let (node, token) = match &self.node {
            Some(node) => (node.clone(), None),
            None => {
                let (node, token) = self.locate().await?;
                // What is shown there in a token's place is good for a moment only.
                self.node = token.is_none().then(|| node.clone());
                (node, token)
            }
        };
        let client = Client::connect_with(node, token, KEEPALIVE).await?;
        let (number, heard) = self.line.begin();
        let (tell, heard_there) = oneshot::channel();
        let attach = Attach { job: Some(id(self.id)), key: self.key.clone() };
        let says = Says {
            line: self.line.clone(),
            connection: number,
            attach: Some(v1::ClientMessage { number: 0, heard, message: Some(Message::Attach(attach)) }),
            heard_there: Some(heard_there),
            at: 0,
            news: self.line.news(),
        };
        let messages = stream::unfold(says, |mut says| async move { Some((says.next().await?, says)) });
        let replies = client.clients().attach(messages).await.map_err(client.failed())?;
        let mut replies = replies.into_inner();
        let (heard, attached) = match replies.message().await.map_err(client.failed())? {
            Some(v1::ClientReply { heard, message: Some(Said::Attached(attached)), .. }) => (heard, attached),
            Some(_) => return Err(EngineError::internal("the node began with something else").into()),
            None => return Err(closed(&client)),
        };
        self.line.attached(number, heard)?;
        // Whoever says on it is gone when the connection broke meanwhile.
        tell.send(heard).ok();
        Ok((Connection { number, replies, client }, attached))
    }

    /// Where the node is.
    async fn locate(&self) -> Result<(Address, Option<AccessToken>)> {
        let client = self.job.client();
        let request = v1::LocateClientRequest { job_id: self.id.to_string() };
        let found = client.clients().locate(request).await.map_err(client.failed())?.into_inner();
        let at = found.address;
        if at.is_empty() {
            return Ok((client.address().clone(), client.token().cloned()));
        }
        let ticket = Some(found.ticket).filter(|ticket| !ticket.is_empty());
        let token =
            client.token().zip(ticket).map(|(token, ticket)| AccessToken::new(ticket, token.fingerprint()));
        let at = at.parse().map_err(|_| {
            EngineError::internal(format!("{} is where the client is to attach itself, and no address", at))
        })?;
        let node = match (client.address(), &self.credentials) {
            (Address::Tls { credentials, .. }, _) => Address::Tls { at, credentials: credentials.clone() },
            (_, Some(credentials)) => Address::Tls { at, credentials: Some(credentials.clone()) },
            (Address::Unix(_) | Address::Tcp(_), None) => Address::Tcp(at),
        };
        Ok((node, token))
    }
}

fn closed(client: &Client) -> Error {
    Error::Unreachable { address: client.address().clone(), reason: "the connection was closed".to_owned() }
}

impl Connection {
    /// Hears what the node says until the connection breaks, and why; none: nothing follows.
    async fn listen(&mut self, line: &Arc<Line>) -> Option<Error> {
        loop {
            match self.replies.message().await {
                Ok(Some(said)) => match line.hear(self.number, said) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        line.over(Some(EngineError::internal(error)));
                        break;
                    }
                },
                Ok(None) => return Some(closed(&self.client)),
                Err(status) => return Some((self.client.failed())(status)),
            }
        }
        // The node closes the connection once it has heard that its last word has come.
        drop(
            timeout(LAST_WORD_TIME_MAX, async { while let Ok(Some(_)) = self.replies.message().await {} })
                .await,
        );
        None
    }
}

/// Says on one connection what there is to say.
struct Says {
    line: Arc<Line>,
    connection: u64,
    attach: Option<v1::ClientMessage>,
    /// How far the node has heard, once it has said so.
    heard_there: Option<oneshot::Receiver<u64>>,
    /// The number of the last message that was said on it, or before it.
    at: u64,
    news: watch::Receiver<()>,
}

impl Says {
    async fn next(&mut self) -> Option<v1::ClientMessage> {
        if let Some(attach) = self.attach.take() {
            return Some(attach);
        }
        if let Some(heard_there) = self.heard_there.take() {
            self.at = heard_there.await.ok()?;
        }
        loop {
            self.news.borrow_and_update();
            if let Some(message) = self.line.next(self.connection, &mut self.at)? {
                return Some(message);
            }
            self.news.changed().await.ok()?;
        }
    }
}
