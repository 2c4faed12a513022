//! The scenarios: what `main` does, by name.
use crate::actors::{Counter, Keeper, Slow, Stillborn};
use crate::{bad, broadcast, context, good, groups, large, streams};
use engine::Strategy;
use engine::prelude::*;
use serde_json::{Value as Json, json};
use std::time::Duration;

/// The arguments of the command line, one after another.
pub struct Arguments(std::vec::IntoIter<String>);

impl Arguments {
    pub fn new(args: Vec<String>) -> Self {
        Arguments(args.into_iter())
    }

    pub fn text(&mut self, what: &str) -> Result<String> {
        self.0.next().context(format_args!("{what} is missing; README.md lists scenarios and arguments"))
    }

    pub fn number(&mut self, otherwise: u64) -> Result<u64> {
        self.0.next().map_or(Ok(otherwise), |text| text.parse()).context("an argument is not a number")
    }

    fn text_or(&mut self, otherwise: &str) -> String {
        self.0.next().unwrap_or_else(|| otherwise.to_owned())
    }
}

/// Runs the scenario of this name.
pub fn run(name: &str, args: &mut Arguments) -> Result<Json> {
    match name {
        // Good
        "nothing" => Ok(json!({})),
        "identity" => got(good::identity::spawn(args.number(7)?)?.get()),
        "noop" => noops(args.number(1000)?, false),
        "noop-warm" => noops(args.number(1000)?, true),
        "sleep" => got(good::sleep::spawn(args.number(100)?, 1u64)?.get()),
        "hold" => hold(args.number(1 << 20)?),
        "write-in-pieces" => large::write_in_pieces(args.number(1 << 20)?, args.number(64 << 10)?),
        "read-too-much" => large::read_too_much(args.number(1 << 20)?),
        "many-arguments" => large::many_arguments(args.number(10)?),
        "get-many" => large::get_many(args.number(10)?),
        "small-objects" => large::small_objects(args.number(10)?),
        "spin" => got(good::spin::spawn(args.number(100)?)?.get()),
        "sayings" => sayings(args.number(10)?, args.number(100)?),
        "sleeps" => sleeps(args.number(10)?, args.number(100)?),
        "nested" => nested_refs(args.number(10)?),
        "nest" => got(good::nest::spawn(args.number(5)?)?.get()),
        "fan-out" => got(good::fan_out::spawn(args.number(100)?)?.get()),
        "bytes" => bytes(args.number(1 << 20)?),
        "broadcast" => broadcast::broadcast(args.number(1 << 20)?, args.number(1)?),
        "relay" => broadcast::relay(args.number(1 << 20)?),
        "wait" => wait(args.number(10)?),
        "async" => in_async(args.number(10)?),
        "tuple" => tuple(),
        "many-returns" => many_returns(args.number(10)?),
        "timeout" => timeout(),
        "fresh" => touches(args.number(10)?, false),
        "warm" => touches(args.number(10)?, true),
        "cancel" => cancel(),
        "context" => got(context::look_around::spawn()?.get()),
        "log" => got(context::log_each_level::spawn()?.get()),
        "stream" => stream(streams::count::spawn(args.number(10)?)?),
        "stream-bounded" => stream(streams::count_bounded::spawn(args.number(10)?)?),
        "stream-fail" => stream(streams::count_then_fail::spawn(args.number(3)?)?),
        "stream-panic" => stream(streams::count_then_panic::spawn(args.number(3)?)?),
        "stream-drop" => stream_drop(),
        "counter" => counter(args.number(10)?),
        "named-actor" => named_actor(),
        "actor-order" => actor_order(args.number(20)?),
        "actor-restart" => actor_restart(),
        "actor-cancel" => actor_cancel(),
        "actor-handles" => actor_handles(),
        "actor-pending" => actor_pending(),
        "actors" => many_actors(args.number(100)?),
        "actors-spread" => actors_spread(args.number(3)?),
        "actor-moves" => actor_moves(),
        "detach-elsewhere" => detach_elsewhere(&args.text("the actor's name")?),
        "detach" => detach(&args.text("the actor's name")?),
        "attach" => attach(&args.text("the actor's name")?),
        "kill-named" => kill_named(&args.text("the actor's name")?),
        "group" => groups::group(args),
        "group-waits" => groups::waits(args),
        "group-sleeps" => groups::sleeps(args),
        "group-wrong" => groups::wrong(),
        "stillborn" => got(Stillborn::spawn("Unborn")?.nothing()?.get()),
        "write-file" => got(bad::write_file::spawn(args.text("the path")?, args.text_or("text"))?.get()),
        "read-file" => got(bad::read_file::spawn(args.text("the path")?)?.get()),
        // Bad
        "panic" => got(bad::panics::spawn(args.text_or("a panic on purpose"))?.get()),
        "panic-here" => panic!("{}", args.text_or("a panic on purpose")),
        "unreachable" => got(bad::unreachable::spawn()?.get()),
        "exit" => {
            bad::exit::spawn(i32::try_from(args.number(0)?)?)?.get()?;
            Ok(json!({}))
        }
        "overflow-stack" => got(bad::overflow_stack::spawn()?.get()),
        "spin-forever" => {
            got(bad::spin_forever::options().deadline(millis(args.number(60_000)?)).spawn()?.get())
        }
        "sleep-forever" => {
            got(bad::sleep_forever::options().deadline(millis(args.number(60_000)?)).spawn()?.get())
        }
        "spin-forever-here" => {
            println!("spinning");
            bad::spin_forever();
            Ok(json!({}))
        }
        "allocate-forever" => got(bad::allocate_forever::spawn()?.get()),
        "allocate" => {
            let (bytes, limit) = (args.number(1 << 20)?, args.number(64 << 20)?);
            got(bad::allocate::options().memory(limit).spawn(bytes)?.get())
        }
        "spam-log" => got(bad::spam_log::spawn(args.number(1000)?, args.number(100)?)?.get()),
        "spam-records" => got(bad::spam_records::spawn(args.number(1000)?)?.get()),
        "spawn-many" => got(bad::spawn_many::spawn(args.number(1000)?)?.get()),
        "fork-bomb" => got(bad::fork_bomb::spawn()?.get()),
        "hoard" => got(bad::hoard::spawn(args.number(10)?, args.number(1 << 20)?)?.get()),
        "fail-with-kind" => {
            got(bad::fail_with_kind::spawn(args.text_or("Custom"), args.text_or("on purpose"))?.get())
        }
        "fail-here" => Err(Failure::new(args.text_or("Custom"), args.text_or("on purpose")))?,
        "weather" => got(bad::weather::spawn(u32::try_from(args.number(3)?)?)?.get()),
        "flaky" => got(bad::flaky::spawn(u32::try_from(args.number(2)?)?)?.get()),
        "flaky-unnamed" => {
            let options = bad::flaky::options().retry_on(["Other"]);
            got(options.spawn(u32::try_from(args.number(2)?)?)?.get())
        }
        "pass-error-on" => got(bad::pass_error_on::spawn(args.text_or("Custom"))?.get()),
        "error-through-argument" => error_through_argument(),
        "payload" => payload(),
        "unknown-function" => got(engine::function("no_such_task").spawn::<u64>()?.get()),
        "wrong-argument" => got(engine::function("good::identity").argument("seven")?.spawn::<u64>()?.get()),
        "wrong-count" => got(engine::function("good::add").argument(&1u64)?.spawn::<u64>()?.get()),
        "wrong-result" => got(engine::function("good::identity").argument(&1u64)?.spawn::<String>()?.get()),
        "too-few" => too_few(),
        "forge" => forge(),
        "plain" => plain(args),
        "huge-request" => got(good::identity::options().cpus(100_000).spawn(1u64)?.get()),
        "drop-everything" => {
            for n in 0..args.number(100)? {
                good::identity::spawn(n)?;
            }
            Ok(json!({}))
        }
        _ => engine::bail!("there is no scenario `{name}`; README.md lists them"),
    }
}

