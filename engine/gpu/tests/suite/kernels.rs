//! Kernels from source: what they take, and what they are refused.

use engine_gpu::{BackendKind, Binding, Code, DType, Grid, Kernel, KernelSource, Scalar, Session};

use crate::{buffer_of, code, judged, reference, values_of};

const SAXPY_WGSL: &str = "
struct S { a: f32, n: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> s: S;
@compute @workgroup_size(64) fn saxpy(@builtin(global_invocation_id) id: vec3u) {
    if id.x < s.n { y[id.x] += s.a * x[id.x]; }
}";

const SAXPY_CUDA: &str = "
extern \"C\" __global__ void saxpy(const float* x, float* y, float a, unsigned n) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += a * x[i];
}";

fn source(session: &Session) -> KernelSource<'static> {
    match session.description().backend {
        BackendKind::Cuda => KernelSource::CudaC(SAXPY_CUDA),
        _ => KernelSource::Wgsl(SAXPY_WGSL),
    }
}

fn saxpy(session: &Session) -> Kernel {
    session.compile(source(session), "saxpy").unwrap_or_else(|error| panic!("on {session:?}: {error}"))
}

fn grid(session: &Session, blocks: u32) -> Grid {
    match session.description().backend {
        BackendKind::Cuda => Grid::blocks_of(blocks, 64),
        _ => Grid::of([blocks, 1, 1]),
    }
}

#[test]
fn saxpy_runs_on_the_device() {
    for session in judged() {
        let kernel = saxpy(&session);
        let count = 1_000_u32;
        let x = buffer_of(&session, &(0..count).map(|i| i as f32).collect::<Vec<_>>());
        let y = buffer_of(&session, &vec![1.0_f32; count as usize]);
        let bindings = [Binding::read(&x), Binding::read_write(&y)];
        let scalars = [Scalar::F32(2.0), Scalar::U32(count - 1)];
        for _ in 0..3 {
            session.stream().launch(&kernel, grid(&session, 16), &bindings, &scalars).expect("it is right");
        }
        let found = values_of::<f32>(&session, &y);
        assert!(found[..999].iter().enumerate().all(|(i, y)| *y == 1.0 + 6.0 * i as f32), "{session:?}");
        assert_eq!(found[999], 1.0, "beyond n nothing is written");
    }
}

#[test]
fn a_range_is_all_that_a_kernel_sees() {
    for session in judged() {
        let kernel = saxpy(&session);
        let step = session.description().limits.binding_alignment_bytes.max(4) / 4;
        let x = buffer_of(&session, &vec![1.0_f32; 64]);
        let y = buffer_of(&session, &vec![0.0_f32; 3 * step as usize + 64]);
        let bindings = [Binding::read(&x), Binding::read_write(&y).range(step, 64)];
        let scalars = [Scalar::F32(1.0), Scalar::U32(64)];
        session.stream().launch(&kernel, grid(&session, 1), &bindings, &scalars).expect("it is right");
        let found = values_of::<f32>(&session, &y);
        let inside = step as usize..step as usize + 64;
        assert!(found.iter().enumerate().all(|(i, y)| *y == f32::from(u8::from(inside.contains(&i)))));
        let beyond = [Binding::read(&x), Binding::read_write(&y).range(step, y.count())];
        let refused = session.stream().launch(&kernel, grid(&session, 1), &beyond, &scalars);
        assert_eq!(code(refused), Code::OutOfBounds);
        if session.description().limits.binding_alignment_bytes > 4 {
            let odd = [Binding::read(&x), Binding::read_write(&y).range(1, 4)];
            let refused = session.stream().launch(&kernel, grid(&session, 1), &odd, &scalars);
            assert_eq!(code(refused), Code::InvalidArgument);
        }
    }
}

