//! `Peer.Start=request:0.1,reply:0.1,delay:0.2:50ms;NodeRequest.ClaimName=reply:0.3;seed=7`.

use std::time::Duration;

use super::names;
use super::{Faults, Rule};

const EXAMPLE: &str = "expected NAME=FAULT:RATE[,FAULT:RATE…][;NAME=…][;seed=N] with the faults request:RATE, reply:RATE \
                       and delay:RATE:MILLISECONDSms, as in Peer.Start=request:0.1,delay:0.2:50ms;seed=7";
/// The longest delay, in milliseconds.
const DELAY_MS_MAX: u64 = 60_000;

pub(super) fn faults(text: &str) -> Result<Faults, String> {
    let mut faults = Faults::default();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, what) = part.split_once('=').ok_or_else(|| format!("{part:?}: {EXAMPLE}"))?;
        if name == "seed" {
            faults.seed = what.parse().map_err(|_| format!("seed={what:?} is no whole number"))?;
            continue;
        }
        let known = names::all().find(|known| *known == name);
        let name = known.ok_or_else(|| {
            let all: Vec<&str> = names::all().collect();
            format!("there is no method or message {name:?}; there are {}", all.join(", "))
        })?;
        if faults.rules.insert(name, rule(what)?).is_some() {
            return Err(format!("{name} is named twice"));
        }
    }
    Ok(faults)
}

fn rule(text: &str) -> Result<Rule, String> {
    let mut rule = Rule::default();
    for fault in text.split(',') {
        let bad = || format!("{fault:?}: {EXAMPLE}");
        let mut parts = fault.split(':');
        let (what, rate) = (parts.next().unwrap_or_default(), parts.next().ok_or_else(bad)?);
        let rate = match rate.parse::<f64>() {
            Ok(rate) if (0.0..=1.0).contains(&rate) => rate,
            _ => return Err(format!("{fault:?}: the rate {rate:?} is no number from 0 to 1")),
        };
        match (what, parts.next(), parts.next()) {
            ("request", None, None) => rule.request = rate,
            ("reply", None, None) => rule.reply = rate,
            ("delay", Some(time), None) => {
                let time = time.strip_suffix("ms").and_then(|time| time.parse().ok());
                let time = time.filter(|time| *time <= DELAY_MS_MAX).ok_or_else(|| {
                    format!("{fault:?}: the time is no whole number of milliseconds up to {DELAY_MS_MAX}ms")
                })?;
                (rule.delay, rule.delay_time) = (rate, Duration::from_millis(time));
            }
            _ => return Err(bad()),
        }
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_with_what_there_is() {
        let wrong = |text: &str| faults(text).expect_err("it is refused");
        let unknown = wrong("Peer.Begin=request:0.1");
        for name in ["\"Peer.Begin\"", "Peer.Start", "NodeRequest.ClaimName", "PeerMessage.Run", "Bulk.Chunk"]
        {
            assert!(unknown.contains(name), "{unknown}");
        }
        assert!(wrong("Peer.Start=request:1.5").contains("1.5"));
        assert!(wrong("Peer.Start=request:NaN").contains("NaN"));
        assert!(wrong("Peer.Start=request").contains("expected NAME="));
        assert!(wrong("Peer.Start=delay:0.5").contains("expected NAME="));
        assert!(wrong("Peer.Start=delay:0.5:1h").contains("milliseconds"));
        assert!(wrong("Peer.Start").contains("expected NAME="));
        assert!(wrong("Peer.Start=lost:0.5").contains("expected NAME="));
        assert!(wrong("Peer.Start=request:0.5;Peer.Start=reply:0.5").contains("twice"));
        assert!(wrong("seed=x").contains("seed"));
    }

    #[test]
    fn several_names_have_rules_of_their_own() {
        let text = "Peer.Start=request:0.25,reply:0.5;PeerMessage.Run=delay:1:50ms; seed=7";
        let faults = faults(text).expect("well formed");
        assert_eq!((faults.seed, faults.rules.len()), (7, 2));
        let start = &faults.rules["Peer.Start"];
        assert_eq!((start.request, start.reply, start.delay), (0.25, 0.5, 0.0));
        assert_eq!(faults.rules["PeerMessage.Run"].delay_time, Duration::from_millis(50));
    }
}
