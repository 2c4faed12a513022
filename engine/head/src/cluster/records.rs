//! The head's memory as records of a store: what it comes back with, and what it writes.

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use engine_core::head::{Change, Key, Record};
use engine_core::{JobId, NodeId};
use engine_proto::convert::meta::{self, Beside, HEAD_KEY, Stored};
use engine_proto::prost::Message;
use engine_proto::v1;
use engine_tls::Identity;

use crate::cluster::lines::client;
use crate::cluster::{ClusterHead, DEAD_NODES_SHOWN_MAX, Line};
use crate::meta::{MetaError, MetaStore, Revision, Write};

/// What a head comes back with.
pub(super) struct Restored {
    pub revision: Revision,
    /// Its id; none when the store is new.
    pub head: Option<NodeId>,
    pub records: Vec<Record>,
    /// Nodes that were members.
    pub alive: HashMap<NodeId, Line>,
    /// Dead ones, as listings show them, the oldest first.
    pub dead: VecDeque<v1::Member>,
    /// The views of jobs that have ended.
    pub ended: HashMap<JobId, v1::JobView>,
    /// What jobs are to run that may have to be started.
    pub starting: HashMap<JobId, Starting>,
}

/// What a job is to run.
pub(super) struct Starting {
    pub spec: v1::JobSpec,
    /// The head has come back, and nobody is starting it.
    pub is_orphaned: bool,
}

/// Reads all that is in a store. `path` is for people; `identity` is what the head shows to its nodes.
pub(super) fn read(
    store: &mut dyn MetaStore,
    path: &Path,
    identity: Option<&Identity>,
) -> Result<Restored, MetaError> {
    let (revision, entries) = store.read()?;
    let mut restored = Restored {
        revision,
        head: None,
        records: Vec::with_capacity(entries.len()),
        alive: HashMap::new(),
        dead: VecDeque::new(),
        ended: HashMap::new(),
        starting: HashMap::new(),
    };
    let mut dead = Vec::new();
    for (key, value) in entries {
        let damaged = |why: String| MetaError::Damaged {
            path: path.to_owned(),
            what: format!("the record {:?}: {why}", String::from_utf8_lossy(&key)),
        };
        let record = v1::MetaRecord::decode(value.as_slice()).map_err(|error| damaged(error.to_string()))?;
        match meta::record_from(record).map_err(|error| damaged(error.message().to_owned()))? {
            Stored::Head(id) => restored.head = Some(id),
            Stored::Record(record, _) if meta::key(&record.key()) != key => {
                return Err(damaged("it is about something else".to_owned()));
            }
            Stored::Record(record, beside) => {
                let Beside { spec, view, member } = *beside;
                match (&record, member) {
                    (Record::Node(known), Some(member)) => {
                        let id = known.info.id;
                        let client = client(id, &member, identity);
                        let client = client.map_err(|error| damaged(error.message().to_owned()))?;
                        restored.alive.insert(id, Line { number: 0, member, client, say: None });
                    }
                    (Record::Dead(death), Some(member)) => dead.push((death.order, member)),
                    (Record::Job(job), _) => {
                        restored.ended.extend(view.map(|view| (job.id, view)));
                        let starting = |spec| (job.id, Starting { spec, is_orphaned: true });
                        restored.starting.extend(spec.map(starting));
                    }
                    _ => {}
                }
                restored.records.push(record);
            }
        }
    }
    dead.sort_by_key(|(order, _)| *order);
    let skipped = dead.len().saturating_sub(DEAD_NODES_SHOWN_MAX);
    restored.dead = dead.into_iter().skip(skipped).map(|(_, member)| member).collect();
    Ok(restored)
}

/// The write of the head's own id.
pub(super) fn head(id: NodeId) -> Write {
    Write::Put(HEAD_KEY.to_vec(), meta::head_record(id).encode_to_vec())
}

impl ClusterHead {
    /// Changes as they are written, with what belongs beside them. Called under the lock of the state
    /// machine, so that both are of one moment.
    pub(super) fn writes(&self, changes: Vec<Change>) -> Vec<Write> {
        let write = |change| match change {
            Change::Put(record) => {
                let key = meta::key(&record.key());
                Write::Put(key, meta::record(&record, self.beside(&record)).encode_to_vec())
            }
            Change::Delete(key) => {
                if let Key::Job(job) = &key {
                    self.starting.lock().remove(job);
                }
                Write::Delete(meta::key(&key))
            }
        };
        changes.into_iter().map(write).collect()
    }

    fn beside(&self, record: &Record) -> Beside {
        let mut beside = Beside::default();
        match record {
            Record::Job(job) => {
                let mut starting = self.starting.lock();
                match job.may_start() {
                    true => beside.spec = starting.get(&job.id).map(|starting| starting.spec.clone()),
                    false => drop(starting.remove(&job.id)),
                }
                drop(starting);
                beside.view = self.ended.lock().get(&job.id).filter(|_| job.state.is_end()).cloned();
            }
            Record::Node(known) => {
                beside.member = self.nodes.lock().alive.get(&known.info.id).map(|line| line.member.clone());
            }
            Record::Dead(dead) => {
                let id = dead.node.to_string();
                let nodes = self.nodes.lock();
                beside.member = nodes.dead.iter().rev().find(|member| member.node_id == id).cloned();
            }
            Record::Name(_) | Record::Group(_) | Record::Tenant(_) | Record::Usage(_) | Record::Meter(_) => {}
        }
        beside
    }
}
