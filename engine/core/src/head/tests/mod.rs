//! The head as a whole.

mod drain;
mod memory;
mod nodes;
mod runs;
