//! Launches gathered into submissions, how far the device is with those, and how long it worked.
//!
//! A device has one queue, so that all streams are one order: things are counted across them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::backend::Waiter;
use crate::error::{Result, lost};
use crate::vulkan::TIMESTAMPS;
use crate::vulkan::bind::{BindGroups, Part};
use crate::vulkan::compile::Pipeline;
use crate::vulkan::faults::Faults;

/// Launches of one submission, above which the next one begins.
const BATCH_LAUNCHES_MAX: u32 = 128;
/// Bytes of all scalars of one submission.
const RING_BYTES: u64 = 256 << 10;
/// Submissions whose time the device takes at once; that of others is taken from outside.
const TIMERS_MAX: usize = 8;
/// Bytes of two timestamps.
const TIMER_BYTES: u64 = 16;

/// Where the device says when a submission began and ended.
#[derive(Debug)]
struct Timer {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    readable: wgpu::Buffer,
    is_mapped: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Submitted {
    /// Things that have ended when it has.
    ticket: u64,
    index: wgpu::SubmissionIndex,
    begun: Instant,
    ended: Arc<Mutex<Option<Instant>>>,
    timer: Option<Timer>,
}

/// What was given to a device's queue, and what is about to be.
#[derive(Debug)]
pub(super) struct Batch {
    device: wgpu::Device,
    queue: wgpu::Queue,
    faults: Faults,
    encoder: Option<wgpu::CommandEncoder>,
    pass: Option<wgpu::ComputePass<'static>>,
    /// That the pass has.
    pipeline: u64,
    timer: Option<Timer>,
    launches: u32,
    /// The scalars of the batch, as they will lie in the ring.
    scalars: Vec<u8>,
    ring: wgpu::Buffer,
    scalar_alignment: usize,
    groups: BindGroups,
    issued: u64,
    /// Of what was issued, what was submitted.
    sent: u64,
    completed: u64,
    submitted: VecDeque<Submitted>,
    timers: Vec<Timer>,
    timers_made: usize,
    nanoseconds_per_tick: f64,
    last_end: Option<Instant>,
    worked: Duration,
    submissions: u64,
}

impl Batch {
    pub(super) fn new(device: &wgpu::Device, queue: &wgpu::Queue, faults: &Faults) -> Self {
        let ring = device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: RING_BYTES,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Self {
            device: device.clone(),
            queue: queue.clone(),
            faults: faults.clone(),
            encoder: None,
            pass: None,
            pipeline: 0,
            timer: None,
            launches: 0,
            scalars: Vec::new(),
            ring,
            scalar_alignment: device.limits().min_uniform_buffer_offset_alignment as usize,
            groups: BindGroups::default(),
            issued: 0,
            sent: 0,
            completed: 0,
            submitted: VecDeque::new(),
            timers: Vec::new(),
            timers_made: 0,
            nanoseconds_per_tick: f64::from(queue.get_timestamp_period()),
            last_end: None,
            worked: Duration::ZERO,
            submissions: 0,
        }
    }

    pub(super) fn issued(&self) -> u64 {
        self.issued
    }

    pub(super) fn submissions(&self) -> u64 {
        self.submissions
    }

    pub(super) fn groups(&mut self) -> &mut BindGroups {
        &mut self.groups
    }

    /// Counts one thing that was given.
    pub(super) fn count(&mut self) {
        self.issued += 1;
    }

