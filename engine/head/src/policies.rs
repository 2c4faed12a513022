//! Which components tenants' jobs may bring: in memory, and in a file where the engine keeps what it has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use engine_core::{Error, ErrorCode, TenantName};
use engine_net::{ComponentPolicy, PolicyChange, check_components, policy, policy_from};
use engine_proto::prost::Message;
use engine_proto::v1;
use parking_lot::RwLock;

use crate::components::Components;

/// Tenants of which it is said which components they may bring.
const POLICIES_MAX: usize = 1_000;
/// Bytes of the file, which [`POLICIES_MAX`] of the largest do not exceed.
const FILE_BYTES_MAX: u64 = 128 << 20;
/// What the file begins with; the number is that of its form.
const MAGIC: &[u8] = b"engine-component-policies-1\n";

/// The policies of all tenants.
#[derive(Default)]
pub struct Policies {
    of_tenants: RwLock<BTreeMap<TenantName, ComponentPolicy>>,
    /// Where they are kept; none: nowhere.
    path: Option<PathBuf>,
}

/// What is kept of policies cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PoliciesError {
    /// The file cannot be used.
    #[error("which components tenants may bring: {0}")]
    File(#[from] engine_private::Error),
    /// To go on without it could let in what it keeps out.
    #[error(
        "which components tenants may bring: {} is damaged ({what}): bring it back from a copy, or remove it and say \
         it anew (engine tenant set --require-signed-by)",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is the matter.
        what: String,
    },
}

impl Policies {
    /// Those that this file keeps; none where there is no such file.
    ///
    /// # Errors
    /// When it is open to others, or damaged.
    pub fn open(path: &Path) -> Result<Self, PoliciesError> {
        let damaged = |what: String| PoliciesError::Damaged { path: path.to_owned(), what };
        let mut of_tenants = BTreeMap::new();
        if let Some(bytes) = engine_private::read(path, FILE_BYTES_MAX)? {
            let own =
                bytes.strip_prefix(MAGIC).ok_or_else(|| damaged("no engine has written it".to_owned()))?;
            let kept = v1::KeptPolicies::decode(own).map_err(|error| damaged(error.to_string()))?;
            for kept in &kept.policies {
                let (tenant, policy) =
                    policy_from(kept).map_err(|error| damaged(error.message().to_owned()))?;
                of_tenants.insert(tenant, policy);
            }
        }
        Ok(Self { of_tenants: RwLock::new(of_tenants), path: Some(path.to_owned()) })
    }

    /// What a tenant's components have to be.
    pub fn of(&self, tenant: &TenantName) -> ComponentPolicy {
        self.of_tenants.read().get(tenant).cloned().unwrap_or_default()
    }

    /// All of which something is said, by tenant.
    pub fn all(&self) -> Vec<(TenantName, ComponentPolicy)> {
        self.of_tenants.read().iter().map(|(tenant, policy)| (tenant.clone(), policy.clone())).collect()
    }

    /// Says what a tenant's components have to be from now on, on disk too where there is one.
    ///
    /// # Errors
    /// LIMIT_EXCEEDED for too much of it, OUT_OF_DISK and INTERNAL when it cannot be kept; then it is what it was.
    pub fn change(&self, tenant: &TenantName, change: PolicyChange) -> Result<ComponentPolicy, Error> {
        let mut all = self.of_tenants.write();
        let changed = all.get(tenant).cloned().unwrap_or_default().changed(change)?;
        if !all.contains_key(tenant) && all.len() >= POLICIES_MAX {
            let message = format!(
                "of {POLICIES_MAX} tenants it is said which components they may bring, which is the most (policies_max)"
            );
            return Err(Error::new(ErrorCode::LimitExceeded, message));
        }
        let mut next = all.clone();
        match changed.is_empty() {
            true => drop(next.remove(tenant)),
            false => drop(next.insert(tenant.clone(), changed.clone())),
        }
        self.keep(&next)?;
        *all = next;
        Ok(changed)
    }

    /// Forgets what was said of a tenant that was deleted; `deleted`: what came of that. One of which nothing
    /// else is known is known by this.
    ///
    /// # Errors
    /// What came of it; as [`Self::change`].
    pub fn deleted(&self, tenant: &TenantName, deleted: Result<(), Error>) -> Result<(), Error> {
        let mut all = self.of_tenants.write();
        match deleted {
            Err(error) if error.code() != ErrorCode::NotFound || !all.contains_key(tenant) => Err(error),
            _ if !all.contains_key(tenant) => Ok(()),
            _ => {
                let mut next = all.clone();
                next.remove(tenant);
                self.keep(&next)?;
                *all = next;
                Ok(())
            }
        }
    }

