use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use engine_access::Scope;
use engine_access::signed::{Offered, check_signature};
use engine_core::{ComponentId, Error, ErrorCode};
use engine_proto::convert::{component_id, digest};
use engine_proto::limits::{COMPONENT_BYTES_MAX, DIGESTS_MAX, UPLOAD_CHUNK_BYTES_MAX};
use engine_proto::status_from_error;
use engine_proto::v1::components_server::Components;
use engine_proto::v1::upload_request::Part;
use engine_proto::v1::{ComponentInfo, HasRequest, HasResponse, UploadHeader, UploadRequest};
use futures::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use super::access::asker;
use super::answer;
use crate::backend::Backend;
use crate::limits::{UPLOAD_IDLE_MAX, UPLOADS_MAX};
use crate::policy::policy_from;

/// Takes components in.
pub(crate) struct ComponentsService {
    backend: Arc<dyn Backend>,
    /// Each permit stands for up to COMPONENT_BYTES_MAX of memory.
    uploads: Semaphore,
}

impl ComponentsService {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend, uploads: Semaphore::new(UPLOADS_MAX) }
    }

    async fn missing(&self, scope: &Scope, request: HasRequest) -> Result<HasResponse, Error> {
        let count = request.digests.len();
        if count > DIGESTS_MAX {
            return Err(Error::invalid_argument(format!(
                "{count} components were asked for, at most {DIGESTS_MAX} may be at once"
            )));
        }
        let ids = request.digests.iter().map(|digest| component_id(digest)).collect::<Result<_, _>>()?;
        let missing = self.backend.missing(scope, ids).await?;
        Ok(HasResponse { missing: missing.into_iter().map(digest).collect() })
    }
}

#[tonic::async_trait]
impl Components for ComponentsService {
    async fn has(&self, request: Request<HasRequest>) -> Result<Response<HasResponse>, Status> {
        let asks = asker(&request).map_err(|error| status_from_error(&error))?;
        answer(self.missing(asks.scope(), request.into_inner()).await)
    }

    async fn upload(
        &self,
        request: Request<Streaming<UploadRequest>>,
    ) -> Result<Response<ComponentInfo>, Status> {
        let asks = asker(&request).map_err(|error| status_from_error(&error))?;
        let permit = self.uploads.acquire().await;
        let Received { id, bytes, header } = receive(request.into_inner()).await?;
        asks.about("component", digest(id));
        check_again(id, &bytes, &header).map_err(|error| status_from_error(&error))?;
        let kept = match header.on_demand {
            true => self.backend.keep(asks.scope(), id, bytes, &header.signature).await,
            false => self.backend.upload(asks.scope(), id, bytes, &header.signature).await,
        };
        drop(permit);
        answer(kept)
    }
}

/// An upload that is whole.
struct Received {
    id: ComponentId,
    bytes: Bytes,
    header: UploadHeader,
}

/// The bytes of an upload, which are those of the digest that its header names.
async fn receive(
    mut parts: impl Stream<Item = Result<UploadRequest, Status>> + Unpin,
) -> Result<Received, Status> {
    let refuse = |error| status_from_error(&error);
    let header = match next(&mut parts).await? {
        Some(Part::Header(header)) => header,
        _ => return Err(refuse(Error::invalid_argument("the first message of an upload is not its header"))),
    };
    let (id, size) = check_header(&header).map_err(refuse)?;
    let mut bytes = BytesMut::new();
    let mut hash = Sha256::new();
    while let Some(part) = next(&mut parts).await? {
        let Part::Chunk(chunk) = part else {
            return Err(refuse(Error::invalid_argument("an upload has more than one header")));
        };
        if chunk.len() > UPLOAD_CHUNK_BYTES_MAX || bytes.len() + chunk.len() > size {
            return Err(refuse(Error::invalid_argument(format!(
                "a chunk of {} bytes does not fit: chunks have at most {UPLOAD_CHUNK_BYTES_MAX} bytes, and {} \
                 were left of the {size} announced",
                chunk.len(),
                size - bytes.len()
            ))));
        }
        hash.update(&chunk);
        bytes.extend_from_slice(&chunk);
    }
    if bytes.len() != size {
        return Err(refuse(Error::invalid_argument(format!(
            "the upload ended after {} bytes of the {size} announced",
            bytes.len()
        ))));
    }
    let found = ComponentId(hash.finalize().into());
    if found != id {
        return Err(refuse(Error::invalid_argument(format!(
            "the bytes that were uploaded have the digest {found}, announced was {id}"
        ))));
    }
    Ok(Received { id, bytes: bytes.freeze(), header })
}

