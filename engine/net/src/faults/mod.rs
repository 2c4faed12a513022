//! Faults in what processes say to one another and at their disks, for tests: requests and replies that are
//! lost, lines that break, calls of a disk that fail, and what comes late, each at a rate.
//!
//! `ENGINE_TEST_FAULTS` says which, once, when a head or a node starts. A process makes the faults in
//! what it serves or takes in: in its gRPC methods, the packets and the bytes of other nodes, and at the head
//! both ways of the nodes' lines. A build without debug assertions has none, and refuses the variable.
//!
//! A message on a line that lives is never lost alone, so a fault there is the end of that line: before the
//! message is taken in (`request`), or right after (`reply`; of a request to the head, instead of its answer).

mod disk;
mod layer;
mod line;
mod names;
mod parse;

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use disk::{DiskCall, are_installed, disk};
pub(crate) use layer::FaultLayer;
pub(crate) use line::{Frame, Unanswered, from_head, of_frame, to_head};
pub(crate) use names::{BULK_CHUNK, BULK_REQUEST};

/// The variable that says which faults there are.
pub const VARIABLE: &str = "ENGINE_TEST_FAULTS";

static INSTALLED: OnceLock<Faults> = OnceLock::new();

/// Reads [`VARIABLE`]. To be called before anything is served; says whether there are faults from now on.
///
/// # Errors
/// What is wrong with the variable, or that this build has no faults.
pub fn install() -> Result<bool, String> {
    let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else { return Ok(false) };
    if !cfg!(debug_assertions) {
        return Err(format!(
            "{VARIABLE} is set, and this build has no faults: unset it, or use a debug build"
        ));
    }
    let text = text.into_string().map_err(|_| format!("{VARIABLE} is no text"))?;
    let faults = parse::faults(&text).map_err(|error| format!("{VARIABLE}: {error}"))?;
    Ok(INSTALLED.set(faults).is_ok())
}

/// The faults that there are; none outside of tests.
#[inline]
pub(crate) fn installed() -> Option<&'static Faults> {
    if cfg!(debug_assertions) { INSTALLED.get() } else { None }
}

/// Which faults there are.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    seed: u64,
    rules: HashMap<&'static str, Rule>,
}

/// The faults of one method or message, each in parts of one.
#[derive(Debug, Default)]
struct Rule {
    request: f64,
    reply: f64,
    delay: f64,
    delay_time: Duration,
    /// How often it was drawn from.
    drawn: AtomicU64,
}

/// What becomes of one request or message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Fate {
    /// It comes so much later.
    pub(crate) delay: Option<Duration>,
    pub(crate) loss: Option<Loss>,
}

/// What is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The request: whoever is asked never sees it.
    Request,
    /// The reply: what was asked for is done, and whoever asked does not hear so.
    Reply,
}

impl Faults {
    /// Whether the next message of a stream of replies is lost, and the rest with it.
    pub(crate) fn loses_reply(&self, name: &str) -> bool {
        self.rules.get(name).is_some_and(|rule| self.draw(name, rule, rule.reply))
    }

    /// What becomes of the next one of this name. The same in every run, by the seed, the name, and how many
    /// there were before.
    pub(crate) fn fate(&self, name: &str) -> Fate {
        let Some(rule) = self.rules.get(name) else { return Fate::default() };
        let (request, reply) = (self.draw(name, rule, rule.request), self.draw(name, rule, rule.reply));
        let loss = match (request, reply) {
            (true, _) => Some(Loss::Request),
            (false, true) => Some(Loss::Reply),
            (false, false) => None,
        };
        if let Some(loss) = loss {
            tracing::debug!(name, ?loss, "a fault that a test asked for");
        }
        Fate { delay: self.draw(name, rule, rule.delay).then_some(rule.delay_time), loss }
    }

    fn draw(&self, name: &str, rule: &Rule, rate: f64) -> bool {
        let number = rule.drawn.fetch_add(1, Ordering::Relaxed);
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((self.seed, name, number));
        // The upper 53 bits are what a float holds.
        ((hash >> 11) as f64 / (1u64 << 53) as f64) < rate
    }
}

impl Fate {
    /// Waits as long as it is to come late.
    pub(crate) async fn delayed(self) -> Option<Loss> {
        if let Some(delay) = self.delay {
            tokio::time::sleep(delay).await;
        }
        self.loss
    }

    /// The same on a thread of its own.
    pub(crate) fn delayed_here(self) -> Option<Loss> {
        if let Some(delay) = self.delay {
            std::thread::sleep(delay);
        }
        self.loss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_at_their_rates_and_the_same_in_every_run() {
        let text = "Peer.Start=request:0.2,reply:0.1,delay:0.5:7ms;seed=3";
        let fates = || {
            let faults = parse::faults(text).expect("well formed");
            (0..10_000).map(|_| faults.fate("Peer.Start")).collect::<Vec<_>>()
        };
        let all = fates();
        assert_eq!(all, fates());
        let count = |of: fn(&Fate) -> bool| all.iter().filter(|fate| of(fate)).count();
        let requests = count(|fate| fate.loss == Some(Loss::Request));
        let replies = count(|fate| fate.loss == Some(Loss::Reply));
        let delays = count(|fate| fate.delay == Some(Duration::from_millis(7)));
        assert!((1_900..2_100).contains(&requests), "{requests}");
        // Of those whose request is not lost.
        assert!((700..900).contains(&replies), "{replies}");
        assert!((4_800..5_200).contains(&delays), "{delays}");
        let other =
            parse::faults("Peer.Start=request:0.2,reply:0.1,delay:0.5:7ms;seed=4").expect("well formed");
        assert_ne!(all, (0..10_000).map(|_| other.fate("Peer.Start")).collect::<Vec<_>>());
        assert_eq!(other.fate("Peer.Grants"), Fate::default(), "nothing was asked of it");
    }
}
