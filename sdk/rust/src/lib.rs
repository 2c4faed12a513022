//! The Rust guest SDK: functions become tasks, structs become actors, values become objects, and
//! every task and actor runs in a WebAssembly sandbox of its own.
//!
//! ```
//! # mod squares {
//! use engine::prelude::*;
//!
//! #[engine::task]
//! fn square(x: u64) -> u64 {
//!     x * x
//! }
//!
//! #[engine::main]
//! fn main(args: Vec<String>) -> Result<()> {
//!     let n: u64 = args.first().map_or(Ok(10), |text| text.parse())?;
//!     let squares = (0..n).map(square::spawn).collect::<Result<Vec<_>>>()?;
//!     let total: u64 = engine::get_all(&squares)?.iter().sum();
//!     println!("the sum of the first {n} squares is {total}");
//!     Ok(())
//! }
//! # }
//! # fn main() {}
//! ```
//!
//! Build it as a `cdylib` for `wasm32-wasip2` (or with `engine build`) and run it with
//! `engine submit target/wasm32-wasip2/release/squares.wasm -- 100`.
//!
//! # Tasks
//! `#[engine::task]` leaves the function as it is, and gives it a namesake to spawn it with:
//!
//! | | |
//! |---|---|
//! | `square(3)` | calls the function, here and now |
//! | `square::spawn(3)?` | runs it in a sandbox somewhere; gives an [`ObjectRef<u64>`](ObjectRef) |
//! | `square::options().cpus(0.5).spawn(3)?` | the same with [options](TaskOptions) |
//! | `square::submit(3)?` | gives the [`Task`], which can be cancelled |
//!
//! An argument is a value, a reference to one, or an [`ObjectRef`] (the task then starts once the
//! value exists, and gets the value). Values are whatever serde can write and read ([`Value`]);
//! [`Bytes`] travel as they are, and with the feature `arrow` tables and tensors are read in place
//! (`engine::arrow`). Options that always hold are written into the attribute, with the
//! same names: `#[engine::task(cpus = 2, max_retries = 5, retry_on("Flaky"))]`.
//!
//! - A task that returns a `Result` fails with its error: the caller's `get` gives an [`Error`] with
//!   the error's type (or what it [chooses](Kind)) as [`kind`](Error::kind) and its text as message.
//! - A task that returns `impl Iterator<Item = T>` is a stream: `spawn` gives a [`Stream<T>`](Stream),
//!   each item is there as soon as it is yielded, and `unread_objects_max = n` keeps the task from
//!   running further ahead than that.
//! - With `num_returns = n` the parts of a tuple, array or `Vec` become objects of their own, and
//!   `spawn` gives as many references.
//!
//! # Objects
//! [`put`], [`get_all`], [`wait`], [`ObjectRef::get`]; [`ObjectWriter`] for what should never lie in
//! the guest as a whole. In async code a reference is awaited, and [`block_on`] runs such code:
//! the sandbox sleeps until one of the objects that are waited for is ready.
//!
//! Big arrays and tables need not enter the guest at all: [`mod@array`] works on them by handle.
//!
//! # Actors
//! ```
//! use engine::prelude::*;
//!
//! struct Counter { count: u64 }
//!
//! #[engine::actor]
//! impl Counter {
//!     pub fn new(count: u64) -> Self {
//!         Counter { count }
//!     }
//!
//!     pub fn add(&mut self, n: u64) -> u64 {
//!         self.count += n;
//!         self.count
//!     }
//! }
//!
//! fn use_it() -> Result<()> {
//!     let counter = Counter::options().name("hits").max_restarts(3).spawn(0)?;
//!     let total = counter.add(5)?.get()?;
//!     assert_eq!(total, 5);
//!     let same = Counter::lookup("hits", None)?;
//!     same.submit().deadline(std::time::Duration::from_secs(1)).add(1)?.cancel()?;
//!     Ok(())
//! }
//! ```
//! Each public method with `self` becomes a method of `CounterHandle` that gives an [`ObjectRef`].
//! Handles are values: pass them to tasks and other actors.
//!
//! A method may be an `async fn`. In a component of the concurrent world, which
//! `#[engine::main(concurrent)]` or [`library!(concurrent)`](library!) make, the calls of an actor with
//! `max_concurrency` above 1 take turns wherever they await: those with `&self` are inside together, one
//! with `&mut self` is alone. Await references there instead of calling `get`, which holds up the
//! others.
//!
//! # Errors, logs, and where this runs
//! [`Result`] and `?` work with [`Error`] and any `std::error::Error`. `println!` goes to the job's
//! output, [`log`]'s macros to its log (`ENGINE_LOG=debug` shows more), a panic into the error
//! of the task. [`context()`] tells job, node, attempt and resources.
//!
//! Off WebAssembly the crate compiles, so that plain functions can be unit-tested; whatever asks the
//! host panics there.