/// What the head has found a component to be is found again before it is compiled here.
fn check_again(id: ComponentId, bytes: &[u8], header: &UploadHeader) -> Result<(), Error> {
    check_signature(&header.signature)?;
    let Some(policy) = &header.policy else { return Ok(()) };
    let (tenant, policy) = policy_from(policy)?;
    policy.check(&tenant, Offered { name: "", id, signature: &header.signature, bytes })
}

async fn next(
    parts: &mut (impl Stream<Item = Result<UploadRequest, Status>> + Unpin),
) -> Result<Option<Part>, Status> {
    match tokio::time::timeout(UPLOAD_IDLE_MAX, parts.next()).await {
        Ok(None) => Ok(None),
        Ok(Some(Err(status))) => Err(status),
        Ok(Some(Ok(UploadRequest { part: Some(part) }))) => Ok(Some(part)),
        Ok(Some(Ok(UploadRequest { part: None }))) => Err(status_from_error(&Error::invalid_argument(
            "a message of the upload is neither a header nor a chunk",
        ))),
        Err(_) => Err(status_from_error(&Error::new(
            ErrorCode::DeadlineExceeded,
            format!("the upload brought nothing for {} seconds", UPLOAD_IDLE_MAX.as_secs()),
        ))),
    }
}

fn check_header(header: &UploadHeader) -> Result<(ComponentId, usize), Error> {
    let id = component_id(&header.digest)?;
    match usize::try_from(header.size_bytes) {
        Ok(size) if header.size_bytes <= COMPONENT_BYTES_MAX => Ok((id, size)),
        _ => Err(Error::new(
            ErrorCode::LimitExceeded,
            format!(
                "the component has {} bytes, at most {COMPONENT_BYTES_MAX} are allowed (component_bytes_max)",
                header.size_bytes
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_proto::error_from_status;

    fn header(of: &[u8], size_bytes: u64) -> Part {
        let id = ComponentId(Sha256::digest(of).into());
        Part::Header(UploadHeader { digest: digest(id), size_bytes, ..UploadHeader::default() })
    }

    fn chunk(bytes: &'static [u8]) -> Part {
        Part::Chunk(Bytes::from_static(bytes))
    }

    async fn upload(parts: Vec<Part>) -> Result<Bytes, Error> {
        let parts = parts.into_iter().map(|part| Ok(UploadRequest { part: Some(part) }));
        match receive(futures::stream::iter(parts)).await {
            Ok(received) => Ok(received.bytes),
            Err(status) => Err(error_from_status(&status).unwrap()),
        }
    }

    #[tokio::test]
    async fn chunks_are_put_together() {
        let bytes = upload(vec![header(b"hello", 5), chunk(b"hel"), chunk(b"lo")]).await.unwrap();
        assert_eq!(&bytes[..], b"hello");
    }

    #[tokio::test]
    async fn what_is_not_as_announced_is_refused() {
        let refused = async |parts| upload(parts).await.unwrap_err();
        assert!(refused(vec![]).await.message().contains("header"));
        assert!(refused(vec![chunk(b"hello")]).await.message().contains("header"));
        assert!(
            refused(vec![header(b"hello", 5), chunk(b"hell")]).await.message().contains("4 bytes of the 5")
        );
        assert!(
            refused(vec![header(b"hello", 5), chunk(b"hello!")]).await.message().contains("does not fit")
        );
        assert!(refused(vec![header(b"hello", 5), chunk(b"jello")]).await.message().contains("digest"));
        let error = refused(vec![header(b"", COMPONENT_BYTES_MAX + 1)]).await;
        assert_eq!(error.code(), ErrorCode::LimitExceeded);
        assert!(error.message().contains("component_bytes_max"), "{error}");
    }
}
