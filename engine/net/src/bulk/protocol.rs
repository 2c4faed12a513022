//! What is said on a connection of the bulk port. All integers are little-endian.
//!
//! ```text
//! client  hello    magic [4]  version u16  node [16]
//! server  welcome  magic [4]  status u8  oldest version u16  newest version u16
//! then, as often as the client likes:
//! client  request  object [16]  offset u64  length u64 (u64::MAX: to the end)
//! server  reply    status u8  size of the object u64; for an error: its block
//!         chunks   length u32  checksum u64  bytes; until the range is complete
//!                  length 0: the holder cannot go on; an error's block follows
//! error's block    length of the code u8  of the message u16  code  message
//! ```
//! An id is two u64, the high one first. A chunk's checksum is XXH3 of its bytes, seeded with their
//! offset in the object, so that bytes in a wrong place are found too. Hello and welcome are the same in
//! every version.

use std::io::{self, IoSlice, Read, Write};

use engine_core::{Error, ErrorCode, NodeId, ObjectId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::limits::{CHUNK_BYTES_MAX, MESSAGE_BYTES_MAX};

/// The one version that this engine speaks.
pub(super) const VERSION: u16 = 1;
/// As a request's length: all bytes from its offset on.
pub(super) const TO_THE_END: u64 = u64::MAX;

const CLIENT_MAGIC: [u8; 4] = *b"EBKc";
const SERVER_MAGIC: [u8; 4] = *b"EBKs";
const HELLO_BYTES: usize = 22;
const WELCOME_BYTES: usize = 9;
const REQUEST_BYTES: usize = 32;
const REPLY_BYTES: usize = 9;
const CHUNK_HEADER_BYTES: usize = 12;
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
}

