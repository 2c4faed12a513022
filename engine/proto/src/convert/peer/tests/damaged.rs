//! What is damaged is refused, and the error names the field.

use engine_core::node::{ActorPart, Incarnation, Message};
use engine_core::work::Entry;
use engine_core::{Codec, Error, ErrorCode};

use super::{from_wire, packet_of, samples, to_wire};
use crate::convert::peer::{QUANTITY_PARTS_MAX, load_from, packet_from};
use crate::v1;
use crate::v1::actor_part::{self, Part};
use crate::v1::peer_message::{Message as Wire, outcome};
use crate::v1::remote_argument::{Argument, Object, Pending};

fn refused(wire: v1::Packet) -> String {
    let error = from_wire(wire).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
    error.message().to_owned()
}

/// Damages the only message of a packet; what that is refused with.
fn damage(message: Message, how: impl FnOnce(&mut Wire)) -> String {
    let mut wire = to_wire(&packet_of(vec![message]));
    how(wire.messages[0].message.as_mut().unwrap());
    refused(wire)
}

fn damage_task(how: impl FnOnce(&mut v1::RemoteTask)) -> String {
    let task = samples::remote_task(Entry::Run("count".into()), samples::task_options());
    damage(Message::Run(Box::new(task)), |wire| match wire {
        Wire::Run(task) => how(task),
        other => panic!("{other:?}"),
    })
}

fn damage_options(how: impl FnOnce(&mut v1::TaskOptions)) -> String {
    damage_task(|task| how(task.options.as_mut().unwrap()))
}

fn damage_placement(how: impl FnOnce(&mut v1::Placement)) -> String {
    damage_options(|options| how(options.placement.as_mut().unwrap()))
}

fn damage_parcel(how: impl FnOnce(&mut v1::Parcel)) -> String {
    let message = Message::Outcome(samples::object(), Ok(samples::inline(Codec::Raw, b"bytes")));
    damage(message, |wire| match wire {
        Wire::Outcome(v1::peer_message::Outcome { result: Some(outcome::Result::Value(parcel)), .. }) => {
            how(parcel);
        }
        other => panic!("{other:?}"),
    })
}

fn damage_failure(how: impl FnOnce(&mut v1::Failure)) -> String {
    let message = Message::Missing(samples::object(), samples::node(1), samples::failure());
    damage(message, |wire| match wire {
        Wire::Missing(missing) => how(missing.failure.as_mut().unwrap()),
        other => panic!("{other:?}"),
    })
}

/// Takes a field out of every message of a kind.
macro_rules! missing {
    ($($kind:ident . $field:ident),* $(,)?) => {$({
        let field = concat!(stringify!($kind), ".", stringify!($field));
        let mut found = false;
        for message in samples::all_messages() {
            let mut wire = to_wire(&packet_of(vec![message]));
            if let Some(Wire::$kind(inner)) = wire.messages[0].message.as_mut() {
                inner.$field = None;
                found = true;
                assert_eq!(refused(wire), format!("{field} is missing"));
            }
        }
        assert!(found, "{field}");
    })*};
}

#[test]
fn what_every_message_needs() {
    missing!(
        Refused.task,
        Preempted.task,
        Ended.task,
        Ended.result,
        Emitted.task,
        Emitted.parcel,
        Read.task,
        CancelCall.task,
        KillActor.actor,
        Cancel.task,
        EndIncarnation.incarnation,
        IncarnationEnded.incarnation,
        EndScope.actor,
        Borrowed.handle,
        Release.handle,
        Outcome.object,
        Outcome.result,
        Missing.object,
        Missing.holder,
        Missing.failure,
        EndJob.job,
        JobGone.job,
        Held.job,
    );
    let mut wire = to_wire(&packet_of(vec![Message::HasRoom]));
    wire.messages[0].message = None;
    assert_eq!(refused(wire), "PeerMessage.message is missing");
}

