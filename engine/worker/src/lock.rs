//! What a worker gives up before it compiles or runs anything, so that whoever breaks out of a sandbox has nothing.
//!
//! Without the filter of system calls a worker does not run ([`lock_in`] fails). All else is a second wall, and is
//! reported where the system lacks it.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::Command;

use engine_core::Error;
use engine_runtime::apart;
use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::syscalls;

/// The user and group that nothing belongs to, on every Linux.
const NOBODY: u32 = 65_534;
/// Descriptors that a worker may have open: its line, and what wasmtime keeps the first memory of components in.
const DESCRIPTORS_MAX: u64 = 4_096;

/// How well a worker is locked in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Locks {
    /// What holds, for people.
    pub hold: Vec<String>,
    /// What the system does not offer or allow, and why, for people.
    pub missing: Vec<String>,
}

impl Locks {
    fn note(&mut self, what: &str, done: Result<(), impl std::fmt::Display>) {
        match done {
            Ok(()) => self.hold.push(what.to_owned()),
            Err(error) => self.missing.push(format!("{what}: {error}")),
        }
    }
}

/// Gives up all that a worker does not need. For a process of one thread. `closed`: whether everything was closed
/// that it does not need.
///
/// # Errors
/// Why not, for people, when system calls cannot be filtered, or when the filter lets through what it must not.
pub fn lock_in(closed: Result<(), Error>) -> Result<Locks, String> {
    let mut locks = Locks::default();
    // What is only asked of the system when it is first needed, and could not be then.
    rustix::param::page_size();
    locks.note("no descriptors but the line", closed);
    locks.note("limits", limits());
    let is_root = rustix::process::geteuid().is_root();
    locks.note("namespaces", apart::leave_namespaces(is_root));
    locks.note("no capabilities to gain", drop_bounding_set(is_root));
    if is_root {
        locks.note("user nobody", become_nobody());
    }
    locks.note("no capabilities", rustix::thread::set_capabilities(None, NONE));
    locks.note("no dumps", rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable));
    // After the change of user, which undoes it.
    let end = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    locks.note("ends with its node", end);
    locks.note("no new privileges", rustix::thread::set_no_new_privs(true));
    locks.note("landlock", landlock());
    syscalls::confine()?;
    prove()?;
    locks.hold.push("seccomp".to_owned());
    Ok(locks)
}

const NONE: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

fn limits() -> rustix::io::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none)?;
    let before = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let most = Some(before.min(DESCRIPTORS_MAX));
    rustix::process::setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })
}

/// Capabilities that a program could gain that is started from here.
fn drop_bounding_set(is_root: bool) -> rustix::io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    if !is_root {
        // Nobody else may, and without new privileges nothing comes of it.
        return Ok(());
    }
    for capability in CapabilitySet::all().iter() {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // This kernel does not know it.
            Err(rustix::io::Errno::INVAL) | Ok(()) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn become_nobody() -> rustix::io::Result<()> {
    let (user, group) = (rustix::process::Uid::from_raw(NOBODY), rustix::process::Gid::from_raw(NOBODY));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)
}

/// No file, no port, and no signal or socket to outside, whatever it is that asks.
fn landlock() -> Result<(), String> {
    let newest = ABI::V6;
    let locked = Ruleset::default()
        .handle_access(AccessFs::from_all(newest))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(newest)))
        .and_then(|rules| rules.scope(Scope::from_all(newest)))
        .and_then(|rules| rules.create())
        .and_then(|rules| rules.restrict_self())
        .map_err(|error| error.to_string())?;
    match locked.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
        RulesetStatus::NotEnforced => Err("this kernel has none".to_owned()),
    }
}

/// Tries what must not be possible any more.
fn prove() -> Result<(), String> {
    let tried = [
        ("opens files", File::open("/proc/self/status").is_ok()),
        ("makes sockets", UnixStream::pair().is_ok() || TcpListener::bind("127.0.0.1:0").is_ok()),
        ("starts processes", Command::new("/proc/self/exe").arg("version").spawn().is_ok()),
    ];
    match tried.into_iter().find(|(_, works)| *works) {
        None => Ok(()),
        Some((what, _)) => Err(format!("it still {what}, in spite of the filter of its system calls")),
    }
}
