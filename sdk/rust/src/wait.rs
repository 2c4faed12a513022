//! `wait`: until some of many are ready.
use crate::bindings::engine::compute::objects::{self, Waitable};
use crate::error::{Error, Result};
use crate::object::ObjectRef;
use crate::time::nanoseconds;
use std::time::Duration;

/// Waits until `num_ready` of the references are ready, or until the timeout, and gives those that
/// are ready and the rest, each in the order given. A failed one is ready too.
///
/// ```no_run
/// # use engine::prelude::*;
/// # use std::time::Duration;
/// # fn run(mut pending: Vec<ObjectRef<u64>>) -> Result<()> {
/// while !pending.is_empty() {
///     let (ready, rest) = engine::wait(&pending, 1, None)?;
///     println!("{}", ready[0].get()?);
///     pending = rest;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// INVALID_ARGUMENT for a reference that occurs twice, or when `num_ready` is more than there are.
#[expect(clippy::type_complexity, reason = "two lists of the same, as every `wait` gives")]
pub fn wait<T>(
    references: &[ObjectRef<T>],
    num_ready: usize,
    timeout: Option<Duration>,
) -> Result<(Vec<ObjectRef<T>>, Vec<ObjectRef<T>>)> {
    let items: Vec<_> = references.iter().map(|reference| Waitable::Object(reference.wire())).collect();
    let num_ready = u32::try_from(num_ready).unwrap_or(u32::MAX);
    let indexes = objects::wait(&items, num_ready, timeout.map(nanoseconds)).map_err(Error::from_wire)?;
    let mut is_ready = vec![false; references.len()];
    for index in indexes {
        if let Some(flag) = is_ready.get_mut(index as usize) {
            *flag = true;
        }
    }
    let (mut ready, mut rest) = (Vec::new(), Vec::new());
    for (reference, is_ready) in references.iter().zip(is_ready) {
        if is_ready { &mut ready } else { &mut rest }.push(reference.clone());
    }
    Ok((ready, rest))
}