/// What came of a task: its value, or its error in full.
pub fn got<T: serde::Serialize>(result: Result<T>) -> Result<Json> {
    Ok(match result {
        Ok(value) => json!({ "value": value }),
        Err(error) => shown(&error),
    })
}

pub fn shown(error: &Error) -> Json {
    let path: Vec<String> = error.path().map(|frame| frame.function).collect();
    json!({
        "code": error.code().as_str(),
        "kind": error.kind(),
        "message": error.message(),
        "path": path,
        "backtrace": error.backtrace(),
    })
}

fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn noops(count: u64, is_warm: bool) -> Result<Json> {
    let spawn = |_| if is_warm { good::noop_warm::spawn() } else { good::noop::spawn() };
    let refs = (0..count).map(spawn).collect::<Result<Vec<_>>>()?;
    let done = engine::get_all(&refs)?.len();
    Ok(json!({ "done": done }))
}

/// Holds an object of so many bytes until it is stopped.
fn hold(bytes: u64) -> Result<Json> {
    let held = engine::put_bytes(vec![7; bytes as usize])?;
    println!("holding {}", held.id());
    got(good::sleep::spawn(3_600_000, 1u64)?.get())
}

fn sleeps(count: u64, milliseconds: u64) -> Result<Json> {
    let refs = (0..count).map(|n| good::sleep::spawn(milliseconds, n)).collect::<Result<Vec<_>>>()?;
    got(engine::get_all(&refs))
}

