//! Connections as they come in: bounded in number, and from whom they may come.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use futures::stream::{self, BoxStream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::Connected;

use crate::limits::CONNECTIONS_MAX;
use crate::listen::{TcpSocket, UnixSocket};

/// After a refusal of the system, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// An accepted connection; its place among [`CONNECTIONS_MAX`] is free when it is dropped.
pub(crate) struct Connection {
    io: Io,
    _permit: OwnedSemaphorePermit,
}

enum Io {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// All connections of both sockets, those of strangers left out.
pub(crate) fn incoming(
    unix: Option<UnixSocket>,
    tcp: Option<TcpSocket>,
) -> impl Stream<Item = io::Result<Connection>> {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let unix = unix.map(|socket| {
        accepted(socket, permits.clone(), async |socket: &UnixSocket| {
            let (stream, _) = socket.listener.accept().await?;
            Ok(is_trusted(&stream)?.then_some(Io::Unix(stream)))
        })
    });
    let tcp = tcp.map(|socket| {
        accepted(socket, permits, async |socket: &TcpSocket| {
            let (stream, _) = socket.listener.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Some(Io::Tcp(stream)))
        })
    });
    stream::select_all([unix, tcp].into_iter().flatten())
}

fn accepted<S, F>(socket: S, permits: Arc<Semaphore>, accept: F) -> BoxStream<'static, io::Result<Connection>>
where
    S: Send + 'static,
    F: AsyncAccept<S>,
{
    stream::unfold((socket, permits, accept), |(socket, permits, accept)| async move {
        loop {
            let permit = permits.clone().acquire_owned().await.ok()?;
            match accept.accept(&socket).await {
                Ok(Some(io)) => {
                    return Some((Ok(Connection { io, _permit: permit }), (socket, permits, accept)));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
    .boxed()
}
