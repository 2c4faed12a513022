//! The engine's own log, for whoever looks into the engine itself.

use std::io;

use tracing_subscriber::EnvFilter;

/// The variable that says what is logged: `ENGINE_LOG=debug`, `ENGINE_LOG=engine_net=trace`.
const VARIABLE: &str = "ENGINE_LOG";

/// Logs warnings and errors to standard error, or what $ENGINE_LOG says.
pub(crate) fn init() {
    let filter = EnvFilter::try_from_env(VARIABLE).unwrap_or_else(|_| EnvFilter::new("warn"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(console::colors_enabled_stderr())
        .finish();
    // Fails only when there is one already, which is then the one that was wanted.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
