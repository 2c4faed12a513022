//! An object that is being received: by several at once, in any order, and read meanwhile.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use engine_core::{Error, Place};
use parking_lot::Mutex;

use crate::extent::{DETOUR_BYTES_MAX, Extent, ExtentDraft, Pages};
use crate::place::Blob;
use crate::ranges::Ranges;

/// Room in the arena for an object. Its clones share it; it is free again when all of them, its pieces and
/// the places that were made of it are dropped.
#[derive(Clone)]
pub struct Filling(Arc<Shared>);

struct Shared {
    pages: Arc<Pages>,
    size: usize,
    /// Most of the pages were never used.
    is_fresh: bool,
    state: Mutex<State>,
}

/// What is taken and not written somebody may write, and nobody else has; what is written is read by
/// anybody, and never written again.
#[derive(Default)]
struct State {
    /// Taken by a piece, or written.
    taken: Ranges,
    written: Ranges,
}

/// Part of an object that one receiver writes from its beginning on. What it has not written when it is
/// dropped another can take.
pub struct Piece {
    shared: Arc<Shared>,
    range: Range<usize>,
    written: usize,
    /// Bytes on their way to fresh pages.
    detour: Vec<u8>,
}

impl Filling {
    pub(crate) fn new(extent: ExtentDraft, size: usize) -> Self {
        let (pages, is_fresh) = extent.into_pages();
        // SAFETY: nobody else knows of these pages yet.
        unsafe { pages.part_mut(size..pages.capacity()) }.fill(0);
        Self(Arc::new(Shared { pages: Arc::new(pages), size, is_fresh, state: Mutex::default() }))
    }

    /// Bytes of the object.
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// Takes part of the object to write it.
    ///
    /// # Errors
    /// INTERNAL when it lies outside the object, or another has some of it.
    pub fn take(&self, range: Range<usize>) -> Result<Piece, Error> {
        let mut state = self.0.state.lock();
        let is_free = range.is_empty() || state.taken.first_gap(range.clone()) == Some(range.clone());
        if !is_free || range.start > range.end || range.end > self.0.size {
            let size = self.0.size;
            return Err(Error::internal(format!(
                "the bytes {range:?} of {size} cannot be taken to be written"
            )));
        }
        state.taken.insert(range.clone());
        Ok(Piece { shared: self.0.clone(), range, written: 0, detour: Vec::new() })
    }

    /// Bytes that were written; none when some of them were not.
    pub fn read(&self, range: Range<usize>) -> Option<&[u8]> {
        let is_written =
            range.end <= self.0.size && self.0.state.lock().written.first_gap(range.clone()).is_none();
        if !is_written || range.start > range.end {
            return None;
        }
        // SAFETY: these bytes were written, and no piece has them: nobody writes them again.
        Some(unsafe { self.0.pages.part(range) })
    }

    /// The object, which does not change any more.
    ///
    /// # Errors
    /// INTERNAL when some of it was not written.
    pub fn seal(&self) -> Result<Place, Error> {
        let written = self.0.state.lock().written.length();
        if written != self.0.size {
            let size = self.0.size;
            return Err(Error::internal(format!("{written} of the {size} bytes of an object were received")));
        }
        Ok(Blob::Arena(Extent::new(self.0.pages.clone(), self.0.size)).into_place())
    }
}

impl fmt::Debug for Filling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filling({} of {} bytes)", self.0.state.lock().written.length(), self.0.size)
    }
}

impl Piece {
    /// Bytes that were written, from its beginning on.
    pub fn written(&self) -> usize {
        self.written
    }

