//! Arrays that guests work on by handle: what can be done with them, natively and in pieces.
//!
//! An [`Array`] is an Arrow array with a shape, in row-major order. Every operation is a function of
//! arrays to arrays, and knows neither sandboxes nor nodes. Three things hold for each:
//!
//! - It checks types and shapes first, and says which it found.
//! - What its result and its own tables take is taken of a [`Budget`] before it is allocated, and given
//!   back when the last array that has it is dropped.
//! - It is a future that yields whenever it has run for a slice ([`Work`]): whoever polls it can stop it
//!   between two pieces, and dropping it gives everything back.

mod array;
mod bytes_of;
mod dtype;
mod elementwise;
mod error;
mod group;
mod ipc;
mod kernels;
mod make;
mod matmul;
mod operand;
mod order;
mod pieces;
mod reduce;
mod rows;
mod scalar;
mod select;
mod work;

// One source for both sides: what the SDK's guests write and read as Arrow is what is read and written here.
#[path = "../../../sdk/rust/src/arrow/layout.rs"]
mod layout;
#[path = "../../../sdk/rust/src/arrow/stream.rs"]
#[allow(dead_code, reason = "streams are written in parts here")]
mod stream;

pub use array::Array;
pub use arrow_buffer::Buffer;
pub use bytes_of::{read_bytes, read_texts};
pub use dtype::DType;
pub use elementwise::{Binary, Unary, binary, cast, choose, unary};
pub use error::{Error, Result};
pub use group::{Grouped, group_by};
pub use ipc::{Encoded, encode_array, encode_table, read_array, read_raw, read_table};
pub use make::{arange, from_bytes, from_texts, full};
pub use matmul::matmul;
pub use operand::Operand;
pub use order::{argsort, sort, unique};
pub use reduce::{Reduction, reduce, reduce_axis};
pub use scalar::Scalar;
pub use select::{concatenate, filter, take, transpose};
pub use work::{Budget, Grant, Work};
