//! Spill files in a bucket of S3, or of what speaks like it.

use std::future::Future;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use engine_core::{Error, ErrorCode};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{ObjectStoreExt, RetryConfig, WriteMultipart};
use tokio::runtime::{Builder, Handle, Runtime};

use super::target::{SpillTarget, SpillWriter};

/// Bytes of a part of an upload; larger where a file would have too many of them.
const PART_BYTES: u64 = 8 << 20;
/// S3 takes at most 10 000 parts of one file.
const PARTS_MAX: u64 = 9_000;
/// Parts of one file that travel at the same time; each takes its bytes of memory meanwhile.
const PARTS_IN_FLIGHT_MAX: usize = 4;
/// A request that fails is made again for so long, and so often.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(60);
const REQUESTS_MAX: usize = 5;
/// Threads that carry the requests.
const THREADS: usize = 2;

/// Spill files in a bucket, below a prefix of this process's own. Files of a process that was killed
/// stay there: give the bucket a rule that lets what is below the prefix expire.
pub struct S3Target {
    url: String,
    store: Arc<AmazonS3>,
    prefix: Path,
    /// Ended when this is dropped, by [`Drop`].
    runtime: Option<Runtime>,
    handle: Handle,
}

impl S3Target {
    /// Files below `s3://bucket/prefix`. Endpoint, region and keys are those of the environment
    /// (`AWS_ENDPOINT`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ALLOW_HTTP`
    /// and others, as the crate object_store reads them), unless `options` has them by those names.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when the URL or an option is wrong, or nothing can be written there.
    pub fn new(url: &str, options: &[(&str, &str)]) -> Result<Self, Error> {
        let wrong = |why: &dyn std::fmt::Display| {
            Error::new(
                ErrorCode::InvalidArgument,
                format!(
                    "cannot spill to {url}: {why}; check the URL (s3://bucket/prefix), the bucket, and AWS_ENDPOINT, AWS_REGION and the keys in the environment"
                ),
            )
        };
        let retry = RetryConfig {
            max_retries: REQUESTS_MAX,
            retry_timeout: REQUEST_TIME_MAX,
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::from_env().with_url(url).with_retry(retry);
        for (name, value) in options {
            let key: AmazonS3ConfigKey = name.to_ascii_lowercase().parse().map_err(|error| wrong(&error))?;
            builder = builder.with_config(key, *value);
        }
        let store = Arc::new(builder.build().map_err(|error| wrong(&error))?);
        let below = url.trim_start_matches("s3://").split_once('/').map_or("", |(_, prefix)| prefix);
        let own = format!("engine-spill-{}", super::folder::random().map_err(|error| wrong(&error))?);
        let prefix = Path::from(below).join(own);
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("spill-s3")
            .enable_all()
            .build()
            .map_err(|error| wrong(&error))?;
        let handle = runtime.handle().clone();
        let target =
            Self { url: url.trim_end_matches('/').into(), store, prefix, runtime: Some(runtime), handle };
        target.write_and_delete().map_err(|error| wrong(&error))?;
        Ok(target)
    }

    /// Does once what will be needed, so that a node with wrong keys does not start.
    fn write_and_delete(&self) -> io::Result<()> {
        let name = "check";
        let mut writer = self.create(name, Some(1))?;
        writer.append(&[IoSlice::new(b"x")])?;
        writer.finish()?;
        self.read(name, 0, &mut [0])?;
        self.delete(name)
    }

    fn file(&self, name: &str) -> Path {
        self.prefix.clone().join(name)
    }
}

/// Waits for a future that runs on the target's own threads; so that it does not matter whether the
/// caller is a thread of some other runtime.
fn wait<T: Send + 'static>(
    handle: &Handle,
    future: impl Future<Output = object_store::Result<T>> + Send + 'static,
) -> io::Result<T> {
    let (send, receive) = sync_channel(1);
    handle.spawn(async move {
        // Nobody is there to hear it only when the caller panicked.
        let _ = send.send(future.await);
    });
    match receive.recv() {
        Ok(result) => result.map_err(into_io),
        Err(_) => Err(io::Error::other("the request was given up, because the store is being closed")),
    }
}

fn into_io(error: object_store::Error) -> io::Error {
    let kind = match &error {
        object_store::Error::NotFound { .. } => io::ErrorKind::NotFound,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            io::ErrorKind::PermissionDenied
        }
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

impl SpillTarget for S3Target {
    fn path(&self, name: &str) -> String {
        let own = self.prefix.parts().next_back().map(|part| part.as_ref().to_owned()).unwrap_or_default();
        format!("{}/{own}/{name}", self.url)
    }

    fn create(&self, name: &str, bytes: Option<u64>) -> io::Result<Box<dyn SpillWriter>> {
        let part_bytes = PART_BYTES.max(bytes.unwrap_or(0) / PARTS_MAX);
        Ok(Box::new(S3Writer {
            store: self.store.clone(),
            handle: self.handle.clone(),
            path: self.file(name),
            part_bytes: usize::try_from(part_bytes).unwrap_or(usize::MAX),
            upload: None,
            begun: Vec::new(),
        }))
    }

    fn read(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let (store, path) = (self.store.clone(), self.file(name));
        let range = offset..offset + buffer.len() as u64;
        let bytes = wait(&self.handle, async move { store.get_range(&path, range).await })?;
        if bytes.len() != buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let (store, path) = (self.store.clone(), self.file(name));
        match wait(&self.handle, async move { store.delete(&path).await }) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }
}

impl Drop for S3Target {
    fn drop(&mut self) {
        // Not waited for: a runtime may not be waited for on a thread of another.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

struct S3Writer {
    store: Arc<AmazonS3>,
    handle: Handle,
    path: Path,
    part_bytes: usize,
    /// None while the file is smaller than a part.
    upload: Option<WriteMultipart>,
    /// The bytes of a file that is smaller than a part.
    begun: Vec<u8>,
}

impl S3Writer {
    /// Sends on what was taken, and waits until there is room for more.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => {
                let (store, path) = (self.store.clone(), self.path.clone());
                let upload = wait(&self.handle, async move { store.put_multipart(&path).await })?;
                WriteMultipart::new_with_chunk_size(upload, self.part_bytes)
            }
        };
        for piece in bytes.chunks(self.part_bytes) {
            {
                // Parts are sent by tasks of the runtime that is entered.
                let _entered = self.handle.enter();
                upload.write(piece);
            }
            upload = wait(&self.handle, async move {
                upload.wait_for_capacity(PARTS_IN_FLIGHT_MAX).await.map(|()| upload)
            })?;
        }
        self.upload = Some(upload);
        Ok(())
    }
}

impl SpillWriter for S3Writer {
    fn append(&mut self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        for part in parts {
            if self.upload.is_none() && self.begun.len() + part.len() <= self.part_bytes {
                self.begun.extend_from_slice(part);
                continue;
            }
            let begun = std::mem::take(&mut self.begun);
            if !begun.is_empty() {
                self.send(&begun)?;
            }
            self.send(part)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if let Some(upload) = self.upload.take() {
            return wait(&self.handle, upload.finish()).map(drop);
        }
        let (store, path, bytes) = (self.store.clone(), self.path.clone(), std::mem::take(&mut self.begun));
        wait(&self.handle, async move { store.put(&path, bytes.into()).await }).map(drop)
    }
}

impl Drop for S3Writer {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take() {
            // An upload that is neither ended nor given up would be paid for; a failure leaves it to
            // the bucket's rules.
            let _ = wait(&self.handle, upload.abort());
        }
    }
}
