//! A program that is the root of its job: what it may ask for, and how its job ends. The guest is the
//! tests' own (`guest-examples/selftest`).

use std::time::Duration;

use engine_agent::{Client, Held, Options};
use engine_client::messages::{ClientEntry, JobSpec, JobState, Kind, job_spec, view};
use engine_core::node::Waitable;
use engine_core::options::{ActorOptions, CallOptions, Placement, Returns, TaskOptions};
use engine_core::resources::Quantity;
use engine_core::{Argument, Codec, ErrorCode, Handle, Residence, Value};
use engine_embedded::Embedded;
use engine_runtime::host::FunctionName;

const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

fn options() -> Options {
    let mut options = Options::detect();
    options.cpus = Quantity::units(2);
    options.store_bytes_max = 64 << 20;
    options.data_dir = engine_embedded::data_dir();
    options
}

async fn start(options: Options) -> (Embedded, Client) {
    let engine = Embedded::start(options).await.expect("an engine");
    let client = attach(&engine, "here").await;
    (engine, client)
}

async fn attach(engine: &Embedded, name: &str) -> Client {
    let bytes = std::fs::read(engine_tests::guest("selftest")).expect("the guest");
    let component = engine.add_component("selftest", bytes).await.expect("a component");
    let spec = JobSpec {
        name: name.to_owned(),
        namespace: "n".to_owned(),
        components: vec![component],
        entry: Some(job_spec::Entry::Client(ClientEntry {})),
        attached: true,
        ..JobSpec::default()
    };
    engine.attach(spec).await.expect("a place for a client")
}

fn function(name: &str) -> FunctionName {
    FunctionName { component: Some("selftest".to_owned()), name: name.to_owned() }
}

async fn value(client: &Client, codec: Codec, parts: &[&[u8]], handles: &[Handle]) -> Value {
    let place = client.place(parts).expect("room");
    let size = parts.iter().map(|part| part.len() as u64).sum();
    client.value(codec, size, place, handles).await.expect("a value")
}

/// A small number, as MessagePack has it.
async fn number(client: &Client, number: u8) -> Argument {
    Argument::Value(value(client, Codec::Msgpack, &[&[number]], &[]).await)
}

/// The bytes of an object.
async fn get(client: &Client, object: &Held) -> Result<Vec<u8>, engine_core::Error> {
    let object = object.object().expect("an object");
    let values = client.get(&[object], PATIENCE).await?;
    Ok(engine_objects::bytes(&values[0]).to_vec())
}

async fn state_of(engine: &Embedded, client: &Client) -> (JobState, String) {
    let reader = engine_client::Client::connect(engine.address()).await.expect("the engine");
    let job = reader.job(client.job().to_string()).await.expect("the job");
    let view = job.view().clone();
    (view.state(), view.error.map(|error| error.message).unwrap_or_default())
}