fn sayings(count: u64, milliseconds: u64) -> Result<Json> {
    let refs = (0..count).map(|n| good::say::spawn(milliseconds, n)).collect::<Result<Vec<_>>>()?;
    got(engine::get_all(&refs))
}

fn nested_refs(count: u64) -> Result<Json> {
    let refs = (0..count).map(good::identity::spawn).collect::<Result<Vec<_>>>()?;
    let sum = good::sum_nested::spawn(&refs)?.get()?;
    let passed = good::pass_on::spawn(refs)?.get()?;
    let values = engine::get_all(&passed)?;
    let value = engine::put(&5u64)?;
    let chained = good::add::spawn(good::identity::spawn(&value)?, &value)?.get()?;
    Ok(json!({ "sum": sum, "values": values, "chained": chained }))
}

fn bytes(size: u64) -> Result<Json> {
    let object = good::bytes::spawn(size, 3)?;
    let metadata = object.metadata()?;
    let tail = object.read(size.saturating_sub(2), 10)?;
    let (length, sum) = good::digest::spawn(&object)?.get()?;
    let own = engine::put_bytes(vec![1; size as usize])?;
    let (own_length, own_sum) = good::digest::spawn(&own)?.get()?;
    Ok(json!({
        "size": metadata.size, "tail": tail, "length": length, "sum": sum,
        "own_length": own_length, "own_sum": own_sum,
    }))
}

fn wait(count: u64) -> Result<Json> {
    let refs = (0..count).map(|n| good::sleep::spawn(n * 20, n)).collect::<Result<Vec<_>>>()?;
    let (ready, rest) = engine::wait(&refs, 3, None)?;
    let (none, all) = engine::wait(&[good::sleep::spawn(60_000, 0)?], 1, Some(Duration::ZERO))?;
    let (empty, also_empty) = engine::wait::<u64>(&[], 0, None)?;
    let twice = engine::wait(&[refs[0].clone(), refs[0].clone()], 1, None).err();
    Ok(json!({
        "ready": ready.len(), "rest": rest.len(), "none": none.len(), "all": all.len(),
        "empty": empty.len() + also_empty.len(), "twice": twice.map(|error| shown(&error)),
    }))
}

fn in_async(count: u64) -> Result<Json> {
    use futures::StreamExt;
    use futures::stream::FuturesUnordered;

    let refs = (0..count).map(|n| good::sleep::spawn((count - n) * 10, n)).collect::<Result<Vec<_>>>()?;
    let (order, joined, streamed) = engine::block_on(async {
        let mut unordered: FuturesUnordered<_> = refs.iter().map(IntoFuture::into_future).collect();
        let mut order = Vec::new();
        while let Some(value) = unordered.next().await {
            order.push(value?);
        }
        let joined = futures::future::join_all(refs.iter().map(IntoFuture::into_future)).await;
        let joined = joined.into_iter().collect::<Result<Vec<u64>>>()?;
        let streamed: Vec<u64> =
            streams::count::spawn(count)?.into_async().map(|item| item.unwrap_or_default()).collect().await;
        engine::sleep(Duration::from_millis(1)).await;
        Ok::<_, Error>((order, joined, streamed))
    })?;
    Ok(json!({ "order": order, "joined": joined, "streamed": streamed }))
}

