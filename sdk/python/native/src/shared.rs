//! What a session and all of its handles have in common, and how Python waits.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use engine_core::Error;
use futures::FutureExt;
use pyo3::prelude::*;

use crate::client::Client;
use crate::errors::raised;

/// How long a wait goes on before it looks for signals.
const LOOK_FOR_SIGNALS_EVERY: Duration = Duration::from_millis(50);
/// Bytes whose copying is worth letting other threads run.
pub(crate) const LONG_COPY_BYTES: usize = 64 << 10;

/// A session as its handles know it.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) runtime: tokio::runtime::Handle,
}

impl Shared {
    /// What `work` gives. Other threads run meanwhile, and Ctrl-C ends the wait.
    pub(crate) fn block<T: Send>(
        self: &Arc<Self>,
        py: Python<'_>,
        work: impl Future<Output = Result<T, Error>> + Send,
    ) -> PyResult<T> {
        let result = block_on(py, &self.runtime, work)?;
        result.map_err(|error| raised(py, Some(self), &error))
    }

    /// The same for what an engine in this process answers at once.
    pub(crate) fn ask<T: Send>(
        self: &Arc<Self>,
        py: Python<'_>,
        work: impl Future<Output = Result<T, Error>> + Send,
    ) -> PyResult<T> {
        let mut work = pin!(work);
        match work.as_mut().now_or_never() {
            Some(result) => result.map_err(|error| raised(py, Some(self), &error)),
            None => self.block(py, work),
        }
    }

    /// The exception for an error.
    pub(crate) fn raised(self: &Arc<Self>, py: Python<'_>, error: &Error) -> PyErr {
        raised(py, Some(self), error)
    }
}

/// What `work` gives. Other threads run meanwhile, and Ctrl-C ends the wait.
pub(crate) fn block_on<T: Send>(
    py: Python<'_>,
    runtime: &tokio::runtime::Handle,
    work: impl Future<Output = T> + Send,
) -> PyResult<T> {
    let mut work = pin!(work);
    // Most of what is asked for is there.
    if let Some(done) = runtime_context(runtime, || work.as_mut().now_or_never()) {
        return Ok(done);
    }
    loop {
        let done = py.detach(|| {
            let slice = async { tokio::time::timeout(LOOK_FOR_SIGNALS_EVERY, work.as_mut()).await };
            runtime.block_on(slice).ok()
        });
        if let Some(done) = done {
            return Ok(done);
        }
        py.check_signals()?;
    }
}

fn runtime_context<T>(runtime: &tokio::runtime::Handle, work: impl FnOnce() -> T) -> T {
    let _entered = runtime.enter();
    work()
}

/// A timeout as Python says it, in seconds; none: without end.
pub(crate) fn timeout(seconds: Option<f64>) -> PyResult<Option<Duration>> {
    let Some(seconds) = seconds else { return Ok(None) };
    if seconds.is_nan() || seconds < 0.0 {
        return Err(pyo3::exceptions::PyValueError::new_err(format!(
            "a timeout of {seconds} seconds makes no sense: give 0 or more, or None to wait without end"
        )));
    }
    // One that is longer than there are seconds is without end.
    Ok(Duration::try_from_secs_f64(seconds).ok().filter(|timeout| timeout.as_secs() < 1 << 32))
}
