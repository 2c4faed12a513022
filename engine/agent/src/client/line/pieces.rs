//! Values of a client elsewhere that come in pieces.

use std::collections::HashMap;

use engine_core::{Error, ErrorCode};
use engine_proto::v1;

/// Bytes of all values that come in pieces from one client and are not whole yet.
const PIECES_BYTES_MAX: usize = 4 << 30;

/// The pieces that have come, by the client's number for the value.
#[derive(Default)]
pub(super) struct Pieces {
    /// None: some of its pieces were too much.
    values: HashMap<u64, Option<Vec<u8>>>,
    bytes: usize,
}

impl Pieces {
    /// Takes a piece. One that is too much is not kept, and its value is not there then.
    pub(super) fn add(&mut self, piece: v1::Piece) {
        let value = self.values.entry(piece.of).or_insert_with(|| Some(Vec::new()));
        let Some(bytes) = value else { return };
        if self.bytes + piece.bytes.len() > PIECES_BYTES_MAX {
            self.bytes -= bytes.len();
            *value = None;
            return;
        }
        self.bytes += piece.bytes.len();
        bytes.extend_from_slice(&piece.bytes);
    }

    /// The bytes of a value, all of whose pieces have come.
    ///
    /// # Errors
    /// LIMIT_EXCEEDED when they are not there.
    pub(super) fn take(&mut self, number: u64) -> Result<Vec<u8>, Error> {
        let bytes = self.values.remove(&number).flatten().ok_or_else(|| {
            Error::new(
                ErrorCode::LimitExceeded,
                format!(
                    "a value did not come whole: values on their way from one client are of at most {PIECES_BYTES_MAX} bytes (pieces_bytes_max); put fewer at once"
                ),
            )
        })?;
        self.bytes -= bytes.len();
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(of: u64, bytes: &'static [u8]) -> v1::Piece {
        v1::Piece { of, bytes: bytes::Bytes::from_static(bytes) }
    }

    #[test]
    fn values_come_in_pieces_beside_one_another() {
        let mut pieces = Pieces::default();
        for (of, bytes) in [(1, b"ab"), (2, b"xy"), (1, b"cd")] {
            pieces.add(piece(of, bytes));
        }
        assert_eq!(pieces.take(1).expect("it is there"), b"abcd");
        assert_eq!(pieces.take(2).expect("it is there"), b"xy");
        assert_eq!(pieces.bytes, 0);
        assert_eq!(pieces.take(1).expect_err("it was taken").code(), ErrorCode::LimitExceeded);
    }

    #[test]
    fn too_much_is_not_kept() {
        let mut pieces = Pieces::default();
        pieces.add(piece(1, b"ab"));
        pieces.bytes = PIECES_BYTES_MAX;
        pieces.add(piece(1, b"cd"));
        pieces.bytes -= 1;
        pieces.add(piece(1, b"e"));
        assert!(pieces.take(1).is_err(), "a part is not the whole");
        assert_eq!(pieces.bytes, PIECES_BYTES_MAX - 3, "its first piece went too");
    }
}
