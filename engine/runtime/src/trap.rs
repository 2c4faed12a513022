//! What ended a guest, as an error that people can act on (contract E1).

use engine_core::resources::bytes as bytes_text;
use engine_core::{Error, ErrorCode};
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::errors::bounded;
use crate::guest::Guest;

impl Guest {
    /// The error of a call that ended its sandbox.
    pub(crate) fn error_of_trap(&mut self, error: &wasmtime::Error) -> Error {
        let panicked = self.panicked.take();
        if let Some(own) = error.downcast_ref::<Error>() {
            return own.clone().with_backtrace(backtrace(error));
        }
        if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
            return Error::new(
                ErrorCode::TaskFailed,
                format!("the guest exited with status {status} before its call had returned"),
            )
            .with_kind("exit")
            .with_backtrace(backtrace(error));
        }
        let trap = error.downcast_ref::<Trap>().copied();
        if let Some(wanted) = self.limiter.refused
            && panicked.is_none()
            && trap.is_none_or(is_of_allocation)
        {
            return self.out_of_memory(wanted).with_backtrace(backtrace(error));
        }
        let described = match (&panicked, trap) {
            (Some(message), _) => Error::new(ErrorCode::Trapped, message.clone()).with_kind("panic"),
            (None, Some(trap)) => {
                let text = match trap {
                    Trap::MemoryOutOfBounds if is_recursion(error) => {
                        "the guest trapped: out of bounds memory access, most likely by a stack overflow: calls are nested too deeply, or one needs too much stack".to_owned()
                    }
                    trap => describe(trap),
                };
                Error::new(ErrorCode::Trapped, self.with_stderr(text)).with_kind("trap")
            }
            (None, None) => {
                let text = format!("{:#}", RootCause(error));
                Error::new(ErrorCode::Trapped, self.with_stderr(text)).with_kind("trap")
            }
        };
        described.with_backtrace(backtrace(error))
    }

    /// The error of a sandbox that could not be made.
    pub(crate) fn error_of_start(&mut self, error: &wasmtime::Error, initial_memory_bytes: u64) -> Error {
        if self.limiter.refused.is_some() {
            return self.out_of_memory(initial_memory_bytes.max(self.limiter.refused.unwrap_or(0)));
        }
        if error.is::<PoolConcurrencyLimitError>() {
            return Error::new(
                ErrorCode::WorkerDied,
                format!(
                    "the node has no room for another sandbox: {error:#}. It is tried again elsewhere or later"
                ),
            );
        }
        if error.chain().any(is_of_the_kernel) {
            return Error::new(
                ErrorCode::WorkerDied,
                format!(
                    "the kernel has no room for another sandbox: {}. It is tried again elsewhere or later; raise vm.max_map_count if this persists",
                    bounded(format!("{error:#}"))
                ),
            );
        }
        if error.is::<Trap>() || error.is::<I32Exit>() || error.is::<Error>() {
            return self.error_of_trap(error);
        }
        Error::new(
            ErrorCode::InvalidComponent,
            format!("the component cannot be instantiated: {}", bounded(format!("{error:#}"))),
        )
    }

    fn out_of_memory(&self, wanted: u64) -> Error {
        Error::new(
            ErrorCode::OutOfMemory,
            format!(
                "the guest asked for {} of memory and its limit is {}: raise the `memory` option of the task, actor or job",
                bytes_text(wanted),
                bytes_text(self.limiter.max())
            ),
        )
    }

    /// What the guest wrote last to standard error may say why.
    fn with_stderr(&self, message: String) -> String {
        match self.logs.as_ref().and_then(|logs| logs.lock().stderr_tail()) {
            Some(tail) => format!("{message}; the guest's last words were: {tail}"),
            None => message,
        }
    }
}

/// Whether this is how a guest ends that cannot get memory: by `unreachable` in its allocator's abort,
/// or by using what it did not get.
fn is_of_allocation(trap: Trap) -> bool {
    // The last is how the panic of componentize-py's runtime ends: by a handler that is not there.
    matches!(
        trap,
        Trap::UnreachableCodeReached
            | Trap::MemoryOutOfBounds
            | Trap::AllocationTooLarge
            | Trap::IndirectCallToNull
    )
}

/// Whether the kernel refused memory or a mapping.
fn is_of_the_kernel(cause: &(dyn std::error::Error + 'static)) -> bool {
    let no_memory = Some(rustix::io::Errno::NOMEM.raw_os_error());
    cause.downcast_ref().map(|errno: &rustix::io::Errno| errno.raw_os_error()) == no_memory
        || cause.downcast_ref().and_then(std::io::Error::raw_os_error) == no_memory
}

fn describe(trap: Trap) -> String {
    let what = match trap {
        Trap::StackOverflow => "stack overflow: calls are nested too deeply, or one needs too much stack",
        Trap::UnreachableCodeReached => "unreachable: the guest aborted",
        Trap::MemoryOutOfBounds => "out of bounds memory access",
        Trap::IntegerDivisionByZero => "integer divide by zero",
        other => {
            return format!("the guest trapped: {}", other.to_string().trim_start_matches("wasm trap: "));
        }
    };
    format!("the guest trapped: {what}")
}

/// Whether one function is on the stack again and again. Compilers keep a part of the stack below all
/// else in linear memory, so that its overflow is an access out of bounds.
fn is_recursion(error: &wasmtime::Error) -> bool {
    const TIMES: usize = 5;
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return false };
    let frames = backtrace.frames();
    let times = |function| frames.iter().filter(|frame| frame.func_index() == function).count();
    frames.iter().any(|frame| times(frame.func_index()) >= TIMES)
}

/// The error without the backtrace among its contexts.
struct RootCause<'a>(&'a wasmtime::Error);

impl std::fmt::Display for RootCause<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the guest was ended: {}", self.0.root_cause())
    }
}

/// The guest's stack, with function names.
fn backtrace(error: &wasmtime::Error) -> Option<String> {
    let text = error.downcast_ref::<WasmBacktrace>()?.to_string();
    let frames = text.strip_prefix("error while executing at wasm backtrace:\n").unwrap_or(&text);
    let lines: Vec<&str> = frames.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    (!lines.is_empty()).then(|| bounded(lines.join("\n")))
}
