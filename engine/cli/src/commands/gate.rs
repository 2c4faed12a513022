//! What judges the tokens that an engine is shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_access::Gate;
use engine_client::{AccessToken, Address};
use engine_tls::Fingerprint;

use crate::embedded;
use crate::failure::Failure;

/// That of an engine which keeps what it has in this folder; none: nowhere. Where everybody has to show a token,
/// the operator's is written there.
pub(crate) fn gate(
    folder: Option<&Path>,
    is_token_required: bool,
    authority: Option<Fingerprint>,
) -> Result<Arc<Gate>, Failure> {
    let gate = match folder {
        Some(folder) => Gate::open(folder).map_err(|error| Failure::Other(error.to_string()))?,
        None => Gate::in_memory(),
    };
    if !is_token_required {
        return Ok(Arc::new(gate));
    }
    let text = |secret| AccessToken::new(secret, authority).to_secret_text();
    let kept = gate.keep_operator_token(text).map_err(|error| Failure::Client(error.into()))?;
    let Some(kept) = kept else {
        return Err(Failure::Usage(
            "--require-token needs a folder for the operator's token: leave --in-memory away, and name a folder with \
             --data-dir where $HOME is not set"
                .to_owned(),
        ));
    };
    eprintln!("it wants a token of everybody; the operator's stands in {}", kept.display());
    Ok(Arc::new(gate.require_token()))
}

/// Where an `engine up` at this address keeps what it needs for tokens, when it keeps anything.
pub(crate) fn folder_of_up(address: &Address) -> Option<PathBuf> {
    let name: String = address.to_string();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
    let name: String = name.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    Some(embedded::state_dir()?.join("up").join(name))
}
