//! Values for which memory has no room: on their way to a place, and on their way back from disk.

use std::sync::Arc;
use std::time::Duration;

use engine_core::resources::bytes;
use engine_core::work::Call;
use engine_core::{Error, ErrorCode, ObjectId, Residence, Value};

use crate::errors::HostError;
use crate::guest::Guest;
use crate::host::{Caller, Host, Lost, Until, Wait, Waitable};
use crate::imports::timed_out;

/// Finds a place for a value that found none when it was received.
///
/// # Errors
/// OUT_OF_DISK or STORE_FULL when there is none.
pub async fn house(host: &Arc<dyn Host>, from: Caller, value: &mut Value) -> Result<(), Error> {
    let is_small = value.size <= host.inline_object_bytes_max() as u64;
    if !is_small && value.place.residence() == Residence::Inline {
        let place = std::mem::take(&mut value.place);
        value.place = host.store_when_room(from, place).await?;
    }
    Ok(())
}

/// The same for all that a call returned.
pub(crate) async fn house_all(
    host: &Arc<dyn Host>,
    from: Caller,
    result: Result<Vec<Value>, Error>,
) -> Result<Vec<Value>, Error> {
    let mut values = result?;
    for value in &mut values {
        house(host, from, value).await?;
    }
    Ok(values)
}

/// The value of an object with its bytes in memory, once it is there. `timeout` is in nanoseconds.
///
/// # Errors
/// What became of the object instead, GET_TIMEOUT, and LIMIT_EXCEEDED for one of more than
/// `memory_bytes_max`.
pub async fn value_in_memory(
    host: &Arc<dyn Host>,
    from: Caller,
    object: ObjectId,
    timeout: Option<u64>,
    memory_bytes_max: u64,
) -> Result<Value, Error> {
    value_of_size(host, from, object, timeout, memory_bytes_max, memory_bytes_max).await
}

/// The same for what is read where it lies, of any size; of more than `heap_bytes_max` only what has no
/// place in memory is refused.
pub(crate) async fn value_in_place(
    host: &Arc<dyn Host>,
    from: Caller,
    object: ObjectId,
    timeout: Option<u64>,
    heap_bytes_max: u64,
) -> Result<Value, Error> {
    value_of_size(host, from, object, timeout, u64::MAX, heap_bytes_max).await
}

async fn value_of_size(
    host: &Arc<dyn Host>,
    from: Caller,
    object: ObjectId,
    timeout: Option<u64>,
    memory_bytes_max: u64,
    heap_bytes_max: u64,
) -> Result<Value, Error> {
    loop {
        // Waits also for one that is on disk, as long as it can be brought back.
        let is_here = |value: &Value| value.place.residence().is_memory();
        let mut outcome = host.outcome(from, object);
        let was_pending = outcome.is_none();
        if !matches!(&outcome, Some(Ok(value)) if is_here(value)) && !matches!(outcome, Some(Err(_))) {
            let timeout = timeout.map(Duration::from_nanos);
            if let Wait::Blocked(over) =
                host.wait(from, &[Waitable::Value(object)], Until::AllOrFailure, timeout)
            {
                over.await;
            }
            outcome = host.outcome(from, object);
        }
        let value = match outcome {
            Some(Ok(value)) => value,
            Some(Err(error)) => return Err(Error::clone(&error)),
            None => return Err(timed_out(&format!("object {object}"), timeout)),
        };
        if value.size > memory_bytes_max {
            return Err(too_large_for_guest(&format!("object {object}"), value.size, memory_bytes_max));
        }
        if is_here(&value) {
            return Ok(value);
        }
        // It is known by now where its bytes are: they are waited for in turn.
        if was_pending {
            continue;
        }
        if value.size > heap_bytes_max {
            return Err(too_large_for_guest(&format!("object {object}"), value.size, heap_bytes_max));
        }
        if let Some(value) = read_whole(host, value, Lost::Object(object)).await? {
            return Ok(value);
        }
    }
}

/// Brings the arguments of a call that are on disk, because memory has no room, to where the guest can
/// have them.
pub(crate) async fn arguments_in_memory(
    host: &Arc<dyn Host>,
    call: &mut Call,
    memory_bytes_max: u64,
) -> Result<(), Error> {
    let task = call.task;
    let mut left = memory_bytes_max;
    for (index, value) in call.arguments.iter_mut().enumerate() {
        let max = left;
        left = left.saturating_sub(value.size);
        if value.place.residence().is_memory() {
            continue;
        }
        if value.size > max {
            return Err(too_large_for_guest(&format!("argument {index}"), value.size, max));
        }
        match read_whole(host, value.clone(), Lost::Argument(task, index)).await? {
            Some(read) => *value = read,
            None => {
                return Err(Error::new(
                    ErrorCode::ObjectLost,
                    format!(
                        "argument {index} was lost on disk; the task is run again when it was made again"
                    ),
                ));
            }
        }
    }
    Ok(())
}

/// The value with its bytes on the heap; none when they are lost, which the node knows then.
async fn read_whole(host: &Arc<dyn Host>, value: Value, what: Lost) -> Result<Option<Value>, Error> {
    match host.read(value.place.clone(), 0, value.size).await {
        Ok(bytes) => Ok(Some(Value { place: engine_objects::on_heap(bytes), ..value })),
        Err(error) if error.code() == ErrorCode::ObjectLost => {
            host.lost(what, &error);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// LIMIT_EXCEEDED for bytes that a guest has no memory for: the host does not read them for nothing.
pub(crate) fn too_large_for_guest(what: &str, size: u64, max: u64) -> Error {
    Error::new(
        ErrorCode::LimitExceeded,
        format!(
            "{what} takes {}, and the guest has at most {} of memory for it: read it in parts (`read`), get fewer at once, or ask for more memory",
            bytes(size),
            bytes(max)
        ),
    )
}

impl Guest {
    /// The value of an object with its bytes in memory, once it is there.
    pub(crate) async fn value_in_memory(
        &mut self,
        object: ObjectId,
        timeout: Option<u64>,
    ) -> Result<Value, HostError> {
        let (host, from, max) = (self.host.clone(), self.caller(), self.limiter.max());
        Ok(value_in_memory(&host, from, object, timeout, max).await?)
    }

    /// Finds a place for a value that found none when it was received.
    pub(crate) async fn house(&mut self, from: Caller, value: &mut Value) -> Result<(), Error> {
        let host = self.host.clone();
        house(&host, from, value).await
    }
}
