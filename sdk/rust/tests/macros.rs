//! Everything that the macros accept, compiled: what they make of it has the shapes that it should,
//! and the functions and types are still what they were.
#![allow(dead_code, missing_docs, unreachable_pub)]

use engine::prelude::*;
use engine::{Label, Lifetime, Reuse, Strategy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Serialize, Deserialize, PartialEq)]
pub struct Point {
    x: f64,
    y: f64,
}

/// Squares a number.
#[engine::task]
fn square(x: u64) -> u64 {
    x * x
}

#[engine::task]
fn nothing() {}

#[engine::task(
    cpus = 0.5,
    gpus = 1,
    memory = 64 << 20,
    resources(disk = 2, "special-thing" = 0.1),
    max_retries = 5,
    retry_on("Flaky", "Busy"),
    deadline = Duration::from_secs(5),
    cpu_time = Duration::from_secs(1),
    strategy = Strategy::Spread,
    labels(Label::exists("ssd"), Label::is_in("zone", ["a", "b"]).soft()),
    priority = -1,
    reuse = job,
    cache,
    name = "fetch it",
    env(MODE = "fast")
)]
pub fn fetch(path: String, incoming: Vec<u8>, options: Option<u8>) -> Result<Vec<u32>, std::io::Error> {
    if path.is_empty() {
        return Err(std::io::Error::other("no path"));
    }
    Ok(incoming.into_iter().map(u32::from).chain(options.map(u32::from)).collect())
}

#[engine::task(num_returns = 2)]
fn split(mut text: String, at: u64) -> (String, String) {
    let rest = text.split_off(at as usize);
    (text, rest)
}

const PARTS: usize = 4;

#[engine::task(num_returns = PARTS)]
fn partition(numbers: Vec<u32>) -> Result<Vec<Vec<u32>>> {
    let mut parts = vec![Vec::new(); PARTS];
    for number in numbers {
        parts[number as usize % PARTS].push(number);
    }
    Ok(parts)
}

#[engine::task(num_returns = 0)]
fn effect(_: u8) -> Result<()> {
    Ok(())
}

#[engine::task(unread_objects_max = 8)]
fn numbers(n: u64) -> impl Iterator<Item = u64> {
    0..n
}

#[engine::task]
fn lines(path: String) -> Result<impl Iterator<Item = std::io::Result<String>>> {
    use std::io::BufRead;
    let file = std::fs::File::open(path).context("opening the file")?;
    Ok(std::io::BufReader::new(file).lines())
}

#[engine::task(retry_on(any))]
fn nested(refs: BTreeMap<String, ObjectRef<Point>>, counter: CounterHandle) -> ObjectRef<Point> {
    let _ = counter;
    refs.into_values().next().expect("the test never runs it")
}

mod text {
    #[engine::task]
    pub(crate) fn upper(text: String) -> String {
        text.to_uppercase()
    }
}

struct Counter {
    count: u64,
}

#[engine::actor(max_restarts = 3, max_task_retries = 1, cpus = 1, lifetime = detached, concurrency_groups(io = 2))]
impl Counter {
    /// Begins at `start`.
    pub fn new(start: u64) -> Self {
        Counter { count: start }
    }

    /// Adds, and gives the sum.
    pub fn add(&mut self, n: u64) -> u64 {
        self.count += n;
        self.double() / 2
    }

    #[engine::method(concurrency_group = "io", deadline = Duration::from_secs(1))]
    pub fn value(&self) -> Result<u64, std::num::ParseIntError> {
        self.count.to_string().parse()
    }

    #[engine::method(num_returns = 2)]
    pub fn both(&self, options: u8, actor: String) -> (u64, String) {
        (self.count + u64::from(options), actor)
    }

    pub fn up_to(&self, n: u64) -> impl Iterator<Item = u64> {
        self.count..n
    }

    /// Waits without keeping others out.
    pub async fn later(&self, reference: ObjectRef<u64>, milliseconds: u64) -> Result<u64> {
        engine::sleep(Duration::from_millis(milliseconds)).await;
        Ok(reference.await? + self.count)
    }

    pub async fn later_alone(&mut self) -> u64 {
        engine::sleep(Duration::ZERO).await;
        self.count += 1;
        self.count
    }

    fn double(&self) -> u64 {
        self.count * 2
    }
}

struct Fallible;

#[engine::actor]
impl Fallible {
    pub fn new() -> Result<Self> {
        engine::bail!("not today")
    }
}

