//! Waits of guests: the fiber sleeps, the thread does not.

use std::time::Duration;

use engine_core::{Error, ErrorCode, ObjectId, Value};

use crate::errors::HostError;
use crate::guest::Guest;
use crate::host::{Until, Wait, Waitable};

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

/// GET_TIMEOUT (contract O1).
pub(crate) fn timed_out(what: &str, timeout: Option<u64>) -> Error {
    let after = match timeout {
        Some(nanos) => format!("after {:?}", Duration::from_nanos(nanos)),
        None => "when the wait ended".to_owned(),
    };
    Error::new(
        ErrorCode::GetTimeout,
        format!("{what} was not there {after}; whatever makes it goes on, and it can be waited for again"),
    )
}
