//! The threads of this crate, by kind.

use std::io;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

/// What a background thread is for. Each ends when what it serves is dropped; none may fail: what
/// goes wrong in one is carried to whoever waits for it, or counted in the usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Touches pages of the arena before they are used, and gives them back under pressure. Without
    /// it, the first use of a page is slower.
    Keeper,
    /// Deletes spill files whose objects are gone.
    Janitor,
    /// Writes buffers to a spill file while the next is filled.
    Writer,
    /// Computes checksums beside the writing of the same bytes.
    Checksums,
    /// Reads and checks pieces of an object beside others.
    Reader,
}

impl Kind {
    /// The thread's name; the system shows 15 bytes of it.
    fn name(self) -> &'static str {
        match self {
            Self::Keeper => "arena-keeper",
            Self::Janitor => "spill-janitor",
            Self::Writer => "spill-writer",
            Self::Checksums => "spill-checksums",
            Self::Reader => "spill-reader",
        }
    }

    /// Starts a thread of this kind.
    pub fn start<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        Builder::new().name(self.name().into()).spawn(work)
    }

    /// Starts a thread of this kind that ends before the scope does.
    pub fn start_in<'scope, T: Send + 'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        work: impl FnOnce() -> T + Send + 'scope,
    ) -> io::Result<ScopedJoinHandle<'scope, T>> {
        Builder::new().name(self.name().into()).spawn_scoped(scope, work)
    }
}
