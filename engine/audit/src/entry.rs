//! What a line says.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::limits::VALUE_CHARS_MAX;

/// The outcome of what was done; that of what was not is the name of an error.
pub const OK: &str = "OK";

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Who {
    /// Whoever can connect on the engine's own machine.
    Operator,
    /// Who shows a certificate of the cluster.
    Certificate,
    /// Who shows a token.
    Token,
    /// Who shows nothing that is good.
    Nobody,
}

/// One request: who asked for what, from where, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was answered.
    #[serde(with = "rfc3339")]
    pub time: SystemTime,
    /// The method: `Jobs.Submit`.
    pub method: String,
    /// The verb that it takes; none: it takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verb: Option<String>,
    /// [`OK`], or the name of the error that was answered.
    pub outcome: String,
    /// Who asked.
    pub who: Who,
    /// Whom the certificate names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The id of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// The tenant of who asked; none: who asked is of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The one namespace that who asked is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// From where: an address with its port, or `uid=0 pid=17` of the engine's own socket.
    pub from: String,
    /// What it was done to, as far as the request names it: `job_id`, `tenant`, …
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub on: BTreeMap<String, String>,
}

impl Entry {
    /// Itself, with no value longer than a line may have it.
    pub(crate) fn bounded(mut self) -> Self {
        let values = [&mut self.method, &mut self.outcome, &mut self.from].into_iter();
        let more = [&mut self.verb, &mut self.certificate, &mut self.token_id, &mut self.tenant];
        let more = more.into_iter().chain([&mut self.namespace]).flatten();
        values.chain(more).chain(self.on.values_mut()).for_each(cut);
        self
    }
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(VALUE_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Counts lines, from 1.
    pub number: u64,
    /// What it says.
    #[serde(flatten)]
    pub entry: Entry,
    /// The SHA-256 of the line before, without its line break; empty before the first.
    pub previous: String,
}

impl Line {
    /// Its text, without a line break.
    pub(crate) fn to_text(&self) -> String {
        // Strings, numbers and maps of strings: nothing of it has no JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What stands in the line after this one.
pub(crate) fn hash(line: &[u8]) -> String {
    Sha256::digest(line).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A time as lines have it.
pub(crate) fn written(time: SystemTime) -> String {
    // What lies before 1970 cannot be written; a clock may stand there.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}

mod rfc3339 {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(time: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::written(*time))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<SystemTime, D::Error> {
        humantime::parse_rfc3339(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}