fn tuple() -> Result<Json> {
    let (quotient, rest) = good::divide::spawn(17, 5)?;
    let (bad, _) = good::divide::spawn(1, 0)?;
    let error = bad.get().err().map(|error| shown(&error));
    Ok(json!({ "quotient": quotient.get()?, "rest": rest.get()?, "error": error }))
}

fn many_returns(count: u64) -> Result<Json> {
    let refs = good::many::options().num_returns(count as usize).spawn(count)?;
    got(engine::get_all(&refs))
}

fn timeout() -> Result<Json> {
    let slow = good::sleep::spawn(300, 9)?;
    let early = slow.get_timeout(Duration::ZERO).err().map(|error| shown(&error));
    Ok(json!({ "early": early, "value": slow.get()? }))
}

fn touches(count: u64, is_warm: bool) -> Result<Json> {
    let reuse = if is_warm { engine::Reuse::Job } else { engine::Reuse::Never };
    let mut touched = Vec::new();
    for _ in 0..count {
        touched.push(good::touch::options().reuse(reuse).spawn()?.get()?);
    }
    Ok(json!({ "touched": touched }))
}

fn cancel() -> Result<Json> {
    // First, as the others take two CPUs until they are cancelled.
    let finished = good::identity::submit(1)?;
    finished.get()?;
    let spinning = bad::spin_forever::submit()?;
    let pending = good::after::spawn(spinning.object())?;
    let parent = good::parent::submit(3, 60_000)?;
    std::thread::sleep(Duration::from_millis(50));
    spinning.cancel()?;
    parent.cancel()?;
    finished.cancel()?;
    let code = |error: Option<Error>| error.map(|error| error.code().as_str());
    Ok(json!({
        "spinning": code(spinning.get().err()),
        "pending": code(pending.get().err()),
        "parent": code(parent.get().err()),
        "finished": finished.get()?,
    }))
}

fn stream<T: Value>(stream: Stream<T>) -> Result<Json> {
    let mut items = Vec::new();
    let mut error = None;
    let mut ends_after_error = true;
    for item in stream {
        match item {
            Ok(item) if error.is_none() => items.push(item),
            Ok(_) => ends_after_error = false,
            Err(failed) => error = Some(shown(&failed)),
        }
    }
    Ok(json!({ "items": items, "error": error, "ends_after_error": ends_after_error }))
}

fn stream_drop() -> Result<Json> {
    let mut ticks = streams::tick::spawn(1u64)?;
    let first = ticks.next().context("no tick")??;
    drop(ticks);
    Ok(json!({ "first": first }))
}

fn counter(calls: u64) -> Result<Json> {
    let counter = Counter::spawn(0)?;
    let sums = (0..calls).map(|_| counter.add(1)).collect::<Result<Vec<_>>>()?;
    let sums = engine::get_all(&sums)?;
    let failed = counter.fails("Custom")?.get().err().map(|error| shown(&error));
    let through = good::add_through::spawn(&counter, 10)?.get()?;
    let streamed = counter.up_to(through + 3)?.collect::<Result<Vec<_>>>()?;
    let value = counter.value()?.get()?;
    let unknown = counter.as_actor_ref().method("fly").call::<u64>()?.get().err();
    Ok(json!({
        "sums": sums, "failed": failed, "through": through, "streamed": streamed, "value": value,
        "unknown": unknown.map(|error| shown(&error)),
    }))
}

fn named_actor() -> Result<Json> {
    let first = Counter::options().name("hits").spawn(5)?;
    first.add(1)?.get()?;
    let taken = Counter::options().name("hits").spawn(0).err().map(|error| shown(&error));
    let same = Counter::options().name("hits").get_if_exists(true).spawn(0)?.value()?.get()?;
    let found = Counter::lookup("hits", None)?.value()?.get()?;
    let elsewhere = Counter::lookup("hits", Some("elsewhere")).err().map(|error| shown(&error));
    Ok(json!({ "taken": taken, "same": same, "found": found, "elsewhere": elsewhere }))
}

