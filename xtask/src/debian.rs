//! Packages of the distribution that the tests need.

use crate::workspace::succeed;
use anyhow::{Result, bail};
use std::process::{Command, Stdio};

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Installs a package, where we may; else an error that says what is missing without it.
pub(crate) fn install(package: &str, missing: &str) -> Result<()> {
    if !is_root() || !is_good(Command::new("apt-get").arg("--version")) {
        bail!("{missing}");
    }
    eprintln!("installing the package {package}");
    let apt_get = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.arg("-qq").args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        succeed(command.stdin(Stdio::null()))
    };
    apt_get(&["update"])?;
    apt_get(&["install", "-y", "--no-install-recommends", package])
}

/// Whether a command ends well; what it writes is not shown.
pub(crate) fn is_good(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