    /// Gives its next `length` bytes to be written by `fill`. What is in them is anything; they are written
    /// only when `fill` succeeds.
    ///
    /// # Errors
    /// INTERNAL when it has not so many left; else what `fill` returned.
    pub fn append_with(
        &mut self,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let left = self.range.len() - self.written;
        if length > left {
            return Err(Error::internal(format!("{length} more bytes came where {left} were left")));
        }
        let start = self.range.start + self.written;
        let Shared { pages, is_fresh, state, .. } = &*self.shared;
        if *is_fresh && length <= DETOUR_BYTES_MAX {
            self.detour.resize(length, 0);
            fill(&mut self.detour)?;
            let done = pages.write_through(start, &self.detour);
            // SAFETY: this piece has taken these bytes, and they are not written yet: nobody else has them.
            unsafe { pages.part_mut(start + done..start + length) }.copy_from_slice(&self.detour[done..]);
        } else {
            // SAFETY: as above.
            fill(unsafe { pages.part_mut(start..start + length) })?;
        }
        self.written += length;
        state.lock().written.insert(start..start + length);
        Ok(())
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let rest = self.range.start + self.written..self.range.end;
        self.shared.state.lock().taken.remove(rest);
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Piece({:?}, {} written)", self.range, self.written)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use engine_core::ErrorCode;

    use crate::{Options, Store, mapping, slice};

    fn store() -> Store {
        Store::new(&Options { arena_bytes_max: 8 << 20, ..Options::default() }).expect("a store")
    }

    fn filled(room: &mut [u8], byte: u8) -> Result<(), engine_core::Error> {
        room.fill(byte);
        Ok(())
    }

    fn byte(at: usize) -> u8 {
        (at * 31 / 7) as u8
    }

    #[test]
    fn pieces_in_any_order_make_the_object() {
        let store = store();
        // The second time the pages were used before, and are not zeros.
        for _ in 0..2 {
            let size = (3 << 20) + 5;
            let filling = store.receive(size).expect("room");
            let step = 100_003;
            thread::scope(|scope| {
                for first in (0..4).rev() {
                    let filling = &filling;
                    scope.spawn(move || {
                        for start in (first * step..size).step_by(4 * step) {
                            let end = (start + step).min(size);
                            let mut piece = filling.take(start..end).expect("it is free");
                            for (from, length) in [(start, (end - start) / 3), (start + (end - start) / 3, 0)]
                            {
                                let length = if length == 0 { end - from } else { length };
                                let fill = |room: &mut [u8]| {
                                    room.iter_mut().zip(from..).for_each(|(room, at)| *room = byte(at));
                                    Ok(())
                                };
                                piece.append_with(length, fill).expect("room");
                                let seen = filling.read(from..from + length).expect("it is written");
                                assert!(seen.iter().zip(from..).all(|(seen, at)| *seen == byte(at)));
                            }
                        }
                    });
                }
            });
            let place = filling.seal().expect("all of it");
            let bytes = slice(&place).expect("in memory");
            assert!(bytes.len() == size && bytes.iter().zip(0..).all(|(seen, at)| *seen == byte(at)));
            assert_eq!(mapping(&place).map(|mapping| mapping.length), Some(size));
            drop(filling);
            assert_eq!(store.usage().arena_extents, 1);
            drop(place);
            assert_eq!(store.usage().arena_extents, 0);
        }
    }

    #[test]
    fn nobody_has_the_same_bytes_and_what_was_not_written_is_not_read() {
        let filling = store().receive(1000).expect("room");
        let mut piece = filling.take(100..300).expect("free");
        for range in [0..101, 299..400, 150..160, 100..300, 0..1000, 900..1001] {
            assert_eq!(
                filling.take(range.clone()).expect_err("taken").code(),
                ErrorCode::Internal,
                "{range:?}"
            );
        }
        assert!(piece.append_with(201, |_| Ok(())).is_err());
        piece.append_with(50, |room| filled(room, 1)).expect("room");
        let failed = piece.append_with(50, |_| Err(engine_core::Error::internal("it broke")));
        assert!(failed.is_err() && piece.written() == 50);
        assert_eq!(filling.read(100..150), Some(&[1; 50][..]));
        for range in [99..150, 100..151, 0..1, 990..1001] {
            assert!(filling.read(range.clone()).is_none(), "{range:?}");
        }
        drop(piece);
        assert!(filling.take(149..150).is_err(), "what is written stays");
        assert!(filling.seal().is_err());
        for range in [150..300, 0..100, 300..1000] {
            let length = range.len();
            filling.take(range).expect("free").append_with(length, |room| filled(room, 2)).expect("room");
        }
        assert_eq!(
            filling.read(0..1000).map(|bytes| bytes.iter().map(|byte| u32::from(*byte)).sum()),
            Some(1950)
        );
        assert!(filling.seal().is_ok());
        let empty = store().receive(0).expect("room");
        assert!(empty.read(0..0).is_some_and(<[u8]>::is_empty));
        assert_eq!(slice(&empty.seal().expect("nothing is missing")), Some(&[][..]));
    }
}
