//! Node-local bytes: small ones on the heap, large ones once in a shared arena.
//!
//! The core moves [`Place`]s and never looks into them; here is what they are.

mod allocator;
mod arena;
mod store;

pub use arena::Arena;
pub use store::{Options, Store, Usage, bytes};