#[test]
fn wgsl_reads_and_writes_inside_its_buffers_only() {
    for session in judged().iter().filter(|session| session.description().backend == BackendKind::Wgpu) {
        let source = "
            @group(0) @binding(0) var<storage, read_write> a: array<u32>;
            @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
                a[id.x + 1000000u] = 7u + a[id.x + 5000000u];
                a[id.x * 0u + 4294967295u] = 9u;
            }";
        let kernel = session.compile(KernelSource::Wgsl(source), "main").expect("it is right");
        let neighbours: Vec<_> = (0..4).map(|_| buffer_of(session, &[0x55_u32; 64])).collect();
        let buffer = session.allocate(DType::U32, 64).expect("there is room");
        session
            .stream()
            .launch(&kernel, Grid::of([4, 1, 1]), &[Binding::read_write(&buffer)], &[])
            .expect("it is right");
        session.synchronize().expect("the device is well");
        for neighbour in &neighbours {
            assert_eq!(values_of::<u32>(session, neighbour), [0x55; 64]);
        }
    }
}

#[test]
fn launches_that_do_not_fit_the_kernel_are_refused() {
    for session in judged() {
        let kernel = saxpy(&session);
        let limits = session.description().limits;
        let x = buffer_of(&session, &[1.0_f32; 64]);
        let y = buffer_of(&session, &[1.0_f32; 64]);
        let stream = session.stream();
        let (good, few) = ([Binding::read(&x), Binding::read_write(&y)], [Binding::read(&x)]);
        let scalars = [Scalar::F32(1.0), Scalar::U32(64)];
        let with = |blocks, threads| Grid { blocks, threads, ..grid(&session, 1) };
        let one = Some([64, 1, 1]);
        let refuse = |grid, bindings: &[Binding<'_>], scalars: &[Scalar]| {
            assert_eq!(code(stream.launch(&kernel, grid, bindings, scalars)), Code::InvalidArgument);
        };
        refuse(with([0, 1, 1], one), &good, &scalars);
        refuse(with([1, 1, u32::MAX], one), &good, &scalars);
        refuse(with([1, 1, 1], Some([0, 1, 1])), &good, &scalars);
        refuse(with([1, 1, 1], Some([1024, 1024, 64])), &good, &scalars);
        refuse(with([1, 1, 1], Some([limits.block_max[0] + 1, 1, 1])), &good, &scalars);
        refuse(Grid { shared_bytes: u32::MAX, ..grid(&session, 1) }, &good, &scalars);
        if session.description().backend == BackendKind::Wgpu {
            refuse(with([1, 1, 1], Some([32, 1, 1])), &good, &scalars);
            refuse(grid(&session, 1), &few, &scalars);
            refuse(grid(&session, 1), &[Binding::read(&x), Binding::read(&y)], &scalars);
            refuse(grid(&session, 1), &[Binding::read(&x), Binding::read_write(&x)], &scalars);
            refuse(grid(&session, 1), &good, &scalars[..1]);
            refuse(grid(&session, 1), &good, &[Scalar::F32(1.0), Scalar::F64(1.0)]);
            refuse(grid(&session, 1), &good, &[]);
        }
        let many = vec![Binding::read(&x); limits.bindings_max as usize + 1];
        refuse(grid(&session, 1), &many, &scalars);
        let long = vec![Scalar::U32(0); 1_000];
        assert_eq!(code(stream.launch(&kernel, grid(&session, 1), &good, &long)), Code::LimitExceeded);
        // What is right goes on.
        stream.launch(&kernel, grid(&session, 1), &good, &scalars).expect("it is right");
        assert_eq!(values_of::<f32>(&session, &y), [2.0; 64]);
    }
}

