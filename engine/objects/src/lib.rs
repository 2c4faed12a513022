//! Node-local bytes: small ones on the heap, large ones once in a shared arena, and what memory has no
//! room for in spill files.
//!
//! The core moves [`Place`](engine_core::Place)s and never looks into them; here is what they are. The
//! core also says what is spilled and restored, and when; here it is carried out.

mod allocator;
mod arena;
mod background;
mod checksum;
mod draft;
mod extent;
mod filling;
mod keeper;
mod place;
mod pressure;
mod ranges;
mod spill;
mod spilling;
mod store;

pub use draft::Draft;
pub use engine_core::Residence;
pub use filling::{Filling, Piece};
pub use place::{Mapping, bytes, mapping, on_heap, read_only_descriptor, residence, size, slice};
pub use spill::{LocalTarget, SpillDraft, SpillOptions, SpillTarget, SpillUsage, SpillWriter, open_target};
#[cfg(feature = "s3")]
pub use spill::{S3Options, S3Target};
pub use store::{Options, Store, Usage};
