//! The node, seen from outside: what its contract says, one clause after the other.

mod harness;

mod cluster;

mod actor_end;
mod actor_order;
mod actor_restart;
mod attached;
mod blocking;
mod cancel;
mod clients;
mod concurrency;
mod deadline;
mod deadlock;
mod dependencies;
mod events;
mod failure;
mod history;
mod jobs;
mod late_events;
mod limits;
mod lineage;
mod metering;
mod objects;
mod placement;
mod retry;
mod samples;
mod shares;
pub mod simulate;
mod spill;
mod streams;
mod tenants;
mod trace;
mod waiting;
mod warm;