/// Compiled, never run: every shape of call, with the type that comes back.
fn shapes() -> Result<()> {
    let one: ObjectRef<u64> = square::spawn(3)?;
    let two: ObjectRef<u64> = square::spawn(&one)?;
    let _: ObjectRef<u64> = square::spawn(two.clone())?;
    let _: u64 = two.get()?;
    let _: ObjectRef<()> = nothing::spawn()?;
    let all: Vec<ObjectRef<u64>> = (0..10).map(square::spawn).collect::<Result<_>>()?;
    let _: Vec<u64> = engine::get_all(&all)?;
    let (_ready, _rest): (Vec<ObjectRef<u64>>, Vec<_>) = engine::wait(&all, 3, Some(Duration::ZERO))?;
    let _: ObjectRef<Vec<u32>> = fetch::spawn("/data", [1, 2], None)?;
    let _: ObjectRef<Vec<u32>> = fetch::spawn(String::new(), vec![], Some(1))?;
    let task: Task<ObjectRef<u64>> = square::options()
        .cpus(0.5)
        .memory(64 << 20)
        .deadline(Duration::from_secs(5))
        .retry_on(["Flaky"])
        .reuse(Reuse::Job)
        .submit(3)?;
    task.cancel()?;
    let _: u64 = task.object().get()?;

    let (head, tail): (ObjectRef<String>, ObjectRef<String>) = split::spawn("ab", 1)?;
    let _: ObjectRef<String> = text::upper::spawn(head)?;
    let _: Task<(ObjectRef<String>, ObjectRef<String>)> = split::submit(tail, 1)?;
    let _: Vec<ObjectRef<Vec<u32>>> = partition::spawn(vec![1, 2, 3])?;
    let _: Vec<ObjectRef<Vec<u32>>> = partition::options().num_returns(PARTS).spawn(vec![1, 2, 3])?;
    effect::spawn(1)?;

    let stream: Stream<u64> = numbers::spawn(10)?;
    for number in stream {
        let _: u64 = number?;
    }
    let texts: Stream<String> = lines::options().max_retries(0).spawn("/data/a.txt")?;
    for reference in texts.refs() {
        let _: ObjectRef<String> = reference?;
    }

    let point: ObjectRef<Point> = engine::put(&Point { x: 0.0, y: 1.0 })?;
    let counter: CounterHandle = Counter::options().name("c").lifetime(Lifetime::Job).spawn(0)?;
    let nested: ObjectRef<ObjectRef<Point>> =
        nested::spawn(BTreeMap::from([("a".to_owned(), point)]), &counter)?;
    let _: Point = nested.get()?.get()?;

    let sum: ObjectRef<u64> = counter.add(&one)?;
    let _: u64 = sum.get()?;
    let _: ObjectRef<u64> = counter.value()?;
    let (_, _): (ObjectRef<u64>, ObjectRef<String>) = counter.both(1, "a")?;
    let _: Stream<u64> = counter.up_to(5)?;
    let later: ObjectRef<u64> = counter.later(one.clone(), 5)?;
    let _: ObjectRef<u64> = counter.later_alone()?;
    let _: u64 = later.get()?;
    let call: Task<ObjectRef<u64>> = counter.submit().deadline(Duration::from_secs(1)).add(1)?;
    call.cancel_with(true, false)?;
    let _: CounterHandle = Counter::lookup("c", Some("space"))?;
    let _: Option<CounterHandle> = CounterHandle::current();
    let by_name: ObjectRef<u64> = counter.as_actor_ref().method("add").argument(&5u64)?.call()?;
    let _: u64 = engine::block_on(async {
        let (a, b) = futures::join!(by_name.into_future(), (&one).into_future());
        let mut numbers = numbers::spawn(3)?.into_async();
        while let Some(number) = futures::StreamExt::next(&mut numbers).await {
            let _: u64 = number?;
        }
        Ok::<u64, Error>(a? + b? + sum.await?)
    })?;
    counter.kill()?;
    let _: FallibleHandle = Fallible::spawn()?;
    let _: ObjectRef<i32> = engine::function("add").of("calculator").argument(&1)?.object(&one).spawn()?;
    let _: ObjectRef<Bytes> = engine::put_bytes(vec![1, 2, 3])?;
    Ok(())
}

#[test]
fn tasks_and_methods_are_still_plain_functions() {
    assert_eq!(square(3), 9);
    assert_eq!(split("abc".to_owned(), 1), ("a".to_owned(), "bc".to_owned()));
    assert_eq!(fetch("x".into(), vec![1], Some(2)).unwrap(), [1, 2]);
    assert_eq!(numbers(3).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(text::upper("a".into()), "A");
    let mut counter = Counter::new(1);
    assert_eq!((counter.add(2), counter.value().unwrap()), (3, 3));
    assert_eq!(Fallible::new().err().unwrap().message(), "not today");
}

#[test]
fn options_can_be_shown() {
    let shown = format!("{:?}", fetch::options());
    assert!(shown.contains("cpus: Some(5000)") && shown.contains("\"Busy\""), "{shown}");
}
