//! The limits of sessions: named at each, and nothing that was accepted is lost.

use engine_gpu::{
    ALLOCATION_GRANULE_BYTES, BackendKind, Binary, Code, DType, KernelSource, Session, SessionLimits, Unary,
};

use crate::{all, code, values_of};

fn with(limits: SessionLimits) -> Vec<Session> {
    all().iter().map(|device| device.open(limits).expect("it opens")).collect()
}

#[test]
fn memory_is_a_ledger() {
    let max = 16 * ALLOCATION_GRANULE_BYTES;
    for session in with(SessionLimits { device_memory_bytes_max: max, ..SessionLimits::default() }) {
        let used = || session.usage().device_memory_bytes;
        assert_eq!(used(), 0);
        let mut held = Vec::new();
        for at in 1..=16 {
            held.push(session.allocate(DType::F32, 1).expect("there is room"));
            assert_eq!(used(), at * ALLOCATION_GRANULE_BYTES);
        }
        session.stream().fill(&held[0], 0, 1, 1.5_f32).expect("it is a buffer");
        let error = session.allocate(DType::U8, 1).expect_err("there is none");
        assert_eq!(error.code(), Code::LimitExceeded);
        assert!(
            error.message().contains("device_memory_bytes_max") && error.message().contains(&max.to_string())
        );
        assert_eq!(values_of::<f32>(&session, &held[0]), [1.5], "nothing is lost");
        // Of what is dropped while it is in use, the room comes back.
        for _ in 0..100 {
            let last = held.pop().expect("there are some");
            session.stream().unary(Unary::Negate, &last, &last, 1).expect("it is right");
            drop(last);
            held.push(session.allocate(DType::F32, 1).expect("there is room again"));
        }
        held.clear();
        session.synchronize().expect("the device is well");
        assert_eq!(used(), 0);
        assert_eq!(code(session.allocate(DType::U8, max + 1)), Code::LimitExceeded);
        session.allocate(DType::U8, max).expect("that is all of it");
    }
}

#[test]
fn what_library_calls_need_beside_their_buffers_counts() {
    let max = 4 << 10;
    for session in with(SessionLimits { device_memory_bytes_max: max, ..SessionLimits::default() }) {
        if session.description().backend != BackendKind::Wgpu {
            continue;
        }
        let input = session.allocate(DType::F16, 600).expect("there is room");
        let output = session.allocate(DType::F16, 600).expect("there is room");
        let error = session.stream().softmax(&input, &output, 1, 600).expect_err("there is no room");
        assert_eq!(error.code(), Code::LimitExceeded);
        session.stream().softmax(&input, &output, 1, 100).expect("there is room");
        // What is kept for the next one makes way for what is asked for.
        let left = max - 2 * 1_280;
        session.allocate(DType::U8, left).expect("there is room");
    }
}

#[test]
fn buffers_streams_and_kernels_are_counted() {
    let limits = SessionLimits { buffers_max: 3, kernels_max: 2, streams_max: 3, ..SessionLimits::default() };
    for session in with(limits) {
        let mut buffers: Vec<_> =
            (0..3).map(|_| session.allocate(DType::U8, 1).expect("there is room")).collect();
        assert_eq!(code(session.allocate(DType::U8, 1)), Code::LimitExceeded);
        buffers.pop();
        buffers.push(session.allocate(DType::U8, 1).expect("there is room again"));
        let mut streams: Vec<_> = (0..2).map(|_| session.open_stream().expect("there is room")).collect();
        assert_eq!(code(session.open_stream()), Code::LimitExceeded);
        streams.pop();
        session.open_stream().expect("there is room again");
        let source = match session.description().backend {
            BackendKind::Reference => continue,
            BackendKind::Wgpu => KernelSource::Wgsl("@compute @workgroup_size(1) fn f() {}"),
            BackendKind::Cuda => KernelSource::CudaC("extern \"C\" __global__ void f() {}"),
        };
        let mut kernels: Vec<_> =
            (0..2).map(|_| session.compile(source, "f").expect("there is room")).collect();
        assert_eq!(code(session.compile(source, "f")), Code::LimitExceeded);
        kernels.pop();
        session.compile(source, "f").expect("there is room again");
        assert_eq!(session.usage().kernels, 1);
    }
}

#[test]
fn a_source_is_bounded_before_it_is_read() {
    for session in with(SessionLimits { kernel_source_bytes_max: 100, ..SessionLimits::default() }) {
        let text = " ".repeat(101);
        assert_eq!(code(session.compile(KernelSource::Wgsl(&text), "f")), Code::LimitExceeded);
    }
}

#[test]
fn a_stream_is_bounded_and_goes_on_once_it_is_waited_for() {
    const MAX: u64 = 50;
    for session in with(SessionLimits { launches_queued_max: MAX, ..SessionLimits::default() }) {
        let count = session.allocate(DType::U32, 1 << 12).expect("there is room");
        let stream = session.stream();
        let mut accepted = 0;
        for _ in 0..8 * MAX {
            match stream.binary(Binary::Add, &count, 1.0, &count, 1 << 12) {
                Ok(()) => accepted += 1,
                Err(error) => {
                    assert_eq!(error.code(), Code::LimitExceeded);
                    assert!(error.message().contains("launches_queued_max"), "{error}");
                    stream.synchronize().expect("the device is well");
                }
            }
        }
        assert!(accepted >= MAX);
        assert!(
            values_of::<u32>(&session, &count).iter().all(|value| *value == accepted as u32),
            "{session:?}"
        );
    }
}

#[test]
fn a_session_lives_as_long_as_its_handles() {
    for session in with(SessionLimits::default()) {
        let (buffer, stream) = (session.allocate(DType::U32, 4).expect("there is room"), session.stream());
        drop(session);
        stream.fill(&buffer, 0, 4, 5_u32).expect("it is a buffer");
        let event = stream.record().expect("the device is well");
        drop(stream);
        event.wait().expect("the device is well");
        drop(buffer);
        assert!(event.is_done().expect("the device is well"));
    }
}

#[test]
fn what_is_dropped_while_it_is_at_work_does_no_harm() {
    for device in all() {
        for _ in 0..3 {
            let session = device.open(SessionLimits::default()).expect("it opens");
            let buffers: Vec<_> =
                (0..4).map(|_| session.allocate(DType::F32, 1 << 12).expect("there is room")).collect();
            let stream = session.open_stream().expect("there is room");
            for at in 0..200 {
                let (from, to) = (&buffers[at % 4], &buffers[(at + 1) % 4]);
                stream.unary(Unary::Negate, from, to, 1 << 12).expect("it is right");
            }
            stream.flush().expect("the device is well");
            // In another order each time than they were made in.
            drop(session);
            drop(buffers);
            drop(stream);
        }
    }
}

#[test]
fn sessions_may_be_used_from_several_threads() {
    for session in with(SessionLimits::default()) {
        let buffers: Vec<_> =
            (0..4).map(|_| session.allocate(DType::U32, 64).expect("there is room")).collect();
        std::thread::scope(|scope| {
            for buffer in &buffers {
                let session = session.clone();
                scope.spawn(move || {
                    let stream = session.open_stream().expect("there is room");
                    for _ in 0..50 {
                        stream.binary(Binary::Add, buffer, 1.0, buffer, 64).expect("it is right");
                    }
                    stream.synchronize().expect("the device is well");
                });
            }
        });
        for buffer in &buffers {
            assert_eq!(values_of::<u32>(&session, buffer), [50; 64], "{session:?}");
        }
    }
}
