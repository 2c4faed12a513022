//! A process for one tenant's work on one device: what no check can bound, its end does.
//!
//! [`serve`] is the worker's side: a session behind a socket. [`Worker`] is the other side: it starts the
//! process, asks, and gives each request a deadline, past which it ends the process; then everybody who waits
//! hears DEADLINE_EXCEEDED, and whoever asks later too. A process that ends by itself is WORKER_DIED.
//!
//! Neither side believes the other: the worker checks handles, names and numbers, and a client ends a worker
//! whose answers it cannot read.

mod background;
mod client;
mod frame;
pub mod messages;
mod operate;
mod server;

pub use client::Worker;
pub use frame::FRAME_BYTES_MAX;
pub use server::{EVENTS_MAX, WAITS_MAX, serve, serve_stdin};
