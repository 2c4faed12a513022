//! What head and nodes tell each other of placement groups.

use std::sync::Arc;

use engine_core::group::{
    Answer, Bundle, BundleId, GroupMessage, GroupNews, GroupNotice, GroupSpec, GroupState, GroupStrategy,
};
use engine_core::ids::PlacementGroupId;
use engine_core::resources::Resources;
use engine_core::{Error, NodeId};

use crate::convert::peer::options::{selector, selector_from};
use crate::convert::peer::{id, id_from, load, load_from, read};
use crate::v1;

impl From<GroupState> for v1::PlacementGroupState {
    fn from(state: GroupState) -> Self {
        match state {
            GroupState::Pending => Self::Pending,
            GroupState::Created => Self::Created,
            GroupState::Rescheduling => Self::Rescheduling,
            GroupState::Removed => Self::Removed,
        }
    }
}

pub(in crate::convert) fn state_from(state: i32) -> Result<GroupState, Error> {
    Ok(match read::enumeration(state, "GroupNews.state")? {
        v1::PlacementGroupState::Unspecified => return Err(read::missing("GroupNews.state")),
        v1::PlacementGroupState::Pending => GroupState::Pending,
        v1::PlacementGroupState::Created => GroupState::Created,
        v1::PlacementGroupState::Rescheduling => GroupState::Rescheduling,
        v1::PlacementGroupState::Removed => GroupState::Removed,
    })
}

impl From<GroupStrategy> for v1::GroupStrategy {
    fn from(strategy: GroupStrategy) -> Self {
        match strategy {
            GroupStrategy::Pack => Self::Pack,
            GroupStrategy::Spread => Self::Spread,
            GroupStrategy::StrictPack => Self::StrictPack,
            GroupStrategy::StrictSpread => Self::StrictSpread,
        }
    }
}

/// How bundles are laid over nodes, from the field of this name.
///
/// # Errors
/// INVALID_ARGUMENT when it is not said, or not known here.
pub fn strategy_from(strategy: i32, field: &str) -> Result<GroupStrategy, Error> {
    Ok(match read::enumeration(strategy, field)? {
        v1::GroupStrategy::Unspecified => return Err(read::missing(field)),
        v1::GroupStrategy::Pack => GroupStrategy::Pack,
        v1::GroupStrategy::Spread => GroupStrategy::Spread,
        v1::GroupStrategy::StrictPack => GroupStrategy::StrictPack,
        v1::GroupStrategy::StrictSpread => GroupStrategy::StrictSpread,
    })
}

/// A bundle that is asked for, as it travels.
pub fn bundle(bundle: &Bundle) -> v1::GroupBundle {
    v1::GroupBundle {
        resources: Some((&bundle.resources).into()),
        labels: bundle.labels.iter().map(selector).collect(),
    }
}

/// A bundle that is asked for, from the wire.
///
/// # Errors
/// INVALID_ARGUMENT with the field that is missing or out of range.
pub fn bundle_from(bundle: v1::GroupBundle) -> Result<Bundle, Error> {
    Ok(Bundle {
        resources: resources_from(bundle.resources.as_ref(), "GroupBundle.resources")?,
        labels: read::all(bundle.labels, selector_from)?,
    })
}

/// A group that is asked for, as it travels.
pub fn group_spec(spec: &GroupSpec) -> v1::GroupSpec {
    v1::GroupSpec {
        group: Some(id(spec.id)),
        job: Some(id(spec.job)),
        owner: Some(id(spec.owner)),
        name: spec.name.clone(),
        namespace: spec.namespace.clone(),
        strategy: v1::GroupStrategy::from(spec.strategy).into(),
        bundles: spec.bundles.iter().map(bundle).collect(),
    }
}

