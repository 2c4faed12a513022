//! Sessions in processes of their own: what they do, and how they end.

use std::process::Command;
use std::time::Duration;

use engine_gpu::worker::messages::{
    Allocate, Answer, Ask, Bound, Compile, Download, Event, Launch, Number, Open, Operate, Upload, Value,
};
use engine_gpu::worker::{FRAME_BYTES_MAX, Worker, serve_stdin};
use engine_gpu::{BackendKind, Code, Device, Result};

use crate::{all, code};

/// Tells this program that it is to be a worker.
const IS_WORKER: &str = "ENGINE_GPU_TEST_WORKER";
/// More than anything takes that comes to an end.
const LONG: Duration = Duration::from_secs(60);

#[test]
fn worker_process() {
    if std::env::var_os(IS_WORKER).is_some() {
        let outcome = serve_stdin();
        std::process::exit(i32::from(outcome.is_err()));
    }
}

fn start(device: &Device) -> Worker {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.args(["--exact", "worker::worker_process", "--nocapture"]).env(IS_WORKER, "1");
    let it = device.description();
    let open = Open { backend: it.backend.name().into(), index: it.index, ..Open::default() };
    Worker::start(command, open, LONG).unwrap_or_else(|error| panic!("on {device:?}: {error}"))
}

fn handle(outcome: Result<Answer>) -> u64 {
    match outcome {
        Ok(Answer::Handle(handle)) => handle,
        other => panic!("a handle was asked for: {other:?}"),
    }
}

fn allocate(worker: &Worker, dtype: &str, count: u64) -> u64 {
    handle(worker.ask(Ask::Allocate(Allocate { dtype: dtype.into(), count }), LONG))
}

fn done(outcome: Result<Answer>) {
    assert_eq!(outcome, Ok(Answer::Done(true)));
}

fn download(worker: &Worker, buffer: u64, count: u64) -> Vec<f32> {
    let ask = Ask::Download(Download { stream: 0, buffer, offset: 0, count });
    match worker.ask(ask, LONG) {
        Ok(Answer::Bytes(bytes)) => bytes.chunks_exact(4).map(bytemuck::pod_read_unaligned::<f32>).collect(),
        other => panic!("bytes were asked for: {other:?}"),
    }
}

fn upload(buffer: u64, values: &[f32]) -> Ask {
    let bytes = bytemuck::cast_slice(values).to_vec();
    Ask::Upload(Upload { stream: 0, buffer, offset: 0, bytes, count: 0 })
}

/// That a fresh worker of this device works, and that its memory is clear.
fn is_well(device: &Device) {
    let worker = start(device);
    let buffer = allocate(&worker, "f32", 1_000);
    assert_eq!(download(&worker, buffer, 1_000), [0.0; 1_000]);
}

#[test]
fn a_worker_does_what_a_session_does() {
    for device in all() {
        let worker = start(&device);
        let (a, b) = (allocate(&worker, "f32", 4), allocate(&worker, "f32", 4));
        done(worker.ask(upload(a, &[1.0, 2.0, 3.0, 4.0]), LONG));
        let product = Operate {
            kind: "matmul".into(),
            inputs: vec![a, a],
            output: b,
            shape: vec![1, 2, 2, 2],
            numbers: vec![1.0, 0.0],
            transposed: vec![false, true],
            ..Operate::default()
        };
        done(worker.ask(Ask::Operate(product), LONG));
        assert_eq!(download(&worker, b, 4), [5.0, 11.0, 11.0, 25.0]);
        let more = Operate {
            kind: "binary".into(),
            op: "Subtract".into(),
            inputs: vec![0, b],
            output: b,
            shape: vec![4],
            numbers: vec![1.0],
            ..Operate::default()
        };
        done(worker.ask(Ask::Operate(more), LONG));
        assert_eq!(download(&worker, b, 4), [-4.0, -10.0, -10.0, -24.0]);
        let event = handle(worker.ask(Ask::Record(0), LONG));
        done(worker.ask(Ask::Event(Event { event, stream: None, polls: false }), LONG));
        let polled = worker.ask(Ask::Event(Event { event, stream: None, polls: true }), LONG);
        assert_eq!(polled, Ok(Answer::Is(true)));
        done(worker.ask(Ask::Drop(a), LONG));
        match worker.ask(Ask::Usage(true), LONG) {
            Ok(Answer::Used(used)) => assert_eq!((used.buffers, used.streams), (1, 1), "{used:?}"),
            other => panic!("usage was asked for: {other:?}"),
        }
    }
}

