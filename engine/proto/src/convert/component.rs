//! Digests of components.

use engine_core::{ComponentId, Error};

use crate::v1::ComponentInfo;

/// A component's digest as it travels: `sha256:` and 64 hexadecimal digits.
pub fn digest(id: ComponentId) -> String {
    id.to_string()
}

/// The component of a digest; INVALID_ARGUMENT when it is none.
pub fn component_id(digest: &str) -> Result<ComponentId, Error> {
    parse(digest).ok_or_else(|| {
        let shown: String = digest.chars().take(80).collect();
        Error::invalid_argument(format!(
            "{shown:?} is not the digest of a component: expected sha256: and 64 hexadecimal digits"
        ))
    })
}

/// What is known of a component that is kept without a look.
pub fn kept(id: ComponentId, size_bytes: u64) -> ComponentInfo {
    ComponentInfo { digest: digest(id), size_bytes, ..ComponentInfo::default() }
}

fn parse(digest: &str) -> Option<ComponentId> {
    let hex = digest.strip_prefix("sha256:")?.as_bytes();
    let mut bytes = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(ComponentId(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back() {
        let id = ComponentId(std::array::from_fn(|n| n as u8 * 7));
        assert_eq!(component_id(&digest(id)).unwrap(), id);
    }

    #[test]
    fn what_is_not_a_digest_is_refused() {
        for text in ["", "sha256:", "sha256:00", &format!("sha256:{}", "é".repeat(32)), &"0".repeat(64)] {
            assert!(component_id(text).is_err(), "{text}");
        }
    }
}
