//! Which components tenants' jobs may bring, as it travels, and that they are what they have to be.

use engine_access::signed::Offered;
use engine_access::{ComponentPolicy, PolicyChange, Requirement, Signer};
use engine_core::{ComponentId, Error, TenantName};
use engine_proto::convert::{component_id, digest, tenant};
use engine_proto::v1;

/// A tenant's policy as it travels.
pub fn policy(of: &TenantName, policy: &ComponentPolicy) -> v1::ComponentPolicy {
    v1::ComponentPolicy {
        tenant: of.to_string(),
        is_required: policy.is_required,
        signers: policy.signers.iter().map(|signer| signer.der().to_vec()).collect(),
        allowed: policy.allowed.iter().map(|id| digest(*id)).collect(),
    }
}

/// A tenant's policy, from the wire.
///
/// # Errors
/// INVALID_ARGUMENT for what is no tenant, no key or no digest.
pub fn policy_from(from: &v1::ComponentPolicy) -> Result<(TenantName, ComponentPolicy), Error> {
    let policy = ComponentPolicy {
        is_required: from.is_required,
        signers: signers(&from.signers)?,
        allowed: from.allowed.iter().map(|text| component_id(text)).collect::<Result<_, _>>()?,
    };
    Ok((tenant(&from.tenant, "ComponentPolicy.tenant")?, policy))
}

fn signers(keys: &[Vec<u8>]) -> Result<Vec<Signer>, Error> {
    keys.iter().map(|key| Signer::from_der(key)).collect()
}

/// What is to be another way with a tenant's policy, from the wire.
///
/// # Errors
/// As [`policy_from`].
pub(crate) fn change_from(request: v1::SetPolicyRequest) -> Result<(TenantName, PolicyChange), Error> {
    let ids = |digests: &[String]| digests.iter().map(|text| component_id(text)).collect::<Result<_, _>>();
    let requirement = match request.requirement {
        None => None,
        Some(v1::ComponentRequirement { is_required: false, .. }) => Some(Requirement::Nothing),
        Some(v1::ComponentRequirement { signers: keys, .. }) => Some(Requirement::SignedBy(signers(&keys)?)),
    };
    let change = PolicyChange { requirement, allow: ids(&request.allow)?, disallow: ids(&request.disallow)? };
    Ok((request.tenant.parse()?, change))
}

/// Checks the components of a job, before anything of them is loaded. `bytes`: those of one that is there.
///
/// # Errors
/// PERMISSION_DENIED for one that the tenant may not bring.
pub fn check_components<B: AsRef<[u8]>>(
    (tenant, policy): (&TenantName, &ComponentPolicy),
    components: &[v1::JobComponent],
    bytes: impl Fn(ComponentId) -> Option<B>,
) -> Result<(), Error> {
    for component in components {
        let (id, signature) = (component_id(&component.digest)?, component.signature.as_slice());
        let found = if policy.needs_bytes(id, signature) { bytes(id) } else { None };
        let bytes = found.as_ref().map_or(&[][..], AsRef::as_ref);
        policy.check(tenant, Offered { name: &component.name, id, signature, bytes })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_comes_through_whole() {
        let of: TenantName = "red".parse().unwrap();
        let allowed = ComponentId([7; 32]);
        let own = ComponentPolicy { is_required: true, signers: Vec::new(), allowed: [allowed].into() };
        assert_eq!(policy_from(&policy(&of, &own)).unwrap(), (of, own));
        let bad = v1::ComponentPolicy { allowed: vec!["x".to_owned()], ..Default::default() };
        assert!(policy_from(&bad).is_err());
        let bad = v1::ComponentPolicy { signers: vec![b"x".to_vec()], ..Default::default() };
        assert!(policy_from(&bad).unwrap_err().message().contains("no public key"));
    }

    #[test]
    fn what_is_not_said_stays_as_it_is() {
        let request = v1::SetPolicyRequest { tenant: "red".to_owned(), ..Default::default() };
        let (_, change) = change_from(request.clone()).unwrap();
        assert_eq!(change, PolicyChange::default());
        let requirement = Some(v1::ComponentRequirement::default());
        let (_, change) = change_from(v1::SetPolicyRequest { requirement, ..request }).unwrap();
        assert_eq!(change.requirement, Some(Requirement::Nothing));
        assert!(change_from(v1::SetPolicyRequest::default()).is_err(), "whose it is has to be said");
    }

    #[test]
    fn one_component_that_may_not_be_there_is_enough() {
        let component = |name: &str, byte: u8| v1::JobComponent {
            name: name.to_owned(),
            digest: digest(ComponentId([byte; 32])),
            ..v1::JobComponent::default()
        };
        let tenant = TenantName::default();
        let policy = ComponentPolicy {
            is_required: true,
            signers: Vec::new(),
            allowed: [ComponentId([1; 32])].into(),
        };
        let check = |components: &[v1::JobComponent]| {
            check_components((&tenant, &policy), components, |_| None::<Vec<u8>>)
        };
        check(&[component("main", 1)]).unwrap();
        let error = check(&[component("main", 1), component("other", 2)]).unwrap_err();
        assert!(error.message().contains("the component other (sha256:0202"), "{error}");
    }
}
