//! The books of a session: what it holds, what it may hold, and what waits to be released.

use std::collections::HashMap;

use crate::backend::{Backend, FIRST_QUEUE, MemoryKey, QueueKey, Waiter};
use crate::error::{Code, Error, Result, exceeded, internal};
use crate::session::limits::{ALLOCATION_GRANULE_BYTES, SessionLimits, Usage};

/// Keys that are given out, and taken back to be given out again.
#[derive(Debug, Default)]
pub(super) struct Keys {
    next: u32,
    free: Vec<u32>,
    pub(super) held: usize,
}

impl Keys {
    pub(super) fn take(&mut self) -> u32 {
        self.held += 1;
        self.free.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }

    pub(super) fn give_back(&mut self, key: u32) {
        self.held -= 1;
        self.free.push(key);
    }
}

/// Memory that a session has.
#[derive(Debug)]
struct Memory {
    /// As the limit counts them.
    bytes: u64,
    /// The last that each queue was given which uses it.
    uses: Vec<(QueueKey, u64)>,
    /// Nobody holds it; it goes when nothing uses it.
    is_dropped: bool,
}

pub(crate) struct State {
    pub(super) backend: Box<dyn Backend>,
    pub(super) limits: SessionLimits,
    memory: HashMap<MemoryKey, Memory>,
    memory_keys: Keys,
    memory_bytes: u64,
    /// How many of the memories are dropped.
    dropped: usize,
    pub(super) buffers: usize,
    pub(super) kernels: Keys,
    pub(super) queues: Keys,
    open: Vec<QueueKey>,
    closing: Vec<QueueKey>,
    scratch: HashMap<QueueKey, (MemoryKey, u64)>,
    /// How far each queue was when it was asked last.
    ended: HashMap<QueueKey, u64>,
    launches: u64,
    lost: Option<Error>,
}

impl State {
    pub(super) fn new(backend: Box<dyn Backend>, limits: SessionLimits) -> Self {
        let mut queues = Keys::default();
        let first = QueueKey(queues.take());
        debug_assert_eq!(first, FIRST_QUEUE);
        Self {
            backend,
            limits,
            memory: HashMap::new(),
            memory_keys: Keys::default(),
            memory_bytes: 0,
            dropped: 0,
            buffers: 0,
            kernels: Keys::default(),
            queues,
            open: vec![first],
            closing: Vec::new(),
            scratch: HashMap::new(),
            ended: HashMap::new(),
            launches: 0,
            lost: None,
        }
    }

    /// GPU_DEVICE_LOST, once the device is.
    pub(super) fn check_alive(&self) -> Result<()> {
        self.lost.clone().map_or(Ok(()), Err)
    }

    /// Asks the backend for something; a device that is lost stays lost.
    pub(super) fn ask<T>(&mut self, request: impl FnOnce(&mut dyn Backend) -> Result<T>) -> Result<T> {
        self.check_alive()?;
        let answer = request(self.backend.as_mut());
        if let Err(error) = &answer {
            self.note(error);
        }
        answer
    }

    pub(super) fn note(&mut self, error: &Error) {
        if error.code() == Code::DeviceLost && self.lost.is_none() {
            self.lost = Some(error.clone());
        }
    }

    /// Gives the queue something that uses these memories.
    pub(super) fn enqueue<T>(
        &mut self,
        queue: QueueKey,
        uses: impl IntoIterator<Item = MemoryKey>,
        request: impl FnOnce(&mut dyn Backend) -> Result<T>,
    ) -> Result<T> {
        self.check_alive()?;
        self.check_room(queue)?;
        let answer = self.ask(request);
        // Also after an error: a part of it may be on its way.
        let ticket = self.backend.issued(queue);
        for key in uses {
            if let Some(memory) = self.memory.get_mut(&key) {
                match memory.uses.iter_mut().find(|(used, _)| *used == queue) {
                    Some((_, last)) => *last = ticket,
                    None => memory.uses.push((queue, ticket)),
                }
            }
        }
        self.launches += u64::from(answer.is_ok());
        answer
    }

