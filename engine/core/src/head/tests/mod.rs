//! The head as a whole.

mod drain;
mod events;
mod memory;
mod nodes;
mod runs;
mod tenants;
mod usage;
