//! What head and nodes tell each other of placement groups: read back as it was, refused when damaged.

use std::sync::Arc;

use engine_core::group::{
    Answer, Bundle, BundleId, GroupMessage, GroupNews, GroupNotice, GroupSpec, GroupState, GroupStrategy,
};
use engine_core::ids::PlacementGroupId;
use engine_core::resources::{Quantity, Resources};
use engine_core::{Error, ErrorCode, JobId};
use prost::Message as _;

use super::{packet_of, samples};
use crate::convert::peer::{group_message, group_message_from, group_notice, group_notice_from};
use crate::v1;

fn group() -> PlacementGroupId {
    PlacementGroupId::from_bits(0x71, 5 << 32)
}

fn resources() -> Resources {
    let mut resources = Resources::default();
    (resources.cpus, resources.memory) = (Quantity(15_000), 1 << 20);
    resources.set_custom("licence", Quantity(10_000));
    resources
}

fn messages() -> Vec<GroupMessage> {
    let load = packet_of(Vec::new()).load;
    let labels = samples::task_options().placement.labels;
    assert!(!labels.is_empty(), "the sample has none");
    let spec = |strategy, name: Option<&str>| GroupSpec {
        id: group(),
        job: JobId::from_bits(3, 4),
        owner: samples::node(1),
        name: name.map(str::to_owned),
        namespace: "default".to_owned(),
        strategy,
        bundles: vec![
            Bundle { resources: resources(), labels: labels.clone() },
            Bundle { resources: Resources::default(), labels: Vec::new() },
        ],
    };
    let answer = || Answer { group: group(), generation: 7, load: load.clone() };
    let mut messages = vec![
        GroupMessage::Remove(group()),
        GroupMessage::Watch(group()),
        GroupMessage::Prepared(answer()),
        GroupMessage::Refused(answer()),
        GroupMessage::Report {
            bundles: vec![
                (BundleId { group: group(), index: 3 }, 7, true),
                (BundleId { group: group(), index: 0 }, 8, false),
            ],
            load: load.clone(),
        },
    ];
    for strategy in
        [GroupStrategy::Pack, GroupStrategy::Spread, GroupStrategy::StrictPack, GroupStrategy::StrictSpread]
    {
        messages.push(GroupMessage::Create(Box::new(spec(strategy, None))));
        messages.push(GroupMessage::Create(Box::new(spec(strategy, Some("trainers")))));
    }
    messages
}

fn notices() -> Vec<GroupNotice> {
    let attempt = (group(), 7);
    let mut notices = vec![
        GroupNotice::Prepare {
            group: group(),
            generation: 7,
            bundles: vec![(0, resources()), (4, resources())],
        },
        GroupNotice::Commit { group: attempt.0, generation: attempt.1 },
        GroupNotice::Return { group: attempt.0, generation: attempt.1 },
        GroupNotice::Vacate { group: attempt.0, generation: attempt.1 },
        GroupNotice::Denied(group(), Error::new(ErrorCode::AlreadyExists, "another has its name")),
    ];
    for state in [GroupState::Pending, GroupState::Created, GroupState::Rescheduling, GroupState::Removed] {
        notices.push(GroupNotice::News(Arc::new(GroupNews {
            group: group(),
            owner: (state != GroupState::Removed).then(|| samples::node(2)),
            version: u64::MAX,
            state,
            bundles: vec![(resources(), None), (resources(), Some(samples::node(1)))],
            why: Arc::from("it waits for 2 CPUs"),
        })));
    }
    notices
}

#[test]
fn what_a_node_tells_of_groups_reads_back() {
    for message in messages() {
        let bytes = group_message(&message).encode_to_vec();
        let back = group_message_from(v1::GroupMessage::decode(&*bytes).unwrap()).unwrap();
        assert_eq!(format!("{back:?}"), format!("{message:?}"));
    }
}

#[test]
fn what_the_head_tells_of_groups_reads_back() {
    for notice in notices() {
        let bytes = group_notice(&notice).encode_to_vec();
        let back = group_notice_from(v1::GroupNotice::decode(&*bytes).unwrap()).unwrap();
        assert_eq!(format!("{back:?}"), format!("{notice:?}"));
    }
}

/// Each byte of a message changed in turn is another message or an error that says which field.
#[test]
fn damaged_bytes_never_panic() {
    let (mut read, mut refused) = (0, 0);
    let mut count = |result: Result<(), Error>| match result {
        Ok(()) => read += 1,
        Err(error) => {
            let names_a_field = error.message().split(' ').next().is_some_and(|first| first.contains('.'));
            assert!(names_a_field, "{error}");
            refused += 1;
        }
    };
    let damaged = |whole: &[u8], at: usize| {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 8);
        bytes
    };
    for whole in messages().iter().map(|message| group_message(message).encode_to_vec()) {
        for at in 0..whole.len() {
            if let Ok(wire) = v1::GroupMessage::decode(&*damaged(&whole, at)) {
                count(group_message_from(wire).map(drop));
            }
        }
    }
    for whole in notices().iter().map(|notice| group_notice(notice).encode_to_vec()) {
        for at in 0..whole.len() {
            if let Ok(wire) = v1::GroupNotice::decode(&*damaged(&whole, at)) {
                count(group_notice_from(wire).map(drop));
            }
        }
    }
    // Else the damage is too small or too large to find anything.
    assert!(read > 100 && refused > 20, "{read} {refused}");
}

#[test]
fn what_is_missing_is_named() {
    let GroupMessage::Create(spec) = messages().pop().unwrap() else { panic!("the last is a spec") };
    let wire = |damage: &dyn Fn(&mut v1::GroupSpec)| {
        let mut spec = crate::convert::peer::group_spec(&spec);
        damage(&mut spec);
        let message = Some(v1::group_message::Message::Create(spec));
        group_message_from(v1::GroupMessage { message }).unwrap_err().message().to_owned()
    };
    assert!(wire(&|spec| spec.group = None).contains("GroupSpec.group"));
    assert!(wire(&|spec| spec.strategy = 0).contains("GroupSpec.strategy"));
    assert!(wire(&|spec| spec.strategy = 77).contains("GroupSpec.strategy is 77"));
    assert!(wire(&|spec| spec.bundles[0].resources = None).contains("GroupBundle.resources"));
    let too_much = |spec: &mut v1::GroupSpec| spec.bundles[0].resources.as_mut().unwrap().cpus = u64::MAX;
    assert!(wire(&too_much).contains("GroupBundle.resources.cpus"));
    let error = group_notice_from(v1::GroupNotice { notice: None }).unwrap_err();
    assert!(error.message().contains("GroupNotice.notice"), "{error}");
}
