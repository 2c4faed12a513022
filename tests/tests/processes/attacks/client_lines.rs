//! A client that is attached to a node, and says whatever it likes on its line.

use std::collections::HashMap;

use engine_client::messages as v1;
use engine_client::messages::client_answer::Answer;
use engine_client::messages::client_message::{Attach, Message};
use engine_client::messages::client_reply::Message as Reply;
use engine_client::messages::client_request::Request;
use engine_proto::version;
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tower::service_fn;

use crate::tenants::Tenant;

/// A channel to the engine of this place.
pub(super) async fn channel(place: &engine_tests::Place) -> Channel {
    let path = place.socket();
    let connect = move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    };
    Endpoint::from_static("http://localhost")
        .connect_with_connector(service_fn(connect))
        .await
        .expect("it is connected")
}

/// A request with this tenant's token.
pub(super) fn stamped<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert(version::PROTOCOL_KEY, version::PROTOCOL.into());
    // The secret: what follows on the authority, where there is one.
    let token: engine_client::AccessToken = token.parse().expect("a token");
    let bearer = format!("Bearer {}", token.secret()).parse().expect("text");
    request.metadata_mut().insert("authorization", bearer);
    request
}

/// Submits a job whose root is a client.
pub(super) async fn job_of_client(who: &Tenant<'_>) -> String {
    let spec = v1::JobSpec {
        entry: Some(v1::job_spec::Entry::Client(v1::ClientEntry {})),
        attached: true,
        ..v1::JobSpec::default()
    };
    let job = who.client().await.submit(spec).await.expect("it is taken");
    job.id().to_owned()
}

/// The bits of an id, as they travel.
pub(super) fn bits(id: &str) -> v1::Id {
    let (_, digits) = id.rsplit_once('-').expect("an id");
    let (digits, index) = digits.split_once('.').unwrap_or((digits, ""));
    let index = match index.strip_prefix('p') {
        Some(put) => put.parse::<u64>().expect("a number") | 1 << 31,
        None if index.is_empty() => 0,
        None => index.parse::<u64>().expect("a number") + 1,
    };
    let high = u64::from_str_radix(&digits[..16], 16).expect("digits");
    let low = u64::from_str_radix(&digits[16..], 16).expect("digits");
    v1::Id { high, low: low << 32 | index }
}

/// The line of a client.
pub(super) struct Line {
    say: mpsc::Sender<v1::ClientMessage>,
    replies: Streaming<v1::ClientReply>,
    number: u64,
    heard: u64,
    answers: HashMap<u64, Answer>,
}

impl Line {
    /// Attaches itself as the client of this job.
    pub(super) async fn attach(who: &Tenant<'_>, job: &str) -> Result<Self, Status> {
        let (mut say, said) = mpsc::channel(1_024);
        let attach = Attach { job: Some(bits(job)), key: vec![7; 16] };
        let first =
            v1::ClientMessage { message: Some(Message::Attach(attach)), ..v1::ClientMessage::default() };
        say.send(first).await.expect("it is open");
        let mut clients = v1::clients_client::ClientsClient::new(channel(who.place).await);
        let mut replies = clients.attach(stamped(&who.token, said)).await?.into_inner();
        let first = replies.message().await?.ok_or_else(|| Status::aborted("it said nothing"))?;
        assert!(matches!(first.message, Some(Reply::Attached(_))), "{first:?}");
        Ok(Self { say, replies, number: 0, heard: 0, answers: HashMap::new() })
    }

    /// Says something, and does not say that anything was heard; false: nobody listens any more.
    pub(super) async fn say(&mut self, message: Message) -> bool {
        self.number += 1;
        let said = v1::ClientMessage { number: self.number, heard: self.heard, message: Some(message) };
        self.say.send(said).await.is_ok()
    }

    /// Asks for something, and waits for the answer.
    pub(super) async fn ask(&mut self, request: Request) -> Answer {
        assert!(self.say(Message::Request(v1::ClientRequest { request: Some(request) })).await, "it listens");
        let number = self.number;
        loop {
            if let Some(answer) = self.answers.remove(&number) {
                return answer;
            }
            let reply = self.replies.message().await.expect("it goes on").expect("it says something");
            self.heard = self.heard.max(reply.number);
            if let Some(Reply::Answer(answer)) = reply.message {
                self.answers.insert(answer.to, answer.answer.expect("an answer"));
            }
        }
    }

    /// Waits until the node ends the connection, and takes whatever it says until then.
    pub(super) async fn ended(mut self) {
        while let Some(Ok(_)) = self.replies.next().await {}
    }

    /// The same for a request that is to fail: the error.
    pub(super) async fn refused(&mut self, request: Request) -> v1::Error {
        match self.ask(request.clone()).await {
            Answer::Failed(failed) => failed.error.expect("an error"),
            other => panic!("{request:?} gave {other:?}"),
        }
    }
}
