//! What one tenant's work does on one device, within its limits.
//!
//! A session checks everything that comes in: ranges, types, sizes, counts, and that handles are its own. So
//! whoever holds one can be given to code that nobody trusts, as far as checks go; what checks cannot
//! bound (a kernel without end, a CUDA kernel that reaches where it should not) the end of the process does.

mod buffer;
mod kernel;
mod library;
mod limits;
mod state;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::backend::Backend;
use crate::device::DeviceDescription;
use crate::error::Result;
use state::State;

pub use buffer::Buffer;
pub use kernel::{Access, Binding, Grid, Kernel};
pub use library::Operand;
pub use limits::{ALLOCATION_GRANULE_BYTES, SessionLimits, Usage};
pub use stream::{Event, Stream};

/// What one tenant's work has on one device. Handles (buffers, kernels, streams, events) keep it; clones
/// are the same session. It may be used from several threads.
#[derive(Clone)]
pub struct Session {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    description: DeviceDescription,
    limits: SessionLimits,
    pub(crate) state: Mutex<State>,
}

impl Session {
    pub(crate) fn new(backend: Box<dyn Backend>, limits: SessionLimits) -> Self {
        let description = backend.description().clone();
        let state = Mutex::new(State::new(backend, limits));
        Self { shared: Arc::new(Shared { description, limits, state }) }
    }

    /// The device.
    pub fn description(&self) -> &DeviceDescription {
        &self.shared.description
    }

    /// What it may use.
    pub fn limits(&self) -> SessionLimits {
        self.shared.limits
    }

    /// What it uses; of a lost device, what was used.
    pub fn usage(&self) -> Usage {
        self.shared.state.lock().usage()
    }

    /// Waits until everything that was queued on all streams has ended.
    ///
    /// # Errors
    /// GPU_DEVICE_LOST, also when a kernel broke the device.
    pub fn synchronize(&self) -> Result<()> {
        let waiters = self.shared.state.lock().waiters()?;
        for waiter in waiters {
            waiter().inspect_err(|error| self.shared.state.lock().note(error))?;
        }
        self.shared.state.lock().collect()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({})", self.shared.description)
    }
}
