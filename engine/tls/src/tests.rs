//! Both ends of a connection, on one machine.

mod bad;
mod revoked;
mod support;
mod whole;
