//! What was sent is what is read.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use engine_core::node::{Failure, Load, Message, Packet, RemoteArgument, RemotePlace};
use engine_core::options::{CallOptions, Returns, Strategy, TaskOptions};
use engine_core::{Codec, Error, ErrorCode, Value};
use prost::Message as _;

use super::{from_wire, packet_of, samples, to_wire};
use crate::convert::peer::options::{call_options, call_options_from, task_options, task_options_from};
use crate::convert::peer::{id, id_from, load, load_from, value};
use crate::v1;

fn through_bytes(core: &Packet) -> Packet {
    let encoded = Bytes::from(to_wire(core).encode_to_vec());
    from_wire(v1::Packet::decode(encoded).unwrap()).unwrap()
}

fn assert_reads_back(message: Message) {
    let core = packet_of(vec![message]);
    let back = through_bytes(&core);
    assert_eq!(format!("{back:?}"), format!("{core:?}"));
    // What printing does not show: the bytes of each value, and where they are.
    assert_eq!(to_wire(&back), to_wire(&core));
}

#[test]
fn every_message_reads_back() {
    for message in samples::all_messages() {
        assert_reads_back(message);
    }
    let core = packet_of(samples::all_messages());
    assert_eq!(format!("{:?}", through_bytes(&core)), format!("{core:?}"));
}

#[test]
fn a_packet_without_messages_reads_back() {
    let core = Packet { load: Load::default(), received: 0, ..packet_of(Vec::new()) };
    assert_eq!(format!("{:?}", through_bytes(&core)), format!("{core:?}"));
    let full = packet_of(Vec::new()).load;
    assert_eq!(load_from(&load(&full)).unwrap(), full);
}

#[test]
fn what_was_not_asked_for_takes_no_bytes() {
    assert_eq!(task_options(&TaskOptions::default()), None);
    assert_eq!(task_options_from(None).unwrap(), TaskOptions::default());
    assert_eq!(call_options(&CallOptions::default()), None);
    assert_eq!(call_options_from(None).unwrap(), CallOptions::default());
    assert_eq!(task_options_from(Some(v1::TaskOptions::default())).unwrap(), TaskOptions::default());
}

#[test]
fn options_read_back() {
    let options = samples::task_options();
    assert_eq!(task_options_from(task_options(&options)).unwrap(), options);
    let calls = samples::call_options();
    assert_eq!(call_options_from(call_options(&calls)).unwrap(), calls);
    for returns in [Returns::Fixed(0), Returns::Fixed(1), Returns::Fixed(u32::MAX), Returns::Streaming(None)]
    {
        let options = TaskOptions { returns, ..TaskOptions::default() };
        assert_eq!(task_options_from(task_options(&options)).unwrap(), options);
    }
    // What is nothing for a call is something for a task, and the other way round.
    let mut options = TaskOptions { retries: CallOptions::default().retries, ..TaskOptions::default() };
    assert_eq!(task_options_from(task_options(&options)).unwrap(), options);
    let calls = CallOptions { retries: TaskOptions::default().retries, ..CallOptions::default() };
    assert_eq!(call_options_from(call_options(&calls)).unwrap(), calls);
    let group = engine_core::ids::PlacementGroupId::from_bits(1, 2);
    for strategy in [
        Strategy::Default,
        Strategy::Spread,
        Strategy::Node(samples::node(1), false),
        Strategy::PlacementGroup { group, bundle: Some(3), capture_children: true },
        Strategy::PlacementGroup { group, bundle: None, capture_children: false },
    ] {
        options.placement.strategy = strategy;
        assert_eq!(task_options_from(task_options(&options)).unwrap(), options);
    }
}

#[test]
fn a_span_longer_than_the_core_can_tell_is_the_longest() {
    let options = TaskOptions { deadline: Some(Duration::MAX), ..TaskOptions::default() };
    let back = task_options_from(task_options(&options)).unwrap();
    assert_eq!(back.deadline, Some(Duration::from_nanos(u64::MAX)));
}

