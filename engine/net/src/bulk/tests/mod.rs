//! Both ends against each other, against a bad network between them, and against ends that misbehave.

mod faults;
mod secure;
mod servers;
mod spread;
mod support;
mod transfers;
