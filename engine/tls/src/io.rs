//! A connection, with TLS or without.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::{client, server};

use crate::explain;
use crate::revoked::Watched;

/// A TCP connection, with TLS or without.
#[derive(Debug)]
pub struct Io {
    stream: Stream,
    complaint: Option<Complaint>,
    /// The node at the other end.
    watched: Option<Watched>,
}

#[derive(Debug)]
enum Stream {
    /// Without.
    Plain(Plain),
    /// With, made from here.
    Client(Box<client::TlsStream<TcpStream>>),
    /// With, accepted here.
    Server(Box<server::TlsStream<TcpStream>>),
}

/// What was wrong with what a connection brought: whoever speaks over it may only be told that it is
/// closed.
#[derive(Debug, Clone, Default)]
pub struct Complaint(Arc<Complaints>);

#[derive(Debug, Default)]
struct Complaints {
    latest: Mutex<Option<String>>,
    has_come: Notify,
}

impl Complaint {
    /// What was wrong, with what to do; none: nothing was.
    pub fn take(&self) -> Option<String> {
        self.0.latest.lock().take()
    }

    /// The same, once something is.
    pub async fn made(&self) -> String {
        loop {
            self.0.has_come.notified().await;
            if let Some(complaint) = self.take() {
                return complaint;
            }
        }
    }

    fn make(&self, complaint: String) {
        *self.0.latest.lock() = Some(complaint);
        self.0.has_come.notify_one();
    }
}

/// A connection without TLS, that says so when the other side speaks TLS.
#[derive(Debug)]
struct Plain {
    stream: TcpStream,
    has_read: bool,
}

impl Io {
    /// Without TLS.
    pub fn plain(stream: TcpStream) -> Self {
        Self { stream: Stream::Plain(Plain { stream, has_read: false }), complaint: None, watched: None }
    }

    pub(crate) fn client(stream: client::TlsStream<TcpStream>) -> Self {
        Self { stream: Stream::Client(Box::new(stream)), complaint: None, watched: None }
    }

    pub(crate) fn server(stream: server::TlsStream<TcpStream>, watched: Option<Watched>) -> Self {
        Self { stream: Stream::Server(Box::new(stream)), complaint: None, watched }
    }

    /// Closed when what is at the other end is believed no more.
    pub(crate) fn watched(mut self, watched: Option<Watched>) -> Self {
        self.watched = watched;
        self
    }

    /// Leaves a complaint there too when it has one.
    pub fn complaining(mut self, complaint: Complaint) -> Self {
        self.complaint = Some(complaint);
        self
    }

    /// The connection below.
    pub fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Stream::Plain(plain) => &plain.stream,
            Stream::Client(stream) => stream.get_ref().0,
            Stream::Server(stream) => stream.get_ref().0,
        }
    }

    pub(crate) fn into_parts(self) -> (TcpStream, Option<rustls::Connection>) {
        match self.stream {
            Stream::Plain(plain) => (plain.stream, None),
            Stream::Client(stream) => {
                let (stream, session) = stream.into_inner();
                (stream, Some(session.into()))
            }
            Stream::Server(stream) => {
                let (stream, session) = stream.into_inner();
                (stream, Some(session.into()))
            }
        }
    }
}

impl AsyncRead for Plain {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let came = &buf.filled()[before..];
        if !this.has_read && !came.is_empty() {
            this.has_read = true;
            // No frame of HTTP/2 and no packet of ours begins like that.
            if came[0] == explain::TLS_ALERT[0] {
                return Poll::Ready(Err(explain::speaks_tls()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = match &mut this.stream {
            Stream::Plain(plain) => Pin::new(plain).poll_read(cx, buf),
            Stream::Client(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Server(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if read.is_ready() {
            Watched::check(this.watched.as_ref())?;
        }
        read.map_err(|error| {
            let error = explain::explained(error);
            if let Some(complaint) = &this.complaint
                && error.kind() == io::ErrorKind::InvalidData
            {
                complaint.make(error.to_string());
            }
            error
        })
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(plain) => Pin::new(&mut plain.stream).poll_write(cx, buf),
            Stream::Client(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Server(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(plain) => Pin::new(&mut plain.stream).poll_write_vectored(cx, bufs),
            Stream::Client(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Server(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(plain) => Pin::new(&mut plain.stream).poll_flush(cx),
            Stream::Client(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Server(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(plain) => Pin::new(&mut plain.stream).poll_shutdown(cx),
            Stream::Client(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Server(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
