//! What the component exports: the host calls in here.
use crate::bindings::engine::compute::types::{self as wit, Invocation};
use crate::bindings::exports::engine::compute::program::Guest;
use crate::context::serving;
use crate::executor::block_on;
use crate::failure::Failure;
use crate::incoming::Incoming;
use crate::instance;
use crate::logging;
use crate::registry::{self, Outcome};
use std::io::Write;
use std::sync::Once;

/// The component's side of the interface; `#[engine::main]` and `engine::library!()` export it.
#[derive(Debug)]
pub struct Program;

impl Guest for Program {
    fn main(invocation: &Invocation, arguments: Vec<String>) -> Result<wit::Value, wit::Failure> {
        serve(invocation, || run_main(arguments)).map(only)
    }

    fn run(
        invocation: &Invocation,
        function: String,
        arguments: Vec<wit::Value>,
    ) -> Result<Vec<wit::Value>, wit::Failure> {
        serve(invocation, || run_task(function, arguments))
    }

    fn create(
        invocation: &Invocation,
        class: String,
        arguments: Vec<wit::Value>,
    ) -> Result<(), wit::Failure> {
        serve(invocation, || instance::create(&class, arguments)).map(|_| ())
    }

    fn call(
        invocation: &Invocation,
        method: String,
        arguments: Vec<wit::Value>,
    ) -> Result<Vec<wit::Value>, wit::Failure> {
        serve(invocation, || block_on(instance::call(&method, arguments)))
    }
}

pub(crate) fn run_main(arguments: Vec<String>) -> Outcome {
    (registry::main()?.run)(arguments)
}

pub(crate) fn run_task(function: String, arguments: Vec<wit::Value>) -> Outcome {
    let entry = registry::task(&function)?;
    (entry.run)(Incoming::new(function, arguments))
}

/// The one value that the main function gave, or nil.
pub(crate) fn only(mut values: Vec<wit::Value>) -> wit::Value {
    const NIL: u8 = 0xc0;
    let nil = || wit::Value { codec: wit::Codec::Msgpack, bytes: vec![NIL], handles: Vec::new() };
    values.pop().unwrap_or_else(nil)
}

fn serve(invocation: &Invocation, body: impl FnOnce() -> Outcome) -> Result<Vec<wit::Value>, wit::Failure> {
    begin();
    end(serving(invocation, body))
}

/// Before the first call of an instance.
pub(crate) fn begin() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(logging::install);
}

/// After every call: what it gave, as the interface has it.
pub(crate) fn end(outcome: Outcome) -> Result<Vec<wit::Value>, wit::Failure> {
    // A line that was begun is shown even when nothing ends it.
    let _ = std::io::stdout().flush();
    let values = outcome.map_err(Failure::into_wire)?;
    Ok(values.into_iter().map(|part| part.0.into_owned_wire()).collect())
}