#[test]
fn what_a_packet_needs() {
    let damage = |how: fn(&mut v1::Packet)| {
        let mut wire = to_wire(&packet_of(Vec::new()));
        how(&mut wire);
        refused(wire)
    };
    assert_eq!(damage(|packet| packet.from = None), "Packet.from is missing");
    assert_eq!(damage(|packet| packet.to = None), "Packet.to is missing");
    assert_eq!(damage(|packet| packet.first = 0), "Packet.first is missing");
    assert_eq!(damage(|packet| packet.load = None), "Packet.load is missing");
    assert_eq!(damage(|packet| packet.load.as_mut().unwrap().free = None), "Load.free is missing");
    assert_eq!(refused(v1::Packet::default()), "Packet.first is missing");
}

#[test]
fn quantities_whose_sum_may_overflow() {
    let much = QUANTITY_PARTS_MAX + 1;
    for (field, free) in [
        ("Load.free.cpus", v1::Resources { cpus: much, ..<_>::default() }),
        ("Load.free.gpus", v1::Resources { gpus: much, ..<_>::default() }),
        ("Load.free.custom", v1::Resources { custom: [("a".to_owned(), much)].into(), ..<_>::default() }),
    ] {
        let error = load_from(&v1::Load { free: Some(free), version: 1 }).unwrap_err();
        assert!(error.message().starts_with(&format!("{field} is {much}")), "{error}");
    }
    let cpus = damage_placement(|placement| placement.cpus = Some(much));
    assert!(cpus.starts_with("Placement.cpus is 9000000000000001"), "{cpus}");
    let gpus = damage_placement(|placement| placement.gpus = u64::MAX);
    assert!(gpus.starts_with("Placement.gpus is"), "{gpus}");
    let custom = damage_placement(|placement| placement.resources[1].quantity = much);
    assert!(custom.starts_with("CustomResource.quantity is"), "{custom}");
}

#[test]
fn what_a_task_needs() {
    assert_eq!(damage_task(|task| task.id = None), "RemoteTask.id is missing");
    assert_eq!(damage_task(|task| task.job = None), "RemoteTask.job is missing");
    assert_eq!(damage_task(|task| task.job.as_mut().unwrap().id = None), "RemoteJob.id is missing");
    assert_eq!(damage_task(|task| task.job.as_mut().unwrap().home = None), "RemoteJob.home is missing");
    let error = damage_task(|task| task.job.as_mut().unwrap().tenant = "a/b".to_owned());
    assert!(error.starts_with("RemoteJob.tenant: \"a/b\" is no name of a tenant"), "{error}");
    assert_eq!(damage_task(|task| task.function = None), "RemoteTask.function is missing");
    assert_eq!(damage_task(|task| task.entry = None), "RemoteTask.entry is missing");
    let short = damage_task(|task| task.function.as_mut().unwrap().component.truncate(31));
    assert_eq!(short, "Function.component has 31 bytes instead of 32");
    let none = damage_task(|task| task.function.as_mut().unwrap().component.clear());
    assert_eq!(none, "Function.component is missing");
}

