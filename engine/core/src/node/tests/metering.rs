//! What tenants consume on a node, added up over time.

use crate::node::metering::USAGE_TOLD_EVERY;
use crate::node::tests::harness::*;
use crate::options::ActorOptions;
use crate::quota::{Amounts, QuotaKind, TenantNews};
use crate::tenant::{TenantName, TenantSpec};
use crate::usage::{Usage, UsageKind};

fn a() -> TenantName {
    "a".parse().expect("a name")
}

/// What was consumed of the tenant `a` since that was asked last; none: nothing new.
fn told(world: &mut World) -> Option<Usage> {
    let now = world.now;
    let reports = world.event(|node, _, _| node.usage_until(now));
    reports.into_iter().find(|report| report.tenant == a()).map(|report| report.sums)
}

#[test]
fn what_is_held_counts_for_as_long_as_it_is() {
    let mut world = World::with_cpus(4);
    let root = world.job_of_tenant("a");
    let mut options = with_cpus(2);
    options.placement.memory = Some(512 << 20);
    let (first, second) = (world.spawn(root, &[], options.clone()), world.spawn(root, &[], options.clone()));
    let third = world.spawn(root, &[], options);
    let begun = told(&mut world).unwrap_or_default();
    world.now = world.now + SECOND * 3;
    let usage = told(&mut world).expect("two tasks run").since(&begun);
    assert_eq!(usage[UsageKind::CpuHeldNs], 4 * 3_000_000_000);
    assert!(usage[UsageKind::MemoryMibMs] >= 2 * 512 * 3_000);
    // One ends, and the third has its place.
    world.finish(first);
    world.fail(second, crate::error::Error::new(crate::error::ErrorCode::TaskFailed, "oops"));
    world.now = world.now + SECOND;
    let usage = told(&mut world).expect("one runs").since(&begun);
    assert_eq!(usage[UsageKind::CpuHeldNs], 14 * 1_000_000_000);
    assert_eq!((usage[UsageKind::TasksFinished], usage[UsageKind::TasksFailed]), (1, 1));
    world.finish(third);
    world.now = world.now + SECOND;
    let last = told(&mut world).expect("one has ended").since(&begun);
    assert_eq!(last[UsageKind::CpuHeldNs], usage[UsageKind::CpuHeldNs]);
    // On a new line all is told again: it is what it was.
    world.event(|node, _, _| node.leases_anew());
    world.now = world.now + SECOND;
    let again = told(&mut world).expect("a new line").since(&begun);
    assert_eq!(again[UsageKind::CpuHeldNs], last[UsageKind::CpuHeldNs]);
}

#[test]
fn objects_count_as_long_as_somebody_holds_them_and_refusals_count() {
    let mut world = World::with_cpus(1);
    let mut spec = TenantSpec::new(a());
    spec.quotas[QuotaKind::Actors] = Some(0);
    let news = TenantNews { spec, version: 1, granted: Amounts::default(), heard: 0, is_wanted: false };
    world.event(|node, now, fx| node.tenant_news(now, news, fx));
    let root = world.job_of_tenant("a");
    let begun = told(&mut world).unwrap_or_default();
    let large = world.put(root, large(64 << 20));
    world.now = world.now + SECOND * 2;
    let usage = told(&mut world).expect("it is held").since(&begun);
    assert!((64 * 2_000..64 * 2_000 + 10).contains(&usage[UsageKind::ObjectMibMs]), "{usage:?}");
    world.release(root, crate::value::Handle::Object(large));
    assert!(world.try_create(root, Vec::new(), ActorOptions::default()).is_err(), "it may have none");
    world.event(|node, _, _| node.note_log_bytes(&a(), 77));
    world.now = world.now + SECOND * 5;
    let last = told(&mut world).expect("news").since(&begun);
    assert_eq!(last[UsageKind::ObjectMibMs], usage[UsageKind::ObjectMibMs]);
    assert_eq!((last[UsageKind::Refused], last[UsageKind::LogBytes]), (1, 77));
}

#[test]
fn the_head_is_told_now_and_then_and_only_news() {
    let mut world = World::with_cpus(1);
    let root = world.job_of_tenant("a");
    assert!(!world.node.is_usage_due(world.now));
    world.now = world.now + USAGE_TOLD_EVERY;
    assert!(world.node.is_usage_due(world.now));
    let task = world.spawn(root, &[], with_cpus(1));
    told(&mut world);
    assert!(!world.node.is_usage_due(world.now), "it was told");
    world.now = world.now + USAGE_TOLD_EVERY;
    assert!(world.node.is_usage_due(world.now) && told(&mut world).is_some());
    world.finish(task);
    assert!(told(&mut world).is_some_and(|usage| usage[UsageKind::TasksFinished] == 1));
    assert_eq!(told(&mut world), None, "nothing is new");
}
