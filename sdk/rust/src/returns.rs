//! What comes back from a call: one object, several, or a stream of them.
use crate::bindings::engine::compute::types as wit;
use crate::code::ErrorCode;
use crate::codec::{self, Encoded, Value};
use crate::error::{Error, Result};
use crate::object::ObjectRef;

/// How the objects of a call are handed to the caller; implemented for the shapes that
/// [`Task`](crate::Task) can have.
pub trait Outputs: Sized {
    #[doc(hidden)]
    fn from_objects(objects: Vec<wit::Object>) -> Result<Self>;
}

impl<T> Outputs for ObjectRef<T> {
    fn from_objects(objects: Vec<wit::Object>) -> Result<Self> {
        exactly(objects).map(|[object]| ObjectRef::from_wire(object))
    }
}

impl Outputs for () {
    fn from_objects(objects: Vec<wit::Object>) -> Result<Self> {
        exactly(objects).map(|[]| ())
    }
}

impl<T> Outputs for Vec<ObjectRef<T>> {
    fn from_objects(objects: Vec<wit::Object>) -> Result<Self> {
        Ok(objects.into_iter().map(ObjectRef::from_wire).collect())
    }
}

impl<T, const N: usize> Outputs for [ObjectRef<T>; N] {
    fn from_objects(objects: Vec<wit::Object>) -> Result<Self> {
        exactly(objects).map(|objects| objects.map(ObjectRef::from_wire))
    }
}

fn exactly<const N: usize>(objects: Vec<wit::Object>) -> Result<[wit::Object; N]> {
    <[wit::Object; N]>::try_from(objects).map_err(|objects| {
        let message = format!("the call makes {} objects, the caller expects {N}", objects.len());
        Error::coded(ErrorCode::InvalidArgument, message)
    })
}

/// What a function with `num_returns = n` may return, each part an object of its own: a tuple, an
/// array, a `Vec` whose length is `n`, or nothing (`n = 0`).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be split into several objects",
    note = "a task with `num_returns = n` returns a tuple, an array or a `Vec` of n values, or `()` for 0"
)]
pub trait Returns {
    /// The references to the parts, as the caller gets them.
    type Refs: Outputs;

    #[doc(hidden)]
    fn encode(self) -> Result<Vec<Encodings>>;
}

/// One encoded part of a result.
#[doc(hidden)]
#[derive(Debug)]
pub struct Encodings(pub(crate) Encoded);

fn part<T: Value>(value: T) -> Result<Encodings> {
    codec::encode_owned(value).map(Encodings)
}

impl Returns for () {
    type Refs = ();
    fn encode(self) -> Result<Vec<Encodings>> {
        Ok(Vec::new())
    }
}

impl<T: Value> Returns for Vec<T> {
    type Refs = Vec<ObjectRef<T>>;
    fn encode(self) -> Result<Vec<Encodings>> {
        self.into_iter().map(part).collect()
    }
}

impl<T: Value, const N: usize> Returns for [T; N] {
    type Refs = [ObjectRef<T>; N];
    fn encode(self) -> Result<Vec<Encodings>> {
        self.into_iter().map(part).collect()
    }
}

macro_rules! tuples {
    ($($($name:ident)+;)+) => {
        $(
            impl<$($name: Value),+> Returns for ($($name,)+) {
                type Refs = ($(ObjectRef<$name>,)+);
                fn encode(self) -> Result<Vec<Encodings>> {
                    #[allow(non_snake_case)]
                    let ($($name,)+) = self;
                    Ok(vec![$(part($name)?),+])
                }
            }

            impl<$($name),+> Outputs for ($(ObjectRef<$name>,)+) {
                fn from_objects(objects: Vec<wit::Object>) -> Result<Self> {
                    #[allow(non_snake_case)]
                    let [$($name),+] = exactly(objects)?;
                    Ok(($(ObjectRef::from_wire($name),)+))
                }
            }
        )+
    };
}

tuples! {
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
}