#[test]
fn what_a_worker_refuses_it_refuses_by_name_and_goes_on() {
    for device in all() {
        let worker = start(&device);
        let buffer = allocate(&worker, "f32", 4);
        let refused = [
            (Ask::Allocate(Allocate { dtype: "f33".into(), count: 1 }), Code::InvalidArgument),
            (Ask::Allocate(Allocate { dtype: "f32".into(), count: u64::MAX }), Code::LimitExceeded),
            (Ask::Drop(99), Code::InvalidArgument),
            (Ask::Drop(0), Code::InvalidArgument),
            (upload(buffer, &[0.0; 5]), Code::OutOfBounds),
            (upload(99, &[0.0; 4]), Code::InvalidArgument),
            (
                Ask::Download(Download { stream: 0, buffer, offset: 0, count: u64::MAX }),
                Code::InvalidArgument,
            ),
            (Ask::Download(Download { stream: 7, buffer, offset: 0, count: 1 }), Code::InvalidArgument),
            (
                Ask::Compile(Compile { language: "Prolog".into(), ..Compile::default() }),
                Code::InvalidArgument,
            ),
            (Ask::Launch(Launch::default()), Code::InvalidArgument),
            (
                Ask::Operate(Operate { output: buffer, kind: "sort".into(), ..Operate::default() }),
                Code::InvalidArgument,
            ),
            (
                Ask::Operate(Operate {
                    output: buffer,
                    kind: "unary".into(),
                    op: "Expp".into(),
                    ..Operate::default()
                }),
                Code::InvalidArgument,
            ),
            (
                Ask::Operate(Operate { output: buffer, kind: "matmul".into(), ..Operate::default() }),
                Code::InvalidArgument,
            ),
            (Ask::Record(99), Code::InvalidArgument),
            (Ask::Event(Event::default()), Code::InvalidArgument),
            (Ask::Open(Open::default()), Code::InvalidArgument),
            (upload(buffer, &vec![0.0; FRAME_BYTES_MAX / 4]), Code::InvalidArgument),
        ];
        for (ask, expected) in refused {
            let shown: String = format!("{ask:?}").chars().take(200).collect();
            assert_eq!(code(worker.ask(ask, LONG)), expected, "{shown}");
        }
        done(worker.ask(upload(buffer, &[1.0; 4]), LONG));
        assert_eq!(download(&worker, buffer, 4), [1.0; 4]);
    }
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    for device in all().into_iter().take(1) {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        command.args(["--exact", "worker::worker_process", "--nocapture"]).env(IS_WORKER, "1");
        let index = device.description().index + 1_000;
        let open = Open { backend: device.description().backend.name().into(), index, ..Open::default() };
        assert_eq!(code(Worker::start(command, open, LONG)), Code::InvalidArgument);
    }
}

/// A kernel without an end: what it waits for never comes. Lavapipe lets a thread do 65 535 rounds at most; so
/// the grid has as many blocks as there can be.
fn endless(device: &Device) -> Option<Compile> {
    let (language, source) = match device.description().backend {
        BackendKind::Reference => return None,
        BackendKind::Wgpu => (
            "WGSL",
            "@group(0) @binding(0) var<storage, read_write> a: array<atomic<u32>>;
@compute @workgroup_size(1) fn endless() { while atomicLoad(&a[0]) != 7u { atomicMax(&a[1], 1u); } }",
        ),
        BackendKind::Cuda => (
            "CUDA C",
            "extern \"C\" __global__ void endless(volatile unsigned* a) { while (a[0] != 7) a[1] = 1; }",
        ),
    };
    Some(Compile { language: language.into(), source: source.into(), entry: "endless".into() })
}

