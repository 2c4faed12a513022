//! Every message with nothing at its default.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine_core::ids::PlacementGroupId;
use engine_core::node::{
    ActorPart, Failure, Incarnation, Message, Parcel, PreemptedBy, RemoteArgument, RemoteCall, RemoteJob,
    RemotePlace, RemoteTask,
};
use engine_core::options::{
    CallOptions, Function, LabelOperator, LabelSelector, Placement, Retries, Returns, Reuse, Strategy,
    TaskOptions,
};
use engine_core::resources::Quantity;
use engine_core::work::{Entry, StopReason};
use engine_core::{
    ActorId, Codec, ComponentId, Error, ErrorCode, Frame, Handle, JobId, LaneId, NodeId, ObjectId, Place,
    TaskId, Value,
};

pub fn node(n: u64) -> NodeId {
    NodeId::from_bits(n, 0xabcd_ef01 << 32)
}

pub fn task_id() -> TaskId {
    TaskId::from_bits(u64::MAX - 7, 0x1234_5678 << 32)
}

pub fn object() -> ObjectId {
    task_id().output(3)
}

fn job_id() -> JobId {
    JobId::from_bits(0x70, 5 << 32)
}

pub fn actor() -> ActorId {
    ActorId::from_bits(0x71, 6 << 32)
}

fn component(seed: u8) -> ComponentId {
    ComponentId(std::array::from_fn(|n| n as u8 ^ seed))
}

pub fn inline(codec: Codec, bytes: &'static [u8]) -> Parcel {
    let group = PlacementGroupId::from_bits(0x72, 7 << 32);
    let handles =
        Arc::from([Handle::Object(object()), Handle::Actor(actor()), Handle::PlacementGroup(group)]);
    let place = Place::new(Arc::new(Bytes::from_static(bytes)));
    let value = Value { codec, size: bytes.len() as u64, handles, place };
    Parcel { value, owners: Arc::from([node(4), node(5), node(6)]) }
}

pub fn remote(codec: Codec) -> Parcel {
    let place = RemotePlace { object: object(), holder: node(9) }.place();
    let value = Value { codec, size: 1 << 33, handles: Arc::from([Handle::Actor(actor())]), place };
    Parcel { value, owners: Arc::from([node(4)]) }
}

/// A value of these bytes, without handles.
pub fn plain(bytes: Vec<u8>) -> Parcel {
    let (size, place) = (bytes.len() as u64, Place::new(Arc::new(Bytes::from(bytes))));
    let value = Value { codec: Codec::Msgpack, size, handles: Arc::from([]), place };
    Parcel { value, owners: Arc::from([]) }
}

pub fn failure() -> Failure {
    let frame = |n: u32| Frame {
        task: task_id().to_string(),
        function: "fails".into(),
        node: node(2).to_string(),
        attempt: n,
    };
    let payload = inline(Codec::Msgpack, b"what it attached");
    let error = Error::new(ErrorCode::TaskFailed, "no such word")
        .with_kind("WordError")
        .with_backtrace(Some("main\n  inner".into()))
        .with_path(vec![frame(1), frame(2)])
        .with_payload(Some(payload.value));
    Failure { error, owners: payload.owners }
}

fn retries() -> Retries {
    Retries { system: -1, application: 4, kinds: vec!["WordError".into(), "Other".into()] }
}

fn remote_job() -> RemoteJob {
    RemoteJob {
        id: job_id(),
        home: node(8),
        unfinished_tasks_max: Some(1_000),
        task_memory_bytes: Some(64 << 20),
        tenant: "team-7".parse().expect("a name"),
    }
}

fn selectors() -> Vec<LabelSelector> {
    let operators =
        [LabelOperator::In, LabelOperator::NotIn, LabelOperator::Exists, LabelOperator::DoesNotExist];
    let selector = |operator| LabelSelector {
        key: "zone".into(),
        operator,
        values: vec!["a".into(), "b".into()],
        hard: operator != LabelOperator::Exists,
    };
    operators.into_iter().map(selector).collect()
}

pub fn task_options() -> TaskOptions {
    TaskOptions {
        name: Some("count".into()),
        placement: Placement {
            cpus: Some(Quantity(15_000)),
            gpus: Quantity(10_000),
            // Asked for out of order and twice: both are kept as they were.
            resources: vec![("z".into(), Quantity(2)), ("a".into(), Quantity(1)), ("z".into(), Quantity(3))],
            memory: Some(1 << 30),
            strategy: Strategy::Node(node(3), true),
            labels: selectors(),
            priority: -5,
        },
        returns: Returns::Streaming(Some(8)),
        retries: retries(),
        deadline: Some(Duration::new(3_600, 1)),
        cpu_time: Some(Duration::from_nanos(u64::MAX)),
        env: Arc::from([("A".into(), "1".into()), ("B".into(), "2".into())]),
        reuse: Reuse::Job,
        cache: true,
    }
}

pub fn call_options() -> CallOptions {
    CallOptions {
        name: Some("add".into()),
        returns: Returns::Fixed(3),
        retries: retries(),
        deadline: Some(Duration::from_millis(20)),
        concurrency_group: Some("io".into()),
    }
}

fn arguments() -> Vec<RemoteArgument> {
    vec![
        RemoteArgument::Value(inline(Codec::Python, b"small")),
        RemoteArgument::Object(object(), node(6), remote(Codec::ArrowIpc)),
        RemoteArgument::Handle(object(), node(7)),
    ]
}

