//! What tenants may have, said to the head inside this process.

use std::sync::Arc;

use engine_core::head::{Effect, Head, Notice};
use engine_core::tenant::TenantSpec;
use engine_core::{Error, TenantName};
use engine_proto::convert::tenant_view;
use engine_proto::v1;

use crate::driver::Driver;

pub(super) fn set(driver: &Arc<Driver>, spec: TenantSpec, is_new: bool) -> Result<v1::TenantView, Error> {
    event(driver, |head, fx| head.set_tenant(spec, is_new, fx)).map(|view| tenant_view(&view))
}

pub(super) fn delete(driver: &Arc<Driver>, name: &TenantName) -> Result<(), Error> {
    event(driver, |head, fx| head.delete_tenant(name, fx))
}

/// The node hears at once what follows: of two that come at the same time the later counts.
fn event<R>(driver: &Arc<Driver>, event: impl FnOnce(&mut Head, &mut Vec<Effect>) -> R) -> R {
    let (result, effects) = driver.head.event(event);
    for effect in effects {
        if let Effect::Tell(_, Notice::Tenant(news)) = effect {
            driver.event(|node, now, fx| node.tenant_news(now, *news, fx));
        }
    }
    result
}
