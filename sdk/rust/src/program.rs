//! What the component exports: the host calls in here.
use crate::bindings::engine::compute::types::{self as wit, Invocation};
use crate::bindings::exports::engine::compute::program::Guest;
use crate::code::ErrorCode;
use crate::context::serving;
use crate::failure::Failure;
use crate::incoming::Incoming;
use crate::logging;
use crate::registry::{self, ActorEntry, Outcome};
use std::any::Any;
use std::cell::RefCell;
use std::io::Write;
use std::sync::Once;

/// The component's side of the interface; `#[engine::main]` and `engine::library!()` export it.
#[derive(Debug)]
pub struct Program;

struct Actor {
    entry: &'static ActorEntry,
    state: Box<dyn Any>,
}

thread_local! {
    /// The actor that this instance is.
    static ACTOR: RefCell<Option<Actor>> = const { RefCell::new(None) };
}

impl Guest for Program {
    fn main(invocation: &Invocation, arguments: Vec<String>) -> Result<wit::Value, wit::Failure> {
        let mut values = serve(invocation, || (registry::main()?.run)(arguments))?;
        let nothing = || wit::Value { codec: wit::Codec::Msgpack, bytes: vec![0xc0], handles: Vec::new() };
        Ok(values.pop().unwrap_or_else(nothing))
    }

    fn run(
        invocation: &Invocation,
        function: String,
        arguments: Vec<wit::Value>,
    ) -> Result<Vec<wit::Value>, wit::Failure> {
        serve(invocation, || {
            let entry = registry::task(&function)?;
            (entry.run)(Incoming::new(function, arguments))
        })
    }

    fn create(
        invocation: &Invocation,
        class: String,
        arguments: Vec<wit::Value>,
    ) -> Result<(), wit::Failure> {
        serve(invocation, || {
            if ACTOR.with_borrow(Option::is_some) {
                return Err(Failure::coded(ErrorCode::InvalidArgument, "this instance is an actor already"));
            }
            let entry = registry::actor(&class)?;
            let state = (entry.create)(Incoming::new(format!("{class}::new"), arguments))?;
            ACTOR.set(Some(Actor { entry, state }));
            Ok(Vec::new())
        })
        .map(|_| ())
    }

    fn call(
        invocation: &Invocation,
        method: String,
        arguments: Vec<wit::Value>,
    ) -> Result<Vec<wit::Value>, wit::Failure> {
        serve(invocation, || {
            ACTOR.with_borrow_mut(|actor| {
                let Some(Actor { entry, state }) = actor else {
                    let message = format!("`{method}` was called on an instance that is not an actor");
                    return Err(Failure::coded(ErrorCode::InvalidArgument, message));
                };
                let function = format!("{}::{method}", registry::name_of(entry.path));
                let method = entry.method(&method)?;
                (method.call)(state.as_mut(), Incoming::new(function, arguments))
            })
        })
    }
}

fn serve(invocation: &Invocation, body: impl FnOnce() -> Outcome) -> Result<Vec<wit::Value>, wit::Failure> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(logging::install);
    let outcome = serving(invocation, body);
    // A line that was begun is shown even when nothing ends it.
    let _ = std::io::stdout().flush();
    let values = outcome.map_err(Failure::into_wire)?;
    Ok(values.into_iter().map(|part| part.0.into_owned_wire()).collect())
}
