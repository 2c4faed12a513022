//! Connections as they come in: bounded in number, and from whom they may come.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::stream::{self, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::Connected;

use crate::listen::{TcpSocket, UnixSocket};

/// After a refusal of the system, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An accepted connection; its place among those there may be is free when it is dropped.
pub(crate) struct Connection {
    io: Io,
    _permit: OwnedSemaphorePermit,
}

enum Io {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// What connections come in on.
pub(crate) enum Listener {
    Unix(UnixSocket),
    Tcp(TcpSocket),
}

impl Listener {
    /// The next connection; none when it came from someone who may not speak.
    async fn accept(&self) -> io::Result<Option<Io>> {
        match self {
            Listener::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                let trusted = may_speak(uid, rustix::process::geteuid().as_raw());
                if !trusted {
                    tracing::warn!(uid, "a connection of another user was closed");
                }
                Ok(trusted.then_some(Io::Unix(stream)))
            }
            Listener::Tcp(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Some(Io::Tcp(stream)))
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
    let permits = Arc::new(Semaphore::new(connections_max));
    stream::select_all(listeners.into_iter().map(|listener| accepted(listener, permits.clone()).boxed()))
}

fn accepted(listener: Listener, permits: Arc<Semaphore>) -> impl Stream<Item = io::Result<Connection>> {
    stream::unfold((listener, permits), |(listener, permits)| async move {
        loop {
            let permit = permits.clone().acquire_owned().await.ok()?;
            match listener.accept().await {
                Ok(Some(io)) => {
                    return Some((Ok(Connection { io, _permit: permit }), (listener, permits)));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
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