/// A group that is asked for, from the wire.
///
/// # Errors
/// INVALID_ARGUMENT with the field that is missing or out of range.
pub fn group_spec_from(spec: v1::GroupSpec) -> Result<GroupSpec, Error> {
    Ok(GroupSpec {
        id: read::id(spec.group, "GroupSpec.group")?,
        job: read::id(spec.job, "GroupSpec.job")?,
        owner: read::id(spec.owner, "GroupSpec.owner")?,
        name: spec.name,
        namespace: spec.namespace,
        strategy: strategy_from(spec.strategy, "GroupSpec.strategy")?,
        bundles: read::all(spec.bundles, bundle_from)?,
    })
}

fn resources_from(resources: Option<&v1::Resources>, field: &str) -> Result<Resources, Error> {
    read::resources(resources.ok_or_else(|| read::missing(field))?, field)
}

fn answer(answer: &Answer) -> v1::GroupAnswer {
    v1::GroupAnswer {
        group: Some(id(answer.group)),
        generation: answer.generation,
        load: Some(load(&answer.load)),
    }
}

fn answer_from(answer: v1::GroupAnswer) -> Result<Answer, Error> {
    Ok(Answer {
        group: read::id(answer.group, "GroupAnswer.group")?,
        generation: answer.generation,
        load: load_from(&read::required(answer.load, "GroupAnswer.load")?)?,
    })
}

/// What a node tells the head, as it travels.
pub fn group_message(message: &GroupMessage) -> v1::GroupMessage {
    use v1::group_message::Message as Wire;
    let message = match message {
        GroupMessage::Create(spec) => Wire::Create(group_spec(spec)),
        GroupMessage::Remove(group) => Wire::Remove(id(*group)),
        GroupMessage::Watch(group) => Wire::Watch(id(*group)),
        GroupMessage::Prepared(it) => Wire::Prepared(answer(it)),
        GroupMessage::Refused(it) => Wire::Refused(answer(it)),
        GroupMessage::Report { bundles, load: free } => {
            let bundle = |(bundle, generation, is_committed): &(BundleId, u64, bool)| {
                let (group, index) = (Some(id(bundle.group)), bundle.index);
                let (generation, is_committed) = (*generation, *is_committed);
                v1::group_report::Bundle { group, index, generation, is_committed }
            };
            let bundles = bundles.iter().map(bundle).collect();
            Wire::Report(v1::GroupReport { bundles, load: Some(load(free)) })
        }
    };
    v1::GroupMessage { message: Some(message) }
}

/// What a node tells the head, from the wire.
///
/// # Errors
/// INVALID_ARGUMENT with the field that is missing or out of range.
pub fn group_message_from(message: v1::GroupMessage) -> Result<GroupMessage, Error> {
    use v1::group_message::Message as Wire;
    Ok(match read::required(message.message, "GroupMessage.message")? {
        Wire::Create(spec) => GroupMessage::Create(Box::new(group_spec_from(spec)?)),
        Wire::Remove(group) => GroupMessage::Remove(id_from(group)),
        Wire::Watch(group) => GroupMessage::Watch(id_from(group)),
        Wire::Prepared(it) => GroupMessage::Prepared(answer_from(it)?),
        Wire::Refused(it) => GroupMessage::Refused(answer_from(it)?),
        Wire::Report(report) => {
            let bundle = |bundle: v1::group_report::Bundle| {
                let group: PlacementGroupId = read::id(bundle.group, "GroupReport.Bundle.group")?;
                Ok((BundleId { group, index: bundle.index }, bundle.generation, bundle.is_committed))
            };
            let bundles = read::all(report.bundles, bundle)?;
            let load = load_from(&read::required(report.load, "GroupReport.load")?)?;
            GroupMessage::Report { bundles, load }
        }
    })
}

