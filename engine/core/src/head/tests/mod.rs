//! The head as a whole.

mod memory;
mod nodes;
mod runs;
