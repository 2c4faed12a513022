//! The threads of a worker besides those of its runtime, by kind.

use std::io;
use std::thread::Builder;

/// What a thread is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Tells the node of values that are not needed any more. Ends with the process; after a panic they are kept until
    /// then.
    Sweeper,
    /// Compiles a component. Ends by itself; a panic fails what needed it.
    Compiler,
}

/// Bytes of machine stack: what compiles goes deep.
const STACK_BYTES: usize = 16 << 20;

impl Kind {
    /// Starts a thread of this kind.
    pub(crate) fn start(self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        Builder::new().name(format!("{self:?}")).stack_size(STACK_BYTES).spawn(work).map(drop)
    }
}
