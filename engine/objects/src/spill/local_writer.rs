//! Writes a spill file in a folder: what comes is copied into one buffer while another is written.

use std::fs::File;
use std::io::{self, IoSlice};
use std::mem;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use rustix::fs::{Advice, OFlags, fadvise, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::aligned::{ALIGN_BYTES, BUFFER_BYTES, Buffer};
use super::target::SpillWriter;
use crate::background::Kind;

/// So many buffers are filled or written at the same time, of one file.
const BUFFERS_PER_FILE: usize = 3;
/// So many writes in a row that get no page further end it.
const STUCK_WRITES_MAX: u32 = 64;

/// A file that is being written.
pub(super) struct LocalWriter {
    state: State,
    buffer: Option<Buffer>,
    /// Bytes of `buffer` that are not on their way yet.
    begun: usize,
}

enum State {
    /// Everything so far is in the buffer: a small file needs no thread.
    Small(Output),
    Large(Lane),
    Failed,
}

impl LocalWriter {
    /// Writes this empty file, which was opened for direct I/O or not.
    pub(super) fn new(file: File, direct: bool) -> Self {
        Self { state: State::Small(Output { file, direct, at: 0 }), buffer: None, begun: 0 }
    }

    fn stage(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = bytes.len().min(BUFFER_BYTES - self.begun);
            let buffer = self.buffer.get_or_insert_with(|| Buffer::take(BUFFER_BYTES));
            buffer.as_mut_slice()[self.begun..self.begun + count].copy_from_slice(&bytes[..count]);
            self.begun += count;
            bytes = &bytes[count..];
            if self.begun == BUFFER_BYTES {
                self.send()?;
            }
        }
        Ok(())
    }

    /// Sends the full buffer on, and gets another.
    fn send(&mut self) -> io::Result<()> {
        let Some(buffer) = self.buffer.take() else { return Ok(()) };
        let length = mem::take(&mut self.begun);
        let mut lane = match mem::replace(&mut self.state, State::Failed) {
            State::Large(lane) => lane,
            State::Small(output) => Lane::start(output)?,
            State::Failed => return Err(io::ErrorKind::NotConnected.into()),
        };
        self.buffer = Some(lane.send(buffer, length)?);
        self.state = State::Large(lane);
        Ok(())
    }
}