#[test]
fn a_buffer_that_is_too_short_for_the_source_is_refused() {
    for session in judged().iter().filter(|session| session.description().backend == BackendKind::Wgpu) {
        let source = "
            struct Big { first: u32, many: array<u32, 100> }
            @group(0) @binding(0) var<storage, read_write> big: Big;
            @compute @workgroup_size(1) fn main() { big.first = big.many[99]; }";
        let kernel = session.compile(KernelSource::Wgsl(source), "main").expect("it is right");
        for (count, is_enough) in [(100, false), (101, true)] {
            let buffer = session.allocate(DType::U32, count).expect("there is room");
            let outcome =
                session.stream().launch(&kernel, Grid::of([1, 1, 1]), &[Binding::read_write(&buffer)], &[]);
            assert_eq!(outcome.is_ok(), is_enough, "{outcome:?}");
        }
        session.synchronize().expect("the device is well");
    }
}

#[test]
fn kernels_of_another_session_are_refused() {
    for (one, other) in judged().into_iter().zip(judged()) {
        let theirs = saxpy(&other);
        let x = buffer_of(&one, &[1.0_f32; 4]);
        let refused = one.stream().launch(&theirs, grid(&one, 1), &[Binding::read(&x)], &[]);
        assert_eq!(code(refused), Code::InvalidArgument);
    }
}

#[test]
fn languages_of_other_devices_are_named() {
    let wgsl = KernelSource::Wgsl(SAXPY_WGSL);
    assert_eq!(code(reference().compile(wgsl, "saxpy")), Code::Unsupported);
    for session in judged() {
        let wrong = match session.description().backend {
            BackendKind::Cuda => wgsl,
            _ => KernelSource::CudaC(SAXPY_CUDA),
        };
        let error = session.compile(wrong, "saxpy").expect_err("it is another device's");
        assert_eq!(error.code(), Code::Unsupported);
        assert!(error.message().contains(wrong.language()), "{error}");
    }
}

#[test]
fn many_launches_are_few_submissions() {
    const LAUNCHES: u64 = 1_000;
    for session in judged().iter().filter(|session| session.description().backend == BackendKind::Wgpu) {
        let kernel = saxpy(session);
        let (x, y) = (buffer_of(session, &[1.0_f32; 64]), buffer_of(session, &[0.0_f32; 64]));
        let before = session.usage();
        for _ in 0..LAUNCHES {
            let scalars = [Scalar::F32(1.0), Scalar::U32(64)];
            let bindings = [Binding::read(&x), Binding::read_write(&y)];
            session.stream().launch(&kernel, grid(session, 1), &bindings, &scalars).expect("it is right");
        }
        session.synchronize().expect("the device is well");
        let after = session.usage();
        assert_eq!(after.launches - before.launches, LAUNCHES);
        assert!(after.submissions - before.submissions < LAUNCHES / 50, "{after:?}");
        assert!(after.device_time > before.device_time, "{after:?}");
        assert_eq!(values_of::<f32>(session, &y), [LAUNCHES as f32; 64]);
    }
}

#[test]
fn events_tell_how_far_a_stream_is() {
    for session in judged() {
        let kernel = saxpy(&session);
        let (x, y) = (buffer_of(&session, &[1.0_f32; 64]), buffer_of(&session, &[0.0_f32; 64]));
        let (one, other) = (session.stream(), session.open_stream().expect("there may be one"));
        for turn in 0..20 {
            let bindings = [Binding::read(&x), Binding::read_write(&y)];
            let scalars = [Scalar::F32(1.0), Scalar::U32(64)];
            let (first, second) = if turn % 2 == 0 { (&one, &other) } else { (&other, &one) };
            first.launch(&kernel, grid(&session, 1), &bindings, &scalars).expect("it is right");
            let event = first.record().expect("the device is well");
            second.wait_for(&event).expect("it is an event");
            second.launch(&kernel, grid(&session, 1), &bindings, &scalars).expect("it is right");
            let last = second.record().expect("the device is well");
            first.wait_for(&last).expect("it is an event");
        }
        let event = one.record().expect("the device is well");
        event.wait().expect("the device is well");
        assert!(event.is_done().expect("the device is well"));
        drop(other);
        assert_eq!(values_of::<f32>(&session, &y), [40.0; 64]);
    }
}
