//! The actor that this instance is, and its calls.
use crate::bindings::engine::compute::types as wit;
use crate::code::ErrorCode;
use crate::failure::Failure;
use crate::incoming::Incoming;
use crate::registry::{self, ActorEntry, Outcome, Serve};
use async_lock::RwLock;
use std::any::Any;
use std::cell::RefCell;
use std::rc::Rc;

struct Actor {
    entry: &'static ActorEntry,
    /// Methods with `&self` may be inside together, one with `&mut self` is alone.
    state: RwLock<Box<dyn Any>>,
}

thread_local! {
    static ACTOR: RefCell<Option<Rc<Actor>>> = const { RefCell::new(None) };
}

/// Makes this instance the actor, once.
pub(crate) fn create(class: &str, arguments: Vec<wit::Value>) -> Outcome {
    if ACTOR.with_borrow(Option::is_some) {
        return Err(Failure::coded(ErrorCode::InvalidArgument, "this instance is an actor already"));
    }
    let entry = registry::actor(class)?;
    let state = (entry.create)(Incoming::new(format!("{class}::new"), arguments))?;
    ACTOR.set(Some(Rc::new(Actor { entry, state: RwLock::new(state) })));
    Ok(Vec::new())
}

/// Calls a method of the actor, as soon as those inside let it in.
pub(crate) async fn call(method: &str, arguments: Vec<wit::Value>) -> Outcome {
    let Some(actor) = ACTOR.with_borrow(Clone::clone) else {
        let message = format!("`{method}` was called on an instance that is not an actor");
        return Err(Failure::coded(ErrorCode::InvalidArgument, message));
    };
    let incoming = Incoming::new(format!("{}::{method}", registry::name_of(actor.entry.path)), arguments);
    match actor.entry.method(method)?.serve {
        Serve::Shared(serve) => serve(actor.state.read().await.as_ref(), incoming),
        Serve::Exclusive(serve) => serve(actor.state.write().await.as_mut(), incoming),
        Serve::SharedAsync(serve) => serve(actor.state.read().await.as_ref(), incoming).await,
        Serve::ExclusiveAsync(serve) => serve(actor.state.write().await.as_mut(), incoming).await,
    }
}
