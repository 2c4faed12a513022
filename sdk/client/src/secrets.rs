//! Secrets of tenants.

use engine_proto::v1::{DeleteSecretRequest, ListSecretsRequest, SecretView, SetSecretRequest};

use crate::client::Client;
use crate::error::Result;

impl Client {
    /// Gives a secret a value; jobs find it in their environment when their specification names it. `tenant`:
    /// none: that of this client.
    pub async fn set_secret(
        &self,
        tenant: Option<&str>,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<()> {
        let tenant = tenant.unwrap_or_default().to_owned();
        let request = SetSecretRequest { tenant, name: name.into(), value: value.into() };
        self.secrets().set(request).await.map_err(self.failed()).map(drop)
    }

    /// Forgets a secret. NOT_FOUND when there is none.
    pub async fn delete_secret(&self, tenant: Option<&str>, name: impl Into<String>) -> Result<()> {
        let request =
            DeleteSecretRequest { tenant: tenant.unwrap_or_default().to_owned(), name: name.into() };
        self.secrets().delete(request).await.map_err(self.failed()).map(drop)
    }

    /// The names of a tenant's secrets.
    pub async fn secrets_listed(&self, tenant: Option<&str>) -> Result<Vec<SecretView>> {
        let request = ListSecretsRequest { tenant: tenant.unwrap_or_default().to_owned() };
        Ok(self.secrets().list(request).await.map_err(self.failed())?.into_inner().secrets)
    }
}
