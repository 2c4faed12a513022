//! A guest of a hostile tenant, and of its neighbour: what is tried here must fail (docs/attacks.md).
//!
//! `engine submit attacks.wasm -- SCENARIO ARGS…` runs one scenario and prints a JSON object as its last line.
//! Arguments are JSON, so that names can have any character.

mod flood;
mod memory;
mod names;
mod quota;
mod traps;

use engine::prelude::*;
use serde_json::{Value as Json, json};

#[engine::main]
fn main(args: Vec<String>) -> Result<()> {
    let mut args = args.into_iter();
    let name = args.next().context("the scenario is missing")?;
    let args: Vec<Json> = args
        .map(|text| serde_json::from_str(&text))
        .collect::<Result<_, _>>()
        .context("an argument is not JSON")?;
    println!("{}", run(&name, &args)?);
    Ok(())
}

fn run(name: &str, args: &[Json]) -> Result<Json> {
    let number = |at: usize| args.get(at).and_then(Json::as_u64).context("a number is missing");
    let text = |at: usize| args.get(at).and_then(Json::as_str).context("a text is missing");
    match name {
        "fill" => memory::fill_many(number(0)?, number(1)?),
        "search" => memory::search_many(number(0)?, number(1)?),
        "traps" => traps::many(number(0)?),
        "honest" => traps::honest(number(0)?),
        "detach" => names::detach(text(0)?, args.get(1).and_then(Json::as_str)),
        "lookup" => Ok(names::lookup(text(0)?, args.get(1).and_then(Json::as_str))),
        "keep" => names::keep(text(0)?),
        "say" => flood::say(text(0)?, text(1)?, text(2)?),
        "fail" => flood::fail(text(0)?, text(1)?),
        "records" => flood::records(number(0)?, number(1)?),
        "bytes" => flood::bytes(args.first().and_then(Json::as_array).context("bytes are missing")?),
        "fan-out" => quota::fan_out(number(0)?),
        "recurse" => quota::recurse_here(number(0)?),
        "hold-actors" => quota::hold_actors(number(0)?, args.get(1).and_then(Json::as_bool).unwrap_or(false)),
        "odd-resources" => Ok(quota::odd_resources()),
        _ => engine::bail!("there is no scenario `{name}`"),
    }
}

/// What came of it: its value, or its error.
fn got<T: Into<Json>>(result: Result<T>) -> Json {
    match result {
        Ok(value) => json!({ "value": value.into() }),
        Err(error) => shown(&error),
    }
}

fn shown(error: &Error) -> Json {
    json!({ "code": error.code().as_str(), "kind": error.kind(), "message": error.message() })
}
