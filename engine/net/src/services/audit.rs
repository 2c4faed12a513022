use std::sync::Arc;

use engine_audit::{AuditLog, Query};
use engine_core::{Error, ErrorCode, TenantName};
use engine_proto::convert::system_time;
use engine_proto::v1::audit_server::Audit;
use engine_proto::v1::{ReadAuditRequest, ReadAuditResponse};
use tonic::{Request, Response, Status};

use super::access::asker;
use super::answer;

/// Reads the audit log.
pub(crate) struct AuditService {
    /// None: none is kept.
    pub(crate) log: Option<Arc<AuditLog>>,
}

impl AuditService {
    async fn read(&self, request: Request<ReadAuditRequest>) -> Result<ReadAuditResponse, Error> {
        let (asks, request) = (asker(&request)?, request.into_inner());
        let asked: Option<TenantName> = match request.tenant.as_str() {
            "" => None,
            name => Some(name.parse()?),
        };
        let scope = asks.scope();
        let tenant = match (&scope.tenant, asked) {
            (Some(own), Some(asked)) if *own != asked => {
                return Err(Error::new(
                    ErrorCode::PermissionDenied,
                    format!("the token is of tenant {own}, and sees what was asked with tokens of that"),
                ));
            }
            (Some(own), _) => Some(own.clone()),
            (None, asked) => asked,
        };
        let none = || {
            Error::new(
                ErrorCode::Unsupported,
                "this engine keeps no audit log: start it with a folder for one (--audit-log DIR)",
            )
        };
        let query = Query {
            from: request.from,
            since: request.since.as_ref().and_then(system_time),
            tenant: tenant.map(|tenant| tenant.to_string()),
            namespace: scope.namespace.clone(),
        };
        let page = self.log.as_ref().ok_or_else(none)?.read(query).await.map_err(Error::internal)?;
        Ok(ReadAuditResponse { lines: page.lines, next: page.next, is_end: page.is_end })
    }
}

#[tonic::async_trait]
impl Audit for AuditService {
    async fn read(&self, request: Request<ReadAuditRequest>) -> Result<Response<ReadAuditResponse>, Status> {
        answer(self.read(request).await)
    }
}