    /// LIMIT_EXCEEDED when too much of what the queue was given has not ended.
    fn check_room(&mut self, queue: QueueKey) -> Result<()> {
        let max = self.limits.launches_queued_max;
        // Asking the device how far it is costs more than a launch: only when there may be no room.
        let known = self.ended.get(&queue).copied().unwrap_or_default();
        if self.backend.issued(queue) - known < max {
            return Ok(());
        }
        self.ask(|backend| backend.flush(queue))?;
        let ended = self.ask(|backend| backend.completed(queue))?;
        self.ended.insert(queue, ended);
        let queued = self.backend.issued(queue) - ended;
        if queued >= max {
            return exceeded(format!(
                "{queued} launches and transfers of this stream have not ended, as many as there may be \
                 (launches_queued_max): wait for an event before giving it more"
            ));
        }
        Ok(())
    }

    /// Zeroed memory, on the session's account.
    pub(super) fn allocate(&mut self, bytes: u64, what: &str) -> Result<MemoryKey> {
        self.check_alive()?;
        let device_max = self.backend.description().limits.buffer_bytes_max;
        if bytes > device_max {
            return exceeded(format!(
                "{what} takes {bytes} bytes, and a buffer of {} has at most {device_max}: use several",
                self.backend.description().name
            ));
        }
        let Some(charged) = bytes.checked_next_multiple_of(ALLOCATION_GRANULE_BYTES) else {
            return exceeded(format!("{what} takes {bytes} bytes, which no device has"));
        };
        let max = self.limits.device_memory_bytes_max;
        let fits = |state: &Self| state.memory_bytes.checked_add(charged).is_some_and(|bytes| bytes <= max);
        if !fits(self) {
            self.collect()?;
        }
        if !fits(self) && charged <= max {
            // What was kept for the next library call is worth less than what is asked for.
            for (key, _) in std::mem::take(&mut self.scratch).into_values() {
                self.drop_memory(key);
            }
            self.drain()?;
        }
        if !fits(self) {
            return exceeded(format!(
                "{what} takes {charged} bytes of device memory; {} of {max} are in use \
                 (device_memory_bytes_max): drop buffers, or ask for more when the session is opened",
                self.memory_bytes
            ));
        }
        let key = MemoryKey(self.memory_keys.take());
        let mut outcome = self.ask(|backend| backend.allocate(key, charged));
        if matches!(&outcome, Err(error) if error.code() == Code::OutOfMemory) && self.dropped > 0 {
            self.drain()?;
            outcome = self.ask(|backend| backend.allocate(key, charged));
        }
        if let Err(error) = outcome {
            self.memory_keys.give_back(key.0);
            return Err(error);
        }
        self.memory_bytes += charged;
        self.memory.insert(key, Memory { bytes: charged, uses: Vec::new(), is_dropped: false });
        Ok(key)
    }

    /// Nobody holds the memory any more: it goes when nothing that was queued uses it.
    pub(super) fn drop_memory(&mut self, key: MemoryKey) {
        let Some(memory) = self.memory.get_mut(&key) else { return };
        if memory.uses.is_empty() {
            self.release(key);
        } else {
            memory.is_dropped = true;
            self.dropped += 1;
        }
    }

    fn release(&mut self, key: MemoryKey) {
        if let Some(memory) = self.memory.remove(&key) {
            self.dropped -= usize::from(memory.is_dropped);
            self.memory_bytes -= memory.bytes;
            self.backend.release(key);
            self.memory_keys.give_back(key.0);
        }
    }

