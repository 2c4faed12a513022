//! Waits of guests: the fiber sleeps, the thread does not.

use std::time::Duration;

use engine_core::ids::IdSet;
use engine_core::{Error, ErrorCode, Handle, ObjectId, Value};

use crate::errors::HostError;
use crate::guest::Guest;
use crate::host::{Caller, Host, Until, Wait, Waitable};

impl Guest {
    /// Waits until `until` or the timeout.
    pub(crate) async fn wait_for(&mut self, items: &[Waitable], until: Until, timeout: Option<Duration>) {
        let host = self.host.clone();
        match host.wait(self.caller(), items, until, timeout) {
            Wait::Ready => {}
            Wait::Blocked(over) => over.await,
        }
    }

    /// The value of an object, once it is there.
    pub(crate) async fn value_of(
        &mut self,
        object: ObjectId,
        timeout: Option<u64>,
    ) -> Result<Value, HostError> {
        let mut outcome = self.host.outcome(self.caller(), object);
        if outcome.is_none() {
            let timeout = timeout.map(Duration::from_nanos);
            self.wait_for(&[Waitable::Object(object)], Until::AllOrFailure, timeout).await;
            outcome = self.host.outcome(self.caller(), object);
        }
        match outcome {
            Some(Ok(value)) => Ok(value),
            Some(Err(error)) => Err(Error::clone(&error).into()),
            None => Err(timed_out(&format!("object {object}"), timeout).into()),
        }
    }
}

/// INVALID_ARGUMENT for a thing that is named twice, and for another number than there are (contract O2).
pub fn check_wait(items: &[Waitable], num_ready: u32) -> Result<(), Error> {
    let mut seen = IdSet::default();
    for (index, item) in items.iter().enumerate() {
        let key = match item {
            Waitable::Object(id) | Waitable::Value(id) => Handle::Object(*id),
            Waitable::NextOf(id) => Handle::Stream(*id),
        };
        if !seen.insert(key) {
            return Err(Error::invalid_argument(format!(
                "wait: the item at index {index} is there twice; each may be waited for once"
            )));
        }
    }
    let count = items.len();
    if count > 0 && (num_ready == 0 || num_ready as usize > count) {
        return Err(Error::invalid_argument(format!(
            "wait: num_ready is {num_ready}; with {count} items it is at least 1 and at most {count}"
        )));
    }
    Ok(())
}

/// The indexes of those that are ready, at most `num_ready`.
pub fn ready_indexes(host: &dyn Host, from: Caller, items: &[Waitable], num_ready: u32) -> Vec<u32> {
    let ready = (0_u32..).zip(items).filter(|(_, item)| host.is_waitable_ready(from, **item));
    ready.map(|(index, _)| index).take(num_ready as usize).collect()
}

/// GET_TIMEOUT (contract O1).
pub fn timed_out(what: &str, timeout: Option<u64>) -> Error {
    let after = match timeout {
        Some(nanos) => format!("after {:?}", Duration::from_nanos(nanos)),
        None => "when the wait ended".to_owned(),
    };
    Error::new(
        ErrorCode::GetTimeout,
        format!("{what} was not there {after}; whatever makes it goes on, and it can be waited for again"),
    )
}