/// What the head tells a node, as it travels.
pub fn group_notice(notice: &GroupNotice) -> v1::GroupNotice {
    use v1::group_notice::{Attempt, Denied, Notice as Wire, Prepare, PreparedBundle};
    let attempt = |group, generation| Attempt { group: Some(id(group)), generation };
    let notice = match notice {
        GroupNotice::Prepare { group, generation, bundles } => {
            let bundle = |(index, resources): &(u32, Resources)| PreparedBundle {
                index: *index,
                resources: Some(resources.into()),
            };
            let bundles = bundles.iter().map(bundle).collect();
            Wire::Prepare(Prepare { group: Some(id(*group)), generation: *generation, bundles })
        }
        GroupNotice::Commit { group, generation } => Wire::Commit(attempt(*group, *generation)),
        GroupNotice::Return { group, generation } => Wire::Return(attempt(*group, *generation)),
        GroupNotice::Vacate { group, generation } => Wire::Vacate(attempt(*group, *generation)),
        GroupNotice::Denied(group, error) => {
            Wire::Denied(Denied { group: Some(id(*group)), error: Some(error.into()) })
        }
        GroupNotice::News(news) => Wire::News(group_news(news)),
    };
    v1::GroupNotice { notice: Some(notice) }
}

fn group_news(news: &GroupNews) -> v1::GroupNews {
    let place = |(resources, node): &(Resources, Option<NodeId>)| v1::group_news::Place {
        resources: Some(resources.into()),
        node: node.map(id),
    };
    v1::GroupNews {
        group: Some(id(news.group)),
        owner: news.owner.map(id),
        version: news.version,
        state: v1::PlacementGroupState::from(news.state).into(),
        bundles: news.bundles.iter().map(place).collect(),
        why: news.why.to_string(),
    }
}

/// What the head tells a node, from the wire.
///
/// # Errors
/// INVALID_ARGUMENT with the field that is missing or out of range.
pub fn group_notice_from(notice: v1::GroupNotice) -> Result<GroupNotice, Error> {
    use v1::group_notice::{Attempt, Notice as Wire, PreparedBundle};
    let attempt = |attempt: Attempt| {
        Ok::<_, Error>((read::id(attempt.group, "GroupNotice.Attempt.group")?, attempt.generation))
    };
    Ok(match read::required(notice.notice, "GroupNotice.notice")? {
        Wire::Prepare(prepare) => {
            let bundle = |bundle: PreparedBundle| {
                let resources =
                    resources_from(bundle.resources.as_ref(), "GroupNotice.PreparedBundle.resources")?;
                Ok((bundle.index, resources))
            };
            GroupNotice::Prepare {
                group: read::id(prepare.group, "GroupNotice.Prepare.group")?,
                generation: prepare.generation,
                bundles: read::all(prepare.bundles, bundle)?,
            }
        }
        Wire::Commit(it) => {
            let (group, generation) = attempt(it)?;
            GroupNotice::Commit { group, generation }
        }
        Wire::Return(it) => {
            let (group, generation) = attempt(it)?;
            GroupNotice::Return { group, generation }
        }
        Wire::Vacate(it) => {
            let (group, generation) = attempt(it)?;
            GroupNotice::Vacate { group, generation }
        }
        Wire::Denied(denied) => GroupNotice::Denied(
            read::id(denied.group, "GroupNotice.Denied.group")?,
            read::required(denied.error, "GroupNotice.Denied.error")?.into(),
        ),
        Wire::News(news) => GroupNotice::News(Arc::new(group_news_from(news)?)),
    })
}

fn group_news_from(news: v1::GroupNews) -> Result<GroupNews, Error> {
    let place = |place: v1::group_news::Place| {
        let resources = resources_from(place.resources.as_ref(), "GroupNews.Place.resources")?;
        Ok((resources, place.node.map(id_from)))
    };
    Ok(GroupNews {
        group: read::id(news.group, "GroupNews.group")?,
        owner: news.owner.map(id_from),
        version: news.version,
        state: state_from(news.state)?,
        bundles: read::all(news.bundles, place)?,
        why: news.why.into(),
    })
}
