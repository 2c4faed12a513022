//! Connections as they come in: bounded in number, and from whom they may come.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use engine_tls::Peer;
use futures::Stream;
use futures::stream::{self, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::Connected;

use crate::admission::{Admission, Admissions, Patience};
use crate::limits::HANDSHAKES_MAX;
use crate::listen::{Security, TcpSocket, UnixSocket};

/// After a refusal of the system, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An accepted connection; its place among those there may be is free when it is dropped.
pub(crate) struct Connection {
    io: Io,
    /// Who is at the other end.
    pub(crate) peer: Peer,
    patience: Patience,
    from: Origin,
    _permit: OwnedSemaphorePermit,
}

enum Io {
    Unix(UnixStream),
    Tcp(engine_tls::Io),
}

/// A connection whose other end has not said yet who it is.
enum Accepted {
    Unix(UnixStream, Origin),
    Tcp(TcpStream, Origin, Option<Security>),
}

impl Accepted {
    /// Who it is.
    async fn shake_hands(self) -> io::Result<(Io, Peer, Origin)> {
        match self {
            Self::Unix(stream, from) => Ok((Io::Unix(stream), Peer::Local, from)),
            Self::Tcp(stream, from, None) => Ok((Io::Tcp(engine_tls::Io::plain(stream)), Peer::Local, from)),
            Self::Tcp(stream, from, Some(Security { identity, callers })) => {
                match engine_tls::accept(stream, &identity, callers).await {
                    Ok((io, peer)) => Ok((Io::Tcp(io), peer, from)),
                    Err(error) => {
                        tracing::warn!(%from, %error, "a connection was refused");
                        Err(error)
                    }
                }
            }
        }
    }
}

/// What connections come in on.
pub(crate) enum Listener {
    Unix(UnixSocket),
    Tcp(TcpSocket),
}

impl Listener {
    /// The next connection; none when it came from someone who may not speak.
    async fn accept(&self) -> io::Result<Option<Accepted>> {
        match self {
            Listener::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                let who = stream.peer_cred()?;
                let (uid, pid) = (who.uid(), who.pid());
                let trusted = may_speak(uid, rustix::process::geteuid().as_raw());
                if !trusted {
                    tracing::warn!(uid, "a connection of another user was closed");
                }
                Ok(trusted.then_some(Accepted::Unix(stream, Origin::Process { uid, pid })))
            }
            Listener::Tcp(socket) => {
                let (stream, from) = socket.listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Some(Accepted::Tcp(stream, Origin::Address(from), socket.security().cloned())))
            }
        }
    }
}

/// The engine's own user, and root, who could read its memory anyway.
fn may_speak(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

/// All connections of all listeners, so many at once; further ones wait.
pub(crate) fn incoming(
    listeners: Vec<Listener>,
    connections_max: usize,
) -> impl Stream<Item = io::Result<Connection>> {
    let admissions = Admissions::default();
    let of_one = |listener| {
        // Each has its own: who fills a port does not close the socket of who keeps the engine.
        let permits = Arc::new(Semaphore::new(connections_max));
        let admissions = admissions.clone();
        // Several at once: who takes long to say who it is holds up nobody else.
        let proven = accepted(listener, permits)
            .map(move |accepted| shake_hands(accepted, admissions.clone()))
            .buffer_unordered(HANDSHAKES_MAX);
        proven.filter_map(std::future::ready).boxed()
    };
    stream::select_all(listeners.into_iter().map(of_one).collect::<Vec<_>>())
}

/// None: the other side does not say who it is.
async fn shake_hands(
    (accepted, permit): (Accepted, OwnedSemaphorePermit),
    admissions: Admissions,
) -> Option<io::Result<Connection>> {
    let (io, peer, from) = accepted.shake_hands().await.ok()?;
    let Some(admission) = admissions.take_in(peer) else {
        tracing::warn!("a connection without a certificate was closed: there are too many");
        return None;
    };
    Some(Ok(Connection { io, peer, from, patience: Patience::new(admission), _permit: permit }))
}

fn accepted(
    listener: Listener,
    permits: Arc<Semaphore>,
) -> impl Stream<Item = (Accepted, OwnedSemaphorePermit)> {
    stream::unfold((listener, permits), |(listener, permits)| async move {
        loop {
            let permit = permits.clone().acquire_owned().await.ok()?;
            match listener.accept().await {
                Ok(Some(accepted)) => return Some(((accepted, permit), (listener, permits))),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A process of this machine, on the engine's own socket.
    Process { uid: u32, pid: Option<i32> },
    /// An address, with the port that the system has given to who connects.
    Address(SocketAddr),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { uid, pid: Some(pid) } => write!(f, "uid={uid} pid={pid}"),
            Self::Process { uid, pid: None } => write!(f, "uid={uid}"),
            Self::Address(at) => write!(f, "{at}"),
        }
    }
}

/// Who makes a request, as it stands in its extensions.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) peer: Peer,
    pub(crate) from: Origin,
    pub(crate) admission: Admission,
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        Caller { peer: self.peer, from: self.from, admission: self.patience.admission().clone() }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let connection = self.get_mut();
        connection.patience.check(cx)?;
        match &mut connection.io {
            Io::Unix(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tcp(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Unix(io) => Pin::new(io).poll_write(cx, buf),
            Io::Tcp(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Unix(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::Tcp(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Unix(io) => Pin::new(io).poll_flush(cx),
            Io::Tcp(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Unix(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tcp(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::may_speak;

    #[test]
    fn only_the_same_user_and_root_may_speak() {
        assert!(may_speak(1000, 1000));
        assert!(may_speak(0, 1000));
        assert!(!may_speak(1001, 1000));
        assert!(!may_speak(1000, 0));
    }
}
