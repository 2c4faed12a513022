//! Reads the audit log.

use engine_proto::v1::{ReadAuditRequest, ReadAuditResponse};

use crate::client::Client;
use crate::error::Result;

impl Client {
    /// Lines of the audit log, the oldest first; more from what the answer says is next. UNSUPPORTED when the
    /// engine keeps none.
    pub async fn read_audit(&self, request: ReadAuditRequest) -> Result<ReadAuditResponse> {
        Ok(self.audit().read(request).await.map_err(self.failed())?.into_inner())
    }
}
