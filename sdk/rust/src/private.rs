//! What the macros' expansions call. Not for people: it may change at any time.
use crate::bindings::engine::compute::types as wit;
use crate::code::ErrorCode;
use crate::codec::{self, Value};
use crate::context;
use crate::error::Error;
use crate::failure::Failure;
use crate::returns::{Encodings, Returns};
use std::any::Any;

pub use crate::bindings;
pub use crate::concurrent_bindings;
pub use crate::concurrent_program::ConcurrentProgram;
pub use crate::failure::{OfDisplay, OfEngine, OfKind, OfStandard, Returned};
pub use crate::function::{create_actor, submit, submit_streaming};
pub use crate::incoming::Incoming;
pub use crate::program::Program;
pub use crate::registry::{ActorEntry, MainEntry, MethodEntry, Outcome, Running, Serve, TaskEntry, name_of};
pub use inventory;
pub use serde;

/// The two types of a `Result`, whatever it is called.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is called a `Result` and is none",
    note = "a task whose return type is named `Result` must return `std::result::Result` or an alias of it"
)]
pub trait Fallible {
    type Ok;
    type Err;
}

impl<T, E> Fallible for Result<T, E> {
    type Ok = T;
    type Err = E;
}

/// The result of a function with one object.
pub fn one<T: Value>(value: T) -> Outcome {
    let encoded = codec::encode_owned(value).map_err(Error::into_failure)?;
    Ok(vec![Encodings(encoded)])
}

/// The result of a function with several objects.
pub fn many<R: Returns>(value: R) -> Outcome {
    value.encode().map_err(Error::into_failure)
}

/// Yields one object of a streaming function.
pub fn emit<T: Value>(value: T) -> Result<(), Failure> {
    let mut encoded = codec::encode_owned(value).map_err(Error::into_failure)?;
    let emitted = context::invocation(|invocation: &wit::Invocation| invocation.emit(&encoded.lend()));
    match emitted {
        Some(emitted) => emitted.map_err(|error| Error::from_wire(error).into_failure()),
        None => Err(Failure::coded(ErrorCode::InvalidArgument, "a value was yielded outside of a call")),
    }
}

/// The actor that a method with `&self` is called on, as what it is.
pub fn shared<T: 'static>(state: &dyn Any) -> Result<&T, Failure> {
    state.downcast_ref().ok_or_else(other_actor::<T>)
}

/// The actor that a method with `&mut self` is called on, as what it is.
pub fn exclusive<T: 'static>(state: &mut dyn Any) -> Result<&mut T, Failure> {
    state.downcast_mut().ok_or_else(other_actor::<T>)
}

fn other_actor<T>() -> Failure {
    let message = format!("the actor is not a {}", std::any::type_name::<T>());
    Failure::coded(ErrorCode::InvalidArgument, message)
}