    /// A launch, behind what there is.
    pub(super) fn dispatch(
        &mut self,
        pipeline: &Pipeline,
        parts: &[Part<'_>],
        scalars: &[u8],
        grid: [u32; 3],
    ) -> Result<()> {
        let room = pipeline.scalars.map_or(0, |room| room.bytes).next_multiple_of(16) as usize;
        let at = self.scalars.len().next_multiple_of(self.scalar_alignment);
        if self.launches >= BATCH_LAUNCHES_MAX || at + room > RING_BYTES as usize {
            self.flush()?;
        }
        let at = self.scalars.len().next_multiple_of(self.scalar_alignment);
        self.encoder();
        let (Some(encoder), pass) = (&mut self.encoder, &mut self.pass) else { return Ok(()) };
        let pass = pass.get_or_insert_with(|| {
            self.pipeline = 0;
            encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime()
        });
        if self.pipeline != pipeline.id {
            pass.set_pipeline(&pipeline.pipeline);
            self.pipeline = pipeline.id;
        }
        let group = self.groups.get(&self.device, pipeline, parts, &self.ring);
        if room > 0 {
            self.scalars.resize(at, 0);
            self.scalars.extend_from_slice(&scalars[..scalars.len().min(room)]);
            self.scalars.resize(at + room, 0);
            pass.set_bind_group(0, group, &[at as u32]);
        } else {
            pass.set_bind_group(0, group, &[]);
        }
        pass.dispatch_workgroups(grid[0], grid[1], grid[2]);
        self.launches += 1;
        Ok(())
    }

    /// The encoder outside of any pass, for copies.
    pub(super) fn commands(&mut self) -> &mut wgpu::CommandEncoder {
        self.pass = None;
        self.launches += 1;
        self.encoder()
    }

    fn encoder(&mut self) -> &mut wgpu::CommandEncoder {
        if self.encoder.is_none() {
            self.timer = self.take_timer();
        }
        let timer = &self.timer;
        let device = &self.device;
        self.encoder.get_or_insert_with(|| {
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            if let Some(timer) = timer {
                encoder.write_timestamp(&timer.queries, 0);
            }
            encoder
        })
    }

    fn take_timer(&mut self) -> Option<Timer> {
        if let Some(timer) = self.timers.pop() {
            return Some(timer);
        }
        if !self.device.features().contains(TIMESTAMPS) || self.timers_made == TIMERS_MAX {
            return None;
        }
        self.timers_made += 1;
        let buffer = |usage| {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: TIMER_BYTES,
                usage,
                mapped_at_creation: false,
            })
        };
        Some(Timer {
            queries: self.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: None,
                ty: wgpu::QueryType::Timestamp,
                count: 2,
            }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            readable: buffer(wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ),
            is_mapped: Arc::default(),
        })
    }

    /// Sends what was gathered on its way.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.encoder.is_none() && self.sent == self.issued {
            return self.faults.check();
        }
        self.encoder();
        self.pass = None;
        let timer = self.timer.take();
        let Some(mut encoder) = self.encoder.take() else { return Ok(()) };
        if let Some(timer) = &timer {
            encoder.write_timestamp(&timer.queries, 1);
            encoder.resolve_query_set(&timer.queries, 0..2, &timer.resolved, 0);
            encoder.copy_buffer_to_buffer(&timer.resolved, 0, &timer.readable, 0, TIMER_BYTES);
        }
        if !self.scalars.is_empty() {
            self.scalars.resize(self.scalars.len().next_multiple_of(4), 0);
            self.queue.write_buffer(&self.ring, 0, &self.scalars);
            self.scalars.clear();
        }
        let index = self.queue.submit([encoder.finish()]);
        let ended: Arc<Mutex<Option<Instant>>> = Arc::default();
        let told = ended.clone();
        self.queue.on_submitted_work_done(move || *told.lock() = Some(Instant::now()));
        if let Some(timer) = &timer {
            let is_mapped = timer.is_mapped.clone();
            timer.readable.map_async(wgpu::MapMode::Read, .., move |outcome| {
                is_mapped.store(outcome.is_ok(), Ordering::Release);
            });
        }
        // A thing that is issued right after it is counted belongs to the batch that it is a part of.
        self.sent = self.issued;
        self.submitted.push_back(Submitted {
            ticket: self.issued,
            index,
            begun: Instant::now(),
            ended,
            timer,
        });
        self.launches = 0;
        self.submissions += 1;
        self.faults.check()
    }

    /// How many things have ended.
    pub(super) fn completed(&mut self) -> Result<u64> {
        if !self.submitted.is_empty() {
            // It fails when it waits for too long, and this one does not wait.
            let _ = self.device.poll(wgpu::PollType::Poll);
        }
        while let Some(ended) = self.submitted.front().and_then(|first| *first.ended.lock()) {
            let Some(first) = self.submitted.pop_front() else { break };
            self.completed = first.ticket;
            let begun = self.last_end.map_or(first.begun, |end| end.max(first.begun));
            let from_outside = ended.saturating_duration_since(begun);
            self.last_end = Some(ended);
            let by_device = first.timer.and_then(|timer| self.read_timer(timer));
            self.worked += by_device.unwrap_or(from_outside);
        }
        self.faults.check()?;
        Ok(self.completed)
    }

    fn read_timer(&mut self, timer: Timer) -> Option<Duration> {
        if !timer.is_mapped.swap(false, Ordering::Acquire) {
            // Without its answer it cannot be used again: another takes its place.
            self.timers_made -= 1;
            return None;
        }
        let ticks = timer.readable.get_mapped_range(..).ok().map(|bytes| {
            let read = |at: usize| bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
            read(8).saturating_sub(read(0))
        });
        timer.readable.unmap();
        self.timers.push(timer);
        ticks.map(|ticks| Duration::from_nanos((ticks as f64 * self.nanoseconds_per_tick) as u64))
    }

    /// Ends when so many things have ended.
    pub(super) fn waiter(&mut self, ticket: u64) -> Result<Waiter> {
        if self.completed >= ticket {
            return Ok(Box::new(|| Ok(())));
        }
        if self.sent < ticket {
            self.flush()?;
        }
        let Some(index) = self
            .submitted
            .iter()
            .find(|submitted| submitted.ticket >= ticket)
            .map(|found| found.index.clone())
        else {
            return Ok(Box::new(|| Ok(())));
        };
        let (device, faults) = (self.device.clone(), self.faults.clone());
        Ok(Box::new(move || {
            let wait = wgpu::PollType::Wait { submission_index: Some(index), timeout: None };
            let outcome = device.poll(wait);
            faults.check()?;
            outcome.map(|_| ()).map_err(|error| lost(format!("waiting for the device: {error}")))
        }))
    }

    /// Flushes, and waits for all of it.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.waiter(self.issued)?()?;
        self.completed().map(|_| ())
    }

    pub(super) fn device_time(&self) -> Duration {
        self.worked
    }
}
