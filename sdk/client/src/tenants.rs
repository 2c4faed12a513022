//! Tenants and what they may have.

use engine_proto::v1::{
    ComponentPolicy, DeleteTenantRequest, ListTenantsRequest, SetPolicyRequest, SetTenantRequest, TenantSpec,
    TenantView, UsageRequest, UsageResponse,
};

use crate::client::Client;
use crate::error::Result;

impl Client {
    /// Creates a tenant, or changes what it may have: what is not said has no bound. `is_new`: ALREADY_EXISTS
    /// when it is there.
    pub async fn set_tenant(&self, spec: TenantSpec, is_new: bool) -> Result<TenantView> {
        let request = SetTenantRequest { spec: Some(spec), is_new };
        Ok(self.tenants().set(request).await.map_err(self.failed())?.into_inner())
    }

    /// Says which components a tenant's jobs may bring: what of `change` is not said stays as it is. What holds then.
    pub async fn set_policy(&self, change: SetPolicyRequest) -> Result<ComponentPolicy> {
        Ok(self.tenants().set_policy(change).await.map_err(self.failed())?.into_inner())
    }

    /// Forgets what a tenant may have. INVALID_ARGUMENT while it has jobs that have not ended.
    pub async fn delete_tenant(&self, name: impl Into<String>) -> Result<()> {
        let request = DeleteTenantRequest { name: name.into() };
        self.tenants().delete(request).await.map_err(self.failed()).map(drop)
    }

    /// What tenants may have and use, by name; `name`: of one alone, NOT_FOUND when there is none.
    pub async fn tenants_listed(&self, name: Option<&str>) -> Result<Vec<TenantView>> {
        let request = ListTenantsRequest { name: name.unwrap_or_default().to_owned() };
        Ok(self.tenants().list(request).await.map_err(self.failed())?.into_inner().tenants)
    }

    /// What tenants have consumed: the first records that are asked for, and where to go on.
    pub async fn usage_read(&self, request: UsageRequest) -> Result<UsageResponse> {
        Ok(self.tenants().usage(request).await.map_err(self.failed())?.into_inner())
    }
}
