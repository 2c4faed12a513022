//! What the head remembers, as it is stored (`proto/engine/v1/meta.proto`).
//!
//! What comes out of a store is checked like what comes from the wire: a record that is damaged, or of a
//! newer version, is named with what is wrong in it.

use std::sync::Arc;

use engine_core::head::{
    DeadRecord, Drain, GroupRecord, JobRecord, JobState, Key, LostRun, MemberRecord, NameRecord, Record,
    Submission,
};
use engine_core::node::Progress;
use engine_core::{Error, NodeId, Time};

use crate::convert::node_info;
use crate::convert::peer::group::state_from;
use crate::convert::peer::read::{self, missing, wrong};
use crate::convert::peer::{group_spec, group_spec_from, id, id_from};
use crate::convert::tenant::{tenant, tenant_spec, tenant_spec_from, tenant_text};
use crate::convert::usage::{stored_meter, stored_meter_from, stored_usage, stored_usage_from};
use crate::v1::{self, meta_record};

/// What is stored beside a record of the core.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Beside {
    /// What a job is to run that may have to be started.
    pub spec: Option<v1::JobSpec>,
    /// A job that has ended, as its node gave it back.
    pub view: Option<v1::JobView>,
    /// A node as it has told of itself.
    pub member: Option<v1::Member>,
}

/// The key of the head itself.
pub const HEAD_KEY: &[u8] = b"head";

/// The bytes by which a record is found: records of one kind have one prefix, and are in order.
pub fn key(key: &Key) -> Vec<u8> {
    match key {
        Key::Job(id) => format!("job/{id}").into_bytes(),
        // Neither has a control character.
        Key::Name(namespace, name) => format!("name/{namespace}\0{name}").into_bytes(),
        Key::Node(id) => format!("node/{id}").into_bytes(),
        Key::Group(id) => format!("group/{id}").into_bytes(),
        Key::Tenant(name) => format!("tenant/{name}").into_bytes(),
        // In the order of time.
        Key::Usage(tenant, start) => format!("usage/{tenant}/{:020}", start.0).into_bytes(),
        Key::Meter(tenant) => format!("meter/{tenant}").into_bytes(),
    }
}

/// A record as it is stored.
pub fn record(record: &Record, beside: Beside) -> v1::MetaRecord {
    let record = match record {
        Record::Job(record) => meta_record::Record::Job(Box::new(job(record, beside))),
        Record::Name(name) => meta_record::Record::Name(v1::MetaName {
            namespace: name.namespace.clone(),
            name: name.name.clone(),
            actor: Some(id(name.actor)),
            node: Some(id(name.node)),
        }),
        Record::Node(MemberRecord { info, drain }) => {
            // Of one that the head knows by its resources alone that is stored.
            let member = beside.member.unwrap_or_else(|| v1::Member {
                node_id: info.id.to_string(),
                labels: info.labels.iter().cloned().collect(),
                ..v1::Member::default()
            });
            let member = v1::Member { total: Some((&info.total).into()), ..member };
            meta_record::Record::Node(v1::MetaNode {
                member: Some(member),
                death: None,
                is_drained: drain.is_some(),
                drain_deadline_ns: drain.and_then(|drain| drain.deadline).map(|at| at.0),
            })
        }
        Record::Dead(dead) => {
            let member = beside.member.unwrap_or_default();
            let member = v1::Member { node_id: dead.node.to_string(), ..member };
            meta_record::Record::Node(v1::MetaNode {
                member: Some(member),
                death: Some(dead.order),
                is_drained: dead.has_left,
                drain_deadline_ns: None,
            })
        }
        Record::Group(record) => meta_record::Record::Group(group(record)),
        Record::Tenant(spec) => meta_record::Record::Tenant(tenant_spec(spec)),
        Record::Usage(usage) => meta_record::Record::Usage(stored_usage(usage)),
        Record::Meter(meter) => meta_record::Record::Meter(stored_meter(meter)),
    };
    v1::MetaRecord { record: Some(record) }
}

/// The head's own record.
pub fn head_record(head: NodeId) -> v1::MetaRecord {
    v1::MetaRecord { record: Some(meta_record::Record::Head(v1::MetaHead { id: Some(id(head)) })) }
}

/// What a stored record is.
#[derive(Debug, Clone)]
pub enum Stored {
    /// The head itself.
    Head(NodeId),
    /// A record of the core, and what is beside it.
    Record(Record, Box<Beside>),
}

