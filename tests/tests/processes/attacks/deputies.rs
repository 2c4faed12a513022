//! Kind 2: references that nobody gave, shown to a node by a client that is attached to it.

use engine_client::messages as v1;
use engine_client::messages::client_answer::Answer;
use engine_client::messages::client_message::Message;
use engine_client::messages::client_request::{
    CallActor, Cancel, CreateActor, Get, KillActor, Next, Request, Spawn, Wait,
};
use engine_client::messages::{ClientArgument, ClientValue, ClientWaitable};
use engine_proto::convert::client::{Came, value};
use engine_tests::{Up, guest, until};
use serde_json::json;

use super::client_lines::{Line, bits, job_of_client};
use super::ids::kept;
use super::{runtime, two, unharmed};
use crate::tenants::never;

/// A value with these bytes, which says that this is inside.
fn with_inside(handle: v1::handle::Handle) -> ClientValue {
    let mut forged = value(engine_core::Codec::Raw, &[], Came::Inline(b"x".as_slice().into()));
    forged.handles = vec![v1::Handle { handle: Some(handle) }];
    forged
}

fn waits(object: v1::Id) -> ClientWaitable {
    ClientWaitable { item: Some(v1::client_waitable::Item::Object(object)) }
}

fn argument(argument: v1::client_argument::Argument) -> ClientArgument {
    ClientArgument { argument: Some(argument) }
}

/// All that can be asked for with an object, an actor, a task and a placement group that are somebody's.
fn requests(object: v1::Id, actor: v1::Id, task: v1::Id, group: v1::Id) -> Vec<Request> {
    use v1::client_argument::Argument;
    use v1::handle::Handle;
    let spawn = |argument| {
        Request::Spawn(Spawn {
            component: "none".into(),
            function: "f".into(),
            arguments: vec![argument],
            options: Some(v1::TaskOptions {
                placement: Some(v1::Placement::default()),
                ..Default::default()
            }),
        })
    };
    vec![
        Request::Get(Get { objects: vec![object], timeout_ns: Some(0) }),
        Request::Put(with_inside(Handle::Object(object))),
        Request::Put(with_inside(Handle::Actor(actor))),
        Request::Put(with_inside(Handle::PlacementGroup(group))),
        Request::Next(Next { stream: Some(task), timeout_ns: Some(0) }),
        spawn(argument(Argument::Object(object))),
        spawn(argument(Argument::Value(with_inside(Handle::Actor(actor))))),
        Request::GroupReady(group),
        Request::RemoveGroup(group),
        Request::CallActor(CallActor {
            lane: 77,
            method: "tenant".into(),
            arguments: Vec::new(),
            options: None,
        }),
        Request::KillActor(KillActor { lane: 77, restart: false }),
        Request::CreateActor(CreateActor {
            lane: 78,
            component: "none".into(),
            class: "c".into(),
            arguments: vec![argument(Argument::Object(object))],
            options: Some(v1::ActorOptions::default()),
        }),
    ]
}