impl SpillWriter for LocalWriter {
    fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        parts.iter().try_for_each(|part| self.stage(part))
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        let whole = self.begun.next_multiple_of(ALIGN_BYTES);
        if let Some(buffer) = &mut self.buffer {
            buffer.as_mut_slice()[self.begun..whole].fill(0);
        }
        let rest = self.buffer.take().map(|buffer| (buffer, whole)).filter(|_| whole > 0);
        match mem::replace(&mut self.state, State::Failed) {
            State::Small(mut output) => {
                if let Some((buffer, length)) = rest {
                    output.write(&buffer.as_slice()[..length])?;
                }
                output.finish()
            }
            State::Large(mut lane) => {
                if let Some((buffer, length)) = rest {
                    lane.send(buffer, length)?;
                }
                lane.finish()
            }
            State::Failed => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// Buffers on their way to a thread that writes them.
struct Lane {
    /// None when the file is at its end.
    filled: Option<Sender<(Buffer, usize)>>,
    written: Receiver<Buffer>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Lane {
    fn start(mut output: Output) -> io::Result<Self> {
        let (filled, to_write) = channel::<(Buffer, usize)>();
        let (done, written) = channel();
        for _ in 1..BUFFERS_PER_FILE {
            // Both ends are here.
            let _ = done.send(Buffer::take(BUFFER_BYTES));
        }
        let thread = Kind::Writer.start(move || {
            for (buffer, length) in to_write {
                output.write(&buffer.as_slice()[..length])?;
                // Nobody wants it when the file is at its end.
                let _ = done.send(buffer);
            }
            output.finish()
        })?;
        Ok(Self { filled: Some(filled), written, thread: Some(thread) })
    }

    /// Has a buffer written. Answers one to fill; waits while all are being written.
    fn send(&mut self, buffer: Buffer, length: usize) -> io::Result<Buffer> {
        let sent = self.filled.as_ref().is_some_and(|filled| filled.send((buffer, length)).is_ok());
        match self.written.recv() {
            Ok(buffer) if sent => Ok(buffer),
            // The thread ended, because it could not write: it says why.
            _ => Err(self.end().err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn finish(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.filled = None;
        let panicked = |_| Err(io::Error::other("writing a spill file panicked"));
        self.thread.take().map_or(Ok(()), |thread| thread.join().unwrap_or_else(panicked))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // An open file keeps its room on the disk, so its end is waited for. Whoever drops a file that
        // is not finished knows why.
        let _ = self.end();
    }
}

struct Output {
    file: File,
    direct: bool,
    /// Bytes in the file: whole pages.
    at: u64,
}

impl Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (file, direct, at) = (&self.file, &mut self.direct, self.at);
        write_all(bytes, |rest, done| match rustix::io::pwrite(file, rest, at + done as u64) {
            // Some file systems take the flag and refuse the I/O.
            Err(Errno::INVAL) if *direct => {
                *direct = false;
                fcntl_setfl(file, fcntl_getfl(file)? - OFlags::DIRECT)?;
                Ok(0)
            }
            Err(Errno::INTR) => Ok(0),
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            result => Ok(result?),
        })?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        if !self.direct {
            // Errors of writing behind show here, and clean pages can be let go.
            self.file.sync_data()?;
            fadvise(&self.file, 0, None, Advice::DontNeed)?;
        }
        Ok(())
    }
}

/// Calls `write` with what is left and how many bytes were written before, until all are. A write that
/// ends within a page begins again at that page, as direct I/O must.
fn write_all(bytes: &[u8], mut write: impl FnMut(&[u8], usize) -> io::Result<usize>) -> io::Result<()> {
    let (mut done, mut stuck) = (0, 0);
    while done < bytes.len() {
        let before = done;
        done += write(&bytes[done..], done)?;
        if done < bytes.len() {
            done -= done % ALIGN_BYTES;
        }
        stuck = if done == before { stuck + 1 } else { 0 };
        if stuck == STUCK_WRITES_MAX {
            return Err(io::ErrorKind::WriteZero.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_writes_go_on_where_the_page_begins() {
        let bytes: Vec<u8> = (0..5 * ALIGN_BYTES).map(|n| (n / 7) as u8).collect();
        for short in [1, 4095, 4096, 5000, 12_000] {
            let mut file = vec![0; bytes.len()];
            let written = write_all(&bytes, |rest, done| {
                assert!(done.is_multiple_of(ALIGN_BYTES));
                let count = rest.len().min(short);
                file[done..done + count].copy_from_slice(&rest[..count]);
                Ok(count)
            });
            if short < ALIGN_BYTES {
                assert!(written.is_err(), "a disk that never takes a page");
            } else {
                written.expect("written");
                assert_eq!(file, bytes, "{short}");
            }
        }
    }

    #[test]
    fn a_disk_that_fails_behind_the_writers_back_is_reported() {
        // Every write to it fails with ENOSPC (full(4)).
        let full = || File::options().write(true).open("/dev/full").expect("the system has it");
        let large = vec![1; 3 * BUFFER_BYTES];
        let mut writer = LocalWriter::new(full(), false);
        let mut failed = Ok(());
        for _ in 0..2 * BUFFERS_PER_FILE {
            failed = failed.and_then(|()| writer.append(&[IoSlice::new(&large)]));
        }
        assert_eq!(failed.expect_err("full").kind(), io::ErrorKind::StorageFull);
        assert!(writer.append(&[IoSlice::new(&large)]).is_err() && Box::new(writer).finish().is_err());
        for length in [1, BUFFER_BYTES, BUFFER_BYTES + 1] {
            let mut writer = LocalWriter::new(full(), false);
            writer.append(&[IoSlice::new(&large[..length])]).expect("not written yet");
            let error = Box::new(writer).finish().expect_err("full");
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{length}");
        }
    }
}
