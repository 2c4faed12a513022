//! Tables and tensors of Apache Arrow: written once, read in place (feature `arrow`).
//!
//! A [`Table`] and a [`Tensor`] are values like any other: arguments, results, `put` and got. Their
//! bytes are one Arrow IPC stream (codec `arrow-ipc`), which every language's Arrow library reads. What
//! a task receives is not decoded: the arrays point into the bytes that the host has put into the
//! guest's memory, and keep all of them alive.
//!
//! ```
//! # mod sums {
//! use engine::arrow::Table;
//! use engine::arrow::array::{cast::AsArray, types::Int64Type};
//! use engine::prelude::*;
//!
//! #[engine::task]
//! fn sum(table: Table) -> Result<i64> {
//!     let mut sum = 0;
//!     for batch in table.batches() {
//!         let amounts = batch.column_by_name("amount").context("the column `amount`")?;
//!         sum += amounts.as_primitive::<Int64Type>().values().iter().sum::<i64>();
//!     }
//!     Ok(sum)
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! The crates that it works with are here too, so that a guest needs no versions of its own:
//! [`array`], [`buffer`] and [`schema`]. With the feature `ndarray`, `Tensor::view` gives an `ndarray` view.
//!
//! # What is not read
//! Compressed streams, big-endian ones, unions and large list views give an error that says so, as do
//! damaged bytes.

mod dispatch;
mod element;
mod layout;
mod nested;
mod stream;
mod table;
mod tensor;
#[cfg(feature = "ndarray")]
mod view;

pub(crate) use dispatch::{decode, encode, is_arrow};
pub use element::Element;
pub use table::Table;
pub use tensor::Tensor;
pub use {arrow_array as array, arrow_buffer as buffer, arrow_schema as schema};

#[cfg(feature = "ndarray")]
pub use ndarray;

use arrow_buffer::Buffer;

/// A value whose bytes are one Arrow IPC stream. Errors are the bare reason: the caller knows which value
/// it was.
trait ArrowValue: Sized + 'static {
    fn write(&self) -> Result<Vec<u8>, String>;

    /// Reads it in place: what comes back points into `bytes`.
    fn read(bytes: Buffer) -> Result<Self, String>;
}

#[cfg(test)]
mod tests;
