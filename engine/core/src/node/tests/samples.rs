//! Values, options and errors that tests are made of.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::ids::ComponentId;
use crate::options::{Function, TaskOptions};
use crate::resources::{Quantity, Resources};
use crate::value::{Handle, Place, Residence, Value};

/// A value in the arena.
pub fn large(size: u64) -> Value {
    Value { size, place: Place::of(Arc::new(size), Residence::Arena), ..Value::empty() }
}

/// The same bytes, elsewhere.
pub fn moved(place: &Place, residence: Residence) -> Place {
    Place::of(Arc::new(*place.downcast::<u64>().expect("a token")), residence)
}

pub fn cpus(count: u64) -> Resources {
    Resources { cpus: Quantity::units(count), memory: 64 << 30, ..Resources::default() }
}

pub fn component() -> ComponentId {
    ComponentId([1; 32])
}

pub fn function(name: &str) -> Function {
    Function { component: component(), name: name.into() }
}

pub fn options() -> TaskOptions {
    TaskOptions::default()
}

/// Options with this many CPUs.
pub fn with_cpus(count: u64) -> TaskOptions {
    let mut options = options();
    options.placement.cpus = Some(Quantity::units(count));
    options
}

/// Options with this much guest memory.
pub fn with_memory(bytes: u64) -> TaskOptions {
    let mut options = options();
    options.placement.memory = Some(bytes);
    options
}

pub fn with_deadline(deadline: Duration) -> TaskOptions {
    TaskOptions { deadline: Some(deadline), ..options() }
}

pub fn value(size: u64) -> Value {
    Value { size, ..Value::empty() }
}

pub fn value_with(handles: &[Handle]) -> Value {
    Value { handles: handles.into(), size: 8, ..Value::empty() }
}

/// A failure of the guest's own code.
pub fn failure(kind: &str) -> Error {
    Error::new(ErrorCode::TaskFailed, format!("{kind} went wrong")).with_kind(kind)
}

pub fn error(code: ErrorCode) -> Error {
    Error::new(code, code.as_str().to_lowercase())
}

pub const SECOND: Duration = Duration::from_secs(1);
