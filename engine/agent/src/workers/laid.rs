//! Values on their way to a worker, and those that come from one.

use std::cell::Cell;
use std::sync::Arc;

use engine_core::work::{Call, Life, Start};
use engine_core::{Error, ErrorCode, Handle, InstanceId, Outcome, Place, Value};
use engine_proto::convert::worker::{self, Travels};
use engine_proto::v1;
use engine_proto::v1::worker_answer::{Answer, Outcome as OutcomeWire, outcome};
use engine_runtime::host::Lost;

use super::books::Kept;
use super::worker::Worker;
use crate::driver::Driver;

/// Bytes of values that travel with one message; more are kept, and read where they are needed.
const INLINE_BYTES_MAX: u64 = 64 << 20;

impl Worker {
    /// How a value travels to the worker: small ones with the message, of large ones the number by which they are
    /// kept.
    fn lay(&self, value: &Value, origin: Option<Lost>, inline_left: &Cell<u64>) -> Travels {
        let most = inline_left.get().min(self.options.setup.inline_object_bytes_max);
        let inline = engine_objects::slice(&value.place).filter(|bytes| bytes.len() as u64 <= most);
        if value.size == 0 {
            return Travels::Inline(bytes::Bytes::new());
        }
        if let Some(bytes) = inline {
            inline_left.set(inline_left.get() - bytes.len() as u64);
            return Travels::Inline(bytes::Bytes::copy_from_slice(bytes));
        }
        let kept = Kept { place: value.place.clone(), size: value.size, origin, is_written: false };
        match self.books.lock().keep(kept) {
            Ok(number) => Travels::Kept(number),
            Err(error) => {
                // Of a number that nobody has given nothing can be read.
                tracing::warn!(tenant = %self.tenant(), "a value is not given to a worker: {error}");
                Travels::Kept(0)
            }
        }
    }

    /// A failure for a sandbox.
    pub(super) fn failure(&self, instance: Option<InstanceId>, error: &Error) -> v1::WorkerFailure {
        let Some(instance) = instance else {
            return v1::WorkerFailure { error: Some(error.into()), payload: None };
        };
        // Guests get what a failing one attached together with the error, wherever it lies.
        let payload = error.payload().filter(|payload| {
            let length = engine_objects::bytes(payload).len() as u64;
            length == payload.size && length <= INLINE_BYTES_MAX
        });
        if let Some(payload) = payload {
            self.books.lock().show(instance, &payload.handles);
        }
        let inline =
            |payload: &Value| Travels::Inline(bytes::Bytes::copy_from_slice(engine_objects::bytes(payload)));
        v1::WorkerFailure {
            error: Some(error.into()),
            payload: payload.map(|payload| worker::value(payload, &inline)),
        }
    }

    /// A call for a sandbox.
    pub(super) fn call(&self, instance: InstanceId, call: &Call) -> v1::WorkerCall {
        let mut books = self.books.lock();
        books.enters(instance, call.task);
        call.arguments.iter().for_each(|argument| books.show(instance, &argument.handles));
        drop(books);
        let (index, inline_left) = (Cell::new(0), Cell::new(INLINE_BYTES_MAX));
        worker::call(call, &|argument| {
            let at = index.replace(index.get() + 1);
            self.lay(argument, Some(Lost::Argument(call.task, at)), &inline_left)
        })
    }

    /// The start of a sandbox, with its first call.
    pub(super) fn start_message(&self, start: &Start) -> v1::to_worker::Start {
        if let Life::Actor { actor, .. } = start.life {
            // It may ask for a handle to itself.
            self.books.lock().show(start.instance, &[Handle::Actor(actor)]);
        }
        let call = self.call(start.instance, &start.call);
        let without = Start { call: Call { arguments: Vec::new(), ..start.call.clone() }, ..start.clone() };
        let message = worker::start(&without, &|_| Travels::Kept(0));
        v1::to_worker::Start { call: Some(call), ..message }
    }

    /// What became of an object, for a sandbox that holds it.
    pub(super) fn outcome(
        &self,
        instance: InstanceId,
        object: engine_core::ObjectId,
        became: Option<Outcome>,
    ) -> Answer {
        let outcome = became.map(|became| match became {
            Ok(value) => {
                self.books.lock().show(instance, &value.handles);
                let origin = Some(Lost::Object(object));
                outcome::Outcome::Value(worker::value(&value, &|value| {
                    self.lay(value, origin, &Cell::new(INLINE_BYTES_MAX))
                }))
            }
            Err(error) => outcome::Outcome::Failed(self.failure(Some(instance), &error)),
        });
        Answer::Outcome(OutcomeWire { outcome })
    }

    /// Where the bytes of a value lie that has come from the worker.
    pub(super) fn take(&self, driver: &Driver, travels: Travels) -> Result<(Place, u64), Error> {
        match travels {
            Travels::Inline(bytes) if bytes.is_empty() => Ok((Place::default(), 0)),
            Travels::Inline(bytes) => {
                let (size, bytes) = (bytes.len() as u64, Vec::from(bytes));
                match driver.store.write(&[&bytes]) {
                    Err(error) if error.code() == ErrorCode::StoreFull => {
                        Ok((engine_objects::on_heap(bytes), size))
                    }
                    placed => placed.map(|place| (place, size)),
                }
            }
            Travels::Kept(number) => {
                let books = self.books.lock();
                let kept = books.kept(number)?;
                Ok((kept.place.clone(), kept.size))
            }
        }
    }
}

/// Whether a sandbox holds all that is inside of what it gives.
///
/// # Errors
/// PERMISSION_DENIED when it does not.
pub(super) fn check_held<'a>(
    driver: &Arc<Driver>,
    instance: InstanceId,
    mut values: impl Iterator<Item = &'a Value>,
) -> Result<(), Error> {
    let holds = |handles: &[Handle]| driver.read(|node| node.holds(instance, handles));
    match values.find(|value| !value.handles.is_empty() && !holds(&value.handles)) {
        None => Ok(()),
        Some(_) => Err(Error::new(
            ErrorCode::PermissionDenied,
            format!("the sandbox {instance} gives a value with handles inside that it does not hold"),
        )),
    }
}
