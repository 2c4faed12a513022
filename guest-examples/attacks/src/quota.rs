//! Ways around what a tenant may have.
use engine::Lifetime;
use engine::prelude::*;
use serde_json::{Value as Json, json};

use crate::names::Keeper;

/// Spawns so many tasks that sleep; how many were taken, and why the next one was not.
pub fn fan_out(count: u64) -> Result<Json> {
    let mut held = Vec::new();
    for n in 0..count {
        match crate::names::sleep::spawn(3_600_000) {
            Ok(sleeping) => held.push(sleeping),
            Err(error) => return Ok(json!({ "taken": n, "refused": crate::shown(&error) })),
        }
    }
    Ok(json!({ "taken": count }))
}

/// Spawns itself, so deep, and waits.
#[engine::task]
pub fn recurse(depth: u64) -> Result<u64> {
    match depth {
        0 => Ok(0),
        _ => Ok(1 + recurse::spawn(depth - 1)?.get()?),
    }
}

pub fn recurse_here(depth: u64) -> Result<Json> {
    Ok(crate::got(recurse::spawn(depth)?.get()))
}

/// Makes so many actors; how many were taken, and why the next one was not.
pub fn hold_actors(count: u64, is_detached: bool) -> Result<Json> {
    let mut held = Vec::new();
    for n in 0..count {
        let mut options = Keeper::options().cpus(0);
        if is_detached {
            options = options.name(format!("hoard-{n}")).lifetime(Lifetime::Detached);
        }
        match options.spawn() {
            Ok(keeper) => held.push(keeper),
            Err(error) => return Ok(json!({ "taken": n, "refused": crate::shown(&error) })),
        }
    }
    Ok(json!({ "taken": count }))
}

/// What becomes of tasks that ask for what there cannot be.
pub fn odd_resources() -> Json {
    let task = || crate::names::sleep::options();
    let long = "x".repeat(100_000);
    let asked = [
        ("nan cpus", task().cpus(f64::NAN)),
        ("negative cpus", task().cpus(-1.0)),
        ("endless cpus", task().cpus(f64::INFINITY)),
        ("huge cpus", task().cpus(1e18)),
        ("negative resource", task().resource("gold", -1.0)),
        ("nan resource", task().resource("gold", f64::NAN)),
        ("as cpus", task().resource("cpus", 1.0)),
        ("as memory", task().resource("memory", 1.0)),
        ("empty name", task().resource("", 1.0)),
        ("control name", task().resource("a\u{1b}[2Jb", 1.0)),
        ("long name", task().resource(long, 1.0)),
        ("huge memory", task().memory(u64::MAX)),
        ("env name", task().env("A=B", "c")),
        ("env zero", task().env("A", "c\0d")),
        ("env empty", task().env("", "c")),
    ];
    let came = asked.into_iter().map(|(what, options)| {
        (
            what.to_owned(),
            crate::got(
                options
                    .spawn(1)
                    .and_then(|it| it.get_timeout(std::time::Duration::from_millis(300)))
                    .map(|()| "ran"),
            ),
        )
    });
    Json::Object(came.collect())
}
