//! What is said on a connection of the bulk port. All integers are little-endian.
//!
//! ```text
//! client  hello    magic [4]  version u16  node [16]
//! server  welcome  magic [4]  status u8  oldest version u16  newest version u16
//! then, as often as the client likes:
//! client  request  object [16]  offset u64  length u64 (u64::MAX: to the end)
//!                  who asks: node [16]  way u8  whom it asked in vain: node [16], or zeros
//! server  reply    status u8  number u64, by the status:
//!                  0: size of the object; chunks follow
//!                  1: 0; an error's block follows
//!                  2: 0; the node [16] to ask follows
//!                  3: 0; the holder waits for the bytes itself: another reply follows
//!                  4: size of the object; how many others have it u8, and these nodes [16] each, follow
//!         chunks   length u32  checksum u64  bytes; until the range is complete
//!                  length 0: the holder cannot go on; an error's block follows
//!                  length u32::MAX: the holder waits for the bytes itself; another chunk follows
//! error's block    length of the code u8  of the message u16  code  message
//! ```
//! The ways are those of [`Way`], in their order. An id is two u64, the high one first. A chunk's checksum is XXH3 of its bytes, seeded with their
//! offset in the object, so that bytes in a wrong place are found too. Hello and welcome are the same in
//! every version.

use std::io::{self, IoSlice, Read, Write};

use engine_core::transfer::Way;
use engine_core::{Error, ErrorCode, NodeId, ObjectId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::limits::{CHUNK_BYTES_MAX, MESSAGE_BYTES_MAX, SOURCES_MAX};

/// The one version that this engine speaks.
pub(super) const VERSION: u16 = 2;
/// As a request's length: all bytes from its offset on.
pub(super) const TO_THE_END: u64 = u64::MAX;

const CLIENT_MAGIC: [u8; 4] = *b"EBKc";
const SERVER_MAGIC: [u8; 4] = *b"EBKs";
const HELLO_BYTES: usize = 22;
const WELCOME_BYTES: usize = 9;
const REQUEST_BYTES: usize = 65;
const REPLY_BYTES: usize = 9;
const CHUNK_HEADER_BYTES: usize = 12;
/// As a chunk's length: the holder waits for the bytes itself.
const STILL_COMING: u32 = u32::MAX;
/// Bytes of an error's code.
const CODE_BYTES_MAX: usize = 64;

/// How a client begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hello {
    pub version: u16,
    /// Whom it wants.
    pub node: NodeId,
}

/// What it hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Welcome {
    Ok,
    /// The server speaks only these.
    WrongVersion {
        oldest: u16,
        newest: u16,
    },
    /// The node that was meant is not here.
    AnotherNode,
    /// There are too many connections.
    Busy,
    /// The client's certificate is not that of a node.
    NotANode,
}

/// A range of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub object: ObjectId,
    /// Bytes before it.
    pub offset: u64,
    /// Bytes, or [`TO_THE_END`].
    pub length: u64,
    /// Who asks.
    pub asker: NodeId,
    pub way: Way,
}

/// What a request is answered with first.
#[derive(Debug)]
pub(super) enum Reply {
    /// The object has so many bytes; those that were asked for follow.
    Size(u64),
    /// They are not given.
    Refused(Error),
    /// They are to be asked of this node.
    Ask(NodeId),
    /// The holder waits for them itself: another reply follows.
    StillComing,
    /// The object has so many bytes, and these nodes have them too.
    Several(u64, Vec<NodeId>),
}

/// What comes next of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Chunk(ChunkHeader),
    /// An error's block follows, and nothing after it.
    Error,
    /// The holder waits for them itself.
    StillComing,
}

/// What stands before a chunk's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkHeader {
    /// Bytes.
    pub length: u32,
    pub checksum: u64,
}

impl Hello {
    pub(super) fn write(self, output: &mut impl Write) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HELLO_BYTES);
        bytes.extend(CLIENT_MAGIC);
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(id_bytes(self.node.bits()));
        output.write_all(&bytes)
    }

    pub(super) fn read(input: &mut impl Read) -> io::Result<Self> {
        let bytes: [u8; HELLO_BYTES] = take(input)?;
        let mut fields = &bytes[..];
        if take(&mut fields)? != CLIENT_MAGIC {
            return Err(nonsense("it did not begin with a hello of this protocol"));
        }
        let version = u16::from_le_bytes(take(&mut fields)?);
        let (high, low) = take_id(&mut fields)?;
        Ok(Self { version, node: NodeId::from_bits(high, low) })
    }
}

