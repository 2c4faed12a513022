//! Both ends of a connection, on one machine.

mod bad;
mod support;
mod whole;
