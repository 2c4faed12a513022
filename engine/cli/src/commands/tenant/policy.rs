//! `engine tenant allow`, and what of `engine tenant set` is about components: which of them a tenant may bring.

use std::path::{Path, PathBuf};

use clap::Args;
use engine_access::Signer;
use engine_client::messages::{ComponentPolicy, ComponentRequirement, SetPolicyRequest};
use engine_head::Components;
use engine_proto::convert::{component_id, digest};

use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::python;

/// What is required of a tenant's components. Nothing of it said leaves it as it is.
#[derive(Debug, Args)]
pub(super) struct Required {
    /// Take only components that are signed by this public key (PEM, ECDSA P-256 or Ed25519), or by another one that
    /// is given, or allowed; instead of the keys that were given before
    #[arg(long, value_name = "KEY.pem")]
    require_signed_by: Vec<PathBuf>,
    /// Take only components that are allowed (`engine tenant allow`)
    #[arg(long, conflicts_with = "require_signed_by")]
    require_allowed: bool,
    /// Take any component again
    #[arg(long, conflicts_with_all = ["require_signed_by", "require_allowed"])]
    no_requirement: bool,
}

impl Required {
    /// What is to be said to the engine; none: nothing.
    pub(super) fn request(&self, tenant: &str) -> Result<Option<SetPolicyRequest>, Failure> {
        let signers: Vec<Vec<u8>> =
            self.require_signed_by.iter().map(|path| signer(path)).collect::<Result<_, _>>()?;
        let is_required = self.require_allowed || !signers.is_empty();
        if !is_required && !self.no_requirement {
            return Ok(None);
        }
        let requirement = Some(ComponentRequirement { is_required, signers });
        Ok(Some(SetPolicyRequest { tenant: tenant.to_owned(), requirement, ..SetPolicyRequest::default() }))
    }
}

fn signer(path: &Path) -> Result<Vec<u8>, Failure> {
    let wrong = |why: String| Failure::Usage(format!("--require-signed-by {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let signer = Signer::from_pem(&text).map_err(|error| wrong(error.message().to_owned()))?;
    Ok(signer.der().to_vec())
}

/// Which components need no signature.
#[derive(Debug, Args)]
pub(super) struct Allow {
    /// The tenant
    #[arg(value_name = "NAME")]
    name: String,
    /// Components: each by its digest (sha256:…), or as a file
    #[arg(value_name = "DIGEST|FILE", required_unless_present = "python")]
    components: Vec<String>,
    /// The components that run Python programs, which are data to them: whoever may bring these may run any Python
    #[arg(long)]
    python: bool,
    /// Allow them no more
    #[arg(long)]
    remove: bool,
}

pub(super) async fn allow(args: &Allow, target: Target) -> Result<(), Failure> {
    let mut digests = args.components.iter().map(|text| named(text)).collect::<Result<Vec<_>, _>>()?;
    if args.python {
        let runner = python::runner()?;
        digests.push(of_file(&runner)?);
        if let Some(concurrent) = python::concurrent_beside(&runner) {
            digests.push(of_file(&concurrent)?);
        }
    }
    let mut change = SetPolicyRequest { tenant: args.name.clone(), ..SetPolicyRequest::default() };
    match args.remove {
        true => change.disallow = digests,
        false => change.allow = digests,
    }
    tell(&args.name, &connect::running(target).await?.set_policy(change).await?);
    Ok(())
}

/// The digest of what is named by it, or is in this file.
fn named(text: &str) -> Result<String, Failure> {
    let of_text = |text: &str| component_id(text).ok().map(digest);
    let found = of_text(text).or_else(|| of_text(&format!("sha256:{text}")));
    match found {
        Some(digest) => Ok(digest),
        None if text.starts_with("sha256:") => {
            let wrong = component_id(text).err().map(|error| error.message().to_owned());
            Err(Failure::Usage(wrong.unwrap_or_default()))
        }
        None => of_file(Path::new(text)),
    }
}

fn of_file(path: &Path) -> Result<String, Failure> {
    let bytes = std::fs::read(path);
    let bytes = bytes.map_err(|error| Failure::Usage(format!("cannot read {}: {error}", path.display())))?;
    Ok(digest(Components::id_of(&bytes)))
}

/// Says what holds from now on.
pub(super) fn tell(tenant: &str, policy: &ComponentPolicy) {
    eprintln!("the tenant {tenant} may bring {}", described(policy));
    if !policy.is_required && !policy.allowed.is_empty() {
        eprintln!(
            "what is allowed counts once something is required: engine tenant set {tenant} --require-signed-by KEY.pem, \
             or --require-allowed"
        );
    }
}

/// `components that are signed by one of 2 keys, and 3 others`
fn described(policy: &ComponentPolicy) -> String {
    let allowed = policy.allowed.len();
    match (policy.is_required, policy.signers.len()) {
        (false, _) => "any component".to_owned(),
        (true, 0) => format!("{allowed} components, and no other"),
        (true, keys) => {
            let keys = if keys == 1 { "1 key".to_owned() } else { format!("one of {keys} keys") };
            let others = if allowed == 0 { "no other".to_owned() } else { format!("{allowed} others") };
            format!("components that are signed by {keys}, and {others}")
        }
    }
}

/// The cell of a table: empty where any may be brought.
pub(super) fn cell(policy: Option<&ComponentPolicy>) -> String {
    match policy.filter(|policy| policy.is_required) {
        None => String::new(),
        Some(policy) => match (policy.signers.len(), policy.allowed.len()) {
            (0, allowed) => format!("{allowed} allowed"),
            (keys, 0) => format!("signed ({keys})"),
            (keys, allowed) => format!("signed ({keys}), {allowed} allowed"),
        },
    }
}

/// For programs.
pub(super) fn json(policy: Option<&ComponentPolicy>) -> serde_json::Value {
    let policy = policy.cloned().unwrap_or_default();
    let signer = |der: &Vec<u8>| Signer::from_der(der).map(|signer| signer.fingerprint()).ok();
    serde_json::json!({
        "is_required": policy.is_required,
        "signers": policy.signers.iter().filter_map(signer).collect::<Vec<_>>(),
        "allowed": policy.allowed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_named_by_digests_and_files() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.wasm");
        std::fs::write(&path, "a").unwrap();
        let digest = named(path.to_str().unwrap()).unwrap();
        assert_eq!(named(&digest).unwrap(), digest);
        assert_eq!(named(digest.strip_prefix("sha256:").unwrap()).unwrap(), digest);
        for bad in ["sha256:00", "nowhere.wasm"] {
            assert!(matches!(named(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn what_holds_is_said_in_words() {
        let policy = |is_required, keys: usize, allowed: usize| ComponentPolicy {
            is_required,
            signers: vec![Vec::new(); keys],
            allowed: vec![String::new(); allowed],
            ..ComponentPolicy::default()
        };
        assert_eq!(described(&policy(false, 0, 2)), "any component");
        assert_eq!(described(&policy(true, 0, 2)), "2 components, and no other");
        assert_eq!(described(&policy(true, 1, 0)), "components that are signed by 1 key, and no other");
        assert_eq!(
            described(&policy(true, 2, 3)),
            "components that are signed by one of 2 keys, and 3 others"
        );
        assert_eq!(cell(Some(&policy(true, 2, 3))), "signed (2), 3 allowed");
        assert_eq!(cell(Some(&policy(false, 0, 3))), "");
    }
}
