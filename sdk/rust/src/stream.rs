//! The objects of a streaming task, in order, as soon as each is yielded.
use crate::bindings::engine::compute::types as wit;
use crate::codec::Value;
use crate::error::{Error, Result};
use crate::executor;
use crate::object::ObjectRef;
use crate::time::nanoseconds;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// What a streaming task yields: an iterator that waits for each value; [`into_async`](Self::into_async)
/// makes it a `futures::Stream`.
///
/// If the task fails, what it yielded before is read first, then comes the error, then the end.
/// Dropping the stream lets the task end.
pub struct Stream<T> {
    task: Arc<wit::Task>,
    is_done: bool,
    value: PhantomData<fn() -> T>,
}

impl<T> Stream<T> {
    pub(crate) fn from_wire(task: wit::Task) -> Self {
        Stream { task: Arc::new(task), is_done: false, value: PhantomData }
    }

    /// The task's id: printable, for logs and listings.
    pub fn id(&self) -> String {
        self.task.id()
    }

    /// Cancels the task and those that it spawned; what it yielded stays readable.
    ///
    /// # Errors
    /// When the cluster could not be told.
    pub fn cancel(&self) -> Result<()> {
        self.task.cancel(false, true).map_err(Error::from_wire)
    }

    /// The reference to the next value, to be passed on without being read here; none at the end.
    ///
    /// # Errors
    /// The failure of the task; GET_TIMEOUT, after which it may be asked again.
    pub fn next_ref(&mut self, timeout: Option<Duration>) -> Result<Option<ObjectRef<T>>> {
        if self.is_done {
            return Ok(None);
        }
        match self.task.next(timeout.map(nanoseconds)) {
            Ok(Some(object)) => Ok(Some(ObjectRef::from_wire(object))),
            Ok(None) => {
                self.is_done = true;
                Ok(None)
            }
            Err(error) => {
                self.is_done = error.code != wit::ErrorCode::GetTimeout;
                Err(Error::from_wire(error))
            }
        }
    }

    /// The same for async code.
    pub fn into_async(self) -> AsyncStream<T> {
        AsyncStream { stream: self, waiting: None }
    }

    /// The references to the values instead of the values.
    pub fn refs(mut self) -> impl Iterator<Item = Result<ObjectRef<T>>> {
        std::iter::from_fn(move || self.next_ref(None).transpose())
    }
}

impl<T: Value> Iterator for Stream<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        match self.next_ref(None) {
            Ok(None) => None,
            Ok(Some(object)) => Some(object.get()),
            Err(error) => Some(Err(error)),
        }
    }
}

impl<T> fmt::Debug for Stream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.id())
    }
}

/// What a streaming task yields, for async code: a `futures::Stream` over [`Stream`]. Items are waited
/// for without holding up the guest's other futures.
#[derive(Debug)]
pub struct AsyncStream<T> {
    stream: Stream<T>,
    waiting: Option<executor::Ticket>,
}

impl<T: Value> futures_core::Stream for AsyncStream<T> {
    type Item = Result<T>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<T>>> {
        if self.stream.is_done {
            return Poll::Ready(None);
        }
        let waitable = executor::Waitable::NextOf(Arc::clone(&self.stream.task));
        let ready = executor::poll(&mut self.waiting, waitable, context);
        ready.map(|()| self.stream.next())
    }
}
