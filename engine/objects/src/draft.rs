//! An object that is being written.

use engine_core::{Error, Place, resources};

use crate::extent::ExtentDraft;
use crate::place::Blob;

/// Room for an object, to be written piece by piece from its beginning on. Dropped before it is
/// sealed, its room is free again.
pub struct Draft(pub(crate) Room);

pub(crate) enum Room {
    Inline { bytes: Vec<u8>, size: usize },
    Arena(ExtentDraft),
}

impl Draft {
    /// Room on the heap for an object of any size: for who has no arena, and passes on what was written.
    pub fn on_heap(size: usize) -> Self {
        Self(Room::Inline { bytes: Vec::new(), size })
    }

    /// Bytes written so far.
    pub fn written(&self) -> usize {
        match &self.0 {
            Room::Inline { bytes, .. } => bytes.len(),
            Room::Arena(extent) => extent.written(),
        }
    }

    /// What was written so far.
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Room::Inline { bytes, .. } => bytes,
            Room::Arena(extent) => extent.as_slice(),
        }
    }

    /// Bytes that there is still room for.
    pub fn left(&self) -> usize {
        match &self.0 {
            Room::Inline { bytes, size } => size - bytes.len(),
            Room::Arena(extent) => extent.left(),
        }
    }

    /// Writes after what was written.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when these are more bytes than there is room for; then none is written.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.check_room(bytes.len())?;
        match &mut self.0 {
            Room::Inline { bytes: written, .. } => written.extend_from_slice(bytes),
            Room::Arena(extent) => extent.append(bytes),
        }
        Ok(())
    }

    /// Gives the next `length` bytes of room to be written by `fill`, without a copy where the room's
    /// pages were in use before. What is in them is anything; they count as written only when `fill`
    /// succeeds.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when there is not so much room, and then `fill` is not called; else what `fill`
    /// returned.
    pub fn append_with(
        &mut self,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.check_room(length)?;
        match &mut self.0 {
            Room::Inline { bytes, .. } => {
                let before = bytes.len();
                bytes.resize(before + length, 0);
                fill(&mut bytes[before..]).inspect_err(|_| bytes.truncate(before))
            }
            Room::Arena(extent) => extent.append_with(length, fill),
        }
    }

    fn check_room(&self, length: usize) -> Result<(), Error> {
        if length <= self.left() {
            return Ok(());
        }
        Err(Error::invalid_argument(format!(
            "{} more do not fit into an object of {} of which {} are written; allocate as many bytes as will be written",
            resources::bytes(length as u64),
            resources::bytes((self.written() + self.left()) as u64),
            resources::bytes(self.written() as u64),
        )))
    }

    /// The object: what was written, which does not change any more. Room that was not needed is free
    /// again.
    pub fn seal(self) -> Place {
        match self.0 {
            Room::Inline { bytes, .. } => Blob::Inline(bytes),
            Room::Arena(extent) => Blob::Arena(extent.seal()),
        }
        .into_place()
    }
}

#[cfg(test)]
mod tests {
    use engine_core::ErrorCode;

    use crate::{Options, Store, slice};

    #[test]
    fn what_was_filled_counts_only_when_that_succeeded() {
        let options = Options { arena_bytes_max: 4 << 20, ..Options::default() };
        let store = Store::new(&options).expect("a store");
        let inline = options.inline_object_bytes_max;
        for size in [10, inline, inline + 1, 1 << 20] {
            // The second time the arena's pages were used before.
            for round in 0..2 {
                let mut draft = store.allocate(size).expect("room");
                draft.append(b"ab").expect("room");
                draft
                    .append_with(3, |room| {
                        room.copy_from_slice(b"cde");
                        Ok(())
                    })
                    .expect("filled");
                let failed = draft.append_with(4, |room| {
                    room.fill(b'x');
                    Err(engine_core::Error::new(ErrorCode::ObjectLost, "broke"))
                });
                assert_eq!(failed.expect_err("it failed").code(), ErrorCode::ObjectLost);
                assert_eq!((draft.written(), draft.as_slice()), (5, &b"abcde"[..]), "{size} {round}");
                let more = draft.append_with(size - 4, |_| panic!("there is no room for it"));
                assert_eq!(more.expect_err("too much").code(), ErrorCode::InvalidArgument);
                draft
                    .append_with(0, |room| room.is_empty().then_some(()).ok_or_else(unexpected))
                    .expect("none");
                draft
                    .append_with(size - 5, |room| {
                        room.fill(b'z');
                        Ok(())
                    })
                    .expect("filled");
                assert_eq!((draft.written(), draft.left()), (size, 0));
                let place = draft.seal();
                let bytes = slice(&place).expect("in memory");
                assert_eq!(&bytes[..5], b"abcde");
                assert!(bytes[5..].iter().all(|byte| *byte == b'z') && bytes.len() == size);
            }
        }
    }

    #[test]
    fn what_was_not_filled_well_is_not_seen() {
        let store = Store::new(&Options { arena_bytes_max: 4 << 20, ..Options::default() }).expect("a store");
        for size in [10, 1 << 20] {
            let mut draft = store.allocate(size).expect("room");
            draft.append(b"a").expect("room");
            let failed = draft.append_with(9, |room| {
                room.fill(7);
                Err(unexpected())
            });
            assert!(failed.is_err());
            assert_eq!(slice(&draft.seal()), Some(&b"a"[..]));
        }
    }

    fn unexpected() -> engine_core::Error {
        engine_core::Error::invalid_argument("unexpected")
    }
}
