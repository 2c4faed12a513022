//! A head that comes back: its tables from what it remembered.

use super::record::Changed;
use super::{Effect, Head, JobState, Limits, Record};
use crate::time::Time;

impl Head {
    /// A head that has these records, and keeps account of what changes from now on
    /// ([`Head::take_changes`]). `now` goes on from the times in the records.
    ///
    /// Nodes that were members are expected back: they have nothing free until they are heard of, and one
    /// that is silent for `silence_max` and `return_max` together is dead. Attempts at placement groups
    /// that were under way go on with the reports of the nodes.
    pub fn restore(
        id_key: [u8; 16],
        limits: Limits,
        now: Time,
        records: impl IntoIterator<Item = Record>,
        fx: &mut Vec<Effect>,
    ) -> Self {
        let mut head = Self::new(id_key, limits);
        head.jobs_changed = Changed::kept();
        head.names_changed = Changed::kept();
        head.nodes.changed = Changed::kept();
        head.groups.changed = Changed::kept();
        head.ledger = super::ledger::Ledger::kept();
        head.usage = super::usage::UsageBooks::kept(head.limits.usage.clone());
        let mut dead = Vec::new();
        for record in records {
            match record {
                Record::Job(job) => {
                    if !job.submission.submission_id.is_empty() {
                        head.by_submission.insert(job.submission.key(), job.id);
                    }
                    head.jobs.insert(job.id, *job);
                }
                Record::Name(name) => {
                    let key = (name.namespace, name.name);
                    head.named.insert(name.actor, key.clone());
                    head.names.insert(key, (name.actor, name.node));
                }
                Record::Node(member) => head.nodes.expect(now, member, &head.limits.watch),
                Record::Dead(record) => dead.push(record),
                Record::Group(group) => head.groups.restore(group),
                Record::Tenant(tenant) => head.ledger.restore(tenant),
                Record::Usage(usage) => head.usage.restore(usage),
                Record::Meter(meter) => head.usage.restore_meter(meter),
            }
        }
        dead.sort_by_key(|record| record.order);
        head.nodes.remember_dead(dead);
        let ended = head.jobs.values().filter(|job| job.state.is_end());
        let mut ended: Vec<_> = ended.map(|job| (job.ended, job.id)).collect();
        ended.sort();
        head.ended = ended.into_iter().map(|(_, id)| id).collect();
        head.usage.restored();
        head.restore_runs();
        head.groups.restored(now, &head.limits.groups);
        head.note_restored(now);
        head.arm(fx);
        head
    }

    /// Jobs that were accepted, and of which no node has said that it has taken them.
    pub fn jobs_not_started(&self) -> Vec<&super::JobRecord> {
        self.jobs.values().filter(|job| job.state == JobState::Pending).collect()
    }
}