/// What stands before a chunk's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkHeader {
    /// Bytes; 0: an error follows instead.
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
        output.write_all(&bytes)
    }

    pub(super) fn read(input: &mut impl Read) -> io::Result<Self> {
        let bytes: [u8; REQUEST_BYTES] = take(input)?;
        let mut fields = &bytes[..];
        let (high, low) = take_id(&mut fields)?;
        let offset = u64::from_le_bytes(take(&mut fields)?);
        let length = u64::from_le_bytes(take(&mut fields)?);
        Ok(Self { object: ObjectId::from_bits(high, low), offset, length })
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

    /// Refuses a chunk of more than `left` bytes.
    pub(super) fn read(input: &mut impl Read, left: u64) -> io::Result<Self> {
        let bytes: [u8; CHUNK_HEADER_BYTES] = take(input)?;
        let mut fields = &bytes[..];
        let length = u32::from_le_bytes(take(&mut fields)?);
        let checksum = u64::from_le_bytes(take(&mut fields)?);
        if u64::from(length) > left.min(CHUNK_BYTES_MAX as u64) {
            return Err(nonsense(format!("a chunk of {length} bytes came where {left} were left")));
        }
        Ok(Self { length, checksum })
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

/// The object's size, or the holder's error.
pub(super) fn read_reply(input: &mut impl Read) -> io::Result<Result<u64, Error>> {
    let bytes: [u8; REPLY_BYTES] = take(input)?;
    let mut fields = &bytes[..];
    match take(&mut fields)? {
        [0] => Ok(Ok(u64::from_le_bytes(take(&mut fields)?))),
        [1] => read_error(input).map(Err),
        [status] => Err(nonsense(format!("the request was answered with the unknown status {status}"))),
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
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let hello = Hello { version: 7, node: NodeId::from_bits(0x0102_0304, 0xa0b0_c0d0_0000_0000) };
        let mut bytes = Vec::new();
        hello.write(&mut bytes).unwrap();
        assert_eq!(bytes.len(), HELLO_BYTES);
        assert_eq!(bytes[6..10], [4, 3, 2, 1], "little-endian, the high half first");
        assert_eq!(Hello::read(&mut &bytes[..]).unwrap(), hello);
        for welcome in [
            Welcome::Ok,
            Welcome::WrongVersion { oldest: 2, newest: 300 },
            Welcome::AnotherNode,
            Welcome::Busy,
            Welcome::NotANode,
        ] {
            let mut bytes = Vec::new();
            welcome.write(&mut bytes).unwrap();
            assert_eq!(bytes.len(), WELCOME_BYTES);
            assert_eq!(Welcome::read(&mut &bytes[..]).unwrap(), welcome);
        }
        let request =
            Request { object: ObjectId::from_bits(u64::MAX, 3), offset: 1 << 40, length: TO_THE_END };
        let mut bytes = Vec::new();
        request.write(&mut bytes).unwrap();
        assert_eq!(bytes.len(), REQUEST_BYTES);
        assert_eq!(Request::read(&mut &bytes[..]).unwrap(), request);
        let header = ChunkHeader::of(b"bytes", 9);
        assert_eq!(ChunkHeader::read(&mut &header.encode()[..], 5).unwrap(), header);
        assert_ne!(checksum(b"bytes", 9), checksum(b"bytes", 10));
        assert_eq!(read_reply(&mut &reply(77)[..]).unwrap().unwrap(), 77);
    }

    #[test]
    fn errors_are_bounded_and_keep_their_code() {
        let long = Error::new(ErrorCode::OutOfDisk, "é".repeat(MESSAGE_BYTES_MAX));
        let error = read_reply(&mut &refusal(&long)[..]).unwrap().unwrap_err();
        assert_eq!(error.code(), ErrorCode::OutOfDisk);
        assert_eq!(error.message(), "é".repeat(MESSAGE_BYTES_MAX / 2));
        let bytes = broken_off(&Error::new(ErrorCode::ObjectFreed, "gone"));
        let mut input = &bytes[..];
        assert_eq!(ChunkHeader::read(&mut input, 10).unwrap().length, 0);
        assert_eq!(read_error(&mut input).unwrap().to_string(), "OBJECT_FREED: gone");
        let unknown = [&[3, 1, 0][..], b"NEWx"].concat();
        let error = read_error(&mut &unknown[..]).unwrap();
        assert_eq!(error.code(), ErrorCode::ObjectLost);
        assert!(error.message().contains("NEW"), "{error}");
    }

    #[test]
    fn absurd_lengths_and_garbage_are_refused() {
        let invalid = |error: io::Error| assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        let header = |length: u32| ChunkHeader { length, checksum: 0 }.encode();
        invalid(ChunkHeader::read(&mut &header(u32::MAX)[..], u64::MAX).unwrap_err());
        invalid(ChunkHeader::read(&mut &header(CHUNK_BYTES_MAX as u32 + 1)[..], u64::MAX).unwrap_err());
        invalid(ChunkHeader::read(&mut &header(11)[..], 10).unwrap_err());
        invalid(read_error(&mut &[255; 400][..]).unwrap_err());
        invalid(read_error(&mut &[10, 255, 255][..]).unwrap_err());
        invalid(read_reply(&mut &[9; 100][..]).unwrap_err());
        invalid(Hello::read(&mut &b"GET / HTTP/1.1\r\nHost: x\r\n"[..]).unwrap_err());
        invalid(Welcome::read(&mut &b"HTTP/1.1 400"[..]).unwrap_err());
        invalid(Welcome::read(&mut &[b'E', b'B', b'K', b's', 5, 0, 0, 0, 0][..]).unwrap_err());
    }

    #[test]
    fn no_bytes_at_all_bring_a_decoder_down() {
        let mut state = 1_u64;
        for length in 0..2_000 {
            let bytes: Vec<u8> = (0..length % 97)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 56) as u8 & if length % 2 == 0 { 3 } else { 255 }
                })
                .collect();
            let _ = Hello::read(&mut &bytes[..]);
            let _ = Welcome::read(&mut &bytes[..]);
            let _ = Request::read(&mut &bytes[..]);
            let _ = read_reply(&mut &bytes[..]);
            let _ = read_error(&mut &bytes[..]);
            let _ = ChunkHeader::read(&mut &bytes[..], 50);
        }
    }

    #[test]
    fn a_writer_that_takes_little_gets_everything() {
        struct Little(Vec<u8>);
        impl Write for Little {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let count = bytes.len().min(3);
                self.0.extend(&bytes[..count]);
                Ok(count)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for (first, second) in [("", ""), ("abcd", ""), ("", "efghij"), ("abcdefg", "hijklmnop")] {
            let mut output = Little(Vec::new());
            write_both(&mut output, first.as_bytes(), second.as_bytes()).unwrap();
            assert_eq!(output.0, format!("{first}{second}").as_bytes());
        }
    }
}
