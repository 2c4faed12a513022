//! How much there may be in a minute.

use std::time::Duration;

use crate::time::Time;

/// A minute, in nanoseconds.
const MINUTE_NS: u128 = 60_000_000_000;

/// A budget that fills up over time: as much each minute as there may be at once.
#[derive(Debug, Clone)]
pub struct Rate {
    per_minute: u64,
    /// What is left, times [`MINUTE_NS`].
    left: u128,
    at: Time,
}

impl Rate {
    /// A budget of so much each minute, which is full.
    pub fn new(per_minute: u64, now: Time) -> Self {
        Self { per_minute, left: u128::from(per_minute) * MINUTE_NS, at: now }
    }

    /// What there may be each minute.
    pub fn per_minute(&self) -> u64 {
        self.per_minute
    }

    /// There may be so much each minute from now on; what was used counts on.
    pub fn change(&mut self, now: Time, per_minute: u64) {
        self.fill(now);
        let used = (u128::from(self.per_minute) * MINUTE_NS).saturating_sub(self.left);
        self.per_minute = per_minute;
        self.left = (u128::from(per_minute) * MINUTE_NS).saturating_sub(used);
    }

    fn fill(&mut self, now: Time) {
        let passed = now.since(self.at).as_nanos();
        let full = u128::from(self.per_minute) * MINUTE_NS;
        self.left = self.left.saturating_add(passed.saturating_mul(u128::from(self.per_minute))).min(full);
        self.at = self.at.max(now);
    }

    /// Takes so much. What is more than there may be in a minute takes all of a full budget.
    ///
    /// # Errors
    /// After how long there is so much; [`Duration::MAX`] when there may never be any.
    pub fn take(&mut self, now: Time, amount: u64) -> Result<(), Duration> {
        if self.per_minute == 0 {
            return Err(Duration::MAX);
        }
        self.fill(now);
        let wanted = u128::from(amount.min(self.per_minute)) * MINUTE_NS;
        if let Some(left) = self.left.checked_sub(wanted) {
            self.left = left;
            return Ok(());
        }
        let ns = (wanted - self.left).div_ceil(u128::from(self.per_minute));
        Err(Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn so_much_each_minute_and_as_much_at_once() {
        let mut rate = Rate::new(6, Time(0));
        for _ in 0..6 {
            assert_eq!(rate.take(Time(0), 1), Ok(()));
        }
        assert_eq!(rate.take(Time(0), 1), Err(SECOND * 10));
        assert_eq!(rate.take(Time(0) + SECOND * 4, 2), Err(SECOND * 16));
        assert_eq!(rate.take(Time(0) + SECOND * 10, 1), Ok(()));
        assert_eq!(rate.take(Time(0) + SECOND * 10, 1), Err(SECOND * 10));
        // Nobody saves up more than a minute's.
        let later = Time(0) + SECOND * 10_000;
        assert_eq!((rate.take(later, 6), rate.take(later, 1)), (Ok(()), Err(SECOND * 10)));
        // A clock that stands still gives nothing.
        assert_eq!(rate.take(Time(0), 1), Err(SECOND * 10));
    }

    #[test]
    fn what_is_larger_than_the_rate_takes_all_of_it() {
        let mut rate = Rate::new(10, Time(0));
        assert_eq!(rate.take(Time(0), 1), Ok(()));
        assert_eq!(rate.take(Time(0), 1_000), Err(SECOND * 6));
        assert_eq!(rate.take(Time(0) + SECOND * 6, 1_000), Ok(()));
        assert_eq!(Rate::new(0, Time(0)).take(Time(0), 1), Err(Duration::MAX));
        let mut largest = Rate::new(u64::MAX, Time(0));
        assert_eq!(largest.take(Time(u64::MAX), u64::MAX), Ok(()));
    }

    #[test]
    fn a_rate_that_changes_keeps_what_was_used() {
        let mut rate = Rate::new(10, Time(0));
        assert_eq!(rate.take(Time(0), 8), Ok(()));
        rate.change(Time(0), 9);
        assert_eq!((rate.take(Time(0), 1), rate.take(Time(0), 1).is_err()), (Ok(()), true));
        rate.change(Time(0), 2);
        assert!(rate.take(Time(0), 1).is_err());
        rate.change(Time(0), 100);
        assert_eq!((rate.take(Time(0), 98).is_ok(), rate.per_minute()), (true, 100));
    }
}