async fn end(engine: Embedded, client: Client) {
    client.end().await;
    assert_eq!(state_of(&engine, &client).await.0, JobState::Succeeded);
    let after = client.nodes().expect_err("it has ended");
    assert_eq!(after.code(), ErrorCode::OwnerDied, "{after}");
    assert_eq!(engine.leftover(), None);
    drop(client);
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_tasks_actors_and_streams_in_sandboxes() {
    let (engine, client) = start(options()).await;
    let arguments = vec![number(&client, 40).await, number(&client, 2).await];
    let call = client.spawn(function("good::add"), arguments, TaskOptions::default()).expect("a task");
    assert_eq!(get(&client, &call.outputs[0]).await.expect("a sum"), [42]);

    let first = client.put(value(&client, Codec::Msgpack, &[&[7]], &[]).await).expect("an object");
    let object = first.object().expect("an object");
    let arguments = vec![Argument::Object(object), number(&client, 1).await];
    let call = client.spawn(function("good::add"), arguments, TaskOptions::default()).expect("a task");
    assert_eq!(get(&client, &call.outputs[0]).await.expect("a sum"), [8]);

    // References inside values, there and back. An extension of one handle: fixext 4, type 1, index 0.
    let inside = value(&client, Codec::Msgpack, &[&[0x91, 0xd6, 1, 0, 0, 0, 0]], &[first.handle()]).await;
    let passed = vec![Argument::Value(inside)];
    let call = client.spawn(function("good::pass_on"), passed, TaskOptions::default()).expect("a task");
    let id = call.outputs[0].object().expect("an object");
    let back = client.get(&[id], PATIENCE).await.expect("what was passed").remove(0);
    let held = client.hold(back.handles[0]);
    drop((call, first));
    assert_eq!(get(&client, &held).await.expect("it lives as long as it is held"), [7]);

    let start = vec![number(&client, 10).await];
    let named = ActorOptions { name: Some("counter".to_owned()), ..ActorOptions::default() };
    let actor = client.create_actor(function("actors::Counter"), start, named).await.expect("an actor");
    let found = client.lookup_actor("counter".to_owned(), None).await.expect("the same");
    assert_eq!(found.actor, actor.actor);
    let one = vec![number(&client, 1).await];
    let call = client.call_actor(&actor, "add".to_owned(), one, CallOptions::default()).expect("a call");
    assert_eq!(get(&client, &call.outputs[0]).await.expect("the count"), [11]);
    client.kill_actor(&actor, false).expect("it is its own");
    let call = client.call_actor(&found, "value".to_owned(), Vec::new(), CallOptions::default());
    let dead = get(&client, &call.expect("a call").outputs[0]).await.expect_err("it is dead");
    assert_eq!(dead.code(), ErrorCode::ActorDied);

    let streams = TaskOptions { returns: Returns::Streaming(None), ..TaskOptions::default() };
    let three = vec![number(&client, 3).await];
    let call = client.spawn(function("streams::count"), three, streams).expect("a stream");
    let mut seen = Vec::new();
    while let Some(object) = client.next(call.task, PATIENCE).await.expect("an object") {
        seen.extend(get(&client, &object).await.expect("a number"));
    }
    assert_eq!(seen, [0, 1, 2]);
    end(engine, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_timeouts_and_wrong_names_are_told() {
    let (engine, client) = start(options()).await;
    let arguments = vec![number(&client, 1).await, number(&client, 0).await];
    let twice = TaskOptions { returns: Returns::Fixed(2), ..TaskOptions::default() };
    let call = client.spawn(function("good::divide"), arguments, twice).expect("a task");
    let error = get(&client, &call.outputs[1]).await.expect_err("there is no quotient");
    assert!(error.code().is_application(), "{error}");
    assert_eq!(error.path().len(), 1, "{error:?}");

    let own = FunctionName { component: None, name: "add".to_owned() };
    let error = client.spawn(own, Vec::new(), TaskOptions::default()).err().expect("it has no component");
    assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
    let other = FunctionName { component: Some("other".to_owned()), name: "add".to_owned() };
    let error = client.spawn(other, Vec::new(), TaskOptions::default()).err().expect("there is none");
    assert_eq!(error.code(), ErrorCode::NotFound, "{error}");

    let call = client
        .spawn(
            function("good::sleep"),
            vec![
                Argument::Value(value(&client, Codec::Msgpack, &[&[0xcd, 0xff, 0xff]], &[]).await),
                number(&client, 1).await,
            ],
            TaskOptions::default(),
        )
        .expect("a task");
    let object = call.outputs[0].object().expect("an object");
    let late = client.get(&[object], Some(Duration::from_millis(1))).await.expect_err("it sleeps");
    assert_eq!(late.code(), ErrorCode::GetTimeout);
    let waited = client.wait(&[Waitable::Object(object)], 1, Some(Duration::ZERO)).await;
    assert_eq!(waited.expect("a poll"), Vec::<u32>::new());
    let item = Waitable::Object(object);
    let twice = client.wait(&[item, item], 1, None).await.expect_err("it is there twice");
    assert_eq!(twice.code(), ErrorCode::InvalidArgument);
    client.cancel(call.task, true, true).expect("it is its own");
    let cancelled = get(&client, &call.outputs[0]).await.expect_err("it was cancelled");
    assert_eq!(cancelled.code(), ErrorCode::TaskCancelled);

    let many = TaskOptions {
        placement: Placement { cpus: Some(Quantity::units(100)), ..Placement::default() },
        ..TaskOptions::default()
    };
    let call = client.spawn(function("good::noop"), Vec::new(), many).expect("a task");
    let never = get(&client, &call.outputs[0]).await.expect_err("there are 2 CPUs");
    assert_eq!(never.code(), ErrorCode::Unschedulable);
    end(engine, client).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_are_read_where_they_lie_and_wait_for_room() {
    let spill = tempfile::tempdir().expect("a folder");
    let mut options = options();
    options.store_bytes_max = 8 << 20;
    options.spill_folder = Some(spill.path().to_owned());
    let (engine, client) = start(options).await;
    let half = vec![5_u8; 3 << 20];
    let mut objects = Vec::new();
    for _ in 0..4 {
        let whole = value(&client, Codec::Raw, &[&half[..1 << 20], &half[1 << 20..]], &[]).await;
        objects.push(client.put(whole).expect("an object"));
    }
    for object in &objects {
        assert_eq!(get(&client, object).await.expect("its bytes").len(), 3 << 20);
    }
    let id = objects[3].object().expect("an object");
    let seen = client.get(&[id], PATIENCE).await.expect("a value").remove(0);
    drop(objects);
    if seen.place.residence() == Residence::Arena {
        let bytes = engine_objects::bytes(&seen);
        assert!(
            bytes.iter().all(|byte| *byte == 5),
            "what is looked at stays, though nobody holds the object"
        );
    }
    drop(seen);
    end(engine, client).await;
}

// contract: J3, J2
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_without_a_word_fails_its_job_and_others_go_on() {
    let mut options = options();
    options.limits.client_grace = Duration::from_millis(50);
    let (engine, client) = start(options).await;
    let lost = attach(&engine, "lost").await;
    let reader = engine_client::Client::connect(engine.address()).await.expect("the engine");
    let job = reader.job(lost.job().to_string()).await.expect("its job");
    drop(lost);
    let view = job.wait().await.expect("its end");
    assert_eq!(view.state(), JobState::Failed);
    let error = view.error.expect("why");
    assert!(error.message.contains("client_grace"), "{error:?}");
    assert_eq!(client.nodes().expect("the other goes on").len(), 1);
    end(engine, client).await;
}

// contract: J3, J2
#[tokio::test(flavor = "multi_thread")]
async fn stopping_the_job_ends_the_client_and_whatever_it_waits_for() {
    let (engine, client) = start(options()).await;
    let reader = engine_client::Client::connect(engine.address()).await.expect("the engine");
    let got = reader.get(Kind::Task, client.task().to_string()).await.expect("its root");
    match got.view {
        Some(view::View::Task(root)) => assert_eq!(root.function, "client"),
        other => panic!("{other:?}"),
    }
    let sleeps = vec![
        Argument::Value(value(&client, Codec::Msgpack, &[&[0xcd, 0xff, 0xff]], &[]).await),
        number(&client, 1).await,
    ];
    let call = client.spawn(function("good::sleep"), sleeps, TaskOptions::default()).expect("a task");
    let waits = tokio::spawn({
        let (client, object) = (client.clone(), call.outputs[0].object().expect("an object"));
        async move { client.get(&[object], None).await }
    });
    let job = reader.job(client.job().to_string()).await.expect("its job");
    job.stop().await.expect("it stops");
    let error = waits.await.expect("an answer").expect_err("its job was stopped");
    assert_eq!(error.code(), ErrorCode::OwnerDied, "{error}");
    assert!(error.message().contains("a client asked for it"), "{error}");
    assert_eq!(state_of(&engine, &client).await.0, JobState::Stopped);
    drop(call);
    assert_eq!(engine.leftover(), None);
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_on_demand_is_looked_at_when_something_of_it_starts() {
    let engine = Embedded::start(options()).await.expect("an engine");
    let bytes = std::fs::read(engine_tests::guest("selftest")).expect("the guest");
    let spec = JobSpec {
        name: "on demand".to_owned(),
        components: vec![
            engine.add_component_on_demand("selftest", &bytes).expect("it is kept"),
            engine
                .add_component_on_demand("rubbish", b"\0asm, and no more")
                .expect("it is kept without a look"),
        ],
        entry: Some(job_spec::Entry::Client(ClientEntry {})),
        attached: true,
        ..JobSpec::default()
    };
    let client = engine.attach(spec).await.expect("a place for a client");
    let arguments = vec![number(&client, 40).await, number(&client, 2).await];
    let rubbish = FunctionName { component: Some("rubbish".to_owned()), name: "add".to_owned() };
    let spawned = client.spawn(rubbish.clone(), Vec::new(), TaskOptions::default()).expect("a task");
    let error = get(&client, &spawned.outputs[0]).await.expect_err("there is nothing to run");
    assert_eq!(error.code(), ErrorCode::InvalidComponent, "{error}");
    // Whether an actor's calls may interleave is asked of its component.
    let many = ActorOptions { max_concurrency: 2, ..ActorOptions::default() };
    let created = client.create_actor(rubbish, Vec::new(), many.clone()).await;
    assert!(created.is_err_and(|error| error.code() == ErrorCode::InvalidComponent));
    let created = client.create_actor(function("actors::Counter"), Vec::new(), many).await;
    assert!(created.is_err_and(|error| error.message().contains("concurrent-component")));
    let call = client.spawn(function("good::add"), arguments, TaskOptions::default()).expect("a task");
    assert_eq!(get(&client, &call.outputs[0]).await.expect("a sum"), [42]);
    drop((call, spawned));
    end(engine, client).await;
}
