//! Bytes that follow a worker's message: into the arena as they come.

use std::io::Read;

use engine_core::{Error, ErrorCode, Place};
use engine_objects::{Draft, Store};

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Why there are no such bytes.
pub(super) enum Missed {
    /// The line is broken.
    Broken,
    /// There is no room; they were passed over.
    NoRoom(Error),
}

/// Reads `length` bytes to where the node keeps them.
pub(super) fn place(from: &mut impl Read, length: usize, store: &Store) -> Result<Place, Missed> {
    match store.allocate(length) {
        Ok(draft) => filled(from, length, draft),
        Err(error) => {
            skip(from, length as u64)?;
            Err(Missed::NoRoom(error))
        }
    }
}

/// Reads `length` bytes to the heap.
pub(super) fn bytes(from: &mut impl Read, length: u64) -> Result<Vec<u8>, Missed> {
    let mut bytes = Vec::new();
    // As many as come, not as many as are announced.
    match from.take(length).read_to_end(&mut bytes) {
        Ok(read) if read as u64 == length => Ok(bytes),
        _ => Err(Missed::Broken),
    }
}

/// Passes over `length` bytes.
pub(super) fn skip(from: &mut impl Read, length: u64) -> Result<(), Missed> {
    match std::io::copy(&mut from.take(length), &mut std::io::sink()) {
        Ok(read) if read == length => Ok(()),
        _ => Err(Missed::Broken),
    }
}

fn filled(from: &mut impl Read, length: usize, mut draft: Draft) -> Result<Place, Missed> {
    let mut left = length;
    while left > 0 {
        let chunk = left.min(CHUNK_BYTES);
        let read = draft.append_with(chunk, |room| {
            from.read_exact(room).map_err(|error| Error::new(ErrorCode::WorkerDied, error.to_string()))
        });
        read.map_err(|_| Missed::Broken)?;
        left -= chunk;
    }
    Ok(draft.seal())
}

#[cfg(test)]
mod tests {
    use engine_objects::Options;

    use super::*;

    #[test]
    fn bytes_come_to_their_place_or_are_passed_over() {
        let store = Store::new(&Options { arena_bytes_max: 4 << 20, ..Options::default() }).expect("a store");
        let sent: Vec<u8> = (0..3_000_000_u32).map(|number| number as u8).collect();
        let mut line = &[&sent[..], b"rest"].concat()[..];
        let placed = place(&mut line, sent.len(), &store).ok().expect("room");
        assert!(engine_objects::slice(&placed).expect("bytes") == sent);
        assert_eq!(line, b"rest");

        let mut line = &[&sent[..], b"rest"].concat()[..];
        assert!(matches!(place(&mut line, sent.len(), &store), Err(Missed::NoRoom(_))));
        assert_eq!(line, b"rest");

        let mut line = &sent[..10];
        assert!(matches!(place(&mut line, 11, &store), Err(Missed::Broken)));
        let mut line = &sent[..10];
        assert!(matches!(bytes(&mut line, 11), Err(Missed::Broken)));
    }
}
