//! Tenants: who a job belongs to. Nothing of one tenant is visible to another.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::error::Error;
use crate::quota::Quotas;

/// Bytes of a tenant's name: as many as a DNS label has.
pub const TENANT_NAME_BYTES_MAX: usize = 63;

/// A tenant's name: lower-case letters, digits and hyphens, neither first nor last a hyphen. Cheap to clone.
///
/// There is always one, `default`: that of jobs whose submitter is of no tenant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantName(Arc<str>);

impl TenantName {
    /// The name as it is printed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the tenant that is always there.
    pub fn is_default(&self) -> bool {
        &*self.0 == DEFAULT
    }

    /// How a namespace of this tenant is named among those of all: namespaces of different tenants are
    /// different ones, whatever their names.
    pub fn scoped(&self, namespace: &str) -> String {
        format!("{self}/{namespace}")
    }
}

const DEFAULT: &str = "default";

/// The tenant and the namespace that [`TenantName::scoped`] has made one of; the tenant is `default`
/// where none is said.
pub fn unscoped(namespace: &str) -> (&str, &str) {
    namespace.split_once('/').unwrap_or((DEFAULT, namespace))
}

impl Default for TenantName {
    fn default() -> Self {
        Self(Arc::from(DEFAULT))
    }
}

impl FromStr for TenantName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let ends = bytes.first().zip(bytes.last());
        let is_one = bytes.len() <= TENANT_NAME_BYTES_MAX
            && ends.is_some_and(|(first, last)| is_plain(*first) && is_plain(*last))
            && bytes.iter().all(|byte| is_plain(*byte) || *byte == b'-');
        match is_one {
            true => Ok(Self(Arc::from(text))),
            false => Err(Error::invalid_argument(format!(
                "{:?} is no name of a tenant: use 1 to {TENANT_NAME_BYTES_MAX} lower-case letters, digits and \
                 hyphens, with no hyphen at either end",
                text.chars().take(TENANT_NAME_BYTES_MAX + 1).collect::<String>()
            ))),
        }
    }
}

impl Borrow<str> for TenantName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Where the guests of a tenant run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// On threads of the node's own process, each in its sandbox.
    #[default]
    Thread,
    /// The same, in a process that is the tenant's alone on each node.
    Process,
}

impl Isolation {
    /// As it is said and printed: `thread`, `process`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Thread => "thread",
            Self::Process => "process",
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// To whom a job belongs, and where its guests run: that is settled when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenancy {
    /// The tenant.
    pub tenant: TenantName,
    /// Where the guests run.
    pub isolation: Isolation,
}

/// What a tenant may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSpec {
    /// Who it is.
    pub name: TenantName,
    /// Its part of what several tenants want, in relation to the weights of the others: 1 to
    /// [`WEIGHT_MAX`].
    pub weight: u32,
    /// Hundredths of each node that it has whenever it wants them, up to 100 for all tenants together; 0:
    /// none. What it does not use of them others use meanwhile.
    pub guaranteed_percent: u32,
    /// What it may have at once, over all nodes.
    pub quotas: Quotas,
    /// Where the guests of its next jobs run.
    pub isolation: Isolation,
    /// What else bounds it.
    pub bounds: TenantBounds,
}

/// What bounds a tenant beside its quotas; of what is none there is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TenantBounds {
    /// Jobs that have not ended. What is over is refused.
    pub jobs_max: Option<u64>,
    /// Jobs that are submitted in a minute, and at once. What is over is refused.
    pub submits_per_minute_max: Option<u64>,
    /// Bytes that its guests write to their logs in a minute, on each node. What is over is dropped.
    pub log_bytes_per_minute_max: Option<u64>,
    /// Hundredths of a quota: when it uses as much, that is told of. 1 to [`ALERT_PERCENT_MAX`].
    pub alert_percent: Option<u32>,
}

/// The largest part of a quota that is told of, in hundredths.
pub const ALERT_PERCENT_MAX: u32 = 100;

/// The largest weight of a tenant.
pub const WEIGHT_MAX: u32 = 1_000;

/// What all guaranteed shares make at most, in hundredths of a node.
pub const GUARANTEED_PERCENT_MAX: u32 = 100;

impl TenantSpec {
    /// A tenant with the defaults of all that may be left out.
    pub fn new(name: TenantName) -> Self {
        Self {
            name,
            weight: 1,
            guaranteed_percent: 0,
            quotas: Quotas::default(),
            isolation: Isolation::default(),
            bounds: TenantBounds::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn names_are_those_of_dns_labels() {
        for good in ["a", "a-b", "0", "team-7", &"x".repeat(63)] {
            assert_eq!(good.parse::<TenantName>().expect(good).as_str(), good);
        }
        for bad in ["", "-", "a-", "-a", "A", "a/b", "a b", "ä", "a\n", &"x".repeat(64)] {
            let error = bad.parse::<TenantName>().expect_err(bad);
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
        }
        assert!(TenantName::default().is_default());
        assert_eq!(
            TenantName::default().as_str().parse::<TenantName>().expect("a name"),
            TenantName::default()
        );
    }

    #[test]
    fn namespaces_of_different_tenants_are_different_ones() {
        let (a, b): (TenantName, TenantName) = ("a".parse().expect("a"), "b".parse().expect("b"));
        assert_ne!(a.scoped("x"), b.scoped("x"));
        // A namespace that looks like another tenant's is not.
        assert_ne!(a.scoped("b/x"), b.scoped("x"));
        assert_eq!(unscoped(&a.scoped("b/x")), ("a", "b/x"));
        assert_eq!(unscoped("old"), ("default", "old"));
    }
}