/// A record from a store.
///
/// # Errors
/// INVALID_ARGUMENT with the message and field that is missing or out of range.
pub fn record_from(record: v1::MetaRecord) -> Result<Stored, Error> {
    let mut beside = Beside::default();
    let record = match read::required(record.record, "MetaRecord.record")? {
        meta_record::Record::Head(head) => return Ok(Stored::Head(read::id(head.id, "MetaHead.id")?)),
        meta_record::Record::Job(job) => {
            let mut job = *job;
            (beside.spec, beside.view) = (job.spec.take(), job.view.take());
            Record::Job(Box::new(job_from(job)?))
        }
        meta_record::Record::Name(name) => Record::Name(NameRecord {
            actor: read::id(name.actor, "MetaName.actor")?,
            node: read::id(name.node, "MetaName.node")?,
            namespace: name.namespace,
            name: name.name,
        }),
        meta_record::Record::Node(node) => {
            let member = read::required(node.member, "MetaNode.member")?;
            let record = match node.death {
                Some(order) => Record::Dead(DeadRecord {
                    node: parsed(&member.node_id)?,
                    order,
                    has_left: node.is_drained,
                }),
                None => {
                    let total = read::required(member.total.as_ref(), "Member.total")?;
                    read::resources(total, "Member.total")?;
                    let deadline = node.drain_deadline_ns.map(Time);
                    let drain = node.is_drained.then_some(Drain { deadline });
                    Record::Node(MemberRecord { info: node_info(&member)?, drain })
                }
            };
            beside.member = Some(member);
            record
        }
        meta_record::Record::Group(group) => Record::Group(group_from(group)?),
        meta_record::Record::Tenant(tenant) => Record::Tenant(tenant_spec_from(tenant)?),
        meta_record::Record::Usage(usage) => Record::Usage(stored_usage_from(usage)?),
        meta_record::Record::Meter(meter) => Record::Meter(stored_meter_from(meter)?),
    };
    Ok(Stored::Record(record, Box::new(beside)))
}

fn parsed(text: &str) -> Result<NodeId, Error> {
    text.parse().map_err(|error| wrong("Member.node_id", error))
}

fn job(job: &JobRecord, beside: Beside) -> v1::MetaJob {
    v1::MetaJob {
        id: Some(id(job.id)),
        submission_id: job.submission.submission_id.clone(),
        digest: job.submission.digest.to_vec(),
        name: job.submission.name.clone(),
        namespace: job.submission.namespace.clone(),
        tenant: tenant_text(&job.submission.tenant),
        state: v1::JobState::from(job.state).into(),
        submitted_ns: job.submitted.0,
        home: job.home.map(id),
        started_ns: job.started.map(|at| at.0),
        ended_ns: job.ended.map(|at| at.0),
        error: job.error.as_deref().map(Into::into),
        spec: beside.spec,
        view: beside.view,
        job_retries: job.submission.retries,
        run: job.run,
        lost_runs: job.lost.iter().map(lost_run).collect(),
        is_to_stop: job.is_to_stop,
    }
}

fn lost_run(run: &LostRun) -> v1::MetaLostRun {
    v1::MetaLostRun {
        home: Some(id(run.home)),
        started_ns: run.started.map(|at| at.0),
        ended_ns: run.ended.0,
        error: Some((&*run.error).into()),
    }
}

fn lost_run_from(run: v1::MetaLostRun) -> Result<LostRun, Error> {
    Ok(LostRun {
        home: read::id(run.home, "MetaLostRun.home")?,
        started: run.started_ns.map(Time),
        ended: Time(run.ended_ns),
        error: Arc::new(read::required(run.error, "MetaLostRun.error")?.into()),
    })
}

fn job_from(job: v1::MetaJob) -> Result<JobRecord, Error> {
    let state = match read::enumeration(job.state, "MetaJob.state")? {
        v1::JobState::Unspecified => return Err(missing("MetaJob.state")),
        v1::JobState::Pending => JobState::Pending,
        v1::JobState::Running => JobState::Running,
        v1::JobState::Stopped => JobState::Stopped,
        v1::JobState::Succeeded => JobState::Succeeded,
        v1::JobState::Failed => JobState::Failed,
    };
    if state.is_end() != job.ended_ns.is_some() {
        return Err(wrong("MetaJob.ended_ns", format_args!("does not go with {state}")));
    }
    let digest = job.digest.as_slice().try_into();
    let lost = job.lost_runs.into_iter().map(lost_run_from).collect::<Result<Vec<_>, _>>()?;
    if job.run < lost.len() as u32 {
        let how = format_args!("is {} after {} that were lost", job.run, lost.len());
        return Err(wrong("MetaJob.run", how));
    }
    Ok(JobRecord {
        id: read::id(job.id, "MetaJob.id")?,
        run: job.run,
        lost,
        is_to_stop: job.is_to_stop,
        submission: Submission {
            submission_id: job.submission_id,
            digest: digest.map_err(|_| wrong("MetaJob.digest", "has not 32 bytes"))?,
            name: job.name,
            namespace: job.namespace,
            tenant: tenant(&job.tenant, "MetaJob.tenant")?,
            retries: job.job_retries,
        },
        state,
        submitted: Time(job.submitted_ns),
        home: job.home.map(id_from),
        started: job.started_ns.map(Time),
        ended: job.ended_ns.map(Time),
        result: None,
        error: job.error.map(|error| Arc::new(error.into())),
        progress: Progress::default(),
    })
}

