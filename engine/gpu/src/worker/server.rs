//! The worker's side: a session behind a socket.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use parking_lot::Mutex;

use crate::backend::KernelSource;
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result, exceeded, internal, invalid};
use crate::find::devices;
use crate::session::{Binding, Buffer, Event, Grid, Kernel, Session, SessionLimits, Stream};
use crate::worker::background::{Kind, start};
use crate::worker::frame::{self, FRAME_BYTES_MAX};
use crate::worker::messages::{self, Answer, Ask, Failed, Reply, Request, Used, Value};

/// Events that one worker holds at once.
pub const EVENTS_MAX: usize = 4_096;
/// Requests of one worker that wait for an event at once.
pub const WAITS_MAX: usize = 64;
/// Requests that were read and not begun.
const REQUESTS_QUEUED_MAX: usize = 4;
/// What an answer has beside the bytes that were read.
const REPLY_BYTES: u64 = 64;

/// Serves a session on the socket that is this process's standard input, until the other side closes it or
/// says what cannot be understood. The process should end then: a kernel may still run.
///
/// # Errors
/// Those of the socket.
pub fn serve_stdin() -> io::Result<()> {
    serve(UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// The same on any socket.
///
/// # Errors
/// Those of the socket; of kind `InvalidData` for what is no request.
pub fn serve(mut socket: UnixStream) -> io::Result<()> {
    let answers = Answers(Arc::new(Mutex::new(socket.try_clone()?)));
    let (sender, requests) = sync_channel(REQUESTS_QUEUED_MAX);
    // On a thread of its own, so that the end of the socket is heard whatever the device does.
    start(Kind::Execute, move || execute(&requests, &answers))?;
    while let Some(request) = frame::read::<Request>(&mut socket)? {
        if sender.send(request).is_err() {
            break;
        }
    }
    Ok(())
}

/// Where answers go.
#[derive(Clone)]
struct Answers(Arc<Mutex<UnixStream>>);

impl Answers {
    fn give(&self, id: u64, outcome: Result<Answer>) {
        let answer = outcome.unwrap_or_else(|error| {
            let (code, message) = (error.code().as_str().into(), error.message().into());
            Answer::Failed(Failed { code, message })
        });
        // Without the other side there is nobody to tell; the reader ends the worker.
        let _ = frame::write(&mut *self.0.lock(), &Reply { id, answer: Some(answer) });
    }
}

fn execute(requests: &Receiver<Request>, answers: &Answers) {
    let mut held = None;
    while let Ok(request) = requests.recv() {
        let id = request.id;
        let outcome = match (request.ask, &mut held) {
            (None, _) => invalid("a request that asks for nothing that this worker knows"),
            (Some(Ask::Open(open)), held @ None) => Held::open(&open).map(|opened| {
                *held = Some(opened);
                Answer::Done(true)
            }),
            (Some(Ask::Open(_)), Some(_)) => invalid("the worker has its session already"),
            (Some(_), None) => invalid("the worker has no session yet: open one first"),
            (Some(Ask::Event(event)), Some(held)) if event.stream.is_none() && !event.polls => {
                match held.wait_for(event.event, id, answers) {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                }
            }
            (Some(ask), Some(held)) => held.answer(ask),
        };
        answers.give(id, outcome);
    }
}

/// What the other side has handles to. Handles are never given out twice.
pub(super) struct Held {
    session: Session,
    next: u64,
    buffers: HashMap<u64, Buffer>,
    kernels: HashMap<u64, Kernel>,
    streams: HashMap<u64, Stream>,
    events: HashMap<u64, Event>,
    waits: Arc<AtomicUsize>,
}

impl Held {
    fn open(open: &messages::Open) -> Result<Self> {
        let is_it = |device: &crate::Device| {
            let it = device.description();
            it.backend.name() == open.backend && it.index == open.index
        };
        let Some(device) = devices().into_iter().find(is_it) else {
            return invalid(format!("there is no device {}:{} here", open.backend, open.index));
        };
        let default = SessionLimits::default();
        let or = |asked: u64, default: u64| if asked == 0 { default } else { asked };
        let size = |asked: u64, default: usize| match asked {
            0 => default,
            asked => usize::try_from(asked).unwrap_or(usize::MAX),
        };
        let session = device.open(SessionLimits {
            device_memory_bytes_max: or(open.device_memory_bytes_max, default.device_memory_bytes_max),
            buffers_max: size(open.buffers_max, default.buffers_max),
            kernels_max: size(open.kernels_max, default.kernels_max),
            kernel_source_bytes_max: size(open.kernel_source_bytes_max, default.kernel_source_bytes_max),
            streams_max: size(open.streams_max, default.streams_max),
            launches_queued_max: or(open.launches_queued_max, default.launches_queued_max),
            scalars_bytes_max: size(open.scalars_bytes_max, default.scalars_bytes_max),
        })?;
        let streams = HashMap::from([(0, session.stream())]);
        let (buffers, kernels, events) = (HashMap::new(), HashMap::new(), HashMap::new());
        Ok(Self { session, next: 1, buffers, kernels, streams, events, waits: Arc::default() })
    }

    fn handle(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    pub(super) fn buffer(&self, handle: u64) -> Result<&Buffer> {
        self.buffers.get(&handle).map_or_else(|| unknown("buffer", handle), Ok)
    }

    pub(super) fn stream(&self, handle: u64) -> Result<&Stream> {
        self.streams.get(&handle).map_or_else(|| unknown("stream", handle), Ok)
    }

    fn event(&self, handle: u64) -> Result<&Event> {
        self.events.get(&handle).map_or_else(|| unknown("event", handle), Ok)
    }

    fn answer(&mut self, ask: Ask) -> Result<Answer> {
        let done = |()| Answer::Done(true);
        match ask {
            Ask::Open(_) => Err(internal("a session that is open already")),
            Ask::Allocate(asked) => {
                let named = DType::ALL.into_iter().find(|dtype| dtype.name() == asked.dtype);
                let Some(dtype) = named else {
                    return invalid(format!("there is no type of elements {:?}", asked.dtype));
                };
                let buffer = self.session.allocate(dtype, asked.count)?;
                let handle = self.handle();
                self.buffers.insert(handle, buffer);
                Ok(Answer::Handle(handle))
            }
            Ask::Drop(handle) => {
                let is_gone = self.buffers.remove(&handle).is_some()
                    || self.kernels.remove(&handle).is_some()
                    || self.events.remove(&handle).is_some()
                    || handle != 0 && self.streams.remove(&handle).is_some();
                if is_gone { Ok(Answer::Done(true)) } else { unknown("handle", handle) }
            }
            Ask::Upload(it) => {
                let (stream, buffer) = (self.stream(it.stream)?, self.buffer(it.buffer)?);
                stream.upload_bytes(buffer, it.offset, &it.bytes).map(done)
            }
            Ask::Download(it) => self.download(&it).map(Answer::Bytes),
            Ask::Fill(it) => self.fill(&it).map(done),
            Ask::Copy(it) => {
                let (from, to) = (self.buffer(it.from)?, self.buffer(it.to)?);
                let stream = self.stream(it.stream)?;
                stream.copy(from, it.from_offset, to, it.to_offset, it.count).map(done)
            }
            Ask::Compile(it) => {
                let source = match it.language.as_str() {
                    "WGSL" => KernelSource::Wgsl(&it.source),
                    "CUDA C" => KernelSource::CudaC(&it.source),
                    "PTX" => KernelSource::Ptx(&it.source),
                    other => return invalid(format!("kernels are WGSL, CUDA C or PTX, not {other:?}")),
                };
                let kernel = self.session.compile(source, &it.entry)?;
                let handle = self.handle();
                self.kernels.insert(handle, kernel);
                Ok(Answer::Handle(handle))
            }
            Ask::Launch(it) => self.launch(&it).map(done),
            Ask::Operate(it) => self.operate(&it).map(done),
            Ask::OpenStream(_) => {
                let stream = self.session.open_stream()?;
                let handle = self.handle();
                self.streams.insert(handle, stream);
                Ok(Answer::Handle(handle))
            }
            Ask::Record(stream) => {
                if self.events.len() >= EVENTS_MAX {
                    return exceeded(format!("the worker holds {EVENTS_MAX} events: drop some"));
                }
                let event = self.stream(stream)?.record()?;
                let handle = self.handle();
                self.events.insert(handle, event);
                Ok(Answer::Handle(handle))
            }
            Ask::Event(it) => match it.stream {
                Some(stream) => self.stream(stream)?.wait_for(self.event(it.event)?).map(done),
                None => self.event(it.event)?.is_done().map(Answer::Is),
            },
            Ask::Usage(_) => {
                let usage = self.session.usage();
                Ok(Answer::Used(Used {
                    device_memory_bytes: usage.device_memory_bytes,
                    buffers: usage.buffers as u64,
                    kernels: usage.kernels as u64,
                    streams: usage.streams as u64,
                    device_nanoseconds: u64::try_from(usage.device_time.as_nanos()).unwrap_or(u64::MAX),
                    launches: usage.launches,
                    submissions: usage.submissions,
                }))
            }
        }
    }

    /// Answers when the event has come, from another thread: others are served meanwhile.
    fn wait_for(&self, event: u64, id: u64, answers: &Answers) -> Result<()> {
        let event = self.event(event)?.clone();
        let waits = self.waits.clone();
        if waits.fetch_add(1, Ordering::Relaxed) >= WAITS_MAX {
            waits.fetch_sub(1, Ordering::Relaxed);
            return exceeded(format!(
                "{WAITS_MAX} requests wait for events already: poll, or wait for fewer"
            ));
        }
        let answers = answers.clone();
        start(Kind::Wait, move || {
            let outcome = event.wait();
            waits.fetch_sub(1, Ordering::Relaxed);
            answers.give(id, outcome.map(|()| Answer::Done(true)));
        })
        .map_err(|error| internal(format!("no thread to wait in: {error}")))
    }

    fn download(&self, it: &messages::Download) -> Result<Vec<u8>> {
        let (stream, buffer) = (self.stream(it.stream)?, self.buffer(it.buffer)?);
        let bytes = it.count.saturating_mul(buffer.dtype().bytes());
        if bytes.saturating_add(REPLY_BYTES) > FRAME_BYTES_MAX as u64 {
            return invalid(format!(
                "{bytes} bytes in one piece, and there are {FRAME_BYTES_MAX}: read in several"
            ));
        }
        let mut read = vec![0; bytes as usize];
        stream.download_bytes(buffer, it.offset, &mut read)?;
        Ok(read)
    }

    fn fill(&self, it: &messages::Upload) -> Result<()> {
        let (stream, buffer) = (self.stream(it.stream)?, self.buffer(it.buffer)?);
        let (offset, count) = (it.offset, it.count);
        if it.bytes.len() as u64 != buffer.dtype().bytes() {
            let (got, dtype) = (it.bytes.len(), buffer.dtype());
            return invalid(format!("a fill with a value of {got} bytes for a buffer of {dtype}"));
        }
        fn value<T: bytemuck::Pod>(bytes: &[u8]) -> T {
            bytemuck::pod_read_unaligned(bytes)
        }
        let bytes = it.bytes.as_slice();
        match buffer.dtype() {
            DType::U8 => stream.fill::<u8>(buffer, offset, count, value(bytes)),
            DType::I32 => stream.fill::<i32>(buffer, offset, count, value(bytes)),
            DType::U32 => stream.fill::<u32>(buffer, offset, count, value(bytes)),
            DType::I64 => stream.fill::<i64>(buffer, offset, count, value(bytes)),
            DType::F16 => stream.fill::<half::f16>(buffer, offset, count, value(bytes)),
            DType::Bf16 => stream.fill::<half::bf16>(buffer, offset, count, value(bytes)),
            DType::F32 => stream.fill::<f32>(buffer, offset, count, value(bytes)),
            DType::F64 => stream.fill::<f64>(buffer, offset, count, value(bytes)),
        }
    }

    fn launch(&self, it: &messages::Launch) -> Result<()> {
        let kernel = self.kernels.get(&it.kernel).map_or_else(|| unknown("kernel", it.kernel), Ok)?;
        let mut bindings = Vec::with_capacity(it.bindings.len());
        for bound in &it.bindings {
            let buffer = self.buffer(bound.buffer)?;
            let whole = if bound.writes { Binding::read_write(buffer) } else { Binding::read(buffer) };
            let count = bound.count.unwrap_or(buffer.count().saturating_sub(bound.offset));
            bindings.push(whole.range(bound.offset, count));
        }
        let mut scalars = Vec::with_capacity(it.scalars.len());
        for number in &it.scalars {
            scalars.push(match number.value {
                Some(Value::I32(value)) => Scalar::I32(value),
                Some(Value::U32(value)) => Scalar::U32(value),
                Some(Value::I64(value)) => Scalar::I64(value),
                Some(Value::F32(value)) => Scalar::F32(value),
                Some(Value::F64(value)) => Scalar::F64(value),
                None => return invalid("a scalar without a number"),
            });
        }
        let three = |extents: &[u32]| {
            <[u32; 3]>::try_from(extents).map_err(|_| {
                Error::new(crate::Code::InvalidArgument, "a grid and a block have three extents")
            })
        };
        let threads = if it.threads.is_empty() { None } else { Some(three(&it.threads)?) };
        let grid = Grid { blocks: three(&it.blocks)?, threads, shared_bytes: it.shared_bytes };
        self.stream(it.stream)?.launch(kernel, grid, &bindings, &scalars)
    }
}

fn unknown<T>(what: &str, handle: u64) -> Result<T> {
    invalid(format!("there is no {what} {handle} in this worker"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_no_request_ends_the_worker_and_no_panic_does() {
        for garbage in [&[255_u8; 64][..], &[4, 0, 0, 0, 255, 255, 255, 255], &[9, 0, 0, 0, 1]] {
            let (mut ours, theirs) = UnixStream::pair().expect("there are sockets");
            ours.write_all(garbage).expect("it is open");
            drop(ours);
            assert!(serve(theirs).is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn a_socket_that_closes_ends_the_worker() {
        let (ours, theirs) = UnixStream::pair().expect("there are sockets");
        drop(ours);
        serve(theirs).expect("that is no error");
    }
}
