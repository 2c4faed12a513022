//! Values of a client elsewhere that come in pieces.

use std::collections::HashMap;
use std::sync::Arc;

use engine_core::{Error, ErrorCode};
use engine_proto::v1;
use parking_lot::Mutex;

/// Bytes of all values that come in pieces from one client and are not whole yet.
const PIECES_BYTES_MAX: usize = 4 << 30;
/// Values that come in pieces from one client and are not whole yet.
const PIECES_VALUES_MAX: usize = 65_536;
/// The least that all clients of a node have together.
const ROOM_BYTES_MIN: usize = 256 << 20;

/// What the pieces of all clients of a node may take together, which stand in no ledger. The clients of one tenant
/// have no more of it than is left, so that there is always some for others.
pub(crate) struct Room {
    bytes_max: usize,
    taken: Mutex<HashMap<String, usize>>,
}

impl Room {
    /// Of a node whose store has so many bytes: as much again may be on its way there, of each of two.
    pub(crate) fn new(store_bytes_max: u64) -> Self {
        let bytes = usize::try_from(store_bytes_max).unwrap_or(usize::MAX);
        Self { bytes_max: bytes.saturating_mul(2).max(ROOM_BYTES_MIN), taken: Mutex::default() }
    }

    fn take(&self, tenant: &str, bytes: usize) -> bool {
        let mut taken = self.taken.lock();
        let left = self.bytes_max.saturating_sub(taken.values().sum::<usize>());
        let own = taken.get(tenant).copied().unwrap_or(0);
        let has_room = own.saturating_add(bytes) <= left.saturating_sub(bytes);
        if has_room {
            taken.insert(tenant.to_owned(), own + bytes);
        }
        has_room
    }

    fn give_back(&self, tenant: &str, bytes: usize) {
        let mut taken = self.taken.lock();
        let left = taken.get_mut(tenant).map(|own| {
            *own = own.saturating_sub(bytes);
            *own
        });
        if left == Some(0) {
            taken.remove(tenant);
        }
    }
}

/// The pieces that have come, by the client's number for the value.
pub(super) struct Pieces {
    /// None: some of its pieces were too much.
    values: HashMap<u64, Option<Vec<u8>>>,
    bytes: usize,
    room: Arc<Room>,
    tenant: String,
}

impl Pieces {
    /// Of a client of this tenant.
    pub(super) fn new(room: Arc<Room>, tenant: String) -> Self {
        Self { values: HashMap::new(), bytes: 0, room, tenant }
    }

    /// Takes a piece. One that is too much is not kept, and its value is not there then.
    ///
    /// # Errors
    /// LIMIT_EXCEEDED when it is of one value more than there may be.
    pub(super) fn add(&mut self, piece: v1::Piece) -> Result<(), Error> {
        if self.values.len() >= PIECES_VALUES_MAX && !self.values.contains_key(&piece.of) {
            let message = format!(
                "{PIECES_VALUES_MAX} values of one client are on their way in pieces (pieces_values_max)"
            );
            return Err(Error::new(ErrorCode::LimitExceeded, message));
        }
        let value = self.values.entry(piece.of).or_insert_with(|| Some(Vec::new()));
        let Some(bytes) = value else { return Ok(()) };
        let is_bounded = self.bytes + piece.bytes.len() <= PIECES_BYTES_MAX;
        if !is_bounded || !self.room.take(&self.tenant, piece.bytes.len()) {
            self.bytes -= bytes.len();
            self.room.give_back(&self.tenant, bytes.len());
            *value = None;
            return Ok(());
        }
        self.bytes += piece.bytes.len();
        bytes.extend_from_slice(&piece.bytes);
        Ok(())
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
                    "a value did not come whole: values on their way from one client are of at most {PIECES_BYTES_MAX} bytes (pieces_bytes_max), and those of all clients of a node of at most {} (pieces_bytes_of_all_max); put fewer at once",
                    self.room.bytes_max
                ),
            )
        })?;
        self.bytes -= bytes.len();
        self.room.give_back(&self.tenant, bytes.len());
        Ok(bytes)
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.room.give_back(&self.tenant, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(room: &Arc<Room>, tenant: &str) -> Pieces {
        Pieces::new(room.clone(), tenant.to_owned())
    }

    fn piece(of: u64, bytes: &'static [u8]) -> v1::Piece {
        v1::Piece { of, bytes: bytes::Bytes::from_static(bytes) }
    }

    #[test]
    fn values_come_in_pieces_beside_one_another() {
        let room = Arc::new(Room::new(0));
        let mut pieces = pieces(&room, "a");
        for (of, bytes) in [(1, b"ab"), (2, b"xy"), (1, b"cd")] {
            pieces.add(piece(of, bytes)).expect("there is room");
        }
        assert_eq!(pieces.take(1).expect("it is there"), b"abcd");
        assert_eq!(pieces.take(2).expect("it is there"), b"xy");
        assert_eq!(pieces.bytes, 0);
        assert_eq!(pieces.take(1).expect_err("it was taken").code(), ErrorCode::LimitExceeded);
        assert!(room.taken.lock().is_empty());
    }

    #[test]
    fn too_much_is_not_kept() {
        let mut pieces = pieces(&Arc::new(Room::new(1 << 40)), "a");
        pieces.add(piece(1, b"ab")).expect("a piece");
        pieces.bytes = PIECES_BYTES_MAX;
        pieces.add(piece(1, b"cd")).expect("a piece");
        pieces.bytes -= 1;
        pieces.add(piece(1, b"e")).expect("a piece");
        assert!(pieces.take(1).is_err(), "a part is not the whole");
        assert_eq!(pieces.bytes, PIECES_BYTES_MAX - 3, "its first piece went too");
    }

    #[test]
    fn one_tenant_leaves_room_for_others_whatever_its_clients() {
        let room = Arc::new(Room { bytes_max: 16, taken: Mutex::default() });
        let mut greedy: Vec<Pieces> = (0..20).map(|_| pieces(&room, "greedy")).collect();
        for client in &mut greedy {
            client.add(piece(1, b"x")).expect("a piece");
        }
        let kept = greedy.iter().filter(|client| client.bytes == 1).count();
        assert_eq!(kept, 8, "half of it");
        let mut other = pieces(&room, "other");
        other.add(piece(1, b"abcd")).expect("a piece");
        assert_eq!(other.take(1).expect("there was room"), b"abcd");
        drop(greedy);
        assert!(room.taken.lock().is_empty(), "all of it is given back");
    }

    #[test]
    fn values_without_bytes_are_counted_too() {
        let mut pieces = pieces(&Arc::new(Room::new(0)), "a");
        let taken = (0..).find(|of| pieces.add(piece(*of, b"")).is_err());
        assert_eq!(taken, Some(PIECES_VALUES_MAX as u64));
    }
}
