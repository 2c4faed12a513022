//! Where the engine and the guests are.

use std::env;
use std::path::{Path, PathBuf};

/// The `engine` binary: `$ENGINE_BIN`, else that of the build which this test is of.
///
/// # Panics
/// When it is not there, with the command that makes it.
pub fn engine_binary() -> PathBuf {
    if let Some(path) = env::var_os("ENGINE_BIN") {
        return path.into();
    }
    let path = profile_dir().join("engine");
    assert!(path.is_file(), "{} is missing: run `cargo build -p engine-cli` first", path.display());
    path
}

/// The component of the guest example of this name.
///
/// # Panics
/// When it is not there, with the command that makes it.
pub fn guest(name: &str) -> PathBuf {
    let folder = env::var_os("ENGINE_GUESTS_DIR").map_or_else(|| target_dir().join("guests"), PathBuf::from);
    let path = folder.join(format!("{name}.wasm"));
    assert!(path.is_file(), "{} is missing: run `cargo xtask guests` first", path.display());
    path
}

/// Where machine code is kept between tests, so that a guest is compiled once.
pub(crate) fn cache_dir() -> PathBuf {
    target_dir().join("tests-cache")
}

/// `target/debug`: where the tests' executables are two levels up from `deps`.
fn profile_dir() -> PathBuf {
    let own = env::current_exe().expect("the test's own path");
    let deps = own.parent().expect("a folder");
    if deps.ends_with("deps") { deps.parent().expect("a folder").to_owned() } else { deps.to_owned() }
}

fn target_dir() -> PathBuf {
    profile_dir().parent().map(Path::to_owned).expect("a folder")
}
