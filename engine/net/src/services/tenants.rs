use std::sync::Arc;

use engine_access::Scope;
use engine_core::{Error, TenantName, Time};
use engine_proto::convert::{system_time, tenant_spec_from};
use engine_proto::status_from_error;
use engine_proto::v1::tenants_server::Tenants;
use engine_proto::v1::{
    ComponentPolicy, DeleteTenantRequest, DeleteTenantResponse, ListTenantsRequest, ListTenantsResponse,
    SetPolicyRequest, SetTenantRequest, TenantView, UsageRequest, UsageResponse,
};
use tonic::{Request, Response, Status};

use super::access::asker;
use super::answer;
use crate::backend::{Backend, UsageRead};
use crate::policy;

/// Digests of one request that the audit log names.
const DIGESTS_TOLD_MAX: usize = 4;

/// Says what tenants may have.
pub(crate) struct TenantsService {
    pub(crate) backend: Arc<dyn Backend>,
}

impl TenantsService {
    async fn set(&self, request: Request<SetTenantRequest>) -> Result<TenantView, Error> {
        let (asks, request) = (asker(&request)?, request.into_inner());
        let spec = request.spec.ok_or_else(|| Error::invalid_argument("SetTenantRequest.spec is missing"))?;
        asks.about("tenant", &spec.name);
        self.backend.set_tenant(tenant_spec_from(spec)?, request.is_new).await
    }

    async fn delete(&self, request: Request<DeleteTenantRequest>) -> Result<DeleteTenantResponse, Error> {
        asker(&request)?.about("tenant", &request.get_ref().name);
        let name: TenantName = request.into_inner().name.parse()?;
        self.backend.delete_tenant(name).await.map(|()| DeleteTenantResponse {})
    }

    async fn set_policy(&self, request: Request<SetPolicyRequest>) -> Result<ComponentPolicy, Error> {
        let (asks, request) = (asker(&request)?, request.into_inner());
        asks.about("tenant", &request.tenant);
        for (what, digests) in [("allow", &request.allow), ("disallow", &request.disallow)] {
            asks.about(what, digests.iter().take(DIGESTS_TOLD_MAX).cloned().collect::<Vec<_>>().join(","));
        }
        match &request.requirement {
            None => {}
            Some(requirement) if !requirement.is_required => asks.about("required", "nothing"),
            Some(requirement) => asks.about("signers", requirement.signers.len()),
        }
        let (tenant, change) = policy::change_from(request)?;
        self.backend.set_policy(tenant, change).await
    }

    async fn list(&self, scope: &Scope, request: ListTenantsRequest) -> Result<ListTenantsResponse, Error> {
        let asked: Option<TenantName> = match request.name.as_str() {
            "" => None,
            name => Some(name.parse()?),
        };
        let is_seen = |view: &TenantView| {
            let name = view.spec.as_ref().map_or("", |spec| spec.name.as_str());
            scope.tenant.as_ref().is_none_or(|tenant| tenant.as_str() == name)
                && asked.as_ref().is_none_or(|asked| asked.as_str() == name)
        };
        let tenants: Vec<TenantView> = self.backend.tenants().await?.into_iter().filter(is_seen).collect();
        match asked {
            Some(name) if tenants.is_empty() => Err(Error::new(
                engine_core::ErrorCode::NotFound,
                format!(
                    "there is no tenant {name}, and none of its jobs: `engine tenant list` shows those there are"
                ),
            )),
            _ => Ok(ListTenantsResponse { tenants }),
        }
    }

    async fn usage(&self, scope: &Scope, request: UsageRequest) -> Result<UsageResponse, Error> {
        let asked: Option<TenantName> = match request.tenant.as_str() {
            "" => None,
            name => Some(name.parse()?),
        };
        let tenant = match (&scope.tenant, asked) {
            // As of one that is not there: nothing.
            (Some(own), Some(asked)) if *own != asked => return Ok(UsageResponse::default()),
            (Some(own), _) => Some(own.clone()),
            (None, asked) => asked,
        };
        let since = request.since.as_ref().map(|since| {
            system_time(since).ok_or_else(|| Error::invalid_argument("UsageRequest.since is no time"))
        });
        let after = request.after.map(|after| Ok::<_, Error>((after.tenant.parse()?, Time(after.start_ns))));
        self.backend.usage(UsageRead { tenant, since: since.transpose()?, after: after.transpose()? }).await
    }
}

#[tonic::async_trait]
impl Tenants for TenantsService {
    async fn set(&self, request: Request<SetTenantRequest>) -> Result<Response<TenantView>, Status> {
        answer(self.set(request).await)
    }

    async fn delete(
        &self,
        request: Request<DeleteTenantRequest>,
    ) -> Result<Response<DeleteTenantResponse>, Status> {
        answer(self.delete(request).await)
    }

    async fn set_policy(
        &self,
        request: Request<SetPolicyRequest>,
    ) -> Result<Response<ComponentPolicy>, Status> {
        answer(self.set_policy(request).await)
    }

    async fn list(
        &self,
        request: Request<ListTenantsRequest>,
    ) -> Result<Response<ListTenantsResponse>, Status> {
        let asks = asker(&request).map_err(|error| status_from_error(&error))?.clone();
        answer(self.list(asks.scope(), request.into_inner()).await)
    }

    async fn usage(&self, request: Request<UsageRequest>) -> Result<Response<UsageResponse>, Status> {
        let asks = asker(&request).map_err(|error| status_from_error(&error))?.clone();
        answer(self.usage(asks.scope(), request.into_inner()).await)
    }
}