    fn keep(&self, all: &BTreeMap<TenantName, ComponentPolicy>) -> Result<(), Error> {
        let Some(path) = &self.path else { return Ok(()) };
        let policies = all.iter().map(|(tenant, own)| policy(tenant, own)).collect();
        let bytes = [MAGIC, &v1::KeptPolicies { policies }.encode_to_vec()].concat();
        engine_private::write(path, &bytes).map_err(|error| {
            let is_full = matches!(&error, engine_private::Error::File { source, .. }
                if matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded));
            Error::new(if is_full { ErrorCode::OutOfDisk } else { ErrorCode::Internal }, error.to_string())
        })
    }

    /// Checks the components of a job of this tenant, and answers what nodes check again; none: any may be there.
    ///
    /// # Errors
    /// PERMISSION_DENIED for one that the tenant may not bring.
    pub fn check_job(
        &self,
        tenant: &TenantName,
        spec: &v1::JobSpec,
        components: &Components,
    ) -> Result<Option<v1::ComponentPolicy>, Error> {
        let own = self.of(tenant);
        if !own.is_required {
            return Ok(None);
        }
        check_components((tenant, &own), &spec.components, |id| components.get(id))?;
        let ids: Result<Vec<_>, _> = spec
            .components
            .iter()
            .map(|component| engine_proto::convert::component_id(&component.digest))
            .collect();
        Ok(Some(policy(tenant, &own.for_components(&ids?))))
    }
}

#[cfg(test)]
mod tests {
    use engine_core::ComponentId;
    use engine_net::Requirement;

    use super::*;

    fn required() -> PolicyChange {
        let requirement = Some(Requirement::SignedBy(Vec::new()));
        PolicyChange { requirement, allow: vec![ComponentId([1; 32])], ..PolicyChange::default() }
    }

    #[test]
    fn what_is_said_is_there_after_a_restart_until_it_is_taken_back() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("component-policies");
        let red: TenantName = "red".parse().unwrap();
        let policies = Policies::open(&path).unwrap();
        let said = policies.change(&red, required()).unwrap();
        assert!(said.is_required && said.allowed.len() == 1);
        let again = Policies::open(&path).unwrap();
        assert_eq!((again.of(&red), again.all().len()), (said, 1));
        assert!(again.of(&TenantName::default()).is_empty());
        let running = Error::invalid_argument("it has jobs");
        assert_eq!(again.deleted(&red, Err(running.clone())).unwrap_err().code(), running.code());
        let unknown = Error::new(ErrorCode::NotFound, "there is none");
        again.deleted(&red, Err(unknown.clone())).unwrap();
        assert!(Policies::open(&path).unwrap().all().is_empty());
        assert_eq!(again.deleted(&red, Err(unknown)).unwrap_err().code(), ErrorCode::NotFound);
    }

    #[test]
    fn what_cannot_be_kept_is_not_said() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("folder/component-policies");
        let red: TenantName = "red".parse().unwrap();
        let policies = Policies::open(&path).unwrap();
        assert_eq!(policies.change(&red, required()).unwrap_err().code(), ErrorCode::Internal);
        assert!(policies.of(&red).is_empty());
    }

    #[test]
    fn an_engine_does_not_start_without_what_it_has_been_told() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("component-policies");
        for bad in [b"nonsense".to_vec(), [MAGIC, b"\x0a\xff"].concat()] {
            engine_private::write(&path, &bad).unwrap();
            assert!(matches!(Policies::open(&path), Err(PoliciesError::Damaged { .. })));
        }
    }

    #[test]
    fn a_job_is_checked_as_a_whole_and_nodes_are_told_what_concerns_it() {
        let policies = Policies::default();
        let components = Components::new(None, 1 << 20);
        let red: TenantName = "red".parse().unwrap();
        let component = |byte: u8| v1::JobComponent {
            name: format!("c{byte}"),
            digest: engine_proto::convert::digest(ComponentId([byte; 32])),
            ..v1::JobComponent::default()
        };
        let spec = |bytes: &[u8]| v1::JobSpec {
            components: bytes.iter().map(|byte| component(*byte)).collect(),
            ..v1::JobSpec::default()
        };
        assert_eq!(policies.check_job(&red, &spec(&[2]), &components).unwrap(), None);
        let allow = vec![ComponentId([1; 32]), ComponentId([3; 32])];
        policies.change(&red, PolicyChange { allow, ..required() }).unwrap();
        let told = policies.check_job(&red, &spec(&[1]), &components).unwrap().unwrap();
        assert_eq!(told.allowed, [component(1).digest]);
        let error = policies.check_job(&red, &spec(&[1, 2]), &components).unwrap_err();
        assert_eq!(error.code(), ErrorCode::PermissionDenied);
    }
}
