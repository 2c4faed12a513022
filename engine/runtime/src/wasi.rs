//! WASI by the job's grants only: its directories, environment, clocks and randomness. No network,
//! no standard input; what is written to standard output and error is the log.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use engine_core::{Error, ErrorCode, JobId};
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::filesystem::WasiFilesystemCtx;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use crate::guest::Guest;
use crate::host::LogSource;
use crate::job::JobContext;
use crate::logs::Logs;

/// The opened directories of the jobs that have guests here: opened once per job, not per guest.
#[derive(Default)]
pub(crate) struct Grants(Mutex<HashMap<JobId, Grant>>);

struct Grant {
    job: Weak<JobContext>,
    directories: Arc<WasiFilesystemCtx>,
}

impl Grants {
    /// The job's directories, opened; reads and writes block the guest's thread when `is_blocking`.
    /// NOT_FOUND or PERMISSION_DENIED when one cannot be.
    pub(crate) fn directories(
        &self,
        job: &Arc<JobContext>,
        is_blocking: bool,
    ) -> Result<Arc<WasiFilesystemCtx>, Error> {
        let mut grants = self.0.lock();
        if let Some(grant) = grants.get(&job.job)
            && grant.job.as_ptr() == Arc::as_ptr(job)
        {
            return Ok(grant.directories.clone());
        }
        grants.retain(|_, grant| grant.job.strong_count() > 0);
        let directories = Arc::new(open(job, is_blocking)?);
        grants.insert(job.job, Grant { job: Arc::downgrade(job), directories: directories.clone() });
        Ok(directories)
    }

    pub(crate) fn close(&self, job: JobId) {
        self.0.lock().remove(&job);
    }
}

fn open(job: &JobContext, is_blocking: bool) -> Result<WasiFilesystemCtx, Error> {
    let mut builder = WasiCtxBuilder::new();
    builder.allow_blocking_current_thread(is_blocking);
    for grant in &job.directories {
        let permissions = if grant.read_only { FsPerms::ReadOnly } else { FsPerms::ReadWrite };
        builder.preopened_dir(&grant.host, &grant.guest, permissions).map_err(|error| {
            let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            let code = match kind {
                Some(std::io::ErrorKind::NotFound) => ErrorCode::NotFound,
                Some(std::io::ErrorKind::PermissionDenied) => ErrorCode::PermissionDenied,
                _ => ErrorCode::InvalidArgument,
            };
            Error::new(
                code,
                format!(
                    "the directory {} that the job grants as {} cannot be opened: {error}",
                    grant.host.display(),
                    grant.guest
                ),
            )
        })?;
    }
    Ok(builder.build().filesystem().clone())
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        if self.wasi.is_none() {
            let context = context(self);
            self.wasi = Some(context);
        }
        let Self { wasi, table, .. } = self;
        WasiCtxView { ctx: wasi.get_or_insert_with(Default::default), table }
    }
}

#[cold]
fn context(guest: &mut Guest) -> Box<WasiCtx> {
    let logs = guest.logs().clone();
    let mut builder = WasiCtxBuilder::new();
    builder
        .envs(&guest.job.env)
        .envs(&guest.env)
        .args(&guest.arguments)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .stdout(Stream { source: LogSource::Stdout, logs: logs.clone() })
        .stderr(Stream { source: LogSource::Stderr, logs: logs.clone() });
    let mut context = Box::new(builder.build());
    if !guest.job.directories.is_empty() {
        match guest.runtime.directories(&guest.job) {
            Ok(directories) => *context.filesystem() = (*directories).clone(),
            // The guest sees no directory, and whoever reads its log sees why.
            Err(error) => logs.lock().record("error", "engine".to_owned(), error.to_string(), Vec::new()),
        }
    }
    context
}

/// A guest's standard output or error.
#[derive(Clone)]
struct Stream {
    source: LogSource,
    logs: Arc<Mutex<Logs>>,
}

/// Bytes that a guest may write at once.
const WRITE_BYTES: usize = 64 << 10;

impl IsTerminal for Stream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Stream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.logs.lock().write(self.source, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        self.logs.lock().write(self.source, bytes);
        std::task::Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}
