//! A node's way to its head.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use engine_core::{ComponentId, Error, ErrorCode};
use engine_proto::convert::digest;
use engine_proto::error_from_status;
use engine_proto::limits::{COMPONENT_BYTES_MAX, MESSAGE_BYTES_MAX};
use engine_proto::v1;
use engine_proto::v1::cluster_client::ClusterClient;
use engine_tls::{Expected, Identity, REVOKED, SPEAKS_TLS};
use futures::{Stream, StreamExt};
use tonic::transport::Channel;

use crate::backend::Replies;
use crate::cluster::{channel, error_of, request, why};

/// Why there is no line.
#[derive(Debug, Clone)]
pub enum NotConnected {
    /// The head does not want this node.
    Refused(Error),
    /// Nobody answers there, for people.
    Unreached(String),
}

/// A node's way to its head.
#[derive(Clone)]
pub struct HeadLink {
    channel: Channel,
    who: String,
}

impl HeadLink {
    /// A way to the head that listens there; with an identity by TLS. Nothing is said yet.
    pub fn new(address: SocketAddr, identity: Option<Identity>) -> Self {
        let channel = channel(address, identity, Expected::Head);
        Self { channel, who: format!("the head at {address}") }
    }

    /// Makes a line: what the node says, and what the head says to it.
    ///
    /// # Errors
    /// Why there is none. An error among the replies has the same meaning: NODE_DIED when the line
    /// broke, else the head's refusal.
    pub async fn connect(
        &self,
        messages: impl Stream<Item = v1::NodeMessage> + Send + 'static,
    ) -> Result<Replies<v1::HeadMessage>, NotConnected> {
        let mut client =
            ClusterClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let connected = client.join(request(messages)).await;
        let who = self.who.clone();
        let replies = match connected {
            Ok(replies) => replies.into_inner(),
            Err(status) => {
                return Err(match error_from_status(&status) {
                    Some(error) => NotConnected::Refused(error),
                    None => not_reached(why(&status), &who),
                });
            }
        };
        Ok(replies.map(move |reply| reply.map_err(|status| error_of(&status, &who))).boxed())
    }

    /// The bytes of a component.
    ///
    /// # Errors
    /// NOT_FOUND when it was never uploaded; NODE_DIED when the head is not reached.
    pub async fn component(&self, id: ComponentId) -> Result<Bytes, Error> {
        let mut client = ClusterClient::new(self.channel.clone());
        let asked = client.component(request(v1::ComponentRequest { digest: digest(id) })).await;
        let mut chunks = asked.map_err(|status| error_of(&status, &self.who))?.into_inner();
        let mut bytes = BytesMut::new();
        while let Some(part) = chunks.next().await {
            let part = part.map_err(|status| error_of(&status, &self.who))?;
            if bytes.len() as u64 + part.chunk.len() as u64 > COMPONENT_BYTES_MAX {
                return Err(Error::internal(format!("the head sends more than component_bytes_max of {id}")));
            }
            bytes.extend_from_slice(&part.chunk);
        }
        Ok(bytes.freeze())
    }
}

/// A head that wants TLS will not come to want none, and one that has revoked a certificate believes it never again.
fn not_reached(why: String, who: &str) -> NotConnected {
    let refused = |code| NotConnected::Refused(Error::new(code, format!("{who}: {why}")));
    match &why {
        why if why.contains(SPEAKS_TLS) => refused(ErrorCode::Unauthenticated),
        // As when the head says that it has left.
        why if why.contains(REVOKED) => refused(ErrorCode::NodeDied),
        _ => NotConnected::Unreached(why),
    }
}
