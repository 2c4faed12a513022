//! Names of actors and of namespaces, and tricks with them.
use engine::prelude::*;
use engine::{ActorRef, Lifetime};
use serde_json::{Value as Json, json};

/// Says whose it is.
pub struct Keeper;

#[engine::actor]
impl Keeper {
    pub fn new() -> Self {
        Keeper
    }

    pub fn tenant(&self) -> String {
        engine::context().tenant()
    }
}

/// Makes an actor of this name, which outlives its job.
pub fn detach(name: &str, namespace: Option<&str>) -> Result<Json> {
    let mut options = Keeper::options().name(name).lifetime(Lifetime::Detached);
    if let Some(namespace) = namespace {
        options = options.namespace(namespace);
    }
    let made = options.spawn().and_then(|keeper| keeper.tenant()?.get());
    Ok(crate::got(made))
}

/// Whose the actor of this name is.
pub fn lookup(name: &str, namespace: Option<&str>) -> Json {
    crate::got(
        ActorRef::lookup(name, namespace).and_then(|found| found.method("tenant").call::<String>()?.get()),
    )
}

/// Holds an object and an actor, names them, and waits until it is stopped.
pub fn keep(secret: &str) -> Result<Json> {
    let object = engine::put(&secret.to_owned())?;
    let keeper = Keeper::spawn()?;
    keeper.tenant()?.get()?;
    let sleeping = sleep::submit(3_600_000)?;
    let held = json!({ "object": object.id(), "actor": keeper.id(), "task": sleeping.id() });
    println!("{held}");
    sleeping.get()?;
    Ok(json!({}))
}

/// Sleeps for so many milliseconds.
#[engine::task]
pub fn sleep(milliseconds: u64) {
    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
}
