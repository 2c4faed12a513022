//! The version of the protocol, and the metadata that carries it.

use engine_core::{Error, ErrorCode};

/// The protocol that this build speaks. Raised with each change that an older peer cannot read.
pub const PROTOCOL: u32 = 1;
/// The oldest protocol that this build still speaks.
pub const PROTOCOL_MIN: u32 = 1;
/// The version of this build, for people.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The metadata key under which each request carries the client's protocol.
pub const PROTOCOL_KEY: &str = "engine-protocol";

/// Whether a client that speaks `protocol` can be served; else UNSUPPORTED with what to do.
pub fn check(protocol: u32) -> Result<(), Error> {
    if (PROTOCOL_MIN..=PROTOCOL).contains(&protocol) {
        return Ok(());
    }
    let older = if protocol < PROTOCOL_MIN { "client" } else { "engine" };
    Err(Error::new(
        ErrorCode::Unsupported,
        format!(
            "the client speaks protocol {protocol}, this engine (version {VERSION}) speaks {PROTOCOL_MIN} to \
             {PROTOCOL}: update the {older}"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_side_is_told_to_update() {
        assert!(check(PROTOCOL).is_ok());
        let error = check(PROTOCOL + 1).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unsupported);
        assert!(error.message().ends_with("update the engine"), "{error}");
        assert!(check(0).unwrap_err().message().ends_with("update the client"));
    }
}