impl Welcome {
    pub(super) fn write(self, output: &mut impl Write) -> io::Result<()> {
        let (status, oldest, newest) = match self {
            Self::Ok => (0, VERSION, VERSION),
            Self::WrongVersion { oldest, newest } => (1, oldest, newest),
            Self::AnotherNode => (2, VERSION, VERSION),
            Self::Busy => (3, VERSION, VERSION),
            Self::NotANode => (4, VERSION, VERSION),
        };
        let mut bytes = Vec::with_capacity(WELCOME_BYTES);
        bytes.extend(SERVER_MAGIC);
        bytes.push(status);
        bytes.extend(u16::to_le_bytes(oldest));
        bytes.extend(u16::to_le_bytes(newest));
        output.write_all(&bytes)
    }

    pub(super) fn read(input: &mut impl Read) -> io::Result<Self> {
        let bytes: [u8; WELCOME_BYTES] = take(input)?;
        let mut fields = &bytes[..];
        if take(&mut fields)? != SERVER_MAGIC {
            return Err(nonsense("what answers there is no bulk port of an engine"));
        }
        let [status] = take(&mut fields)?;
        let oldest = u16::from_le_bytes(take(&mut fields)?);
        let newest = u16::from_le_bytes(take(&mut fields)?);
        match status {
            0 => Ok(Self::Ok),
            1 => Ok(Self::WrongVersion { oldest, newest }),
            2 => Ok(Self::AnotherNode),
            3 => Ok(Self::Busy),
            4 => Ok(Self::NotANode),
            _ => Err(nonsense(format!("the hello was answered with the unknown status {status}"))),
        }
    }
}

impl Request {
    pub(super) fn write(self, output: &mut impl Write) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(REQUEST_BYTES);
        bytes.extend(id_bytes(self.object.bits()));
        bytes.extend(self.offset.to_le_bytes());
        bytes.extend(self.length.to_le_bytes());
        bytes.extend(id_bytes(self.asker.bits()));
        let (way, in_vain) = match self.way {
            Way::First => (0, (0, 0)),
            Way::SentOn => (1, (0, 0)),
            Way::Back(node) => (2, node.bits()),
            Way::Again => (3, (0, 0)),
            Way::Part => (4, (0, 0)),
        };
        bytes.push(way);
        bytes.extend(id_bytes(in_vain));
        output.write_all(&bytes)
    }

    pub(super) fn read(input: &mut impl Read) -> io::Result<Self> {
        let bytes: [u8; REQUEST_BYTES] = take(input)?;
        let mut fields = &bytes[..];
        let (high, low) = take_id(&mut fields)?;
        let offset = u64::from_le_bytes(take(&mut fields)?);
        let length = u64::from_le_bytes(take(&mut fields)?);
        let asker = take_node(&mut fields)?;
        let [way] = take(&mut fields)?;
        let in_vain = take_node(&mut fields)?;
        let way = match way {
            0 => Way::First,
            1 => Way::SentOn,
            2 => Way::Back(in_vain),
            3 => Way::Again,
            4 => Way::Part,
            _ => return Err(nonsense(format!("an object was asked for in the unknown way {way}"))),
        };
        Ok(Self { object: ObjectId::from_bits(high, low), offset, length, asker, way })
    }
}

impl ChunkHeader {
    /// That of the bytes at this offset of the object.
    pub(super) fn of(bytes: &[u8], offset: u64) -> Self {
        Self { length: bytes.len() as u32, checksum: checksum(bytes, offset) }
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CHUNK_HEADER_BYTES);
        bytes.extend(self.length.to_le_bytes());
        bytes.extend(self.checksum.to_le_bytes());
        bytes
    }
}

impl Next {
    /// Refuses a chunk of more than `left` bytes.
    pub(super) fn read(input: &mut impl Read, left: u64) -> io::Result<Self> {
        let bytes: [u8; CHUNK_HEADER_BYTES] = take(input)?;
        let mut fields = &bytes[..];
        let length = u32::from_le_bytes(take(&mut fields)?);
        let checksum = u64::from_le_bytes(take(&mut fields)?);
        match length {
            0 => Ok(Self::Error),
            STILL_COMING => Ok(Self::StillComing),
            _ if u64::from(length) > left.min(CHUNK_BYTES_MAX as u64) => {
                Err(nonsense(format!("a chunk of {length} bytes came where {left} were left")))
            }
            _ => Ok(Self::Chunk(ChunkHeader { length, checksum })),
        }
    }
}

/// Of a chunk's bytes at this offset of the object.
pub(super) fn checksum(bytes: &[u8], offset: u64) -> u64 {
    xxh3_64_with_seed(bytes, offset)
}

/// The reply that announces an object of `size` bytes.
pub(super) fn reply(size: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(REPLY_BYTES + CHUNK_HEADER_BYTES);
    bytes.push(0);
    bytes.extend(size.to_le_bytes());
    bytes
}

/// The reply that sends the client on.
pub(super) fn ask(node: NodeId) -> Vec<u8> {
    let mut bytes = vec![0; REPLY_BYTES];
    bytes[0] = 2;
    bytes.extend(id_bytes(node.bits()));
    bytes
}

