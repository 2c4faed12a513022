//! Messages on a socket: four bytes of length, then the message.

use std::io::{self, ErrorKind, Read, Write};

use prost::Message;

/// Bytes of a message. What is larger goes in pieces.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// Writes a message; an error of kind `InvalidInput` for one that is too long, of which nothing is written.
pub(super) fn write(stream: &mut impl Write, message: &impl Message) -> io::Result<()> {
    let size = message.encoded_len();
    if size > FRAME_BYTES_MAX {
        return Err(ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::with_capacity(4 + size);
    bytes.extend((size as u32).to_le_bytes());
    message.encode(&mut bytes).map_err(io::Error::other)?;
    stream.write_all(&bytes)
}

/// Reads a message; none when the other side has closed between two.
pub(super) fn read<M: Message + Default>(stream: &mut impl Read) -> io::Result<Option<M>> {
    let mut size = [0; 4];
    let mut got = 0;
    while got < size.len() {
        match stream.read(&mut size[got..]) {
            Ok(0) if got == 0 => return Ok(None),
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => got += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let size = u32::from_le_bytes(size) as usize;
    if size > FRAME_BYTES_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("a message of {size} bytes")));
    }
    let mut bytes = Vec::new();
    // No more is allocated than has come.
    if stream.take(size as u64).read_to_end(&mut bytes)? < size {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    M::decode(bytes.as_slice()).map(Some).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::messages::{Answer, Reply};

    #[test]
    fn what_is_written_is_read() {
        let reply = Reply { id: 7, answer: Some(Answer::Bytes(vec![1, 2, 3])) };
        let mut bytes = Vec::new();
        write(&mut bytes, &reply).expect("it fits");
        let mut stream = bytes.as_slice();
        assert_eq!(read::<Reply>(&mut stream).expect("it is one"), Some(reply));
        assert_eq!(read::<Reply>(&mut stream).expect("it is closed"), None);
    }

    #[test]
    fn garbage_is_an_error() {
        for garbage in [&[1_u8][..], &[4, 0, 0, 0, 1], &[255, 255, 255, 255], &[2, 0, 0, 0, 255, 255]] {
            let mut stream = garbage;
            assert!(read::<Reply>(&mut stream).is_err(), "{garbage:?}");
        }
        let long = Reply { id: 7, answer: Some(Answer::Bytes(vec![0; FRAME_BYTES_MAX])) };
        let mut bytes = Vec::new();
        assert!(write(&mut bytes, &long).is_err() && bytes.is_empty());
    }
}
