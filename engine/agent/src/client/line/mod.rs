//! Clients that are attached from elsewhere: each has a line that outlives its connections, as
//! `proto/engine/v1/clients.proto` says, and what it asks for is asked of a [`Client`] in its place.

mod answer;
mod held;
mod pieces;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use engine_core::ids::IdMap;
use engine_core::{Error, ErrorCode, JobId};
use engine_net::{ClientMessages, Replies, Scope};
use engine_proto::convert::peer::id_from;
use engine_proto::limits::CLIENT_KEY_BYTES;
use engine_proto::v1;
use futures::StreamExt;
use parking_lot::Mutex;

use crate::background::{self, Kind};
use crate::client::Client;
use crate::driver::Driver;
use pieces::Room;
use session::Session;

/// How long a connection may take to say whose it is.
const ATTACH_TIME_MAX: Duration = Duration::from_secs(10);
/// How long the end of a client is kept for it to hear.
const ENDED_KEPT: Duration = Duration::from_secs(30);

type Key = [u8; CLIENT_KEY_BYTES];

/// The clients that are attached to this node from elsewhere, by their jobs.
pub(crate) struct Lines {
    sessions: Mutex<IdMap<JobId, Arc<Session>>>,
    room: Arc<Room>,
}

impl Lines {
    /// Of a node whose store has so many bytes.
    pub(crate) fn new(store_bytes_max: u64) -> Self {
        Self { sessions: Mutex::default(), room: Arc::new(Room::new(store_bytes_max)) }
    }

    /// Attaches a client, or brings one back.
    ///
    /// # Errors
    /// NOT_FOUND when its job expects none, PERMISSION_DENIED when it is another one's.
    pub(crate) async fn attach(
        &self,
        driver: &Arc<Driver>,
        scope: &Scope,
        mut messages: ClientMessages,
    ) -> Result<Replies<v1::ClientReply>, Error> {
        let first = tokio::time::timeout(ATTACH_TIME_MAX, messages.next()).await.map_err(|_| {
            Error::new(ErrorCode::DeadlineExceeded, format!("nothing was said for {ATTACH_TIME_MAX:?}"))
        })?;
        let Some(first) = first.transpose()? else {
            return Err(Error::invalid_argument("a client that says nothing cannot be attached"));
        };
        let Some(v1::client_message::Message::Attach(attach)) = first.message else {
            return Err(Error::invalid_argument("the first message of a client is ClientMessage.attach"));
        };
        let job = attach.job.map(id_from).ok_or_else(|| Error::invalid_argument("Attach.job is missing"))?;
        let key: Key = attach.key.as_slice().try_into().map_err(|_| {
            Error::invalid_argument(format!(
                "Attach.key has {} bytes instead of {CLIENT_KEY_BYTES}",
                attach.key.len()
            ))
        })?;
        if !driver.jobs.sees(scope, job) {
            return Err(nobody_expected(job));
        }
        self.session(driver, job, key)?.connect(first.heard, messages)
    }

    fn session(&self, driver: &Arc<Driver>, job: JobId, key: Key) -> Result<Arc<Session>, Error> {
        let mut sessions = self.sessions.lock();
        if let Some(known) = sessions.get(&job) {
            return match known.is_of(key) {
                true => Ok(known.clone()),
                false => Err(Error::new(
                    ErrorCode::PermissionDenied,
                    format!("the root of {job} is another client, and only that one may come back"),
                )),
            };
        }
        let client = Client::take(driver, job).ok_or_else(|| nobody_expected(job))?;
        let session = Session::new(client, key, self.room.clone());
        sessions.insert(job, session.clone());
        drop(background::spawn_on(
            &driver.background,
            Kind::Client,
            until_ended(driver.clone(), session.clone()),
        ));
        Ok(session)
    }

    /// Lets all of them go, as the node ends.
    pub(crate) fn close(&self) {
        self.sessions.lock().clear();
    }
}

fn nobody_expected(job: JobId) -> Error {
    let message = format!("{job} expects no client here: it has ended, or its root is none");
    Error::new(ErrorCode::NotFound, message)
}

/// Tells a client of its end, and forgets it once it has heard, or had its time to.
async fn until_ended(driver: Arc<Driver>, session: Arc<Session>) {
    let job = session.client().job();
    session.client().ended().await;
    session.end();
    drop(tokio::time::timeout(ENDED_KEPT, session.all_heard()).await);
    let gone = driver.lines.sessions.lock().remove(&job);
    drop(gone);
}

/// That the client of a job attaches itself here.
///
/// # Errors
/// NOT_FOUND when the job expects none.
pub(crate) fn locate(
    driver: &Arc<Driver>,
    scope: &Scope,
    job: JobId,
) -> Result<v1::LocateClientResponse, Error> {
    let node = driver.read(|node| node.client_of(job).map(|_| node.id()));
    let node = node.filter(|_| driver.jobs.sees(scope, job));
    let node = node.ok_or_else(|| nobody_expected(job))?;
    Ok(v1::LocateClientResponse { node_id: node.to_string(), ..v1::LocateClientResponse::default() })
}
