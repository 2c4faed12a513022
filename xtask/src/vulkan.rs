//! A device for the tests of GPUs: lavapipe, which a CPU plays, and NVIDIA's where there is one.

use crate::debian;
use crate::workspace::{cargo, succeed};
use anyhow::Result;
use std::path::Path;

/// Which backends must have a device, to the tests; without it, they say what they left out.
pub(crate) const VARIABLE: &str = "ENGINE_TEST_GPU";

/// What has it: the loader, and the devices that a CPU plays.
const PACKAGES: [&str; 2] = ["libvulkan1", "mesa-vulkan-drivers"];
const LOADER: &str = "libvulkan.so.1";
const LIBRARIES: [&str; 4] =
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
/// Where drivers say that they are there.
const DRIVERS: [&str; 2] = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"];

/// Whether this machine has Vulkan's loader and a driver.
pub(crate) fn is_there() -> bool {
    let has_loader = LIBRARIES.iter().any(|folder| Path::new(folder).join(LOADER).exists());
    let has_driver = |folder: &&str| {
        let entries = Path::new(folder).read_dir().into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.path().extension().is_some_and(|end| end == "json"))
    };
    has_loader && DRIVERS.iter().any(has_driver)
}

/// Installs them, where they are missing.
pub(crate) fn provide() -> Result<()> {
    if is_there() {
        return Ok(());
    }
    let missing = "there is no Vulkan on this machine: the tests of GPUs have no device but the reference";
    PACKAGES.iter().try_for_each(|package| debian::install(package, missing))
}

/// The tests of the crate for GPUs on a machine that has an NVIDIA device, which they must find. Nothing is
/// installed or downloaded.
pub(crate) fn test_with_cuda() -> Result<()> {
    succeed(cargo(&["test", "--offline", "--package", "engine-gpu"]).env(VARIABLE, "cuda"))
}
