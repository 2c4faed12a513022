//! Streams: what is given to one is done in order, later; transfers, and events to wait for.

use std::fmt;
use std::sync::Arc;

use crate::backend::{FIRST_QUEUE, QueueKey};
use crate::dtype::Element;
use crate::error::{Code, Error, Result, invalid};
use crate::session::buffer::Buffer;
use crate::session::{Session, Shared};

/// A queue of work. What two streams do to the same buffer is in no order, unless one waits for an event of
/// the other. Where a device has one queue (wgpu), all streams are in the order of their calls.
///
/// Clones are the same stream.
#[derive(Clone)]
pub struct Stream {
    pub(super) shared: Arc<Shared>,
    open: Arc<OpenQueue>,
}

struct OpenQueue {
    shared: Arc<Shared>,
    queue: QueueKey,
}

/// A moment in a stream: everything that it had been given before.
#[derive(Clone)]
pub struct Event {
    shared: Arc<Shared>,
    open: Arc<OpenQueue>,
    ticket: u64,
}

impl Session {
    /// The stream that every session has.
    pub fn stream(&self) -> Stream {
        let open = OpenQueue { shared: self.shared.clone(), queue: FIRST_QUEUE };
        Stream { shared: self.shared.clone(), open: Arc::new(open) }
    }

    /// One more stream.
    ///
    /// # Errors
    /// LIMIT_EXCEEDED at `streams_max`; GPU_DEVICE_LOST.
    pub fn open_stream(&self) -> Result<Stream> {
        let queue = self.shared.state.lock().open_queue()?;
        let open = OpenQueue { shared: self.shared.clone(), queue };
        Ok(Stream { shared: self.shared.clone(), open: Arc::new(open) })
    }
}

impl Stream {
    pub(super) fn queue(&self) -> QueueKey {
        self.open.queue
    }

    /// Puts values into the buffer from element `offset` on. The values may change as soon as this returns.
    ///
    /// # Errors
    /// GPU_OUT_OF_BOUNDS; INVALID_ARGUMENT for another type than the buffer's; LIMIT_EXCEEDED at
    /// `launches_queued_max`; GPU_DEVICE_LOST.
    pub fn upload<T: Element>(&self, buffer: &Buffer, offset: u64, values: &[T]) -> Result<()> {
        check_type::<T>(buffer, "upload")?;
        self.upload_bytes(buffer, offset, bytemuck::cast_slice(values))
    }

    /// The same with bytes of whole elements, little-endian.
    ///
    /// # Errors
    /// As [`Stream::upload`]; INVALID_ARGUMENT for a part of an element.
    pub fn upload_bytes(&self, buffer: &Buffer, offset: u64, bytes: &[u8]) -> Result<()> {
        buffer.check_session(&self.shared, "upload: what is written to")?;
        let count = whole_elements(buffer, bytes.len(), "upload")?;
        let to = buffer.range(offset, count, "upload")?;
        if count == 0 {
            return Ok(());
        }
        let queue = self.queue();
        let mut state = self.shared.state.lock();
        state.enqueue(queue, [buffer.key], |backend| backend.upload(queue, to, bytes))
    }

    /// Reads `values.len()` values of the buffer from element `offset` on, once everything before it on this
    /// stream has ended. It waits for that.
    ///
    /// # Errors
    /// As [`Stream::upload`].
    pub fn download<T: Element>(&self, buffer: &Buffer, offset: u64, values: &mut [T]) -> Result<()> {
        check_type::<T>(buffer, "download")?;
        self.download_bytes(buffer, offset, bytemuck::cast_slice_mut(values))
    }

    /// The same into bytes of whole elements, little-endian.
    ///
    /// # Errors
    /// As [`Stream::upload_bytes`].
    pub fn download_bytes(&self, buffer: &Buffer, offset: u64, bytes: &mut [u8]) -> Result<()> {
        buffer.check_session(&self.shared, "download: what is read")?;
        let count = whole_elements(buffer, bytes.len(), "download")?;
        let from = buffer.range(offset, count, "download")?;
        if count == 0 {
            return Ok(());
        }
        // What is queued may take long: wait for it without the lock.
        self.record()?.wait()?;
        let queue = self.queue();
        let mut state = self.shared.state.lock();
        state.enqueue(queue, [buffer.key], |backend| backend.download(queue, from, bytes))
    }

    /// Sets `count` elements from element `offset` on to a value.
    ///
    /// # Errors
    /// As [`Stream::upload`].
    pub fn fill<T: Element>(&self, buffer: &Buffer, offset: u64, count: u64, value: T) -> Result<()> {
        check_type::<T>(buffer, "fill")?;
        buffer.check_session(&self.shared, "fill: what is written to")?;
        let range = buffer.range(offset, count, "fill")?;
        if count == 0 {
            return Ok(());
        }
        let queue = self.queue();
        let mut state = self.shared.state.lock();
        let pattern = bytemuck::bytes_of(&value);
        state.enqueue(queue, [buffer.key], |backend| backend.fill(queue, range, pattern))
    }

