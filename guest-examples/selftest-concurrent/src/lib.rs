//! A guest of the concurrent world: actors whose calls take turns. README.md lists its scenarios.

mod room;

use engine::prelude::*;
use room::Room;
use serde_json::{Value as Json, json};
use std::time::Duration;

/// A plain task works as in the other world.
#[engine::task]
fn sleep(milliseconds: u64, value: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    value
}

#[engine::main(concurrent)]
fn main(args: Vec<String>) -> Result<()> {
    let scenario = args.first().context("the scenario is missing; README.md lists them")?;
    let result = match scenario.as_str() {
        "inside" => inside(8, 4)?,
        "one-at-a-time" => inside(4, 1)?,
        "await" => await_reference()?,
        "groups" => groups()?,
        "exclusive" => exclusive()?,
        "panic" => panic()?,
        _ => engine::bail!("there is no scenario `{scenario}`; README.md lists them"),
    };
    println!("{result}");
    Ok(())
}

/// Many calls at once, of which so many may be inside.
fn inside(calls: u64, max_concurrency: u32) -> Result<Json> {
    let room = Room::options().max_concurrency(max_concurrency).spawn()?;
    let stays = (0..calls).map(|_| room.stay(30)).collect::<Result<Vec<_>>>()?;
    engine::get_all(&stays)?;
    Ok(json!({ "calls": calls, "most_inside": room.most_inside()?.get()? }))
}

/// A call that waits for an object which another call of the same actor makes.
fn await_reference() -> Result<Json> {
    let room = Room::options().max_concurrency(2).spawn()?;
    let waiting = room.wait_for_key()?;
    let slow = sleep::spawn(30, 7u64)?;
    let key = room.hand_over(&slow)?.get()?;
    let nested = room.add_up(vec![slow, sleep::spawn(1, 5u64)?])?.get()?;
    Ok(json!({ "key": key, "waited": waiting.get()?, "sum": nested }))
}

/// A group that is full does not hold up the other.
fn groups() -> Result<Json> {
    let room = Room::options().max_concurrency(4).concurrency_group("io", 1).spawn()?;
    let blocked = (0..2).map(|_| room.wait_in_group()).collect::<Result<Vec<_>>>()?;
    let free = room.stay(1)?.get()?;
    // The first of the group waits for the key, and the second for the first.
    room.hand_over(3u64)?.get()?;
    let keys = engine::get_all(&blocked)?;
    Ok(json!({ "free": free, "keys": keys }))
}

/// Methods with `&mut self` are alone, even where they await.
fn exclusive() -> Result<Json> {
    let room = Room::options().max_concurrency(8).spawn()?;
    let counts = (0..5).map(|_| room.count_slowly(5)).collect::<Result<Vec<_>>>()?;
    Ok(json!({ "counts": engine::get_all(&counts)? }))
}

/// A panic ends all that are inside.
fn panic() -> Result<Json> {
    let room = Room::options().max_concurrency(2).spawn()?;
    let waiting = room.wait_for_key()?;
    let panicked = room.panics()?.get().err();
    let waiting = waiting.get().err();
    let code = |error: Option<Error>| error.map(|error| error.code().as_str());
    Ok(json!({ "panicked": code(panicked), "waiting": code(waiting) }))
}
