//! What a tenant may submit, and what is told of its quotas.

use std::time::Duration;

use crate::error::{Error, ErrorCode};
use crate::events::EventKind;
use crate::head::{Effect, Head, Limits, Submission, Submitted, UsageQuery};
use crate::ids::{IdGenerator, JobId};
use crate::node::{JobEnd, NodeInfo, Progress};
use crate::quota::{Amounts, LeaseReport, LedgerReport, QuotaKind};
use crate::resources::Resources;
use crate::tenant::{TenantBounds, TenantName, TenantSpec};
use crate::time::Time;
use crate::usage::UsageKind;
use crate::value::Value;

const SECOND: Duration = Duration::from_secs(1);

fn a() -> TenantName {
    "a".parse().expect("a name")
}

fn head_with(bounds: TenantBounds, quotas: &[(QuotaKind, u64)]) -> Head {
    let mut head = Head::new([0; 16], Limits::default());
    let mut spec = TenantSpec { bounds, ..TenantSpec::new(a()) };
    quotas.iter().for_each(|(kind, max)| spec.quotas[*kind] = Some(*max));
    head.set_tenant(spec, true, &mut Vec::new()).expect("room");
    head
}

fn submit(head: &mut Head, now: Time, submission_id: &str) -> Result<JobId, Error> {
    let submission =
        Submission { tenant: a(), submission_id: submission_id.to_owned(), ..Submission::default() };
    head.submit(now, submission).map(|submitted| match submitted {
        Submitted::New(job) | Submitted::Known(job) => job,
    })
}

#[track_caller]
fn refused(result: Result<JobId, Error>, says: &[&str]) {
    let error = result.expect_err("it is too much");
    assert_eq!(error.code(), ErrorCode::QuotaExceeded);
    assert!(says.iter().all(|text| error.message().contains(text)), "{error}");
}

#[test]
fn a_tenant_has_so_many_unfinished_jobs() {
    let mut head = head_with(TenantBounds { jobs_max: Some(2), ..TenantBounds::default() }, &[]);
    let first = submit(&mut head, Time(0), "x").expect("one");
    submit(&mut head, Time(0), "").expect("two");
    refused(submit(&mut head, Time(0), ""), &["the tenant a", "2 unfinished jobs", "jobs_max"]);
    // Asked for again, it is the one that is there; other tenants have their own.
    assert_eq!(submit(&mut head, Time(0), "x").expect("it is known"), first);
    head.submit(Time(0), Submission::default()).expect("another tenant's");
    let end = JobEnd { result: Ok(Value::empty()), stopped: false, progress: Progress::default() };
    head.job_ended(Time(0), first, end);
    submit(&mut head, Time(0), "").expect("one has ended");
    let records = head.usage(&UsageQuery { limit: 9, ..UsageQuery::default() });
    assert_eq!(records.iter().map(|record| record.used[UsageKind::Refused]).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_tenant_submits_so_many_jobs_in_a_minute() {
    let bounds = TenantBounds { submits_per_minute_max: Some(3), ..TenantBounds::default() };
    let mut head = head_with(bounds, &[]);
    for id in ["x", "y", "z"] {
        submit(&mut head, Time(0), id).expect("three at once");
    }
    refused(submit(&mut head, Time(0), ""), &["3 jobs a minute", "submits_per_minute_max", "again in 20s"]);
    submit(&mut head, Time(0), "x").expect("it is known, and takes nothing");
    let later = Time(0) + SECOND * 20;
    submit(&mut head, later, "").expect("a third of a minute later");
    refused(submit(&mut head, later, ""), &["again in 20s"]);
    // More from now on; what was submitted counts.
    let bounds = TenantBounds { submits_per_minute_max: Some(5), ..bounds };
    let spec = TenantSpec { bounds, ..TenantSpec::new(a()) };
    head.set_tenant(spec, false, &mut Vec::new()).expect("it is there");
    submit(&mut head, later, "").expect("two more");
    submit(&mut head, later, "").expect("two more");
    refused(submit(&mut head, later, ""), &["5 jobs a minute", "again in 12s"]);
    let bounds = TenantBounds { submits_per_minute_max: Some(0), ..bounds };
    let spec = TenantSpec { bounds, ..TenantSpec::new(a()) };
    head.set_tenant(spec, false, &mut Vec::new()).expect("it is there");
    refused(submit(&mut head, later + SECOND * 900, ""), &["0 jobs a minute", "ask whoever runs the engine"]);
}

#[test]
fn that_most_of_a_quota_is_used_is_told_once_until_less_is() {
    let bounds = TenantBounds { alert_percent: Some(80), ..TenantBounds::default() };
    let mut head = head_with(bounds, &[(QuotaKind::Sandboxes, 10), (QuotaKind::Actors, 0)]);
    let mut ids = IdGenerator::new([5; 16]);
    let nodes = [ids.node(), ids.node()];
    for node in nodes {
        let info = NodeInfo { id: node, labels: Vec::new(), total: Resources::default() };
        head.node_joins(Time(0), info, &mut Vec::new()).expect("room");
    }
    let mut number = 0;
    let mut says = |head: &mut Head, second: u32, at: usize, sandboxes: u64| -> Vec<String> {
        number += 1;
        let mut used = Amounts::default();
        used[QuotaKind::Sandboxes] = sandboxes;
        let lease = LeaseReport {
            tenant: a(),
            number,
            version: 0,
            keeps: used,
            used,
            wants: Amounts::default(),
            cpu_time_ns: 0,
            tasks_ended: 0,
        };
        let report = LedgerReport { is_whole: false, leases: vec![lease], usage: Vec::new() };
        let mut fx = Vec::new();
        head.ledger_report(Time(0) + SECOND * second, nodes[at], &report, &mut fx);
        let told = fx.into_iter().filter_map(|effect| match effect {
            Effect::Alert(message) => Some(message),
            _ => None,
        });
        told.collect()
    };
    let alerts = |head: &Head| head.tenant(&a()).expect("it is there").alerts;
    assert!(says(&mut head, 0, 0, 5).is_empty());
    assert!(says(&mut head, 0, 1, 2).is_empty());
    assert!(alerts(&head).is_empty());
    let told = says(&mut head, 1, 1, 3);
    assert_eq!(told, ["the tenant a uses 8 of 10 sandboxes (sandboxes_max), 80 % of its quota or more"]);
    assert_eq!(alerts(&head), [QuotaKind::Sandboxes]);
    assert!(says(&mut head, 2, 1, 5).is_empty(), "it was told");
    // Up and down around the mark is not told each time, and later again.
    assert!(says(&mut head, 3, 1, 0).is_empty() && alerts(&head).is_empty());
    assert!(says(&mut head, 4, 1, 5).is_empty());
    assert_eq!(alerts(&head), [QuotaKind::Sandboxes]);
    says(&mut head, 5, 1, 0);
    assert_eq!(says(&mut head, 70, 1, 4).len(), 1);
    let noted = head.events().newest_first().filter(|event| event.kind == EventKind::QuotaAlert).count();
    assert_eq!(noted, 2);
    let bad = TenantBounds { alert_percent: Some(0), ..bounds };
    let spec = TenantSpec { bounds: bad, ..TenantSpec::new(a()) };
    let error = head.set_tenant(spec, false, &mut Vec::new()).expect_err("no part of a quota");
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
}
