//! Calls the core at the time that it asked for.

use std::sync::{Arc, Weak};

use engine_core::Time;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::driver::Driver;

/// When the core wants to be called next.
#[derive(Default)]
pub(crate) struct Timer {
    at: Mutex<Option<Time>>,
    changed: Notify,
}

impl Timer {
    pub(crate) fn arm(&self, at: Time) {
        *self.at.lock() = Some(at);
        self.changed.notify_one();
    }

    /// Runs until the node is gone.
    pub(crate) async fn run(self: Arc<Self>, driver: Weak<Driver>) {
        loop {
            let at = *self.at.lock();
            let Some(at) = at else {
                self.changed.notified().await;
                continue;
            };
            let instant = match driver.upgrade() {
                Some(driver) => driver.clock().instant(at),
                None => return,
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = tokio::time::sleep_until(instant.into()) => {
                    let Some(driver) = driver.upgrade() else { return };
                    self.at.lock().take_if(|armed| *armed <= at);
                    driver.event(|node, now, fx| node.timer(now, fx));
                }
            }
        }
    }
}
