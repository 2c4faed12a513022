//! The bytes of a line from one node to another.
//!
//! TCP, with TLS between machines: a hello that names the protocol, the sender and the node that is meant, one byte of
//! answer, then frames: the length of each as four bytes, little-endian, and a `PeerFrame`. A call of a
//! gRPC stream costs two more hops between threads at each end.

use bytes::{Buf, BufMut, BytesMut};
use engine_core::NodeId;
use engine_proto::prost::Message;
use engine_proto::v1::PeerFrame;
use engine_proto::version;
use engine_tls::{Name, Peer};

use crate::limits::PEER_FRAME_BYTES_MAX;

/// What every line begins with.
const MAGIC: [u8; 4] = *b"EPL1";
/// Bytes of a hello: magic, protocol, and the ids of sender and receiver.
pub(super) const HELLO_BYTES: usize = 4 + 4 + 16 + 16;
/// The line is taken.
pub(super) const WELCOME: u8 = 0;
/// The receiver does not speak the sender's protocol.
pub(super) const OTHER_PROTOCOL: u8 = 1;
/// The receiver is another node than the one that is meant.
pub(super) const OTHER_NODE: u8 = 2;
/// The sender is not whom its certificate names.
pub(super) const OTHER_SENDER: u8 = 4;
/// What speaks there is no node.
pub(super) const REFUSED: u8 = 3;

/// What a line begins with.
pub(super) fn hello(from: NodeId, to: NodeId) -> [u8; HELLO_BYTES] {
    let mut bytes = [0; HELLO_BYTES];
    let mut rest = &mut bytes[..];
    rest.put_slice(&MAGIC);
    rest.put_u32_le(version::PROTOCOL);
    for id in [from, to] {
        let (high, low) = id.bits();
        rest.put_u64_le(high);
        rest.put_u64_le(low);
    }
    bytes
}

/// The answer to a hello, and who sends when it is a welcome. `peer`: whom its certificate names.
pub(super) fn answer(hello: &[u8; HELLO_BYTES], me: NodeId, peer: Peer) -> Result<NodeId, u8> {
    let mut rest = &hello[..];
    let mut magic = [0; 4];
    rest.copy_to_slice(&mut magic);
    let protocol = rest.get_u32_le();
    let mut id = || NodeId::from_bits(rest.get_u64_le(), rest.get_u64_le());
    let (from, to) = (id(), id());
    match () {
        () if magic != MAGIC => Err(REFUSED),
        () if version::check(protocol).is_err() => Err(OTHER_PROTOCOL),
        () if to != me => Err(OTHER_NODE),
        () if peer != Peer::Local && peer != Peer::Proven(Name::Node(from)) => Err(OTHER_SENDER),
        () => Ok(from),
    }
}

/// Appends a frame.
pub(super) fn put_frame(frame: &PeerFrame, bytes: &mut BytesMut) {
    let length = frame.encoded_len();
    bytes.reserve(4 + length);
    bytes.put_u32_le(length as u32);
    // There is room for it.
    if let Err(error) = frame.encode(bytes) {
        tracing::error!(%error, "a frame was not encoded");
    }
}

/// What is wrong with what came.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadFrame {
    /// It announces too much.
    #[error("a frame of {0} bytes, and peer_frame_bytes_max is {PEER_FRAME_BYTES_MAX}")]
    TooLarge(usize),
    /// It is no frame.
    #[error("a frame that cannot be read: {0}")]
    Damaged(#[from] engine_proto::prost::DecodeError),
}

/// Takes the next frame, when it is there whole.
pub(super) fn take_frame(bytes: &mut BytesMut) -> Result<Option<PeerFrame>, BadFrame> {
    let Some(length) = bytes.first_chunk::<4>().map(|length| u32::from_le_bytes(*length) as usize) else {
        return Ok(None);
    };
    if length > PEER_FRAME_BYTES_MAX {
        return Err(BadFrame::TooLarge(length));
    }
    if bytes.len() < 4 + length {
        // Grows as the bytes come, not by what was announced.
        return Ok(None);
    }
    bytes.advance(4);
    let frame = bytes.split_to(length).freeze();
    Ok(Some(PeerFrame::decode(frame)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_proto::v1::Packet;

    fn node(n: u64) -> NodeId {
        NodeId::from_bits(n, 7)
    }

    #[test]
    fn a_hello_is_answered_by_the_node_that_is_meant() {
        let said = hello(node(1), node(2));
        assert_eq!(answer(&said, node(2), Peer::Local), Ok(node(1)));
        assert_eq!(answer(&said, node(3), Peer::Local), Err(OTHER_NODE));
        let mut other = said;
        other[4] = 99;
        assert_eq!(answer(&other, node(2), Peer::Local), Err(OTHER_PROTOCOL));
        let mut nonsense = said;
        nonsense[0] = b'G';
        assert_eq!(answer(&nonsense, node(2), Peer::Local), Err(REFUSED));
    }

    #[test]
    fn a_sender_is_whom_its_certificate_names() {
        let said = hello(node(1), node(2));
        assert_eq!(answer(&said, node(2), Peer::Proven(Name::Node(node(1)))), Ok(node(1)));
        for other in [Name::Node(node(3)), Name::Client, Name::Head] {
            assert_eq!(answer(&said, node(2), Peer::Proven(other)), Err(OTHER_SENDER), "{other}");
        }
        assert_eq!(answer(&said, node(2), Peer::Unproven), Err(OTHER_SENDER));
    }

    #[test]
    fn frames_are_taken_whole_however_they_come() {
        let frame = |first| PeerFrame { packets: vec![Packet { first, ..Packet::default() }], logs: vec![] };
        let mut sent = BytesMut::new();
        for first in 1..=3 {
            put_frame(&frame(first), &mut sent);
        }
        let mut received = BytesMut::new();
        let mut taken = Vec::new();
        for byte in sent {
            received.put_u8(byte);
            while let Some(frame) = take_frame(&mut received).expect("well formed") {
                taken.push(frame);
            }
        }
        assert_eq!(taken, [frame(1), frame(2), frame(3)]);
        assert!(received.is_empty());
    }

    #[test]
    fn damage_is_refused() {
        let mut large = BytesMut::new();
        large.put_u32_le(u32::MAX);
        assert!(matches!(take_frame(&mut large), Err(BadFrame::TooLarge(_))));
        let mut damaged = BytesMut::new();
        damaged.put_u32_le(3);
        damaged.put_slice(&[0xff; 3]);
        assert!(matches!(take_frame(&mut damaged), Err(BadFrame::Damaged(_))));
    }
}
