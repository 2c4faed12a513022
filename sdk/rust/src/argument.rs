//! What tasks and actors may be called with.
use crate::bindings::engine::compute::types as wit;
use crate::codec::{self, Encoded, Value};
use crate::error::Result;
use crate::object::ObjectRef;
use serde::Serialize;
use std::sync::Arc;

/// What may stand for a parameter of type `T`: a `T`, a `&T`, or an [`ObjectRef<T>`](ObjectRef),
/// whose value the callee sees once it exists. Text may be a `&str`, a `Vec` a slice.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be passed where the task takes `{T}`",
    label = "expected `{T}`, `&{T}` or `ObjectRef<{T}>`",
    note = "an argument is the value itself, a reference to it, or an `ObjectRef` whose value it becomes"
)]
pub trait IntoArgument<T> {
    /// Encodes the value, or names the object.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when the value does not encode.
    fn into_argument(self) -> Result<Argument>;
}

/// One argument of a call, ready to be sent.
#[derive(Debug)]
pub struct Argument(Kind);

#[derive(Debug)]
enum Kind {
    Value(Encoded),
    Object(Arc<wit::Object>),
}

impl Argument {
    fn value(encoded: Encoded) -> Self {
        Argument(Kind::Value(encoded))
    }

    /// A value of any type, as MessagePack.
    pub(crate) fn plain<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        codec::encode_msgpack(value).map(Argument::value)
    }

    pub(crate) fn object<T>(object: &ObjectRef<T>) -> Self {
        Argument(Kind::Object(object.shared()))
    }

    fn lend(&mut self) -> wit::Argument<'_> {
        match &mut self.0 {
            Kind::Value(encoded) => wit::Argument::Value(encoded.lend()),
            Kind::Object(object) => wit::Argument::Object(object),
        }
    }
}

/// The arguments as the interface takes them.
pub(crate) fn lend(arguments: &mut [Argument]) -> Vec<wit::Argument<'_>> {
    arguments.iter_mut().map(Argument::lend).collect()
}

impl<T: Value> IntoArgument<T> for T {
    fn into_argument(self) -> Result<Argument> {
        codec::encode_owned(self).map(Argument::value)
    }
}

impl<T: Value> IntoArgument<T> for &T {
    fn into_argument(self) -> Result<Argument> {
        codec::encode(self).map(Argument::value)
    }
}

impl<T: Value> IntoArgument<T> for ObjectRef<T> {
    fn into_argument(self) -> Result<Argument> {
        Ok(Argument::object(&self))
    }
}

impl<T: Value> IntoArgument<T> for &ObjectRef<T> {
    fn into_argument(self) -> Result<Argument> {
        Ok(Argument::object(self))
    }
}

impl IntoArgument<String> for &str {
    fn into_argument(self) -> Result<Argument> {
        Argument::plain(self)
    }
}

impl<T: Value> IntoArgument<Vec<T>> for &[T] {
    fn into_argument(self) -> Result<Argument> {
        Argument::plain(self)
    }
}

impl<T: Value, const N: usize> IntoArgument<Vec<T>> for [T; N] {
    fn into_argument(self) -> Result<Argument> {
        Argument::plain(&self[..])
    }
}
