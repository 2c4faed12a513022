//! The `log` crate's records, and panics, to the host.
use crate::bindings::engine::compute::logging;
use log::{LevelFilter, Log, Metadata, Record};
use std::fmt::Display;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

/// The variable of the job's environment that says how much is logged: `off`, `error`, `warn`,
/// `info` (the default), `debug` or `trace`.
const LEVEL_VARIABLE: &str = "ENGINE_LOG";

struct HostLog {
    /// Read when the first record comes, since most tasks log nothing.
    level: OnceLock<LevelFilter>,
}

static LOGGER: HostLog = HostLog { level: OnceLock::new() };

/// Sends records and panics to the host from now on.
pub(crate) fn install() {
    // A program that brought a logger of its own keeps it.
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(LevelFilter::Trace);
    }
    std::panic::set_hook(Box::new(report_panic));
}

impl Log for HostLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = self.level.get_or_init(|| {
            let wanted = std::env::var(LEVEL_VARIABLE).ok();
            wanted.and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::Info)
        });
        metadata.level() <= *level
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            log::Level::Error => logging::Level::Error,
            log::Level::Warn => logging::Level::Warn,
            log::Level::Info => logging::Level::Info,
            log::Level::Debug => logging::Level::Debug,
            log::Level::Trace => logging::Level::Trace,
        };
        let mut fields = Vec::new();
        if let (Some(file), Some(line)) = (record.file(), record.line()) {
            fields.push(("location".to_owned(), format!("{file}:{line}")));
        }
        logging::log(level, record.target(), &record.args().to_string(), &fields);
    }

    fn flush(&self) {}
}

fn report_panic(info: &PanicHookInfo<'_>) {
    // What was printed before must not be lost with the instance.
    let _ = std::io::stdout().flush();
    let message = info.payload_as_str().unwrap_or("a panic without a message");
    let place = info.location().map(|location| location as &dyn Display);
    logging::panicked(&panic_message(message, place));
}

fn panic_message(message: &str, place: Option<&dyn Display>) -> String {
    match place {
        Some(place) => format!("panicked at {place}: {message}"),
        None => format!("panicked: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_reported_with_its_place() {
        let text = panic_message("boom", Some(&"src/lib.rs:3:5"));
        assert_eq!(text, "panicked at src/lib.rs:3:5: boom");
        assert_eq!(panic_message("boom", None), "panicked: boom");
    }
}
