//! A connection that is written to without waiting, by whoever has something to say.

use std::io::{self, Read, Write};
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::io::Io;
use crate::limits::UNSENT_BYTES_MAX;

/// A connection that is written to without waiting. Nothing is expected on it from the other side.
#[derive(Debug)]
pub struct Line {
    stream: Arc<TcpStream>,
    session: Option<Box<rustls::Connection>>,
}

impl Line {
    /// Of a connection that was made.
    pub fn new(io: Io) -> Self {
        let (stream, session) = io.into_parts();
        let session = session.map(|mut session| {
            session.set_buffer_limit(Some(UNSENT_BYTES_MAX));
            Box::new(session)
        });
        Self { stream: Arc::new(stream), session }
    }

    /// The connection below: says when there is room, and when something came.
    pub fn stream(&self) -> Arc<TcpStream> {
        self.stream.clone()
    }

    /// Writes what is taken now.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is; when the connection broke.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(session) = &mut self.session else { return self.stream.try_write(bytes) };
        send(session, &self.stream)?;
        let taken = session.writer().write(bytes)?;
        match send(session, &self.stream) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    /// Sends on what was taken before.
    ///
    /// # Errors
    /// As [`Self::try_write`].
    pub fn try_flush(&mut self) -> io::Result<()> {
        match &mut self.session {
            Some(session) => send(session, &self.stream),
            None => Ok(()),
        }
    }

    /// Looks at what came, when something may have: whether the connection has ended, as it has when the
    /// other side says anything at all but what TLS says for itself.
    pub fn has_ended(&mut self) -> bool {
        let mut nothing = [0; 16];
        let would_block = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        let Some(session) = &mut self.session else {
            return !self.stream.try_read(&mut nothing).is_err_and(|error| would_block(&error));
        };
        loop {
            match session.read_tls(&mut Now(&self.stream)) {
                Ok(0) => return true,
                Ok(_) => match session.process_new_packets() {
                    Ok(state) if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() => {}
                    _ => return true,
                },
                Err(error) => return !would_block(&error),
            }
        }
    }
}

fn send(session: &mut rustls::Connection, stream: &TcpStream) -> io::Result<()> {
    while session.wants_write() {
        session.write_tls(&mut Now(stream))?;
    }
    Ok(())
}

/// What can be read or written at once.
struct Now<'a>(&'a TcpStream);

impl Read for Now<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(bytes)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
