//! Whether an ID token is believed.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use engine_core::Error;

use crate::limits::{CLOCK_SKEW_MAX, ID_TOKEN_BYTES_MAX};
use crate::refused;
use crate::rules::Rules;

/// How tokens may be signed: by keys of which the issuer alone has the private half.
const ALGORITHMS: [(&str, Algorithm); 3] =
    [("RS256", Algorithm::RS256), ("ES256", Algorithm::ES256), ("EdDSA", Algorithm::EdDSA)];

/// What a token says of how it is signed. It is believed only as far as it says which key to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
}

/// Reads the first part of a token.
pub(crate) fn head(token: &str) -> Result<Head, Error> {
    if token.len() > ID_TOKEN_BYTES_MAX {
        return Err(refused(format!("it has more than {ID_TOKEN_BYTES_MAX} bytes (id_token_bytes_max)")));
    }
    let malformed = || refused("it is malformed: expected the three parts of a JWT, as the issuer gave it");
    let mut parts = token.split('.');
    let (Some(head), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed());
    };
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(head).map_err(|_| malformed())?;
    let fields: Map<String, Value> = serde_json::from_slice(&bytes).map_err(|_| malformed())?;
    let named = fields.get("alg").and_then(Value::as_str).unwrap_or_default();
    let found = ALGORITHMS.iter().find(|(name, _)| *name == named);
    let (_, algorithm) = found.ok_or_else(|| {
        let named: String = named.chars().take(20).collect();
        refused(format!("it is signed by {named:?}, and only RS256, ES256 and EdDSA are believed"))
    })?;
    if fields.contains_key("crit") {
        return Err(refused("it wants something understood that this engine does not know (crit)"));
    }
    let key_id = fields.get("kid").and_then(Value::as_str).map(ToOwned::to_owned);
    Ok(Head { algorithm: *algorithm, key_id })
}

/// Whether a key is one that could have signed such a token.
pub(crate) fn is_for(key: &Jwk, head: &Head) -> bool {
    let is_of_kind = match &key.algorithm {
        AlgorithmParameters::RSA(_) => head.algorithm == Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(_) => head.algorithm == Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(_) => head.algorithm == Algorithm::EdDSA,
        // A secret that both ends have is no issuer's alone.
        AlgorithmParameters::OctetKey(_) => false,
    };
    let named = key.common.key_algorithm.map(|named| named.to_string());
    let is_named = named.is_none_or(|named| named == format!("{:?}", head.algorithm));
    let is_to_sign = key
        .common
        .public_key_use
        .as_ref()
        .is_none_or(|to| matches!(to, jsonwebtoken::jwk::PublicKeyUse::Signature));
    is_of_kind && is_named && is_to_sign
}

/// What a token says, when one of these keys has signed it, and it is for this engine and of this time.
pub(crate) fn claims(
    token: &str,
    head: &Head,
    keys: &[Jwk],
    rules: &Rules,
) -> Result<Map<String, Value>, Error> {
    let mut validation = Validation::new(head.algorithm);
    validation.set_issuer(&[&rules.issuer]);
    validation.set_audience(&[&rules.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_nbf = true;
    validation.leeway = CLOCK_SKEW_MAX.as_secs();
    let mut why = refused("the issuer has no key that could have signed it");
    for key in keys {
        let Ok(key) = DecodingKey::from_jwk(key) else { continue };
        match jsonwebtoken::decode::<Map<String, Value>>(token, &key, &validation) {
            Ok(token) => return Ok(token.claims),
            Err(error) => why = refused(explained(&error, rules)),
        }
    }
    Err(why)
}

fn explained(error: &jsonwebtoken::errors::Error, rules: &Rules) -> String {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => "its signature is not one of the issuer's keys".to_owned(),
        ErrorKind::ExpiredSignature => "it has expired: get another one from the issuer".to_owned(),
        ErrorKind::ImmatureSignature => "it is not good yet (nbf): look at the clocks".to_owned(),
        ErrorKind::InvalidIssuer => format!("it is not of the issuer {}", rules.issuer),
        ErrorKind::InvalidAudience => {
            format!("it is for somebody else: its audience (aud) is not {:?}", rules.audience)
        }
        ErrorKind::MissingRequiredClaim(name) => format!("it does not say {name}"),
        _ => "it is malformed, or signed another way than it says".to_owned(),
    }
}
