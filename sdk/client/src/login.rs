//! Getting a token for what an issuer of OpenID Connect has given.

use engine_proto::address::Address;
use engine_proto::v1::tokens_client::TokensClient;
use engine_proto::v1::{LoginRequest, LoginResponse};
use engine_tls::{Complaint, Fingerprint};

use crate::client::Stamp;
use crate::connect::{self, KEEPALIVE};
use crate::error::{Error, Result};

/// Gets a token of the engine at `address` for an ID token, which is shown to nobody but that engine. `authority`:
/// by what a cluster with TLS is known, the fingerprint that its head prints.
///
/// # Errors
/// UNAUTHENTICATED when the engine does not believe the ID token, or nobody logs in there; PERMISSION_DENIED when
/// no rule fits; when the engine is not reached.
pub async fn login(
    address: Address,
    authority: Option<Fingerprint>,
    request: LoginRequest,
) -> Result<LoginResponse> {
    let address = match address {
        Address::Tcp(at) if authority.is_some() => Address::Tls { at, credentials: None },
        address => address,
    };
    let complaint = Complaint::default();
    let channel = connect::channel(&address, authority, KEEPALIVE, &complaint).await?;
    let mut tokens = TokensClient::with_interceptor(channel, Stamp::new(None));
    let failed = match tokens.login(request).await {
        Ok(response) => return Ok(response.into_inner()),
        Err(status) => Error::from_status(&status, &address),
    };
    Err(match (failed, complaint.take()) {
        (Error::Unreachable { .. }, Some(reason)) => Error::Unreachable { address, reason },
        (error, _) => error,
    })
}
