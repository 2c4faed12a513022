//! What plain TCP between two processes of this machine gives: the limit that a cluster is compared with.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

/// Bytes of a frame, about those of a packet with one small task.
const FRAME_BYTES: usize = 200;
const BLOCK_BYTES: usize = 1 << 20;

/// The other process: answers each frame with the same, or swallows as many bytes as it is told.
pub(crate) fn serve() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?.port());
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            return Ok(());
        }
        let mut left = u64::from_be_bytes(head[1..].try_into()?) as usize;
        let is_echoed = head[0] == 1;
        while left > 0 {
            let wanted = left.min(block.len());
            stream.read_exact(&mut block[..wanted])?;
            left -= wanted;
        }
        let answer = if is_echoed { FRAME_BYTES } else { 1 };
        stream.write_all(&block[..answer])?;
    }
}

/// A connection to another process that [`serve`]s.
pub(crate) struct Tcp {
    stream: TcpStream,
    server: Child,
}

impl Tcp {
    pub(crate) fn start() -> Result<Self> {
        let mut server = Command::new(std::env::current_exe()?)
            .arg("tcp-server")
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the other end of a TCP connection")?;
        let mut text = Vec::new();
        let output = server.stdout.as_mut().context("it has no output")?;
        let mut byte = [0];
        while output.read(&mut byte)? == 1 && byte != *b"\n" {
            text.push(byte[0]);
        }
        let port: u16 = String::from_utf8(text)?.parse().context("it gave no port")?;
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, server })
    }

    fn send(&mut self, kind: u8, length: usize) -> Result<()> {
        let mut head = [kind; 9];
        head[1..].copy_from_slice(&(length as u64).to_be_bytes());
        Ok(self.stream.write_all(&head)?)
    }

    /// Seconds of one framed round trip, of so many.
    pub(crate) fn round_trip(&mut self, count: u64) -> Result<f64> {
        let mut frame = [0; 9 + FRAME_BYTES];
        frame[0] = 1;
        frame[1..9].copy_from_slice(&(FRAME_BYTES as u64).to_be_bytes());
        let mut answer = [0; FRAME_BYTES];
        let start = Instant::now();
        for _ in 0..count {
            self.stream.write_all(&frame)?;
            self.stream.read_exact(&mut answer)?;
        }
        Ok(start.elapsed().as_secs_f64() / count as f64)
    }

    /// Seconds to bring so many bytes over.
    pub(crate) fn transfer(&mut self, bytes: usize) -> Result<f64> {
        let block = vec![7; BLOCK_BYTES];
        let start = Instant::now();
        self.send(2, bytes)?;
        let mut left = bytes;
        while left > 0 {
            let now = left.min(block.len());
            self.stream.write_all(&block[..now])?;
            left -= now;
        }
        self.stream.read_exact(&mut [0])?;
        Ok(start.elapsed().as_secs_f64())
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        // It ends with the connection, too.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}