extern crate self as engine;

mod actor;
mod actor_options;
mod argument;
pub mod array;
#[cfg(feature = "arrow")]
pub mod arrow;
#[doc(hidden)]
pub mod bindings;
mod bytes;
mod call_options;
mod code;
mod codec;
#[doc(hidden)]
pub mod concurrent_bindings;
mod concurrent_program;
mod context;
mod error;
mod executor;
mod failure;
mod function;
mod get;
mod group;
mod handles;
mod incoming;
mod instance;
mod logging;
mod object;
mod placement;
mod program;
mod put;
mod registry;
mod returns;
mod stream;
mod task;
mod task_options;
mod time;
mod varargs;
mod wait;
mod writer;

pub use actor::{ActorRef, MethodCall};
pub use actor_options::{ActorOptions, Lifetime};
pub use argument::{Argument, IntoArgument};
pub use bytes::Bytes;
pub use call_options::CallOptions;
pub use code::ErrorCode;
pub use codec::{Codec, Value};
pub use context::{Context, Node, Resources, context};
pub use engine_macros::{actor, main, method, task};
pub use error::{Error, Frame, Result, ResultExt, StandardError};
pub use executor::{Get, block_on, sleep};
pub use failure::{Failure, Kind};
pub use function::{FunctionCall, function};
pub use get::{get_all, get_all_timeout};
pub use group::{Bundle, GroupStrategy, PlacementGroup};
pub use log;
pub use object::{Metadata, ObjectRef};
pub use placement::{Label, Strategy};
pub use put::{put, put_bytes};
pub use returns::{Outputs, Returns};
pub use stream::{AsyncStream, Stream};
pub use task::Task;
pub use task_options::{Reuse, TaskOptions};
pub use varargs::Varargs;
pub use wait::wait;
pub use writer::ObjectWriter;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

/// What most programs use: `use engine::prelude::*;`.
pub mod prelude {
    pub use crate::{
        ActorRef, Bytes, Error, ErrorCode, Failure, ObjectRef, Result, ResultExt, Stream, Task, Value,
    };
    pub use std::future::IntoFuture;
}

/// Exports the tasks and actors of a component that has no main function of its own.
///
/// ```
/// #[engine::task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// engine::library!();
/// # fn main() {}
/// ```
///
/// `engine::library!(concurrent)` makes it a component of the concurrent world, whose actors may have a
/// `max_concurrency` above 1.
#[macro_export]
macro_rules! library {
    () => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::__private::Program as __EngineProgram;
    $crate::__private::bindings::export!(__EngineProgram with_types_in $crate::__private::bindings);
        };
    };
    (concurrent) => {
        #[cfg(target_family = "wasm")]
        const _: () = {
            use $crate::__private::ConcurrentProgram as __EngineProgram;
            $crate::__private::concurrent_bindings::export_concurrent!(
                __EngineProgram with_types_in $crate::__private::concurrent_bindings
            );
        };
    };
}
