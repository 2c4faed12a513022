//! The clients outside that are attached to this node.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use engine_core::ids::IdMap;
use engine_core::node::Caller;
use engine_core::{Error, InstanceId, JobId, WaitId};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::driver::Driver;
use crate::waits::WaitFuture;

/// By the instance that a client is to the core.
#[derive(Default)]
pub(crate) struct Attached {
    clients: Mutex<IdMap<InstanceId, Entry>>,
}

/// A client that has not ended.
pub(crate) struct Entry {
    job: JobId,
    pub(crate) from: Caller,
    is_taken: bool,
    ended: watch::Sender<End>,
}

/// Whether a client has ended, and with what error.
pub(crate) type End = Option<Option<Arc<Error>>>;

impl Entry {
    /// Tells the client that it has ended.
    pub(crate) fn tell(self, why: Option<Arc<Error>>) {
        self.ended.send_replace(Some(why));
    }
}

impl Attached {
    /// The root of a job is a client, which has yet to take its place.
    pub(crate) fn enter(&self, job: JobId, from: Caller) {
        let entry = Entry { job, from, is_taken: false, ended: watch::Sender::new(None) };
        self.clients.lock().insert(from.instance, entry);
    }

    /// Takes the place of a job's client, which only one may: who it is to the core, and whether it has been
    /// ended. None: nobody is expected.
    pub(crate) fn take(&self, job: JobId) -> Option<(Caller, watch::Receiver<End>)> {
        let mut clients = self.clients.lock();
        let entry = clients.values_mut().find(|entry| entry.job == job && !entry.is_taken)?;
        entry.is_taken = true;
        Some((entry.from, entry.ended.subscribe()))
    }

    /// A client ends: it is none any more. None: this is a sandbox.
    pub(crate) fn leave(&self, instance: InstanceId) -> Option<Entry> {
        self.clients.lock().remove(&instance)
    }
}

/// Resolves when a wait of a client is over; the core forgets it when the client gives it up.
pub(crate) struct ClientWait {
    pub(crate) over: WaitFuture,
    pub(crate) id: WaitId,
    pub(crate) driver: Weak<Driver>,
}

impl Future for ClientWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.over).poll(context)
    }
}

impl Drop for ClientWait {
    fn drop(&mut self) {
        if !self.over.is_over()
            && let Some(driver) = self.driver.upgrade()
        {
            driver.event(|node, _, _| node.give_up_wait(self.id));
        }
    }
}
