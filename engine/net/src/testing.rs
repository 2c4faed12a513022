//! Identities for tests.

use std::sync::Arc;
use std::time::Duration;

use engine_core::NodeId;
use engine_tls::{Authority, Identity, KeyRequest};

/// The authority of a cluster, in a folder of its own.
pub(crate) struct TestCluster {
    pub(crate) authority: Arc<Authority>,
    _folder: tempfile::TempDir,
}

impl TestCluster {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open_or_make(&folder.path().join("tls")).unwrap();
        Self { authority, _folder: folder }
    }

    pub(crate) fn node(&self, node: NodeId) -> Identity {
        let token = self.authority.new_token(Duration::from_secs(60)).unwrap();
        let key = KeyRequest::new().unwrap();
        let issued = self.authority.issue(node, key.signing_request()).unwrap();
        key.joined(node, &token, self.authority.certificate(), &issued.certificate, issued.lifetime).unwrap()
    }

    pub(crate) fn head(&self) -> Identity {
        self.authority.head_identity().unwrap()
    }
}