fn group(group: &GroupRecord) -> v1::MetaGroup {
    let place = |place: &Option<(NodeId, u64)>| v1::MetaPlace {
        node: place.map(|(node, _)| id(node)),
        generation: place.map_or(0, |(_, generation)| generation),
    };
    v1::MetaGroup {
        spec: Some(group_spec(&group.spec)),
        state: v1::PlacementGroupState::from(group.state).into(),
        places: group.places.iter().map(place).collect(),
        generation: group.generation,
        is_tried: group.is_tried,
        arrival: group.arrival,
        created_ns: group.created.0,
        version: group.version,
        removal: group.removal,
        why: group.why.to_string(),
    }
}

fn group_from(group: v1::MetaGroup) -> Result<GroupRecord, Error> {
    let spec = group_spec_from(read::required(group.spec, "MetaGroup.spec")?)?;
    if group.places.len() != spec.bundles.len() {
        let how = format_args!("are {}, and its bundles {}", group.places.len(), spec.bundles.len());
        return Err(wrong("MetaGroup.places", how));
    }
    let place = |place: &v1::MetaPlace| place.node.map(|node| (id_from(node), place.generation));
    Ok(GroupRecord {
        spec: Arc::new(spec),
        state: state_from(group.state)?,
        places: group.places.iter().map(place).collect(),
        generation: group.generation,
        is_tried: group.is_tried,
        arrival: group.arrival,
        created: Time(group.created_ns),
        version: group.version,
        removal: group.removal,
        why: group.why.into(),
    })
}

#[cfg(test)]
mod tests {
    use engine_core::ErrorCode;
    use engine_core::group::{Bundle, GroupSpec, GroupState, GroupStrategy};
    use engine_core::node::NodeInfo;
    use engine_core::options::{LabelOperator, LabelSelector};
    use engine_core::resources::{Quantity, Resources};
    use engine_core::{ActorId, JobId};
    use prost::Message;

    use engine_core::head::MeterRecord;
    use engine_core::tenant::{TenantName, TenantSpec};
    use engine_core::usage::{Usage, UsageKind, UsageRecord};

    use super::*;

    fn bits<I: crate::convert::peer::WireId>(n: u64) -> I {
        I::from_halves(n, n << 32)
    }

    fn cpus(count: u64) -> Resources {
        let mut cpus = Resources::default();
        cpus.cpus = Quantity::units(count);
        cpus
    }

    fn draining(deadline: Option<Time>) -> Option<Drain> {
        Some(Drain { deadline })
    }