#[test]
fn what_a_part_of_an_actor_needs() {
    let damage_part = |how: fn(&mut v1::ActorPart)| {
        let with_part = |message: &Message| {
            let call = |part: &ActorPart| matches!(part, ActorPart::Call { .. });
            matches!(message, Message::Run(task) if task.part.as_ref().is_some_and(call))
        };
        let run = samples::all_messages().into_iter().find(with_part);
        damage(run.unwrap(), |wire| match wire {
            Wire::Run(task) => how(task.part.as_mut().unwrap()),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(damage_part(|part| part.incarnation = None), "ActorPart.incarnation is missing");
    assert_eq!(
        damage_part(|part| part.incarnation.as_mut().unwrap().actor = None),
        "Incarnation.actor is missing"
    );
    assert_eq!(damage_part(|part| part.part = None), "ActorPart.part is missing");
    let owner = damage_part(|part| part.part = Some(Part::Call(actor_part::Call { owner: None })));
    assert_eq!(owner, "ActorPart.Call.owner is missing");
    let much = |cpus| actor_part::Constructor { cpus, ..<_>::default() };
    let cpus = damage_task(|task| {
        let incarnation = Some(v1::Incarnation { actor: Some(v1::Id { high: 1, low: 0 }), number: 0 });
        task.part = Some(v1::ActorPart { incarnation, part: Some(Part::Constructor(much(u64::MAX))) });
    });
    assert!(cpus.starts_with("ActorPart.Constructor.cpus is"), "{cpus}");
    let ended = Message::IncarnationEnded {
        incarnation: Incarnation { actor: samples::actor(), number: 0 },
        calls: vec![(samples::task_id(), None)],
        cause: None,
    };
    let call = damage(ended, |wire| match wire {
        Wire::IncarnationEnded(ended) => ended.calls[0].task = None,
        other => panic!("{other:?}"),
    });
    assert_eq!(call, "CutShort.task is missing");
}

#[test]
fn what_a_call_needs() {
    let damage = |how: fn(&mut v1::RemoteCall)| {
        let call = samples::all_messages().into_iter().find(|message| matches!(message, Message::Call(_)));
        damage(call.unwrap(), |wire| match wire {
            Wire::Call(call) => how(call),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(damage(|call| call.id = None), "RemoteCall.id is missing");
    assert_eq!(damage(|call| call.job = None), "RemoteCall.job is missing");
    assert_eq!(damage(|call| call.actor = None), "RemoteCall.actor is missing");
    let long = damage(|call| call.component = vec![0; 33].into());
    assert_eq!(long, "RemoteCall.component has 33 bytes instead of 32");
    let returns = damage(|call| call.options.as_mut().unwrap().returns = Some(v1::Returns::default()));
    assert_eq!(returns, "Returns.returns is missing");
}

#[test]
fn what_an_argument_needs() {
    let id = Some(v1::Id { high: 1, low: 0 });
    let parcel = Some(v1::Parcel::default());
    for (argument, field) in [
        (None, "RemoteArgument.argument"),
        (
            Some(Argument::Object(Object { object: None, owner: id, parcel: parcel.clone() })),
            "RemoteArgument.Object.object",
        ),
        (Some(Argument::Object(Object { object: id, owner: None, parcel })), "RemoteArgument.Object.owner"),
        (
            Some(Argument::Object(Object { object: id, owner: id, parcel: None })),
            "RemoteArgument.Object.parcel",
        ),
        (Some(Argument::Handle(Pending { object: None, owner: id })), "RemoteArgument.Pending.object"),
        (Some(Argument::Handle(Pending { object: id, owner: None })), "RemoteArgument.Pending.owner"),
    ] {
        let message = damage_task(|task| task.arguments[2].argument = argument);
        assert_eq!(message, format!("{field} is missing"));
    }
}

#[test]
fn what_options_need() {
    let returns = damage_options(|options| options.returns = Some(v1::Returns::default()));
    assert_eq!(returns, "Returns.returns is missing");
    let reuse = damage_options(|options| options.reuse = 7);
    assert_eq!(reuse, "TaskOptions.reuse is 7, which is not known here");
    let unsorted = damage_options(|options| options.env.reverse());
    assert_eq!(unsorted, "TaskOptions.env is not sorted by name, each name once");
    let repeated = damage_options(|options| options.env[1] = options.env[0].clone());
    assert_eq!(repeated, unsorted);
    let node = damage_placement(|placement| placement.strategy = Some(on_no_node()));
    assert_eq!(node, "OnNode.node is missing");
    let operator = damage_placement(|placement| placement.labels[0].operator = 5);
    assert_eq!(operator, "LabelSelector.operator is 5, which is not known here");
    let operator = damage_placement(|placement| placement.labels[3].operator = 0);
    assert_eq!(operator, "LabelSelector.operator is missing");
}

fn on_no_node() -> v1::placement::Strategy {
    v1::placement::Strategy::OnNode(v1::placement::OnNode::default())
}

#[test]
fn what_a_value_needs() {
    use v1::parcel::Place;
    assert_eq!(damage_parcel(|parcel| parcel.codec = 0), "Parcel.codec is missing");
    assert_eq!(damage_parcel(|parcel| parcel.codec = -1), "Parcel.codec is -1, which is not known here");
    assert_eq!(damage_parcel(|parcel| parcel.place = None), "Parcel.place is missing");
    let few = damage_parcel(|parcel| parcel.owners.truncate(2));
    assert_eq!(few, "Parcel.owners has 2 entries for 3 handles");
    let many = damage_parcel(|parcel| parcel.handles.clear());
    assert_eq!(many, "Parcel.owners has 3 entries for 0 handles");
    assert_eq!(damage_parcel(|parcel| parcel.handles[1].handle = None), "Handle.handle is missing");
    let id = v1::Id { high: 1, low: 0 };
    let stream = damage_parcel(|parcel| parcel.handles[1].handle = Some(v1::handle::Handle::Stream(id)));
    assert!(stream.starts_with("Parcel.handles has the stream of task-"), "{stream}");
    let remote = |object, holder| {
        let remote = v1::RemoteBytes { object, holder, size: 1 };
        damage_parcel(move |parcel| parcel.place = Some(Place::Remote(remote)))
    };
    assert_eq!(remote(None, Some(id)), "RemoteBytes.object is missing");
    assert_eq!(remote(Some(id), None), "RemoteBytes.holder is missing");
}

#[test]
fn what_a_failure_needs() {
    assert_eq!(damage_failure(|failure| failure.error = None), "Failure.error is missing");
    let code = damage_failure(|failure| failure.error.as_mut().unwrap().code.clear());
    assert_eq!(code, "Error.code is missing");
    let payload = damage_failure(|failure| failure.payload.as_mut().unwrap().owners.truncate(2));
    assert_eq!(payload, "Parcel.owners has 2 entries for 3 handles");
}

#[test]
fn what_the_rest_needs() {
    let handles = |message: Message| {
        damage(message, |wire| match wire {
            Wire::Borrow(handle) | Wire::Received(handle) => handle.handle = None,
            other => panic!("{other:?}"),
        })
    };
    let handle = engine_core::Handle::Object(samples::object());
    assert_eq!(handles(Message::Borrow(handle)), "Handle.handle is missing");
    assert_eq!(handles(Message::Received(handle)), "Handle.handle is missing");
    let is_cancel = |message: &Message| matches!(message, Message::Cancel { .. });
    for (number, message) in
        [(0, "Cancel.reason is missing"), (6, "Cancel.reason is 6, which is not known here")]
    {
        let cancel = samples::all_messages().into_iter().find(is_cancel).unwrap();
        let refused = damage(cancel, |wire| match wire {
            Wire::Cancel(cancel) => cancel.reason = number,
            other => panic!("{other:?}"),
        });
        assert_eq!(refused, message);
    }
    // The id of such an object would be that of another kind.
    let parcel = samples::plain(Vec::new());
    let emitted = Message::Emitted { task: samples::task_id(), attempt: 0, index: u32::MAX, parcel };
    let index = damage(emitted, |_| {});
    assert_eq!(index, "Emitted.index is 4294967295, not below 2147483647");
}

#[test]
fn bytes_that_have_no_place() {
    let wire = to_wire(&packet_of(vec![Message::Run(Box::new(samples::small_task(vec![1])))]));
    let full = |_| Err(Error::new(ErrorCode::StoreFull, "no room"));
    assert_eq!(packet_from(wire, &full).unwrap_err().code(), ErrorCode::StoreFull);
}