    /// Copies `count` elements between buffers of one type, or inside one between ranges that do not overlap.
    ///
    /// # Errors
    /// As [`Stream::upload`]; INVALID_ARGUMENT for ranges that overlap.
    pub fn copy(
        &self,
        from: &Buffer,
        from_offset: u64,
        to: &Buffer,
        to_offset: u64,
        count: u64,
    ) -> Result<()> {
        from.check_session(&self.shared, "copy: what is read")?;
        to.check_session(&self.shared, "copy: what is written to")?;
        if from.dtype() != to.dtype() {
            return invalid(format!("copy: from {} to {}: cast instead", from.dtype(), to.dtype()));
        }
        let source = from.range(from_offset, count, "copy: what is read")?;
        let target = to.range(to_offset, count, "copy: what is written to")?;
        if count == 0 {
            return Ok(());
        }
        if from.key == to.key && from_offset.abs_diff(to_offset) < count {
            return invalid(format!(
                "copy: {count} elements from {from_offset} and from {to_offset} on of one buffer overlap: \
                 copy through another buffer"
            ));
        }
        let queue = self.queue();
        let mut state = self.shared.state.lock();
        state.enqueue(queue, [from.key, to.key], |backend| backend.copy(queue, source, target))
    }

    /// Sends what was gathered on its way to the device. Nobody needs to: whoever waits, polls or downloads
    /// does it, and so do many launches.
    ///
    /// # Errors
    /// GPU_DEVICE_LOST.
    pub fn flush(&self) -> Result<()> {
        let queue = self.queue();
        self.shared.state.lock().ask(|backend| backend.flush(queue))
    }

    /// This moment of the stream.
    ///
    /// # Errors
    /// GPU_DEVICE_LOST.
    pub fn record(&self) -> Result<Event> {
        let queue = self.queue();
        let mut state = self.shared.state.lock();
        state.ask(|backend| backend.flush(queue))?;
        let ticket = state.backend.issued(queue);
        Ok(Event { shared: self.shared.clone(), open: self.open.clone(), ticket })
    }

    /// What this stream is given from now on begins after the event, which may be another stream's.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for an event of another session; GPU_DEVICE_LOST.
    pub fn wait_for(&self, event: &Event) -> Result<()> {
        if !Arc::ptr_eq(&self.shared, &event.shared) {
            return invalid("the event is of another session: only events of the same one can be waited for");
        }
        let (queue, after, ticket) = (self.queue(), event.open.queue, event.ticket);
        if queue == after {
            return Ok(());
        }
        self.shared.state.lock().ask(|backend| backend.order(queue, after, ticket))
    }

    /// Waits until everything that the stream was given has ended.
    ///
    /// # Errors
    /// GPU_DEVICE_LOST.
    pub fn synchronize(&self) -> Result<()> {
        self.record()?.wait()
    }
}

impl Event {
    /// Whether everything before it has ended.
    ///
    /// # Errors
    /// GPU_DEVICE_LOST.
    pub fn is_done(&self) -> Result<bool> {
        let queue = self.open.queue;
        Ok(self.shared.state.lock().ask(|backend| backend.completed(queue))? >= self.ticket)
    }

    /// Waits for that. Other threads may use the session meanwhile.
    ///
    /// # Errors
    /// GPU_DEVICE_LOST.
    pub fn wait(&self) -> Result<()> {
        let (queue, ticket) = (self.open.queue, self.ticket);
        let waiter = self.shared.state.lock().ask(|backend| backend.waiter(queue, ticket))?;
        waiter().inspect_err(|error| self.shared.state.lock().note(error))?;
        self.shared.state.lock().collect()
    }
}

impl Drop for OpenQueue {
    fn drop(&mut self) {
        if self.queue != FIRST_QUEUE {
            self.shared.state.lock().drop_queue(self.queue);
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.queue().0)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event({} of stream {})", self.ticket, self.open.queue.0)
    }
}

fn check_type<T: Element>(buffer: &Buffer, what: &str) -> Result<()> {
    if T::DTYPE == buffer.dtype() {
        return Ok(());
    }
    invalid(format!("{what}: values of {} for a buffer of {}: cast them", T::DTYPE, buffer.dtype()))
}

fn whole_elements(buffer: &Buffer, bytes: usize, what: &str) -> Result<u64> {
    let (bytes, size) = (bytes as u64, buffer.dtype().bytes());
    if bytes % size == 0 {
        return Ok(bytes / size);
    }
    Err(Error::new(
        Code::InvalidArgument,
        format!("{what}: {bytes} bytes are no whole number of {} ({size} bytes each)", buffer.dtype()),
    ))
}
