//! The bytes of the line between a node and a worker: a header, a message, and bytes that belong to it.

use std::io::{self, Read, Write};

use engine_proto::prost::Message;

/// Bytes of a message at most, without the bytes that follow it.
pub const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Bytes of a header: the length of the message, and that of the bytes that follow.
pub const HEADER_BYTES: usize = 12;

/// What a message begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the message.
    pub message: usize,
    /// Bytes that follow it.
    pub payload: u64,
}

/// What is wrong with what came.
#[derive(Debug, thiserror::Error)]
pub enum BadFrame {
    /// The other side has closed the line, or it is broken.
    #[error("the line is broken: {0}")]
    Broken(#[from] io::Error),
    /// It announces too much.
    #[error("a message of {0} bytes, and message_bytes_max is {MESSAGE_BYTES_MAX}")]
    TooLarge(usize),
    /// It is no message.
    #[error("a message that cannot be read: {0}")]
    Unreadable(#[from] engine_proto::prost::DecodeError),
}

/// A message with its header, to be written as it is, the bytes that follow after it; none when it is larger than
/// a message may be.
pub fn encoded(message: &impl Message, payload: u64) -> Option<Vec<u8>> {
    let length = message.encoded_len();
    if length > MESSAGE_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::with_capacity(HEADER_BYTES + length);
    bytes.extend_from_slice(&(length as u32).to_le_bytes());
    bytes.extend_from_slice(&payload.to_le_bytes());
    message.encode_raw(&mut bytes);
    Some(bytes)
}

/// Reads a message. Of the bytes that follow it nothing is read.
///
/// # Errors
/// When the line is broken, or what came is no message.
pub fn read<M: Message + Default>(from: &mut impl Read) -> Result<(M, u64), BadFrame> {
    let mut header = [0; HEADER_BYTES];
    from.read_exact(&mut header)?;
    let (message, payload) = header.split_at(4);
    let length = message.try_into().map_or(0, u32::from_le_bytes) as usize;
    let payload = payload.try_into().map_or(0, u64::from_le_bytes);
    if length > MESSAGE_BYTES_MAX {
        return Err(BadFrame::TooLarge(length));
    }
    let mut bytes = Vec::new();
    // As much as comes, not as much as is announced.
    from.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok((M::decode(bytes::Bytes::from(bytes))?, payload))
}

/// Writes a message that [`encoded`] has made, and the bytes that follow it.
///
/// # Errors
/// When the line is broken.
pub fn write(to: &mut impl Write, message: &[u8], payload: &[&[u8]]) -> io::Result<()> {
    to.write_all(message)?;
    payload.iter().try_for_each(|part| to.write_all(part))
}

#[cfg(test)]
mod tests {
    use engine_proto::v1;

    use super::*;

    #[test]
    fn messages_go_there_and_back_with_the_bytes_that_follow() {
        let message = v1::FromWorker { number: 7, ..v1::FromWorker::default() };
        let mut line = Vec::new();
        let bytes = encoded(&message, 5).expect("it is small");
        write(&mut line, &bytes, &[b"ab", b"cde"]).expect("written");
        let mut rest = &line[..];
        let (back, payload) = read::<v1::FromWorker>(&mut rest).expect("it is whole");
        assert_eq!((back, payload, rest), (message, 5, &b"abcde"[..]));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let line = |length: u32, rest: &[u8]| {
            let mut line = length.to_le_bytes().to_vec();
            line.extend_from_slice(&0_u64.to_le_bytes());
            line.extend_from_slice(rest);
            read::<v1::FromWorker>(&mut &line[..]).expect_err("it is none")
        };
        assert!(matches!(line(u32::MAX, b""), BadFrame::TooLarge(_)));
        assert!(matches!(line(9, b"short"), BadFrame::Broken(_)));
        assert!(matches!(line(2, &[0xff, 0xff]), BadFrame::Unreadable(_)));
    }
}
