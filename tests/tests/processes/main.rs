//! Real processes, real sandboxes: one binary, so that it is linked once.

mod actors;
mod attached;
mod bad_guests;
mod bad_modules;
mod bad_paths;
mod broadcast;
mod chaos;
mod clients;
mod cluster;
mod concurrent;
mod cuts;
mod drain;
mod embedded;
mod errors;
mod events;
mod examples;
mod job_runs;
mod leaks;
mod placement_groups;
mod plain;
mod rpc_faults;
mod scenarios;
mod slow_disks;
mod storage;
mod tables;
mod tls;
