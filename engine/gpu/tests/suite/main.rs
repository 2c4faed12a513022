//! What every device must do, run against each that this machine has: the reference, Vulkan's, CUDA's.
//!
//! `ENGINE_TEST_GPU` names backends, with commas between, of which a device must be there: `wgpu`, `cuda`.
//! Without it, those that are missing are left out, and the tests say so.

mod bounds;
mod devices;
mod hostile;
mod kernels;
mod library;
mod limits;
mod transfers;
mod worker;

use std::sync::OnceLock;

use engine_gpu::{BackendKind, Buffer, Code, Device, Element, Result, Session, SessionLimits, devices};

/// The devices of this machine; fails when one is missing that must be there.
fn all() -> Vec<Device> {
    static FOUND: OnceLock<Vec<Device>> = OnceLock::new();
    let found = FOUND.get_or_init(devices).clone();
    let demanded = std::env::var("ENGINE_TEST_GPU").unwrap_or_default();
    for name in demanded.split(',').filter(|name| !name.is_empty()) {
        let is_there = found.iter().any(|device| device.description().backend.name() == name);
        assert!(is_there, "ENGINE_TEST_GPU={demanded}: there is no device of {name} among {found:?}");
    }
    found
}

/// A session on each device that is no judge.
fn judged() -> Vec<Session> {
    let others = all().into_iter().filter(|device| device.description().backend != BackendKind::Reference);
    let sessions: Vec<Session> = others.map(|device| open(&device)).collect();
    if sessions.is_empty() {
        eprintln!("no device but the reference: nothing was tested (set ENGINE_TEST_GPU to demand one)");
    }
    sessions
}

/// A session on each device.
fn every() -> Vec<Session> {
    all().iter().map(open).collect()
}

fn open(device: &Device) -> Session {
    device.open(SessionLimits::default()).unwrap_or_else(|error| panic!("{device:?} does not open: {error}"))
}

fn reference() -> Session {
    let found = all();
    let is_reference = |device: &&Device| device.description().backend == BackendKind::Reference;
    open(found.iter().find(is_reference).expect("the reference is always there"))
}

/// A buffer with these values.
fn buffer_of<T: Element>(session: &Session, values: &[T]) -> Buffer {
    let buffer = session.allocate(T::DTYPE, values.len() as u64).expect("there is room");
    session.stream().upload(&buffer, 0, values).expect("it fits");
    buffer
}

/// What is in a buffer.
fn values_of<T: Element>(session: &Session, buffer: &Buffer) -> Vec<T> {
    let mut values = vec![T::zeroed(); buffer.count() as usize];
    session.stream().download(buffer, 0, &mut values).expect("it is there");
    values
}

/// The code of what was refused, with its message.
fn code<T>(outcome: Result<T>) -> Code {
    match outcome {
        Ok(_) => panic!("it should be refused"),
        Err(error) => {
            assert!(!error.message().is_empty());
            error.code()
        }
    }
}
