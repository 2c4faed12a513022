//! Buffers of a session.

use std::fmt;
use std::sync::Arc;

use crate::backend::{Bound, MemoryKey};
use crate::dtype::DType;
use crate::error::{Code, Error, Result, exceeded, invalid};
use crate::session::{Session, Shared};

/// Elements on a device. Fresh buffers are zero. The memory goes when this is dropped and nothing that was
/// queued uses it any more.
pub struct Buffer {
    pub(super) shared: Arc<Shared>,
    pub(super) key: MemoryKey,
    dtype: DType,
    count: u64,
}

impl Session {
    /// A buffer of `count` zeros.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for no elements; UNSUPPORTED where the device has no such type; LIMIT_EXCEEDED at
    /// `buffers_max`, `device_memory_bytes_max`, and for more bytes than a buffer of the device has;
    /// GPU_OUT_OF_MEMORY when the device has no more.
    pub fn allocate(&self, dtype: DType, count: u64) -> Result<Buffer> {
        let description = self.description();
        if count == 0 {
            return invalid(format!("a buffer of no {dtype}: a buffer has at least one element"));
        }
        if !description.dtypes.contains(&dtype) {
            let names: Vec<&str> = description.dtypes.iter().map(|dtype| dtype.name()).collect();
            return Err(Error::new(
                Code::Unsupported,
                format!("{description} has no {dtype}; it has {}", names.join(", ")),
            ));
        }
        let Some(bytes) = count.checked_mul(dtype.bytes()) else {
            return exceeded(format!("{count} elements of {dtype} are more bytes than any device has"));
        };
        let mut state = self.shared.state.lock();
        let max = state.limits.buffers_max;
        if state.buffers >= max {
            return exceeded(format!(
                "the session has {} buffers, as many as it may have (buffers_max = {max}): drop some",
                state.buffers
            ));
        }
        let key = state.allocate(bytes, &format!("a buffer of {count} {dtype}"))?;
        state.buffers += 1;
        drop(state);
        Ok(Buffer { shared: self.shared.clone(), key, dtype, count })
    }
}

impl Buffer {
    /// The type of its elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// How many elements it has.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes of its elements.
    pub fn bytes(&self) -> u64 {
        self.count * self.dtype.bytes()
    }

    /// INVALID_ARGUMENT when it is of another session.
    pub(super) fn check_session(&self, shared: &Arc<Shared>, what: &str) -> Result<()> {
        if Arc::ptr_eq(&self.shared, shared) {
            return Ok(());
        }
        invalid(format!("{what} is a buffer of another session: only buffers of the same one can be used"))
    }

    /// The range of `count` elements from `offset`, both counted in elements; GPU_OUT_OF_BOUNDS when it does
    /// not lie inside.
    pub(super) fn range(&self, offset: u64, count: u64, what: &str) -> Result<Bound> {
        match offset.checked_add(count) {
            Some(end) if end <= self.count => {
                let size = self.dtype.bytes();
                Ok(Bound { memory: self.key, offset: offset * size, size: count * size })
            }
            _ => Err(Error::new(
                Code::OutOfBounds,
                format!(
                    "{what}: {count} elements from {offset} on reach beyond the buffer, which has {} of {}",
                    self.count, self.dtype
                ),
            )),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.buffers -= 1;
        state.drop_memory(self.key);
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} {})", self.count, self.dtype)
    }
}