pub fn remote_task(entry: Entry, options: TaskOptions) -> RemoteTask {
    RemoteTask {
        id: task_id(),
        attempt: 2,
        job: remote_job(),
        function: Function { component: component(1), name: "count".into() },
        entry,
        arguments: arguments(),
        options,
        name: Some("counts words".into()),
        read: 6,
        part: None,
        may_wait: false,
        may_preempt: false,
    }
}

fn parts() -> [ActorPart; 3] {
    let incarnation = Incarnation { actor: actor(), number: u32::MAX };
    [
        ActorPart::Constructor { incarnation, max_concurrency: 3, cpus: Quantity(5_000), detached: true },
        ActorPart::Constructor {
            incarnation: Incarnation { number: 0, ..incarnation },
            max_concurrency: 1,
            cpus: Quantity::ZERO,
            detached: false,
        },
        ActorPart::Call { incarnation, owner: node(9) },
    ]
}

fn remote_call() -> RemoteCall {
    RemoteCall {
        id: task_id(),
        job: remote_job(),
        actor: actor(),
        lane: LaneId(u64::MAX),
        component: component(2),
        method: "add".into(),
        arguments: arguments(),
        options: call_options(),
    }
}

/// The smallest task there is: one argument of these bytes, and nothing asked for.
pub fn small_task(argument: Vec<u8>) -> RemoteTask {
    RemoteTask {
        attempt: 0,
        job: RemoteJob {
            unfinished_tasks_max: None,
            task_memory_bytes: None,
            tenant: Default::default(),
            ..remote_job()
        },
        arguments: vec![RemoteArgument::Value(plain(argument))],
        name: None,
        read: 0,
        ..remote_task(Entry::Run("count".into()), TaskOptions::default())
    }
}

/// Each message at least once.
pub fn all_messages() -> Vec<Message> {
    let (task, attempt) = (task_id(), 3);
    let mut all = vec![
        Message::Refused { task, attempt },
        Message::Preempted { task, attempt, by: PreemptedBy::Drain },
        Message::Preempted { task, attempt, by: PreemptedBy::Share },
        Message::HasRoom,
        Message::Ended {
            task,
            attempt,
            ran: Some(Duration::from_nanos(u64::MAX)),
            result: Ok(vec![inline(Codec::Raw, b"one"), remote(Codec::Msgpack)]),
        },
        Message::Ended { task, attempt, ran: None, result: Err(failure()) },
        Message::Ended { task, attempt, ran: Some(Duration::ZERO), result: Err(failure()) },
        Message::Emitted { task, attempt, index: (1 << 31) - 2, parcel: inline(Codec::Msgpack, b"yielded") },
        Message::Read { task, read: u32::MAX },
        Message::Call(Box::new(remote_call())),
        Message::CancelCall { task, force: true, recursive: false },
        Message::CancelCall { task, force: false, recursive: true },
        Message::KillActor(actor(), true),
        Message::Borrow(Handle::Object(object())),
        Message::Borrowed(Handle::Actor(actor()), true),
        Message::Received(Handle::Stream(task)),
        Message::Release(Handle::PlacementGroup(PlacementGroupId::from_bits(0x73, 0)), u64::MAX),
        Message::Want(object()),
        Message::Outcome(object(), Ok(remote(Codec::Python))),
        Message::Outcome(object(), Err(failure())),
        Message::Missing(object(), node(5), failure()),
        Message::Drop(task_id().put(8)),
        Message::JobHere(job_id()),
        Message::EndJob(job_id(), "it was stopped".into()),
        Message::JobGone { job: job_id(), nodes: vec![node(1), node(2)] },
        Message::WhatIsHeld(job_id()),
        Message::Held { job: job_id(), retains: true, balance: u64::MAX - 6 },
        Message::LessIsHeld(job_id()),
        Message::SweepJob(job_id()),
    ];
    let entries = [
        Entry::Main(Arc::from(["a".to_owned(), String::new()])),
        Entry::Invoke("add(1, 2)".into()),
        Entry::Run("count".into()),
        Entry::Create("Counter".into()),
        Entry::Method("add".into()),
    ];
    all.extend(entries.map(|entry| Message::Run(Box::new(remote_task(entry, task_options())))));
    all.extend(parts().map(|part| {
        let task = remote_task(Entry::Method("add".into()), task_options());
        Message::Run(Box::new(RemoteTask { part: Some(part), ..task }))
    }));
    let waiting = remote_task(Entry::Run("count".into()), task_options());
    all.push(Message::Run(Box::new(RemoteTask { may_wait: true, may_preempt: true, ..waiting })));
    let incarnation = Incarnation { actor: actor(), number: 7 };
    all.extend([
        Message::EndIncarnation(incarnation, StopReason::ActorEnded),
        Message::IncarnationEnded {
            incarnation,
            calls: vec![(task, None), (TaskId::from_bits(0x5, 0), Some(failure()))],
            cause: Some(failure()),
        },
        Message::IncarnationEnded { incarnation, calls: Vec::new(), cause: None },
        Message::EndScope(actor(), "it was killed".into()),
        Message::Keeps(object()),
    ]);
    let reasons = [
        (StopReason::Cancelled, true, false),
        (StopReason::Deadline, false, true),
        (StopReason::ActorEnded, true, true),
        (StopReason::JobEnded, false, false),
        (StopReason::Retired, true, false),
    ];
    all.extend(reasons.map(|(reason, recursive, force)| Message::Cancel {
        task,
        attempt,
        reason,
        recursive,
        force,
    }));
    all
}
