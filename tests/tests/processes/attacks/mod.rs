//! What a hostile tenant tries, and must not get: guests and clients that attack the engine and one another.
//! docs/attacks.md has the table of all of it.
//!
//! Here are the short forms. With `$ENGINE_ATTACK_MINUTES`, as `cargo xtask attack` sets it, what is a matter of
//! numbers goes on up to the large ones, or for so long.

mod client_lines;
mod components;
mod deputies;
mod floods;
mod http2;
mod ids;
mod memory;
mod names;
mod quotas;
mod random_calls;
mod terminals;
mod tickets;
mod tls;
mod wire;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use engine_client::{AccessToken, Address, Client};
use engine_tests::{Outcome, Place, Up};
use serde_json::Value;

use super::tenants::{Tenant, tenant};

/// Two tenants of an engine: one attacks the other.
pub(super) fn two(place: &Place) -> [Tenant<'_>; 2] {
    ["red", "blue"].map(|name| tenant(place, None, name, "submitter"))
}

impl Tenant<'_> {
    /// Submits a scenario of guest-examples/attacks, with arguments that are JSON.
    pub(super) fn attack(&self, options: &[&str], scenario: &str, arguments: &[Value]) -> Outcome {
        let module = engine_tests::guest("attacks");
        let arguments: Vec<String> = arguments.iter().map(Value::to_string).collect();
        let mut words = vec!["submit", module.to_str().expect("text")];
        words.extend(options);
        words.extend(["--", scenario]);
        words.extend(arguments.iter().map(String::as_str));
        self.engine(&words)
    }

    /// The same, which goes well; its last line.
    pub(super) fn attacks(&self, scenario: &str, arguments: &[Value]) -> Value {
        self.attack(&[], scenario, arguments).exits(0).last_json()
    }

    /// The same, which nobody waits for; the id of the job.
    pub(super) fn attacks_on(&self, options: &[&str], scenario: &str, arguments: &[Value]) -> String {
        let options: Vec<&str> = options.iter().copied().chain(["--no-wait"]).collect();
        self.attack(&options, scenario, arguments).exits(0).stdout.trim().to_owned()
    }

    /// A client of the library with its token, to an engine of this place.
    pub(super) async fn client(&self) -> Client {
        let address: Address = match self.address {
            Some(address) => address.parse().expect("an address"),
            None => Address::Unix(self.place.socket()),
        };
        let token: AccessToken = self.token.parse().expect("a token");
        Client::connect_as(address, Some(token)).await.expect("it is let in")
    }
}

/// Threads for clients of the library.
pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().expect("threads")
}

/// Does something in batches: `short` times in all, or in the long form up to `long` times, as the minutes allow.
/// `batch` is told the first and how many.
pub(super) fn batches(what: &str, short: u64, long: u64, size: u64, mut batch: impl FnMut(u64, u64)) {
    let minutes: Option<u64> =
        std::env::var("ENGINE_ATTACK_MINUTES").ok().map(|text| text.parse().expect("ENGINE_ATTACK_MINUTES"));
    let (total, begun) = (if minutes.is_some() { long } else { short }, Instant::now());
    let is_over = || minutes.is_some_and(|minutes| begun.elapsed() > Duration::from_secs(60 * minutes));
    let mut done = 0;
    while done < total && !is_over() {
        let count = size.min(total - done);
        batch(done, count);
        done += count;
    }
    println!("{what}: {done} times");
}

/// A component written by hand.
pub(super) fn component(place: &Place, name: &str, text: &str) -> PathBuf {
    place.file(name, wat::parse_str(text).expect("a component"))
}

/// Checks that an engine which was attacked serves somebody else, and holds nothing of what was.
#[track_caller]
pub(super) fn unharmed(mut up: Up) {
    up.still_serves();
    up.wait_until_idle();
    let (outcome, _place) = up.stop();
    let outcome = outcome.exits(0);
    assert!(!outcome.stderr.contains("panicked"), "{outcome}");
    assert!(!outcome.stderr.contains("leaked: "), "{outcome}");
}
