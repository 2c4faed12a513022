//! What of the engine somebody sees.

use engine_core::{JobId, TenantName};

use crate::limits::NAMESPACE_BYTES_MAX;

/// What of the engine somebody sees: all of it, or what is one tenant's, or less. What is not in it is
/// answered like what does not exist.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Scope {
    /// Only this tenant's; none: of all.
    pub tenant: Option<TenantName>,
    /// Only jobs of this namespace; none: of all.
    pub namespace: Option<String>,
    /// Only this job; none: all.
    pub job: Option<JobId>,
}

/// To whom something belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The tenant.
    pub tenant: TenantName,
    /// The namespace of the job that it is of.
    pub namespace: String,
}

impl Scope {
    /// All of it.
    pub const ALL: Self = Self { tenant: None, namespace: None, job: None };

    /// Whether it is all of it.
    pub fn is_all(&self) -> bool {
        *self == Self::ALL
    }

    /// To whom a job that is submitted here belongs.
    pub fn submitter(&self) -> TenantName {
        self.tenant.clone().unwrap_or_default()
    }

    /// Whether a job of this owner is seen, and what is of it. What has no owner that is known is seen by who
    /// sees all.
    pub fn sees(&self, job: JobId, owner: Option<&Owner>) -> bool {
        if self.is_all() {
            return true;
        }
        let Some(owner) = owner else { return false };
        self.tenant.as_ref().is_none_or(|tenant| *tenant == owner.tenant)
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == owner.namespace)
            && self.job.is_none_or(|seen| seen.job() == job.job())
    }

    /// As the head tells nodes: `TENANT/NAMESPACE`, either of them empty when it is not bound, and the namespace
    /// in hexadecimal. The job is not told: who is bound to one asks its node.
    pub fn to_text(&self) -> String {
        let tenant = self.tenant.as_ref().map(ToString::to_string).unwrap_or_default();
        let namespace = self.namespace.as_deref().unwrap_or_default().bytes();
        format!("{tenant}/{}", namespace.map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    /// Reads it back; none when it is none.
    pub fn from_text(text: &str) -> Option<Self> {
        let (tenant, digits) = text.split_once('/')?;
        let tenant = some(tenant).map(|name| name.parse()).transpose().ok()?;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let byte = |pair: &[u8]| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?);
        let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
        let namespace = String::from_utf8(bytes?).ok()?;
        let is_bounded = namespace.len() <= NAMESPACE_BYTES_MAX;
        is_bounded.then(|| Self { tenant, namespace: some(&namespace).map(str::to_owned), job: None })
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantName {
        name.parse().unwrap()
    }

    #[test]
    fn a_scope_sees_what_is_in_it() {
        let job = JobId::from_bits(7, 0);
        let owner = Owner { tenant: tenant("a"), namespace: "n".to_owned() };
        let scope = |tenant: Option<TenantName>, namespace: Option<&str>, job| Scope {
            tenant,
            namespace: namespace.map(str::to_owned),
            job,
        };
        assert!(Scope::ALL.sees(job, None));
        for (of, seen) in [
            (scope(Some(tenant("a")), None, None), true),
            (scope(Some(tenant("b")), None, None), false),
            (scope(Some(tenant("a")), Some("n"), None), true),
            (scope(Some(tenant("a")), Some("m"), None), false),
            (scope(None, Some("m"), None), false),
            (scope(Some(tenant("a")), None, Some(job)), true),
            (scope(Some(tenant("a")), None, Some(JobId::from_bits(8, 0))), false),
        ] {
            assert_eq!(of.sees(job, Some(&owner)), seen, "{of:?}");
            assert!(!of.sees(job, None), "{of:?}");
        }
    }

    #[test]
    fn a_scope_travels_as_text() {
        for (name, namespace) in
            [(None, None), (Some("a"), None), (Some("a"), Some("x/ü")), (None, Some("n"))]
        {
            let scope =
                Scope { tenant: name.map(tenant), namespace: namespace.map(str::to_owned), job: None };
            assert_eq!(Scope::from_text(&scope.to_text()), Some(scope));
        }
        for bad in [
            "",
            "a",
            "A/",
            "a b/n",
            "a/0",
            "a/zz",
            "a/ff",
            &format!("a/{}", "61".repeat(NAMESPACE_BYTES_MAX + 1)),
        ] {
            assert_eq!(Scope::from_text(bad), None, "{bad}");
        }
    }
}
