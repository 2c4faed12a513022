//! Who may ask for what.
//!
//! A request is of a [`Verb`], and whoever asks is a [`Principal`]: what it may do, and what of the engine it
//! sees ([`Scope`]). Who has a token is what the token says. An engine makes them ([`Gate`]) with a key that it
//! keeps; whoever has one narrows it without the engine ([`narrow`]), and nobody can widen one.
//! Which components a tenant's jobs may bring is said by a [`ComponentPolicy`].
//!
//! Only this crate names biscuit-auth.

mod error;
mod gate;
mod known;
pub mod limits;
mod principal;
mod revoked;
mod scope;
pub mod signed;
#[cfg(test)]
mod tests;
mod token;
mod verb;

pub use error::OpenError;
pub use gate::{Gate, Issued};
pub use principal::Principal;
pub use revoked::{ParseTokenIdError, TokenId};
pub use scope::{Owner, Scope};
pub use signed::{ComponentPolicy, PolicyChange, Requirement, Signer};
pub use token::{Block, Grant, Narrowing, inspect, narrow};
pub use verb::{ROLES, Role, VERBS, Verb, Verbs};