    fn records() -> Vec<(Record, Beside)> {
        let node: NodeId = bits(7);
        let job = JobRecord {
            id: bits::<JobId>(1),
            submission: Submission {
                submission_id: "once".to_owned(),
                digest: [9; 32],
                name: "n".to_owned(),
                namespace: "x".to_owned(),
                tenant: "t".parse().expect("a name"),
                retries: 2,
            },
            run: 1,
            lost: vec![LostRun {
                home: bits(8),
                started: Some(Time(5)),
                ended: Time(6),
                error: Arc::new(Error::new(ErrorCode::NodeDied, "it is dead")),
            }],
            is_to_stop: true,
            state: JobState::Failed,
            submitted: Time(5),
            home: Some(node),
            started: Some(Time(6)),
            ended: Some(Time(7)),
            result: None,
            error: Some(Arc::new(Error::new(ErrorCode::TaskFailed, "oops"))),
            progress: Progress::default(),
        };
        let pending =
            JobRecord { state: JobState::Pending, ended: None, started: None, error: None, ..job.clone() };
        let selector = LabelSelector {
            key: "rack".to_owned(),
            operator: LabelOperator::In,
            values: vec!["a".to_owned()],
            hard: true,
        };
        let group = GroupRecord {
            spec: Arc::new(GroupSpec {
                id: bits(2),
                job: bits(1),
                owner: node,
                name: Some("g".to_owned()),
                namespace: "x".to_owned(),
                strategy: GroupStrategy::StrictSpread,
                bundles: vec![
                    Bundle { resources: cpus(1), labels: vec![selector] },
                    Bundle { resources: cpus(2), labels: Vec::new() },
                ],
            }),
            state: GroupState::Rescheduling,
            places: vec![Some((node, 3)), None],
            generation: 4,
            is_tried: true,
            arrival: 5,
            created: Time(6),
            version: 7,
            removal: 0,
            why: "so".into(),
        };
        let tenant: TenantName = "team-7".parse().expect("a name");
        let mut used = Usage::default();
        for (kind, amount) in UsageKind::ALL.into_iter().zip(1..) {
            used[kind] = amount;
        }
        let start = Time(60_000_000_000);
        let usage = UsageRecord { tenant: tenant.clone(), start, length_ns: 60_000_000_000, used };
        let meter = MeterRecord { tenant, nodes: vec![(node, 3, used)] };
        let name =
            NameRecord { namespace: "x".to_owned(), name: "n".to_owned(), actor: bits::<ActorId>(3), node };
        let info = NodeInfo { id: node, labels: vec![("rack".to_owned(), "a".to_owned())], total: cpus(4) };
        let member = v1::Member {
            node_id: node.to_string(),
            total: Some((&info.total).into()),
            labels: info.labels.iter().cloned().collect(),
            address: "127.0.0.1:1".to_owned(),
            ..v1::Member::default()
        };
        let spec = v1::JobSpec { name: "n".to_owned(), ..v1::JobSpec::default() };
        let view = v1::JobView { job_id: job.id.to_string(), ..v1::JobView::default() };
        let beside_member = Beside { member: Some(member), ..Beside::default() };
        vec![
            (Record::Job(Box::new(job)), Beside { view: Some(view), ..Beside::default() }),
            (Record::Job(Box::new(pending)), Beside { spec: Some(spec), ..Beside::default() }),
            (Record::Name(name), Beside::default()),
            (Record::Node(MemberRecord { info: info.clone(), drain: None }), beside_member.clone()),
            (Record::Node(MemberRecord { info: info.clone(), drain: draining(None) }), beside_member.clone()),
            (Record::Node(MemberRecord { info, drain: draining(Some(Time(9))) }), beside_member.clone()),
            (Record::Dead(DeadRecord { node, order: 3, has_left: false }), beside_member.clone()),
            (Record::Dead(DeadRecord { node, order: 4, has_left: true }), beside_member),
            (Record::Group(group), Beside::default()),
            (Record::Tenant(TenantSpec::new("team-7".parse().expect("a name"))), Beside::default()),
            (Record::Usage(usage), Beside::default()),
            (Record::Meter(meter), Beside::default()),
        ]
    }

    #[test]
    fn records_read_back() {
        for (original, beside) in records() {
            let bytes = record(&original, beside.clone()).encode_to_vec();
            let stored = v1::MetaRecord::decode(bytes.as_slice()).expect("it was encoded");
            let Stored::Record(back, beside_back) = record_from(stored).expect("whole") else {
                panic!("it is no head")
            };
            assert_eq!(format!("{back:?}"), format!("{original:?}"));
            assert_eq!(*beside_back, beside);
            assert_eq!(key(&back.key()), key(&original.key()));
        }
        let head: NodeId = bits(4);
        assert!(matches!(record_from(head_record(head)), Ok(Stored::Head(id)) if id == head));
    }

    #[test]
    fn what_is_damaged_is_named_and_nothing_panics() {
        let error = record_from(v1::MetaRecord { record: None }).expect_err("empty");
        assert!(error.message().contains("MetaRecord.record"), "{error}");
        for (original, beside) in records() {
            let whole = record(&original, beside);
            let bytes = whole.encode_to_vec();
            for at in 0..bytes.len() {
                for bit in 0..8 {
                    let mut bytes = bytes.clone();
                    bytes[at] ^= 1 << bit;
                    if let Ok(record) = v1::MetaRecord::decode(bytes.as_slice()) {
                        drop(record_from(record));
                    }
                }
                drop(v1::MetaRecord::decode(&bytes[..at]).map(record_from));
            }
        }
        let groups = records().into_iter().find_map(|(record, _)| match record {
            Record::Group(group) => Some(group),
            _ => None,
        });
        let group = groups.expect("there is one");
        let stored = v1::MetaGroup { places: Vec::new(), ..super::group(&group) };
        let error = group_from(stored).expect_err("it has bundles");
        assert!(error.message().contains("MetaGroup.places"), "{error}");
        assert!(group_from(v1::MetaGroup { state: 99, ..super::group(&group) }).is_err());
    }

    #[test]
    fn records_of_one_kind_have_one_prefix() {
        let keys: Vec<Vec<u8>> = records().iter().map(|(record, _)| key(&record.key())).collect();
        let prefixes = [
            "job/", "job/", "name/", "node/", "node/", "node/", "node/", "node/", "group/", "tenant/",
            "usage/", "meter/",
        ];
        for (key, prefix) in keys.iter().zip(prefixes) {
            assert!(key.starts_with(prefix.as_bytes()), "{key:?}");
        }
    }
}
