//! An object written piece by piece.
use crate::bindings::engine::compute::objects;
use crate::bytes::Bytes;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::object::ObjectRef;
use std::io;

/// Writes an object piece by piece, so that the guest never holds it whole.
///
/// ```no_run
/// # use engine::prelude::*;
/// use std::io::Write;
/// # fn run() -> Result<()> {
/// let mut writer = engine::ObjectWriter::new();
/// for line in 0..1_000_000 {
///     writeln!(writer, "line {line}")?;
/// }
/// let object: ObjectRef<Bytes> = writer.finish()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ObjectWriter {
    writer: objects::Writer,
    buffer: Vec<u8>,
}

/// Pieces smaller than this are gathered before they go to the host.
const BUFFER_BYTES: usize = 64 * 1024;

impl ObjectWriter {
    /// Begins an object of raw bytes.
    pub fn new() -> Self {
        Self::with_codec(Codec::Raw)
    }

    /// Begins an object whose bytes are of this codec.
    pub fn with_codec(codec: Codec) -> Self {
        ObjectWriter { writer: objects::Writer::new(codec.into_wire()), buffer: Vec::new() }
    }

    /// Ends the object and gives the reference to it.
    ///
    /// # Errors
    /// STORE_FULL, OUT_OF_DISK, LIMIT_EXCEEDED.
    pub fn finish(mut self) -> Result<ObjectRef<Bytes>> {
        self.send()?;
        objects::Writer::finish(self.writer, &[]).map(ObjectRef::from_wire).map_err(Error::from_wire)
    }

    fn send(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.writer.write(&self.buffer).map_err(Error::from_wire)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Default for ObjectWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl io::Write for ObjectWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            self.writer.write(bytes).map_err(|error| io::Error::other(Error::from_wire(error).into_std()))?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send().map_err(|error| io::Error::other(error.into_std()))
    }
}
