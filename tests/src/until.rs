//! Waiting for what is to happen.

use std::thread;
use std::time::{Duration, Instant};

/// After so long something hangs: a bound to fail by, far above what a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(120);

const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Looks again and again until there is what is looked for.
///
/// # Panics
/// When there is not after [`PATIENCE`]; `look` says in its error what there is instead.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(instead) if begun.elapsed() > PATIENCE => {
                panic!("{what}: not within {} s; last seen: {instead}", PATIENCE.as_secs())
            }
            Err(_) => thread::sleep(BETWEEN_LOOKS),
        }
    }
}
