//! Memory of this machine that the device reaches by itself, through which transfers go: two pieces, so that
//! one is copied while the other is on its way.

use std::ffi::c_void;
use std::sync::Arc;

use crate::cuda::driver::{Address, Context, CudaEvent, CudaStream};
use crate::error::Result;

/// Bytes of each of the two pieces.
const PIECE_BYTES: usize = 4 << 20;

/// One piece, and the event after which it may be used again.
struct Piece {
    context: Arc<Context>,
    memory: *mut c_void,
    busy: Option<CudaEvent>,
}

// SAFETY: the memory is this one's alone, and any thread may use it.
unsafe impl Send for Piece {}

impl Piece {
    /// The context has been entered.
    fn create(context: &Arc<Context>) -> Result<Self> {
        let mut memory = std::ptr::null_mut();
        // SAFETY: the place is there, and the context is entered.
        let result = unsafe { (context.driver.host_allocate)(&raw mut memory, PIECE_BYTES, 0) };
        context.driver.check(result, "memory to copy through")?;
        Ok(Self { context: context.clone(), memory, busy: None })
    }

    /// Waits until the device is done with it.
    fn wait(&mut self) -> Result<()> {
        self.busy.take().map_or(Ok(()), |event| event.wait())
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        // What the device may still write has to end first; if it cannot, its context is gone.
        let _ = self.wait();
        if self.context.enter().is_ok() {
            // SAFETY: nothing uses it any more.
            unsafe { (self.context.driver.host_free)(self.memory) };
        }
    }
}

/// The two pieces of a session.
pub(super) struct Staging {
    pieces: [Piece; 2],
}

impl Staging {
    /// The context has been entered.
    pub(super) fn create(context: &Arc<Context>) -> Result<Self> {
        Ok(Self { pieces: [Piece::create(context)?, Piece::create(context)?] })
    }

    /// Bytes to the device; they may change as soon as this returns.
    pub(super) fn upload(&mut self, stream: &CudaStream, to: Address, bytes: &[u8]) -> Result<()> {
        for (index, chunk) in bytes.chunks(PIECE_BYTES).enumerate() {
            let piece = &mut self.pieces[index % 2];
            piece.wait()?;
            let driver = piece.context.driver;
            let target = to + (index * PIECE_BYTES) as u64;
            // SAFETY: the piece has room for a chunk, the device is done with it, and the range of the device
            // was checked by the session.
            let result = unsafe {
                std::ptr::copy_nonoverlapping(chunk.as_ptr(), piece.memory.cast(), chunk.len());
                (driver.upload)(target, piece.memory, chunk.len(), stream.handle)
            };
            driver.check(result, "an upload")?;
            piece.busy = Some(CudaEvent::record(&piece.context, stream)?);
        }
        Ok(())
    }

    /// Bytes from the device, when everything before on the stream has ended.
    pub(super) fn download(&mut self, stream: &CudaStream, from: Address, into: &mut [u8]) -> Result<()> {
        let count = into.len().div_ceil(PIECE_BYTES);
        let size = |index: usize, total: usize| PIECE_BYTES.min(total - index * PIECE_BYTES);
        let total = into.len();
        for index in 0..=count {
            if index < count {
                let piece = &mut self.pieces[index % 2];
                piece.wait()?;
                let driver = piece.context.driver;
                let source = from + (index * PIECE_BYTES) as u64;
                // SAFETY: the piece has room, the device is done with it, and the range was checked.
                let result =
                    unsafe { (driver.download)(piece.memory, source, size(index, total), stream.handle) };
                driver.check(result, "a download")?;
                piece.busy = Some(CudaEvent::record(&piece.context, stream)?);
            }
            if index > 0 {
                let piece = &mut self.pieces[(index - 1) % 2];
                piece.wait()?;
                let begin = (index - 1) * PIECE_BYTES;
                let chunk = &mut into[begin..begin + size(index - 1, total)];
                // SAFETY: the device has written as many bytes, and is done with them.
                unsafe {
                    std::ptr::copy_nonoverlapping(piece.memory.cast(), chunk.as_mut_ptr(), chunk.len());
                }
            }
        }
        Ok(())
    }
}