fn actor_order(calls: u64) -> Result<Json> {
    let slow = Slow::spawn()?;
    let mut last = None;
    for mark in 0..calls {
        // The first call's argument is the last to exist.
        let argument = good::sleep::spawn(if mark == 0 { 100 } else { 0 }, mark)?;
        last = Some(slow.sleep(0, argument)?);
    }
    let marks = last.context("no call")?.get()?;
    Ok(json!({ "marks": marks }))
}

fn actor_restart() -> Result<Json> {
    let counter = Counter::options().max_restarts(1).spawn(100)?;
    let before = counter.add(1)?.get()?;
    let panicked = counter.panics("once")?.get().err().map(|error| shown(&error));
    let (after, was_restarted) = (counter.add(1)?.get()?, counter.was_restarted()?.get()?);
    counter.panics("twice")?.get().err();
    let dead = counter.add(1).and_then(|sum| sum.get()).err().map(|error| shown(&error));
    Ok(json!({
        "before": before, "panicked": panicked, "after": after, "was_restarted": was_restarted, "dead": dead,
    }))
}

/// Actors on as many nodes as there are, each called twice.
fn actors_spread(count: u64) -> Result<Json> {
    let spawn = |n| Counter::options().strategy(Strategy::Spread).spawn(n);
    let actors = (0..count).map(spawn).collect::<Result<Vec<_>>>()?;
    let nodes = actors.iter().map(|actor| actor.node()).collect::<Result<Vec<_>>>()?;
    let sums = actors.iter().map(|actor| actor.add(1)).collect::<Result<Vec<_>>>()?;
    let sums = engine::get_all(&sums)?;
    // From a task, which may be anywhere, too.
    let through = good::add_through::spawn(&actors[0], 10)?.get()?;
    let streamed = actors[0].up_to(through + 3)?.collect::<Result<Vec<_>>>()?;
    Ok(json!({
        "nodes": engine::get_all(&nodes)?, "sums": sums, "through": through,
        "streamed": streamed,
    }))
}

/// A node other than this one; another will do.
fn elsewhere() -> Result<Strategy> {
    let context = engine::context();
    let here = context.node_id();
    let other =
        context.nodes()?.into_iter().find(|node| node.id != here).context("there is no other node")?;
    Ok(Strategy::Node { id: other.id, soft: true })
}

/// An actor on another node, until it was made anew.
fn actor_moves() -> Result<Json> {
    let counter = Counter::options().strategy(elsewhere()?).max_restarts(1).max_task_retries(-1).spawn(5)?;
    let before = counter.node()?.get()?;
    let mut marks = vec![counter.add(1)?.get()?];
    println!("it lives on {before}");
    while !counter.was_restarted()?.get()? {
        std::thread::sleep(millis(20));
    }
    marks.push(counter.add(1)?.get()?);
    Ok(json!({ "before": before, "after": counter.node()?.get()?, "marks": marks }))
}

/// A detached actor on another node than that of whoever made it.
fn detach_elsewhere(name: &str) -> Result<Json> {
    let options = Counter::options()
        .name(name)
        .lifetime(engine::Lifetime::Detached)
        .max_restarts(3)
        .strategy(elsewhere()?);
    let counter = options.spawn(5)?;
    Ok(json!({ "value": counter.add(1)?.get()?, "node": counter.node()?.get()? }))
}

fn actor_cancel() -> Result<Json> {
    let slow = Slow::spawn()?;
    let running = slow.submit().until_cancelled()?;
    let queued = slow.submit().sleep(0, 1)?;
    std::thread::sleep(Duration::from_millis(50));
    queued.cancel()?;
    running.cancel()?;
    let code = |error: Option<Error>| error.map(|error| error.code().as_str());
    let (queued, running) = (code(queued.get().err()), code(running.get().err()));
    let marks = slow.marks()?.get()?;
    let spinning = slow.submit().spin_forever()?;
    std::thread::sleep(Duration::from_millis(50));
    spinning.cancel_with(true, true)?;
    let forced = code(spinning.get().err());
    let dead = code(slow.marks().and_then(|marks| marks.get()).err());
    Ok(json!({ "queued": queued, "running": running, "marks": marks, "forced": forced, "dead": dead }))
}