#[test]
fn a_kernel_without_an_end_is_ended_with_its_worker() {
    for device in all() {
        let Some(source) = endless(&device) else { continue };
        let worker = start(&device);
        let buffer = allocate(&worker, "u32", 16);
        let dirt = Ask::Upload(Upload { stream: 0, buffer, offset: 1, bytes: vec![0xA5; 60], count: 0 });
        done(worker.ask(dirt, LONG));
        let kernel = handle(worker.ask(Ask::Compile(source), LONG));
        let threads =
            if device.description().backend == BackendKind::Cuda { vec![1, 1, 1] } else { Vec::new() };
        let most = device.description().limits.grid_max;
        let launch = Launch {
            kernel,
            blocks: vec![most[0].min(65_535), most[1].min(65_535), 1],
            threads,
            bindings: vec![Bound { buffer, offset: 0, count: None, writes: true }],
            scalars: Vec::new(),
            ..Launch::default()
        };
        done(worker.ask(Ask::Launch(launch), LONG));
        let event = handle(worker.ask(Ask::Record(0), LONG));
        let wait = Ask::Event(Event { event, stream: None, polls: false });
        std::thread::scope(|scope| {
            // Whoever waits, and has time, hears of it as soon as somebody has none.
            let patient = scope.spawn(|| code(worker.ask(wait.clone(), LONG)));
            // The worker serves others meanwhile.
            let polls = Ask::Event(Event { event, stream: None, polls: true });
            assert_eq!(worker.ask(polls, LONG), Ok(Answer::Is(false)));
            let begun = worker.ask(wait.clone(), Duration::from_millis(500));
            assert_eq!(code(begun), Code::DeadlineExceeded);
            assert_eq!(patient.join().expect("it does not panic"), Code::DeadlineExceeded);
        });
        assert_eq!(code(worker.ask(Ask::Usage(true), LONG)), Code::DeadlineExceeded);
        is_well(&device);
    }
}

#[test]
fn a_worker_that_dies_is_said_to_have() {
    for device in all() {
        let worker = start(&device);
        let buffer = allocate(&worker, "f32", 4);
        let killed = Command::new("kill").args(["-9", &worker.id().to_string()]).status();
        assert!(killed.expect("there is `kill`").success());
        assert_eq!(code(worker.ask(upload(buffer, &[0.0; 4]), LONG)), Code::WorkerDied);
        assert_eq!(code(worker.ask(Ask::Usage(true), LONG)), Code::WorkerDied);
        is_well(&device);
    }
}

#[test]
fn a_program_that_is_no_worker_is_ended() {
    let run = |script: &str, deadline| {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        code(Worker::start(command, Open::default(), deadline))
    };
    assert_eq!(run("exit 0", LONG), Code::WorkerDied);
    // No length, no message, and an answer with nothing in it.
    assert_eq!(run(r"printf '\377\377\377\377' >&0; exec sleep 1000", LONG), Code::WorkerDied);
    assert_eq!(run(r"printf '\002\000\000\000\377\377' >&0; exec sleep 1000", LONG), Code::WorkerDied);
    assert_eq!(run(r"printf '\002\000\000\000\010\001' >&0; exec sleep 1000", LONG), Code::WorkerDied);
    assert_eq!(run("exec sleep 1000", Duration::from_millis(200)), Code::DeadlineExceeded);
    let missing = Command::new("/there/is/no/such/program");
    assert_eq!(code(Worker::start(missing, Open::default(), LONG)), Code::Internal);
}

#[test]
fn scalars_reach_the_kernel() {
    for device in all().iter().filter(|device| device.description().backend == BackendKind::Wgpu) {
        let worker = start(device);
        let buffer = allocate(&worker, "f32", 64);
        let source = "
            struct S { by: f32, plus: i32 }
            @group(0) @binding(0) var<storage, read_write> a: array<f32>;
            @group(0) @binding(1) var<uniform> s: S;
            @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {
                a[i] = f32(i) * s.by + f32(s.plus);
            }";
        let compile = Compile { language: "WGSL".into(), source: source.into(), entry: "main".into() };
        let kernel = handle(worker.ask(Ask::Compile(compile), LONG));
        let number = |value| Number { value: Some(value) };
        let launch = Launch {
            kernel,
            blocks: vec![1, 1, 1],
            bindings: vec![Bound { buffer, offset: 0, count: None, writes: true }],
            scalars: vec![number(Value::F32(0.5)), number(Value::I32(-3))],
            ..Launch::default()
        };
        done(worker.ask(Ask::Launch(launch), LONG));
        let expected: Vec<f32> = (0..64_i8).map(|i| f32::from(i) * 0.5 - 3.0).collect();
        assert_eq!(download(&worker, buffer, 64), expected);
    }
}
