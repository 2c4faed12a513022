//! What tenants may have, said to the head inside this process.

use std::sync::Arc;
use std::time::SystemTime;

use engine_core::head::{Effect, Head, Notice};
use engine_core::tenant::TenantSpec;
use engine_core::{Error, TenantName, Time};
use engine_net::UsageRead;
use engine_proto::convert::tenant_view;
use engine_proto::v1;

use crate::driver::Driver;

pub(super) fn set(driver: &Arc<Driver>, spec: TenantSpec, is_new: bool) -> Result<v1::TenantView, Error> {
    event(driver, |head, fx| head.set_tenant(spec, is_new, fx)).map(|view| tenant_view(&view))
}

pub(super) fn delete(driver: &Arc<Driver>, name: &TenantName) -> Result<(), Error> {
    event(driver, |head, fx| head.delete_tenant(name, fx))
}

pub(super) fn usage(driver: &Arc<Driver>, read: UsageRead) -> v1::UsageResponse {
    driver.tell_own_usage(driver.usage_until_now());
    let clock = *driver.clock();
    let since = |at: SystemTime| {
        let passed = at.duration_since(clock.started()).unwrap_or_default();
        Time(u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX))
    };
    driver.head.usage_read(clock.now(), read, since, |time| clock.wall(time))
}

/// The node hears at once what follows: of two that come at the same time the later counts.
fn event<R>(driver: &Arc<Driver>, event: impl FnOnce(&mut Head, &mut Vec<Effect>) -> R) -> R {
    let (result, effects) = driver.head.event(event);
    for effect in effects {
        if let Effect::Tell(_, Notice::Tenant(news)) = effect {
            driver.tenant_news(*news);
        }
    }
    result
}