#[test]
fn bytes_and_their_place_read_back() {
    let core = packet_of(vec![Message::Ended {
        task: samples::task_id(),
        attempt: 0,
        ran: None,
        result: Ok(vec![
            samples::inline(Codec::Raw, b"the bytes"),
            samples::remote(Codec::Msgpack),
            samples::plain(Vec::new()),
        ]),
    }]);
    let mut back = through_bytes(&core);
    let Some(Message::Ended { result: Ok(values), .. }) = back.messages.pop() else { panic!("{back:?}") };
    assert_eq!(values[0].value.place.downcast::<Bytes>().unwrap(), "the bytes");
    assert_eq!(values[0].value.size, 9);
    let remote = RemotePlace { object: samples::object(), holder: samples::node(9) };
    assert_eq!(RemotePlace::of(&values[1].value.place), Some(remote));
    assert_eq!(values[1].value.size, 1 << 33);
    assert_eq!(values[2].value.size, 0);
}

/// A value whose place was made of nothing.
#[test]
fn an_empty_value_reads_back() {
    let parcel = engine_core::node::Parcel { value: Value::empty(), owners: Arc::from([]) };
    let back = value::parcel_from(value::parcel(&parcel, &super::bytes_of), &super::place_of).unwrap();
    assert_eq!((back.value.codec, back.value.size), (Codec::Raw, 0));
}

#[test]
fn a_payload_travels_with_its_error() {
    let core = packet_of(vec![Message::Outcome(samples::object(), Err(samples::failure()))]);
    let mut back = through_bytes(&core);
    let Some(Message::Outcome(_, Err(failure))) = back.messages.pop() else { panic!("{back:?}") };
    let payload = failure.error.payload().unwrap();
    assert_eq!(payload.place.downcast::<Bytes>().unwrap(), "what it attached");
    assert_eq!(payload.handles.len(), failure.owners.len());
    assert_eq!(failure.error.kind(), Some("WordError"));
    assert_reads_back(Message::Missing(
        samples::object(),
        samples::node(1),
        Failure::plain(
            Error::new(ErrorCode::ObjectLost, "gone").with_payload(Some(samples::plain(vec![1]).value)),
        ),
    ));
}

#[test]
fn a_payload_that_nobody_owns_stays_behind() {
    let failure = value::failure(&Failure::plain(samples::failure().error), &super::bytes_of);
    assert_eq!(failure.payload, None);
    assert_eq!(failure.error.unwrap().code, "TASK_FAILED");
}

#[test]
fn ids_read_back() {
    for (high, low) in [(0, 0), (1, u64::MAX), (u64::MAX, 1 << 32)] {
        let node = engine_core::NodeId::from_bits(high, low);
        assert_eq!(id_from::<engine_core::NodeId>(id(node)), node);
    }
}

/// Payloads stay in the buffer that was received.
#[test]
fn bytes_are_not_copied() {
    let core = packet_of(vec![Message::Run(Box::new(samples::small_task(vec![7; 1_000])))]);
    let mut buffer = BytesMut::new();
    to_wire(&core).encode(&mut buffer).unwrap();
    let buffer = buffer.freeze();
    let range = buffer.as_ptr_range();
    let mut back = from_wire(v1::Packet::decode(buffer).unwrap()).unwrap();
    let Some(Message::Run(task)) = back.messages.pop() else { panic!("{back:?}") };
    let RemoteArgument::Value(parcel) = &task.arguments[0] else { panic!("{task:?}") };
    let bytes = parcel.value.place.downcast::<Bytes>().unwrap();
    assert_eq!(bytes, &[7; 1_000][..]);
    assert!(range.contains(&bytes.as_ptr()));
}

/// The way of every task: a default that becomes said would be paid for thirty thousand times a second.
#[test]
fn a_small_task_is_a_small_message() {
    let empty = to_wire(&packet_of(Vec::new())).encoded_len();
    let task = Message::Run(Box::new(samples::small_task(vec![1; 8])));
    let whole = to_wire(&packet_of(vec![task])).encoded_len();
    assert_eq!(whole - empty, 134);
}
