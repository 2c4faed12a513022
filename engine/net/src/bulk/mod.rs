//! The bulk port: the bytes of objects, from the node that holds them to the one that needs them.
//!
//! TCP with blocking calls, for threads that may block: it moves five times what gRPC does. Between
//! machines there is TLS below, which costs a copy and the arithmetic. A
//! [`BulkServer`] gives the objects of a [`BulkSource`]; a [`BulkClient`] receives one straight into the
//! memory of a [`BulkSink`], checks each chunk there, and after a break goes on where it was. A node that is
//! being given an object gives on what it has so far. Which node is asked, who is sent on to another, and what
//! is done when a node fails, the caller decides.

mod background;
mod client;
pub mod limits;
mod parts;
mod pool;
mod protocol;
mod server;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io;
use std::net::TcpStream;
use std::time::Duration;

use engine_core::transfer::Way;
use engine_core::{Error, NodeId, ObjectId};
use rustix::net::sockopt;

pub use client::{Asking, BulkClient, Fetched};
pub use server::BulkServer;

/// What a holder has.
pub trait BulkSource: Send + Sync {
    /// An object, which is kept until the answer is dropped, or who else is to be asked.
    ///
    /// # Errors
    /// Whatever is to be told to the client: code and message are, the rest is not.
    fn open(&self, asked: Asked) -> Result<Opened, Error>;
}

/// What another node asks for.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The object.
    pub object: ObjectId,
    /// The node. Where there is TLS, it has shown that it is this one.
    pub asker: NodeId,
    /// How it comes that it asks here.
    pub way: Way,
}

/// What it is answered.
pub enum Opened {
    /// The object is here, or is about to be.
    Here(Box<dyn BulkObject>),
    /// This node is to be asked.
    Ask(NodeId),
    /// The object is here and has so many bytes, and these nodes have it too, at most
    /// [`limits::SOURCES_MAX`]: each can be asked for a part.
    Several(u64, Vec<NodeId>),
}

/// An object of a holder, whose bytes do not change.
pub trait BulkObject: Send {
    /// Its bytes; none when that is not known within [`limits::SIGN_EVERY`].
    ///
    /// # Errors
    /// As [`BulkSource::open`].
    fn size(&self) -> Result<Option<u64>, Error>;

    /// Bytes `offset .. offset + length`, which lie within the object: all of them, at most
    /// [`limits::CHUNK_BYTES_MAX`]. What is borrowed is sent without a copy. None when they have not come
    /// within [`limits::SIGN_EVERY`].
    ///
    /// # Errors
    /// As [`BulkSource::open`]; it ends the transfer.
    fn read(&self, offset: u64, length: usize) -> Result<Option<Cow<'_, [u8]>>, Error>;

    /// The bytes `offset .. end` have been sent.
    fn sent(&mut self, offset: u64, end: u64);
}

/// Where an object's bytes go.
pub trait BulkSink {
    /// The whole object has so many bytes; called once by each fetch, before any of them comes. The
    /// number is what the holder says: check it before room is made for it.
    ///
    /// # Errors
    /// Ends the fetch, which returns it.
    fn size(&mut self, bytes: u64) -> Result<(), Error>;

    /// Bytes that were received well, from the object's beginning on. A fetch begins there, so that
    /// what another holder began can go on.
    fn written(&self) -> u64;

    /// Gives `fill` the next `length` bytes of room, once; at most [`limits::CHUNK_BYTES_MAX`]. They
    /// are written when `fill` succeeds, and not when it fails, also where it changed them.
    ///
    /// # Errors
    /// What `fill` returned, or the sink's own, which ends the fetch.
    fn room(
        &mut self,
        length: usize,
        fill: &mut dyn FnMut(&mut [u8]) -> Result<(), Error>,
    ) -> Result<(), Error>;
}

/// What both ends want of a connection. The sizes of its buffers are left to the system: a size that
/// is set switches off that it adapts them, and is bounded far below what it would reach.
fn prepare(stream: &TcpStream, read_max: Duration, write_max: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(read_max))?;
    stream.set_write_timeout(Some(write_max))?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, limits::PROBE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, limits::PROBE_AGAIN_AFTER)?;
    sockopt::set_tcp_keepcnt(stream, limits::PROBES_MAX)?;
    Ok(())
}

/// Whether the other end brought, or took, nothing for too long.
fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