/// The reply of a holder that waits for the bytes itself.
pub(super) fn reply_is_coming() -> Vec<u8> {
    let mut bytes = vec![0; REPLY_BYTES];
    bytes[0] = 3;
    bytes
}

/// In a chunk's place: the holder waits for the bytes itself.
pub(super) fn chunk_is_coming() -> Vec<u8> {
    ChunkHeader { length: STILL_COMING, checksum: 0 }.encode()
}

/// The reply that names others, at most [`SOURCES_MAX`], that have the object too.
pub(super) fn several(size: u64, others: &[NodeId]) -> Vec<u8> {
    let others = &others[..others.len().min(SOURCES_MAX)];
    let mut bytes = vec![4];
    bytes.extend(size.to_le_bytes());
    bytes.push(others.len() as u8);
    bytes.extend(others.iter().flat_map(|node| id_bytes(node.bits())));
    bytes
}

/// The reply that is an error.
pub(super) fn refusal(error: &Error) -> Vec<u8> {
    let mut bytes = vec![0; REPLY_BYTES];
    bytes[0] = 1;
    bytes.extend(error_block(error));
    bytes
}

/// What ends a transfer in the middle.
pub(super) fn broken_off(error: &Error) -> Vec<u8> {
    let mut bytes = ChunkHeader { length: 0, checksum: 0 }.encode();
    bytes.extend(error_block(error));
    bytes
}

/// How a request is answered.
pub(super) fn read_reply(input: &mut impl Read) -> io::Result<Reply> {
    let bytes: [u8; REPLY_BYTES] = take(input)?;
    let mut fields = &bytes[..];
    let [status] = take(&mut fields)?;
    let size = u64::from_le_bytes(take(&mut fields)?);
    match status {
        0 => Ok(Reply::Size(size)),
        1 => read_error(input).map(Reply::Refused),
        2 => take_node(input).map(Reply::Ask),
        3 => Ok(Reply::StillComing),
        4 => {
            let [count] = take(input)?;
            if usize::from(count) > SOURCES_MAX {
                return Err(nonsense(format!("{count} further holders were named")));
            }
            let others = (0..count).map(|_| take_node(input)).collect::<io::Result<_>>()?;
            Ok(Reply::Several(size, others))
        }
        _ => Err(nonsense(format!("the request was answered with the unknown status {status}"))),
    }
}

fn error_block(error: &Error) -> Vec<u8> {
    let code = error.code().as_str().as_bytes();
    let message = error.message();
    let message = &message.as_bytes()[..message.floor_char_boundary(MESSAGE_BYTES_MAX)];
    let mut bytes = vec![code.len() as u8];
    bytes.extend((message.len() as u16).to_le_bytes());
    bytes.extend(code);
    bytes.extend(message);
    bytes
}

/// An error's block.
pub(super) fn read_error(input: &mut impl Read) -> io::Result<Error> {
    let lengths: [u8; 3] = take(input)?;
    let code_bytes = usize::from(lengths[0]);
    let message_bytes = usize::from(u16::from_le_bytes([lengths[1], lengths[2]]));
    if code_bytes > CODE_BYTES_MAX || message_bytes > MESSAGE_BYTES_MAX {
        return Err(nonsense(format!(
            "an error with a code of {code_bytes} and a message of {message_bytes} bytes came"
        )));
    }
    let mut text = vec![0; code_bytes + message_bytes];
    input.read_exact(&mut text)?;
    let (code, message) = text.split_at(code_bytes);
    let (code, message) = (String::from_utf8_lossy(code), String::from_utf8_lossy(message));
    Ok(match ErrorCode::parse(&code) {
        Some(code) => Error::new(code, message),
        None => Error::new(
            ErrorCode::ObjectLost,
            format!("{message} (with a code that this engine does not know: {code:?})"),
        ),
    })
}

/// Writes both, with one call of the system where it takes them.
pub(super) fn write_both(output: &mut impl Write, first: &[u8], second: &[u8]) -> io::Result<()> {
    let mut parts = [IoSlice::new(first), IoSlice::new(second)];
    let mut left = &mut parts[..];
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match output.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => IoSlice::advance_slices(&mut left, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn take<const N: usize>(input: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn take_node(input: &mut impl Read) -> io::Result<NodeId> {
    take_id(input).map(|(high, low)| NodeId::from_bits(high, low))
}

fn take_id(input: &mut impl Read) -> io::Result<(u64, u64)> {
    Ok((u64::from_le_bytes(take(input)?), u64::from_le_bytes(take(input)?)))
}

fn id_bytes((high, low): (u64, u64)) -> [u8; 16] {
    (u128::from(low) << 64 | u128::from(high)).to_le_bytes()
}

fn nonsense(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

#[cfg(test)]
mod tests;
