//! `interface logging`: records, and the last words of a guest that panics.

use crate::bindings::engine::compute::logging as wit;
use crate::errors::bounded;
use crate::guest::Guest;

impl wit::Host for Guest {
    fn log(
        &mut self,
        level: wit::Level,
        target: String,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let level = match level {
            wit::Level::Trace => "trace",
            wit::Level::Debug => "debug",
            wit::Level::Info => "info",
            wit::Level::Warn => "warn",
            wit::Level::Error => "error",
        };
        self.logs().lock().record(level, target, message, fields);
        Ok(())
    }

    fn panicked(&mut self, message: String) -> wasmtime::Result<()> {
        self.panicked = Some(bounded(message));
        Ok(())
    }
}