// contract: I1, I2
/// Of another tenant, of another job of the same tenant, and of nobody: the same answer, and nothing happens.
#[test]
fn forged_references_are_refused_whosever_they_are() {
    let up = Up::with(&["--cpus", "6"]);
    let [red, blue] = two(up.place());
    let victim = blue.attacks_on(&[], "keep", &[json!("the secret of blue")]);
    let own_other = red.attacks_on(&[], "keep", &[json!("of another job of red")]);
    let group_job = blue.submitted(&[], &["group-sleeps", "pack", "1", "600000"]);
    let group = until("blue has a group", || {
        let groups = blue.items("placement-groups");
        groups
            .first()
            .map(|group| group["placement_group_id"].as_str().expect("an id").to_owned())
            .ok_or("none".into())
    });
    let (of_blue, of_red) = (kept(&blue, &victim), kept(&red, &own_other));
    runtime().block_on(async {
        let job = job_of_client(&red).await;
        let mut line = Line::attach(&red, &job).await.expect("it is its own");
        let id = |held: &serde_json::Value, kind: &str| held[kind].as_str().expect("an id").to_owned();
        let mut said: Vec<Vec<String>> = Vec::new();
        for held in [&of_blue, &of_red] {
            for made_up in [false, true] {
                let name = |id: String| if made_up { never(&id) } else { id };
                let names = ["object", "actor", "task"].map(|kind| name(id(held, kind)));
                let [object, actor, task] = [0, 1, 2].map(|at: usize| bits(&names[at]));
                let group_name = name(group.clone());
                // What it was not given it cannot hold, nor open a lane to.
                line.say(Message::Hold(v1::Handle { handle: Some(v1::handle::Handle::Object(object)) }))
                    .await;
                let lane = v1::client_message::Lane { lane: 77, actor: Some(actor) };
                line.say(Message::OpenLane(lane)).await;
                line.say(Message::Release(v1::Handle { handle: Some(v1::handle::Handle::Object(object)) }))
                    .await;
                let mut answers = Vec::new();
                for request in requests(object, actor, task, bits(&group_name)) {
                    let error = line.refused(request.clone()).await;
                    let codes = ["PERMISSION_DENIED", "INVALID_ARGUMENT", "NOT_FOUND"];
                    assert!(codes.contains(&error.code.as_str()), "{request:?}: {error:?}");
                    let mut message = format!("{}: {}", error.code, error.message);
                    for name in names.iter().chain([&group_name]) {
                        message = message.replace(name.as_str(), "ID");
                    }
                    answers.push(message);
                }
                // Whether it would wait is not told: of what is not held a wait ends at once.
                let wait = Wait { items: vec![waits(object)], num_ready: 1, timeout_ns: Some(0) };
                answers.push(format!("{:?}", line.ask(Request::Wait(wait)).await));
                answers.push(format!("{:?}", line.ask(Request::IsReady(waits(object))).await));
                // Cancelling what is not there is nothing, and so is cancelling what is another's.
                for force in [false, true] {
                    let cancel = Cancel { task: Some(task), force, recursive: true };
                    answers.push(format!("{:?}", line.ask(Request::Cancel(cancel)).await));
                }
                said.push(answers);
            }
        }
        for other in &said[1..] {
            assert_eq!(&said[0], other, "the same is said, whosever it is");
        }
        assert!(said[0].iter().all(|said| !said.contains("secret")), "{said:?}");
        drop(line);
    });
    for (who, job) in [(&blue, &victim), (&red, &own_other), (&blue, &group_job)] {
        assert_eq!(who.json(&["job", "status", job])["state"], "RUNNING");
    }
    for (who, held) in [(&blue, &of_blue), (&red, &of_red)] {
        let shown = |kind: &str| who.json(&["get", kind, held[kind].as_str().expect("an id")]);
        assert_eq!(shown("task")["state"], "RUNNING", "nobody cancelled it");
        assert_eq!(shown("actor")["state"], "ALIVE");
        assert_eq!(shown("object")["state"], "READY");
    }
    for (who, job) in [(&blue, &victim), (&red, &own_other), (&blue, &group_job)] {
        who.engine(&["job", "stop", job]).exits(0);
    }
    for job in red.items("jobs") {
        red.engine(&["job", "stop", job["job_id"].as_str().expect("an id")]).exits(0);
    }
    unharmed(up);
}

/// A client's own things still are its own: the same requests do what they say.
#[test]
fn what_a_client_was_given_it_may_use() {
    let up = Up::start();
    let [red, _] = two(up.place());
    runtime().block_on(async {
        let job = job_of_client(&red).await;
        let mut line = Line::attach(&red, &job).await.expect("it is its own");
        let put = value(engine_core::Codec::Raw, &[], Came::Inline(b"own".as_slice().into()));
        let Answer::Object(object) = line.ask(Request::Put(put)).await else { panic!("no object") };
        let inside = with_inside(v1::handle::Handle::Object(object));
        let Answer::Object(around) = line.ask(Request::Put(inside)).await else { panic!("no object") };
        let got = line.ask(Request::Get(Get { objects: vec![around, object], timeout_ns: None })).await;
        let Answer::Values(values) = got else { panic!("no values") };
        assert_eq!(values.values.len(), 2);
        line.ask(Request::End(v1::Heard {})).await;
    });
    unharmed(up);
}

/// Another tenant's component is missing, whatever names it, and gives nothing to run.
// contract: I1
#[test]
fn components_of_others_cannot_be_run_by_their_digests() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    let bytes = std::fs::read(guest("attacks")).expect("the guest");
    runtime().block_on(async {
        let id = blue.client().await.upload(bytes).await.expect("it is taken");
        let client = red.client().await;
        let spec = engine_client::spec::run(id, ["lookup", "\"x\""]);
        let refused = client.submit(spec).await.expect_err("it was not brought by red");
        let unknown = engine_client::ComponentId::NONE;
        let spec = engine_client::spec::run(unknown, ["lookup", "\"x\""]);
        let missing = client.submit(spec).await.expect_err("there is none");
        let as_one = |error: &engine_client::Error, id: engine_client::ComponentId| {
            error.to_string().replace(&id.to_string(), "ID").replace(&engine_proto::convert::digest(id), "ID")
        };
        assert_eq!(as_one(&refused, id), as_one(&missing, unknown));
    });
    unharmed(up);
}