    /// Releases what nothing uses any more; does not wait.
    pub(super) fn collect(&mut self) -> Result<()> {
        if self.dropped == 0 && self.closing.is_empty() {
            return Ok(());
        }
        let mut completed = HashMap::new();
        for queue in self.open.clone() {
            completed.insert(queue, self.ask(|backend| backend.completed(queue))?);
        }
        let is_over = |(queue, ticket): &(QueueKey, u64)| completed.get(queue).is_none_or(|at| at >= ticket);
        let over: Vec<MemoryKey> = self
            .memory
            .iter()
            .filter(|(_, memory)| memory.is_dropped && memory.uses.iter().all(is_over))
            .map(|(key, _)| *key)
            .collect();
        over.into_iter().for_each(|key| self.release(key));
        for queue in std::mem::take(&mut self.closing) {
            if completed.get(&queue).is_some_and(|at| *at >= self.backend.issued(queue)) {
                self.close(queue);
            } else {
                self.closing.push(queue);
            }
        }
        Ok(())
    }

    /// Sends everything on its way; each waiter waits for one queue.
    pub(super) fn waiters(&mut self) -> Result<Vec<Waiter>> {
        let mut waiters = Vec::new();
        for queue in self.open.clone() {
            let ticket = self.backend.issued(queue);
            waiters.push(self.ask(|backend| backend.waiter(queue, ticket))?);
        }
        Ok(waiters)
    }

    /// Waits for everything that was queued, and releases what was dropped.
    fn drain(&mut self) -> Result<()> {
        for waiter in self.waiters()? {
            waiter().inspect_err(|error| self.note(error))?;
        }
        self.collect()
    }

    pub(super) fn open_queue(&mut self) -> Result<QueueKey> {
        self.collect()?;
        let max = self.limits.streams_max;
        if self.queues.held >= max {
            return exceeded(format!(
                "the session has {} streams, as many as it may have (streams_max = {max}): drop one",
                self.queues.held
            ));
        }
        let queue = QueueKey(self.queues.take());
        if let Err(error) = self.ask(|backend| backend.open_queue(queue)) {
            self.queues.give_back(queue.0);
            return Err(error);
        }
        self.open.push(queue);
        Ok(queue)
    }

    /// Nobody holds the queue any more: it goes when all that it was given has ended.
    pub(super) fn drop_queue(&mut self, queue: QueueKey) {
        self.closing.push(queue);
        // What fails here is said to whoever asks next: the device is lost.
        let _ = self.ask(|backend| backend.flush(queue));
        let _ = self.collect();
    }

    fn close(&mut self, queue: QueueKey) {
        if let Some((scratch, _)) = self.scratch.remove(&queue) {
            self.drop_memory(scratch);
        }
        // The queue's key may come again, with tickets from 0.
        for memory in self.memory.values_mut() {
            memory.uses.retain(|(used, _)| *used != queue);
        }
        self.open.retain(|open| *open != queue);
        self.ended.remove(&queue);
        self.backend.close_queue(queue);
        self.queues.give_back(queue.0);
        let unused: Vec<MemoryKey> = self
            .memory
            .iter()
            .filter(|(_, memory)| memory.is_dropped && memory.uses.is_empty())
            .map(|(key, _)| *key)
            .collect();
        unused.into_iter().for_each(|key| self.release(key));
    }

    /// Memory of at least so many bytes for a library call on this queue, kept for the next.
    pub(super) fn scratch(&mut self, queue: QueueKey, bytes: u64) -> Result<Option<MemoryKey>> {
        if bytes == 0 {
            return Ok(None);
        }
        match self.scratch.get(&queue) {
            Some((key, size)) if *size >= bytes => return Ok(Some(*key)),
            Some(_) => {
                let (smaller, _) = self.scratch.remove(&queue).ok_or_else(|| internal("scratch went"))?;
                self.drop_memory(smaller);
            }
            None => {}
        }
        let key = self.allocate(bytes, "what the library call needs beside its buffers")?;
        self.scratch.insert(queue, (key, bytes));
        Ok(Some(key))
    }

    pub(super) fn usage(&mut self) -> Usage {
        // What fails here is said to whoever asks for something.
        let _ = self.collect();
        Usage {
            device_memory_bytes: self.memory_bytes,
            buffers: self.buffers,
            kernels: self.kernels.held,
            streams: self.queues.held - self.closing.len(),
            device_time: self.backend.device_time(),
            launches: self.launches,
            submissions: self.backend.submissions(),
        }
    }
}
