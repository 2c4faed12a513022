//! Who keeps a connection: strangers soon say who they are, or make room for others, and no tenant has them all.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use engine_core::{Error, ErrorCode, TenantName};
use engine_tls::Peer;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use crate::limits::{CONNECTIONS_OF_TENANT_MAX, FIRST_REQUEST_TIME_MAX, UNPROVEN_CONNECTIONS_MAX};

/// The connections of a server that are bounded beside all there are.
#[derive(Clone)]
pub(crate) struct Admissions {
    unproven: Arc<Semaphore>,
    by_tenant: Arc<Mutex<HashMap<TenantName, usize>>>,
}

impl Default for Admissions {
    fn default() -> Self {
        Self { unproven: Arc::new(Semaphore::new(UNPROVEN_CONNECTIONS_MAX)), by_tenant: Arc::default() }
    }
}

impl Admissions {
    /// Takes a connection in; none when there are too many of its kind.
    pub(crate) fn take_in(&self, peer: Peer) -> Option<Admission> {
        let (permit, is_let_in) = match peer {
            Peer::Unproven => (Some(self.unproven.clone().try_acquire_owned().ok()?), false),
            Peer::Local | Peer::Proven(_) => (None, true),
        };
        Some(Admission(Arc::new(Inner {
            is_let_in: AtomicBool::new(is_let_in),
            tenant: OnceLock::new(),
            by_tenant: self.by_tenant.clone(),
            _unproven: permit,
        })))
    }
}

/// What became of one connection.
#[derive(Clone)]
pub(crate) struct Admission(Arc<Inner>);

struct Inner {
    is_let_in: AtomicBool,
    /// To whom it counts: the first that asked on it.
    tenant: OnceLock<TenantName>,
    by_tenant: Arc<Mutex<HashMap<TenantName, usize>>>,
    _unproven: Option<OwnedSemaphorePermit>,
}

impl Admission {
    /// Somebody who may has asked for something on it, of this tenant or of none.
    ///
    /// # Errors
    /// LIMIT_EXCEEDED when the tenant has too many.
    pub(crate) fn let_in(&self, tenant: Option<&TenantName>) -> Result<(), Error> {
        if let Some(tenant) = tenant
            && self.0.tenant.get().is_none()
        {
            let mut by_tenant = self.0.by_tenant.lock();
            let count = by_tenant.entry(tenant.clone()).or_default();
            if *count >= CONNECTIONS_OF_TENANT_MAX {
                return Err(Error::new(
                    ErrorCode::LimitExceeded,
                    format!(
                        "the tenant {tenant} has {CONNECTIONS_OF_TENANT_MAX} connections here \
                         (connections_of_tenant_max): close some, or ask for several things on one"
                    ),
                ));
            }
            // Of two requests at once only one is the first.
            if self.0.tenant.set(tenant.clone()).is_ok() {
                *count += 1;
            }
        }
        self.0.is_let_in.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn is_let_in(&self) -> bool {
        self.0.is_let_in.load(Ordering::Relaxed)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some(tenant) = self.tenant.get() else { return };
        let mut by_tenant = self.by_tenant.lock();
        let left = by_tenant.get_mut(tenant).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            by_tenant.remove(tenant);
        }
    }
}

/// How long a connection may take until it is let in.
pub(crate) struct Patience {
    admission: Admission,
    /// None: it was.
    until: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(crate) fn new(admission: Admission) -> Self {
        let until = (!admission.is_let_in()).then(|| Box::pin(tokio::time::sleep(FIRST_REQUEST_TIME_MAX)));
        Self { admission, until }
    }

    pub(crate) fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Fails when it is over; who is called has its waker registered.
    pub(crate) fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(until) = &mut self.until else { return Ok(()) };
        if self.admission.is_let_in() {
            self.until = None;
            return Ok(());
        }
        match until.as_mut().poll(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use engine_tls::Name;

    use super::*;

    #[test]
    fn no_tenant_has_all_connections() {
        let admissions = Admissions::default();
        let (red, blue): (TenantName, TenantName) = ("red".parse().unwrap(), "blue".parse().unwrap());
        let connect = |tenant: &TenantName| {
            let admission = admissions.take_in(Peer::Local).unwrap();
            admission.let_in(Some(tenant)).map(|()| admission)
        };
        let mut held: Vec<Admission> =
            (0..CONNECTIONS_OF_TENANT_MAX).map(|_| connect(&red).unwrap()).collect();
        let refused = connect(&red).err().unwrap();
        assert_eq!(refused.code(), ErrorCode::LimitExceeded);
        // Again on one that has been counted, and by somebody else.
        held[0].let_in(Some(&red)).unwrap();
        connect(&blue).unwrap();
        held.pop();
        connect(&red).unwrap();
        held.clear();
        assert!(admissions.by_tenant.lock().is_empty());
    }

    #[test]
    fn strangers_leave_room_for_who_is_known() {
        let admissions = Admissions::default();
        let held: Vec<_> = std::iter::from_fn(|| admissions.take_in(Peer::Unproven)).collect();
        assert_eq!(held.len(), UNPROVEN_CONNECTIONS_MAX);
        assert!(admissions.take_in(Peer::Proven(Name::Client)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_let_in_loses_patience() {
        let admissions = Admissions::default();
        let mut silent = Patience::new(admissions.take_in(Peer::Unproven).unwrap());
        let over = std::future::poll_fn(|cx| match silent.check(cx) {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(error),
        });
        assert_eq!(over.await.kind(), io::ErrorKind::TimedOut);
        let admission = admissions.take_in(Peer::Unproven).unwrap();
        let mut known = Patience::new(admission.clone());
        admission.let_in(None).unwrap();
        tokio::time::sleep(2 * FIRST_REQUEST_TIME_MAX).await;
        std::future::poll_fn(|cx| Poll::Ready(known.check(cx))).await.unwrap();
    }
}
