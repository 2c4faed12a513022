//! Spill files in a bucket of S3, or of what speaks like it.

use std::collections::HashMap;
use std::future::Future;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use engine_core::{Error, ErrorCode};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{MultipartId, ObjectStoreExt, RetryConfig};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::AbortHandle;

use super::s3_writer::S3Writer;
use super::target::{SpillTarget, SpillWriter};

/// Bytes of a part of an upload; larger where a file would have too many of them.
const PART_BYTES: u64 = 8 << 20;
/// S3 takes at most 10 000 parts of one file.
const PARTS_MAX: u64 = 9_000;
/// A request that fails is made again so often at most.
const REPEATS_MAX: usize = 5;
/// Threads that carry the requests.
const THREADS: usize = 2;

/// How a bucket is reached.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// Names and values that come before those of the environment: endpoint, region, keys and others
    /// (`AWS_ENDPOINT`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ALLOW_HTTP`,
    /// `AWS_TIMEOUT`), as the crate object_store reads them.
    pub settings: Vec<(String, String)>,
    /// A request that fails is made again until so long after its first try. The last try may take
    /// `AWS_TIMEOUT` longer, which is 30 seconds where nothing else is set.
    pub retry_time_max: Duration,
}

impl Default for S3Options {
    fn default() -> Self {
        Self { settings: Vec::new(), retry_time_max: Duration::from_secs(60) }
    }
}

/// Spill files in a bucket, below a prefix of this process's own. Files and unfinished uploads of a
/// process that was killed stay there: give the bucket a rule that lets what is below the prefix expire.
pub struct S3Target {
    url: String,
    prefix: Path,
    link: Arc<Link>,
    /// Ended when this is dropped, by [`Drop`].
    runtime: Option<Runtime>,
}

/// The way to the bucket.
pub(super) struct Link {
    pub(super) store: AmazonS3,
    handle: Handle,
    /// Uploads that are neither completed nor given up, by the name of their file.
    uploads: Mutex<HashMap<String, MultipartId>>,
}

impl S3Target {
    /// Files below `s3://bucket/prefix`.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when the URL or a setting is wrong, or nothing can be written, read and deleted
    /// there.
    pub fn new(url: &str, options: &S3Options) -> Result<Self, Error> {
        let wrong = |why: &dyn std::fmt::Display| {
            Error::new(
                ErrorCode::InvalidArgument,
                format!(
                    "cannot spill to {url}: {why}; check the URL (s3://bucket/prefix), the bucket, and AWS_ENDPOINT, AWS_REGION and the keys in the environment"
                ),
            )
        };
        let retry = RetryConfig {
            max_retries: REPEATS_MAX,
            retry_timeout: options.retry_time_max,
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::from_env().with_url(url).with_retry(retry);
        for (name, value) in &options.settings {
            let key: AmazonS3ConfigKey = name.to_ascii_lowercase().parse().map_err(|error| wrong(&error))?;
            builder = builder.with_config(key, value);
        }
        let store = builder.build().map_err(|error| wrong(&error))?;
        let below = url.trim_start_matches("s3://").split_once('/').map_or("", |(_, prefix)| prefix);
        let own = format!("engine-spill-{}", super::folder::random().map_err(|error| wrong(&error))?);
        let prefix = Path::from(below).join(own);
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("spill-s3")
            .enable_all()
            .build()
            .map_err(|error| wrong(&error))?;
        let link = Arc::new(Link { store, handle: runtime.handle().clone(), uploads: Mutex::default() });
        let url = url.trim_end_matches('/').into();
        let target = Self { url, prefix, link, runtime: Some(runtime) };
        target.write_and_delete().map_err(|error| wrong(&error))?;
        Ok(target)
    }

    /// Does once what will be needed, so that a node with wrong keys does not start.
    fn write_and_delete(&self) -> io::Result<()> {
        let name = "check";
        let mut writer = self.create(name, Some(1))?;
        writer.append(&[IoSlice::new(b"x")])?;
        writer.finish()?;
        let read = self.read(name, 0, &mut [0]);
        self.delete(name).and(read)
    }

    fn file(&self, name: &str) -> Path {
        self.prefix.clone().join(name)
    }
}

impl Link {
    /// Starts a request on the target's own threads, so that it does not matter whether whoever waits
    /// for it is a thread of some other runtime.
    pub(super) fn start<T, F>(self: &Arc<Self>, request: impl FnOnce(Arc<Self>) -> F) -> Pending<T>
    where
        T: Send + 'static,
        F: Future<Output = object_store::Result<T>> + Send + 'static,
    {
        let (send, answer) = sync_channel(1);
        let request = request(self.clone());
        let task = self.handle.spawn(async move {
            // Nobody is there to hear it only when it was given up.
            let _ = send.send(request.await);
        });
        Pending { task: task.abort_handle(), answer }
    }

    /// Makes a request.
    pub(super) fn wait<T, F>(self: &Arc<Self>, request: impl FnOnce(Arc<Self>) -> F) -> io::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = object_store::Result<T>> + Send + 'static,
    {
        self.start(request).wait()
    }

    /// From now on the upload is given up when the file is deleted.
    pub(super) fn upload_begun(&self, name: &str, id: &MultipartId) {
        self.uploads.lock().insert(name.into(), id.clone());
    }

    pub(super) fn upload_ended(&self, name: &str) {
        self.uploads.lock().remove(name);
    }
}

/// A request on its way, given up when this is dropped.
pub(super) struct Pending<T> {
    task: AbortHandle,
    answer: Receiver<object_store::Result<T>>,
}

impl<T> Pending<T> {
    pub(super) fn wait(self) -> io::Result<T> {
        match self.answer.recv() {
            Ok(result) => result.map_err(into_io),
            Err(_) => Err(io::Error::other("the request was given up, because the store is being closed")),
        }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        self.task.abort();
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

/// What is not there is deleted already.
fn deleted(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

impl SpillTarget for S3Target {
    fn path(&self, name: &str) -> String {
        let own = self.prefix.parts().next_back().map(|part| part.as_ref().to_owned()).unwrap_or_default();
        format!("{}/{own}/{name}", self.url)
    }

    fn create(&self, name: &str, bytes: Option<u64>) -> io::Result<Box<dyn SpillWriter>> {
        let part_bytes = PART_BYTES.max(bytes.unwrap_or(0).div_ceil(PARTS_MAX));
        let part_bytes = usize::try_from(part_bytes).unwrap_or(usize::MAX);
        Ok(Box::new(S3Writer::new(self.link.clone(), name.into(), self.file(name), part_bytes)))
    }

    fn read(&self, name: &str, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let path = self.file(name);
        let range = offset..offset + buffer.len() as u64;
        let bytes = self.link.wait(|link| async move { link.store.get_range(&path, range).await })?;
        if bytes.len() != buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let id = self.link.uploads.lock().get(name).cloned();
        if let Some(id) = id {
            let path = self.file(name);
            let given_up = self.link.wait(|link| async move { link.store.abort_multipart(&path, &id).await });
            deleted(given_up)?;
            self.link.upload_ended(name);
        }
        let path = self.file(name);
        deleted(self.link.wait(|link| async move { link.store.delete(&path).await }))
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
