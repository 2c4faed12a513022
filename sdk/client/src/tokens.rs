//! Makes tokens and takes them back.

use engine_proto::v1::{CreateTokenRequest, CreateTokenResponse, RevokeTokenRequest};

use crate::client::Client;
use crate::error::Result;

impl Client {
    /// Makes a token, which whoever has it is known by. PERMISSION_DENIED for more than this client may itself.
    pub async fn create_token(&self, request: CreateTokenRequest) -> Result<CreateTokenResponse> {
        Ok(self.tokens().create(request).await.map_err(self.failed())?.into_inner())
    }

    /// Takes back the token of this id, and what was made of it. Again it changes nothing.
    pub async fn revoke_token(&self, token_id: impl Into<String>) -> Result<()> {
        let request = RevokeTokenRequest { token_id: token_id.into() };
        self.tokens().revoke(request).await.map_err(self.failed()).map(drop)
    }
}