fn actor_handles() -> Result<Json> {
    let counter = Counter::spawn(1)?;
    let myself = counter.myself()?.get()?;
    drop(counter);
    let kept_alive = myself.add(1)?.get()?;
    let keeper = Keeper::spawn()?;
    let refs = (0..3).map(good::identity::spawn).collect::<Result<Vec<_>>>()?;
    let count = keeper.keep(refs)?.get()?;
    let values = engine::get_all(&keeper.take()?.get()?)?;
    keeper.kill()?;
    let killed = keeper.take().and_then(|taken| taken.get()).err().map(|error| shown(&error));
    Ok(json!({ "kept_alive": kept_alive, "count": count, "values": values, "killed": killed }))
}

fn actor_pending() -> Result<Json> {
    let slow = Slow::options().max_pending_calls(2).spawn()?;
    let mut accepted = Vec::new();
    let mut refused = None;
    for mark in 0..10 {
        match slow.sleep(50, mark) {
            Ok(marks) => accepted.push(marks),
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    let count = accepted.len();
    for marks in accepted {
        marks.get()?;
    }
    let again = slow.sleep(0, 10)?.get()?.len();
    Ok(json!({ "accepted": count, "refused": refused.map(|error| shown(&error)), "again": again }))
}

/// Leaves an actor behind.
fn detach(name: &str) -> Result<Json> {
    let counter = Counter::options().name(name).lifetime(engine::Lifetime::Detached).spawn(5)?;
    got(counter.add(1)?.get())
}

/// Uses the actor that another job left behind.
fn attach(name: &str) -> Result<Json> {
    got(Counter::lookup(name, None).and_then(|counter| counter.add(1)?.get()))
}

fn kill_named(name: &str) -> Result<Json> {
    let counter = Counter::lookup(name, None)?;
    counter.kill()?;
    got(counter.value().and_then(|value| value.get()))
}

/// A function of a component without the SDK, which the job brought along.
fn plain(args: &mut Arguments) -> Result<Json> {
    let component = args.text_or("plain");
    let call = engine::function(args.text_or("add")).of(component);
    got(call.argument(&args.number(40)?)?.argument(&args.number(2)?)?.spawn::<i32>()?.get())
}

/// Writes a value that names a handle which it does not have.
fn forge() -> Result<Json> {
    use std::io::Write;

    let mut writer = engine::ObjectWriter::with_codec(engine::Codec::Msgpack);
    // MessagePack's list of one item: the extension of type 1 with 4 bytes, which is a handle's index.
    writer.write_all(&[0x91, 0xd6, 1, 0, 0, 0, 7])?;
    let forged = writer.finish()?;
    got(engine::function("good::sum_nested").object(&forged).spawn::<u64>()?.get())
}

fn many_actors(count: u64) -> Result<Json> {
    let actors = (0..count).map(Counter::spawn).collect::<Result<Vec<_>>>()?;
    let sums = actors.iter().map(|actor| actor.add(1)).collect::<Result<Vec<_>>>()?;
    let sum: u64 = engine::get_all(&sums)?.into_iter().sum();
    Ok(json!({ "actors": actors.len(), "sum": sum }))
}

fn error_through_argument() -> Result<Json> {
    let failed = bad::fail_with_kind::spawn("Custom", "from an argument")?;
    let once = bad::use_value::spawn(failed)?;
    got(bad::use_value::spawn(once)?.get())
}

fn payload() -> Result<Json> {
    let error = bad::fail_with_payload::spawn()?.get().err().context("it does not fail")?;
    let payload: Option<(u64, u64)> = error.payload()?;
    Ok(json!({ "payload": payload, "error": shown(&error) }))
}

fn too_few() -> Result<Json> {
    let refs = bad::too_few::spawn()?;
    let first = refs.first().context("no reference")?;
    got(first.get())
}
