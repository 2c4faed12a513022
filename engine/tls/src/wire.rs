//! A connection for threads that may block.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use engine_core::NodeId;
use rustls::{ClientConnection, ServerConnection, Stream};

use crate::accept::{alert, is_tls, proven};
use crate::connect::Expected;
use crate::explain;
use crate::identity::Identity;
use crate::name::{Name, Peer};
use crate::revoked::Watched;

/// A connection for threads that may block, with TLS or without. The handshake is done as the first bytes
/// are read or written, within the connection's own times.
#[derive(Debug)]
pub struct Wire {
    socket: Arc<TcpStream>,
    session: Session,
    watched: Option<Watched>,
}

#[derive(Debug)]
enum Session {
    None,
    Client(Box<ClientConnection>),
    Server(Box<ServerConnection>),
}

impl Wire {
    /// Without TLS.
    pub fn plain(socket: Arc<TcpStream>) -> Self {
        Self { socket, session: Session::None, watched: None }
    }

    /// Made from here, to this node; without an identity without TLS.
    ///
    /// # Errors
    /// When there can be no such connection.
    pub fn to_node(socket: Arc<TcpStream>, identity: Option<&Identity>, node: NodeId) -> io::Result<Self> {
        let Some(identity) = identity else { return Ok(Self::plain(socket)) };
        let name = Expected::Node(node).server_name()?;
        let session = ClientConnection::new(identity.client(), name).map_err(io::Error::other)?;
        let watched = Watched::of(Peer::Proven(Name::Node(node)), identity.revoked());
        Ok(Self { socket, session: Session::Client(Box::new(session)), watched })
    }

    /// Accepted here, with the handshake, and who is at the other end; without an identity without TLS.
    ///
    /// # Errors
    /// Why there is none. Who does not speak TLS is told so.
    pub fn accepted(socket: Arc<TcpStream>, identity: Option<&Identity>) -> io::Result<(Self, Peer)> {
        let Some(identity) = identity else { return Ok((Self::plain(socket), Peer::Local)) };
        let mut first = [0];
        if socket.peek(&mut first)? == 1 && !is_tls(&first) {
            (&*socket).write_all(alert())?;
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not speak TLS"));
        }
        let mut session = ServerConnection::new(identity.server()).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut &*socket)?;
        }
        let peer = proven(session.peer_certificates())?;
        let watched = Watched::of(peer, identity.revoked());
        Ok((Self { socket, session: Session::Server(Box::new(session)), watched }, peer))
    }

    /// The connection below.
    pub fn socket(&self) -> &Arc<TcpStream> {
        &self.socket
    }
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut socket = &*self.socket;
        let read = match &mut self.session {
            Session::None => socket.read(bytes),
            Session::Client(session) => {
                Stream::new(&mut **session, &mut socket).read(bytes).map_err(explain::explained)
            }
            Session::Server(session) => Stream::new(&mut **session, &mut socket).read(bytes),
        };
        // What came meanwhile is believed no more either.
        Watched::check(self.watched.as_ref())?;
        read
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut socket = &*self.socket;
        match &mut self.session {
            Session::None => socket.write(bytes),
            Session::Client(session) => {
                Stream::new(&mut **session, &mut socket).write(bytes).map_err(explain::explained)
            }
            Session::Server(session) => Stream::new(&mut **session, &mut socket).write(bytes),
        }
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut socket = &*self.socket;
        match &mut self.session {
            Session::None => socket.write_vectored(parts),
            Session::Client(session) => Stream::new(&mut **session, &mut socket).write_vectored(parts),
            Session::Server(session) => Stream::new(&mut **session, &mut socket).write_vectored(parts),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut socket = &*self.socket;
        match &mut self.session {
            Session::None => socket.flush(),
            Session::Client(session) => Stream::new(&mut **session, &mut socket).flush(),
            Session::Server(session) => Stream::new(&mut **session, &mut socket).flush(),
        }
    }
}
