//! What a process does to run sandboxes apart from all else, before it has threads, and needs unsafe code for.

#![allow(unsafe_code)]

use engine_core::Error;
use rustix::io::Errno;
use rustix::thread::UnshareFlags;

/// Closes what this process was given besides its standard input, output and error. Answers how many
/// descriptors that were. For a process that has opened nothing itself yet.
///
/// # Errors
/// INTERNAL when the system does not say which there are.
pub fn close_other_descriptors() -> Result<usize, Error> {
    let failed = |error: std::io::Error| {
        Error::internal(format!("finding what is open, so that it can be closed: {error}"))
    };
    let mut others = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        others.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()).filter(|number| *number > 2));
    }
    let mut closed = 0;
    for number in others {
        // The folder itself was open when it was listed, and is not any more.
        if !std::path::Path::new(&format!("/proc/self/fd/{number}")).exists()
            && std::fs::symlink_metadata(format!("/proc/self/fd/{number}")).is_err()
        {
            continue;
        }
        // SAFETY: nothing in this process owns the descriptor: it came from whoever started the process, which
        // has opened nothing itself but the folder above, whose number is free again.
        unsafe { rustix::io::close(number) };
        closed += 1;
    }
    Ok(closed)
}

/// Goes into a network, a System V and a host name of its own, in which there is nothing; as an unprivileged user by
/// way of a user namespace. For a process of one thread.
///
/// # Errors
/// What the system says: it may be forbidden.
pub fn leave_namespaces(is_privileged: bool) -> Result<(), Errno> {
    let user = if is_privileged { UnshareFlags::empty() } else { UnshareFlags::NEWUSER };
    let flags = user | UnshareFlags::NEWNET | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    // SAFETY: the table of descriptors is not among what is unshared.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}
