//! What a job asks for, in one number.

use engine_proto::v1;
use sha2::{Digest, Sha256};

/// A digest of all that a job asks for, but its submission id, whether its client stays, and the signatures of its
/// components.
pub fn spec_digest(spec: &v1::JobSpec) -> [u8; 32] {
    let mut spec = spec.clone();
    spec.submission_id.clear();
    spec.attached = false;
    // Signed again, it is the same component.
    spec.components.iter_mut().for_each(|component| component.signature.clear());
    // A map has no order, and a digest needs one.
    let mut env: Vec<(String, String)> = std::mem::take(&mut spec.env).into_iter().collect();
    env.sort();
    let mut hasher = Sha256::new();
    hasher.update(engine_proto::prost::Message::encode_to_vec(&spec));
    for (name, value) in env {
        for text in [name, value] {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_does_not_depend_on_the_order_of_a_map() {
        let spec = |pairs: &[(&str, &str)]| v1::JobSpec {
            submission_id: pairs.len().to_string(),
            env: pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            ..v1::JobSpec::default()
        };
        assert_eq!(
            spec_digest(&spec(&[("a", "1"), ("b", "2")])),
            spec_digest(&spec(&[("b", "2"), ("a", "1")]))
        );
        assert_ne!(
            spec_digest(&spec(&[("a", "1"), ("b", "2")])),
            spec_digest(&spec(&[("a", "12"), ("b", "")]))
        );
    }
}
