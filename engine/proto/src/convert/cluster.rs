//! Nodes of a cluster and states of its jobs.

use engine_core::group::Bundle;
use engine_core::head::{GroupView, JobState};
use engine_core::node::NodeInfo;
use engine_core::{Error, NodeId};

use crate::v1;

impl From<JobState> for v1::JobState {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Pending => v1::JobState::Pending,
            JobState::Running => v1::JobState::Running,
            JobState::Stopped => v1::JobState::Stopped,
            JobState::Succeeded => v1::JobState::Succeeded,
            JobState::Failed => v1::JobState::Failed,
        }
    }
}

impl From<&GroupView> for v1::PlacementGroupView {
    fn from(group: &GroupView) -> Self {
        let bundle = |(bundle, node): (&Bundle, &Option<NodeId>)| v1::Bundle {
            resources: Some((&bundle.resources).into()),
            node_id: node.map(|node| node.to_string()).unwrap_or_default(),
        };
        Self {
            placement_group_id: group.spec.id.to_string(),
            name: group.spec.name.clone().unwrap_or_default(),
            job_id: group.spec.job.job().to_string(),
            state: v1::PlacementGroupState::from(group.state).into(),
            strategy: group.spec.strategy.as_str().to_owned(),
            bundles: group.spec.bundles.iter().zip(&group.nodes).map(bundle).collect(),
            reason: group.why.to_string(),
        }
    }
}

/// What the core is told of a node.
///
/// # Errors
/// INVALID_ARGUMENT with the field that is missing or is none.
pub fn node_info(member: &v1::Member) -> Result<NodeInfo, Error> {
    let id: NodeId = member
        .node_id
        .parse()
        .map_err(|error| Error::invalid_argument(format!("Member.node_id: {error}")))?;
    let total =
        member.total.as_ref().ok_or_else(|| Error::invalid_argument("Member.total is missing"))?.into();
    let mut labels: Vec<(String, String)> =
        member.labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    labels.sort();
    Ok(NodeInfo { id, labels, total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_without_an_id_or_resources_is_refused() {
        let id = NodeId::from_bits(1, 2 << 32);
        let labels = [("zone".to_owned(), "a".to_owned())].into();
        let whole = v1::Member {
            node_id: id.to_string(),
            total: Some(v1::Resources { cpus: 20_000, ..Default::default() }),
            labels,
            ..Default::default()
        };
        let info = node_info(&whole).expect("whole");
        assert_eq!((info.id, info.total.cpus.0, info.labels.len()), (id, 20_000, 1));
        let error = node_info(&v1::Member { total: None, ..whole.clone() }).expect_err("no total");
        assert!(error.message().contains("Member.total"), "{error}");
        let error = node_info(&v1::Member { node_id: "x".into(), ..whole }).expect_err("no id");
        assert!(error.message().contains("Member.node_id"), "{error}");
    }
}
