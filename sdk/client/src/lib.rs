//! The Rust client outside the sandbox: submit jobs, watch them, read the state.
//!
//! ```no_run
//! # async fn run() -> Result<(), engine_client::Error> {
//! use engine_client::{Client, spec};
//!
//! let client = Client::connect_default().await?;
//! let component = client.upload(std::fs::read("add.wasm").unwrap_or_default()).await?;
//! let job = client.submit(spec::invoke(component, "add(1, 2)")).await?;
//! let done = job.wait().await?;
//! println!("{:?}", done.result.and_then(|result| result.wave));
//! # Ok(())
//! # }
//! ```

mod attach;
mod audit;
mod background;
mod client;
mod connect;
mod error;
mod job;
mod login;
mod nodes;
mod secrets;
pub mod session;
pub mod spec;
mod state;
mod tenants;
mod tokens;
mod upload;

pub use attach::{Attached, Seen};
pub use client::{Client, TOKEN_VARIABLE, token_from_env};
pub use engine_core::{ComponentId, Error as EngineError, ErrorCode};
pub use engine_proto::address::{Address, ParseAddressError};
pub use engine_proto::fields;
/// The messages of the engine's services, as they are documented in `proto/engine/v1`.
pub use engine_proto::v1 as messages;
/// What a client shows that has no certificate.
pub use engine_tls::{AccessToken, Fingerprint, ParseAccessTokenError};
pub use error::{Error, Result};
pub use job::{Event, Events, Job, LogOptions, Logs};
pub use login::login;
pub use session::Session;
