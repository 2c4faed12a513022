//! Hands components over.

use bytes::Bytes;
use engine_core::{ComponentId, Error as EngineError, ErrorCode};
use engine_proto::convert::digest;
use engine_proto::limits::{COMPONENT_BYTES_MAX, UPLOAD_CHUNK_BYTES_MAX};
use engine_proto::v1::upload_request::Part;
use engine_proto::v1::{HasRequest, UploadHeader, UploadRequest};
use sha2::{Digest, Sha256};

use crate::client::Client;
use crate::error::Result;

impl Client {
    /// Makes sure that the engine has this component, and sends it when it does not. The answer is
    /// what a job's specification names it by. LIMIT_EXCEEDED when it is too large,
    /// INVALID_COMPONENT when it is none.
    pub async fn upload(&self, component: impl Into<Bytes>) -> Result<ComponentId> {
        self.send(component.into(), &[], false).await
    }

    /// The same for one that jobs name as `on_demand`: it is looked at, and compiled, when something of it is
    /// to start.
    pub async fn upload_on_demand(&self, component: impl Into<Bytes>) -> Result<ComponentId> {
        self.send(component.into(), &[], true).await
    }

    /// The same with a signature, which a tenant may have to show of each: of ECDSA P-256 with SHA-256, in DER, or
    /// Ed25519, over the component's bytes. The job's specification has to name it too
    /// (`JobComponent.signature`). PERMISSION_DENIED when it is not one that the tenant needs.
    pub async fn upload_signed(
        &self,
        component: impl Into<Bytes>,
        signature: &[u8],
        on_demand: bool,
    ) -> Result<ComponentId> {
        self.send(component.into(), signature, on_demand).await
    }

    async fn send(&self, bytes: Bytes, signature: &[u8], on_demand: bool) -> Result<ComponentId> {
        let size_bytes = bytes.len() as u64;
        if size_bytes > COMPONENT_BYTES_MAX {
            return Err(EngineError::new(
                ErrorCode::LimitExceeded,
                format!("the component has {size_bytes} bytes, at most {COMPONENT_BYTES_MAX} are allowed"),
            )
            .into());
        }
        let id = ComponentId(Sha256::digest(&bytes).into());
        let has = HasRequest { digests: vec![digest(id)] };
        let missing = self.components().has(has).await.map_err(self.failed())?.into_inner().missing;
        if missing.is_empty() {
            return Ok(id);
        }
        let header = Part::Header(UploadHeader {
            digest: digest(id),
            size_bytes,
            on_demand,
            signature: signature.to_vec(),
            policy: None,
        });
        let parts = std::iter::once(header).chain(chunks(bytes).map(Part::Chunk));
        let messages = parts.map(|part| UploadRequest { part: Some(part) });
        self.components().upload(tokio_stream::iter(messages)).await.map_err(self.failed())?;
        Ok(id)
    }
}

fn chunks(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let next = bytes.split_to(bytes.len().min(UPLOAD_CHUNK_BYTES_MAX));
        (!next.is_empty()).then_some(next)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_whole_and_in_order() {
        let bytes: Bytes = (0..2 * UPLOAD_CHUNK_BYTES_MAX + 5).map(|n| (n % 251) as u8).collect();
        let parts: Vec<_> = chunks(bytes.clone()).collect();
        assert_eq!(parts.iter().map(Bytes::len).collect::<Vec<_>>(), [1 << 20, 1 << 20, 5]);
        assert_eq!(parts.concat(), bytes);
        assert_eq!(chunks(Bytes::new()).count(), 0);
    }
}
