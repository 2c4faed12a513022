use std::sync::Arc;

use engine_core::{Error, ErrorCode, TenantName};
use engine_proto::v1::secrets_server::Secrets;
use engine_proto::v1::{
    DeleteSecretRequest, DeleteSecretResponse, ListSecretsRequest, ListSecretsResponse, SetSecretRequest,
    SetSecretResponse,
};
use tonic::{Request, Response, Status};

use super::access::{Asker, asker};
use super::answer;
use crate::backend::Backend;
use crate::check;

/// Keeps the secrets of tenants.
pub(crate) struct SecretsService {
    pub(crate) backend: Arc<dyn Backend>,
}

impl SecretsService {
    async fn set(&self, request: Request<SetSecretRequest>) -> Result<SetSecretResponse, Error> {
        let (asks, SetSecretRequest { tenant, name, value }) = (asker(&request)?, request.into_inner());
        let tenant = about(&asks, &tenant, &name)?;
        self.backend.set_secret(tenant, &name, value).await.map(|()| SetSecretResponse {})
    }

    async fn delete(&self, request: Request<DeleteSecretRequest>) -> Result<DeleteSecretResponse, Error> {
        let (asks, DeleteSecretRequest { tenant, name }) = (asker(&request)?, request.into_inner());
        let tenant = about(&asks, &tenant, &name)?;
        self.backend.delete_secret(tenant, &name).await.map(|()| DeleteSecretResponse {})
    }

    async fn list(&self, request: Request<ListSecretsRequest>) -> Result<ListSecretsResponse, Error> {
        let tenant = whose(&asker(&request)?, &request.get_ref().tenant)?;
        Ok(ListSecretsResponse { secrets: self.backend.secrets(tenant).await? })
    }
}

/// Whose secret is meant, and for the audit log which.
fn about(asks: &Asker, tenant: &str, name: &str) -> Result<TenantName, Error> {
    // What is no name may be a value.
    check::secret_name(name)?;
    asks.about("secret", name);
    let tenant = whose(asks, tenant)?;
    asks.about("tenant", &tenant);
    Ok(tenant)
}

/// Whose secrets are meant: those of who asks, and of the operator anybody's.
fn whose(asks: &Asker, tenant: &str) -> Result<TenantName, Error> {
    let scope = asks.scope();
    match tenant {
        "" => Ok(scope.submitter()),
        name => {
            let tenant: TenantName = name.parse()?;
            match &scope.tenant {
                Some(own) if *own != tenant => Err(Error::new(
                    ErrorCode::PermissionDenied,
                    format!("the token is of tenant {own}: leave the tenant away"),
                )),
                _ => Ok(tenant),
            }
        }
    }
}

#[tonic::async_trait]
impl Secrets for SecretsService {
    async fn set(&self, request: Request<SetSecretRequest>) -> Result<Response<SetSecretResponse>, Status> {
        answer(self.set(request).await)
    }

    async fn delete(
        &self,
        request: Request<DeleteSecretRequest>,
    ) -> Result<Response<DeleteSecretResponse>, Status> {
        answer(self.delete(request).await)
    }

    async fn list(
        &self,
        request: Request<ListSecretsRequest>,
    ) -> Result<Response<ListSecretsResponse>, Status> {
        answer(self.list(request).await)
    }
}
