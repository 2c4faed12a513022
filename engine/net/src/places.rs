//! Places of which each tenant has so many, so that none has those of all.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use engine_core::TenantName;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// From so many tenants on, those that have taken no place are forgotten.
const TENANTS_KEPT_MIN: usize = 64;

/// So many places for each tenant.
#[derive(Debug)]
pub struct TenantPlaces {
    each: usize,
    of: Mutex<HashMap<TenantName, Weak<Semaphore>>>,
}

impl TenantPlaces {
    /// `each`: places of one tenant.
    pub fn new(each: usize) -> Self {
        Self { each, of: Mutex::default() }
    }

    /// One of a tenant's places, until it is dropped; waits for it, whoever came first first.
    ///
    /// # Panics
    /// Never: the places are not closed.
    pub async fn one(&self, tenant: &TenantName) -> OwnedSemaphorePermit {
        let places = self.of_tenant(tenant);
        places.acquire_owned().await.expect("nobody closes them")
    }

    fn of_tenant(&self, tenant: &TenantName) -> Arc<Semaphore> {
        let mut of = self.of.lock();
        if let Some(places) = of.get(tenant).and_then(Weak::upgrade) {
            return places;
        }
        if of.len() >= TENANTS_KEPT_MIN {
            of.retain(|_, places| places.strong_count() > 0);
        }
        let places = Arc::new(Semaphore::new(self.each));
        of.insert(tenant.clone(), Arc::downgrade(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TenantName {
        text.parse().expect("a name")
    }

    #[tokio::test]
    async fn each_tenant_waits_for_its_own() {
        let places = TenantPlaces::new(2);
        let (red, blue) = (name("red"), name("blue"));
        let (first, _second) = (places.one(&red).await, places.one(&red).await);
        let mut third = Box::pin(places.one(&red));
        assert!(futures::poll!(&mut third).is_pending());
        let _others = (places.one(&blue).await, places.one(&blue).await);
        drop(first);
        drop(third.await);
    }

    #[tokio::test]
    async fn who_has_none_is_forgotten() {
        let places = TenantPlaces::new(1);
        let held = places.one(&name("red")).await;
        for number in 0..10 * TENANTS_KEPT_MIN {
            drop(places.one(&name(&format!("blue-{number}"))).await);
        }
        assert!(places.of.lock().len() <= TENANTS_KEPT_MIN);
        assert!(futures::poll!(Box::pin(places.one(&name("red")))).is_pending());
        drop(held);
    }
}
