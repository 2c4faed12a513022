//! What tasks write, brought to Python.

use std::sync::mpsc;

use engine_proto::v1;
use futures::StreamExt;
use pyo3::prelude::*;

use crate::shared::Shared;

/// Batches that wait for Python; while there are as many, the rest waits in the job's log.
const BATCHES_MAX: usize = 16;

/// `(stream, function, task id, text)`.
type Line = (String, String, String, String);

/// Calls `on_log` with each batch of lines, from a thread of its own, to the end of the job. It ends when the
/// returned thread does.
pub(crate) fn follow(
    shared: &Shared,
    on_log: Py<PyAny>,
) -> Result<std::thread::JoinHandle<()>, engine_core::Error> {
    let mut batches = shared.client.logs()?;
    let (give, take) = mpsc::sync_channel::<Vec<Line>>(BATCHES_MAX);
    let spawned = std::thread::Builder::new().name("engine-logs".to_owned()).spawn(move || {
        while let Ok(lines) = take.recv() {
            // None: the interpreter ends, and nobody reads.
            let told = Python::try_attach(|py| {
                if let Err(error) = on_log.call1(py, (lines,)) {
                    error.write_unraisable(py, Some(on_log.bind(py)));
                }
            });
            if told.is_none() {
                // What Python owns can only be given back to an interpreter.
                std::mem::forget(on_log);
                return;
            }
        }
        Python::try_attach(move |_| drop(on_log));
    });
    let thread = spawned
        .map_err(|error| engine_core::Error::internal(format!("starting the thread of logs: {error}")))?;
    shared.runtime.spawn(async move {
        while let Some(Ok(batch)) = batches.next().await {
            let lines: Vec<Line> = batch.lines.into_iter().map(line).collect();
            let give = give.clone();
            // Python may be slow to take them.
            let given = tokio::task::spawn_blocking(move || give.send(lines)).await;
            if !matches!(given, Ok(Ok(()))) {
                return;
            }
        }
    });
    Ok(thread)
}

fn line(line: v1::LogLine) -> Line {
    let stream = match line.source() {
        v1::LogSource::Stderr => "stderr".to_owned(),
        v1::LogSource::Record => line.level,
        v1::LogSource::Stdout | v1::LogSource::Unspecified => "stdout".to_owned(),
    };
    (stream, line.function, line.task_id, line.text)
}
