//! Tasks of any number of arguments.
use std::ops::Deref;
use std::vec;

/// All arguments that are left, as the last parameter of a task or method: what Python writes
/// `*args`. The caller passes whatever can be iterated over.
///
/// ```no_run
/// # use engine::prelude::*;
/// #[engine::task]
/// fn total(values: engine::Varargs<u64>) -> u64 {
///     values.into_iter().sum()
/// }
///
/// # fn run(parts: Vec<ObjectRef<u64>>) -> Result<()> {
/// let all = total::spawn(parts)?.get()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Varargs<T>(pub Vec<T>);

impl<T> Deref for Varargs<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> IntoIterator for Varargs<T> {
    type Item = T;
    type IntoIter = vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
