//! What a worker tells and wants no answer to: how calls ended, what sandboxes hold, lines of log.

use std::sync::Arc;

use engine_core::work::{CallReport, GoneReport};
use engine_core::{Error, Handle, InstanceId};
use engine_proto::convert::client::handle_from;
use engine_proto::convert::peer::id_from;
use engine_proto::convert::worker::{failure_from, pairs_from, report_from};
use engine_proto::prost::Message as _;
use engine_proto::v1;
use engine_proto::v1::from_worker::{self as asks, Message};
use engine_runtime::ComponentWorld;
use engine_runtime::host::{Host, LogLine, LogSource};

use super::asks::missing;
use super::laid::check_held;
use super::serve::{Misdeed, Request};
use super::worker::Worker;
use crate::driver::Driver;

/// Bytes of a line of log; of longer ones the rest is dropped, as a runtime cuts them before.
const LOG_LINE_BYTES_MAX: usize = 64 << 10;
/// Bytes of one line of log with its fields: larger ones are dropped.
const LOG_RECORD_BYTES_MAX: usize = 1 << 20;

impl Worker {
    /// What a worker tells, which wants no answer; given back when it is something else.
    pub(super) fn tells(
        self: &Arc<Self>,
        driver: &Arc<Driver>,
        request: &Request,
        message: Message,
    ) -> Result<Option<Message>, Misdeed> {
        match message {
            Message::Ready(ready) => self.is_ready(ready),
            Message::Loaded(loaded) => self.loaded(loaded),
            Message::Acquire(handle) => {
                let handle = handle_from(handle).map_err(|error| error.to_string())?;
                self.acquire(driver, request, handle)?;
            }
            Message::Release(handle) => {
                let handle = handle_from(handle).map_err(|error| error.to_string())?;
                let from = self.books.lock().holder(request.instance, request.task);
                if let Some(from) = from {
                    self.host.release(from, handle);
                }
            }
            Message::Log(log) => self.log(log),
            Message::Finished(finished) => {
                self.finished(driver, finished).map_err(|error| error.to_string())?;
            }
            Message::Gone(gone) => {
                self.gone(driver, gone).map_err(|error| error.to_string())?;
            }
            Message::GiveUp(number) => {
                let waited = self.books.lock().waits_no_more(number);
                if let Some(task) = waited {
                    task.abort();
                }
            }
            Message::Drop(dropped) => {
                let mut books = self.books.lock();
                dropped.numbers.into_iter().for_each(|number| books.let_go(number));
            }
            Message::DropDraft(draft) => self.books.lock().put_draft(draft, None),
            message => return Ok(Some(message)),
        }
        Ok(None)
    }

    fn loaded(&self, loaded: asks::Loaded) {
        let world = match loaded.is_concurrent {
            true => ComponentWorld::Concurrent,
            false => ComponentWorld::Program,
        };
        let mut books = self.books.lock();
        let Some((component, done)) = books.loads.remove(&loaded.number) else { return };
        let result = match loaded.failed {
            None => {
                books.worlds.insert(component, world);
                Ok(world)
            }
            Some(failed) => {
                let none = |_, _| Err(Error::invalid_argument("a component gives nothing"));
                Err(failure_from(failed, &none).unwrap_or_else(|error| error))
            }
        };
        // Nobody waits for it when its job is not submitted any more.
        drop(done.send(result));
    }

    /// A sandbox takes a handle: one more of what it holds, or one of what it was shown.
    fn acquire(&self, driver: &Arc<Driver>, request: &Request, handle: Handle) -> Result<(), Misdeed> {
        let books = self.books.lock();
        let Some(from) = books.holder(request.instance, request.task) else { return Ok(()) };
        let was_shown = books.was_shown(request.instance, &handle);
        drop(books);
        if !was_shown && !driver.read(|node| node.holds(request.instance, &[handle])) {
            return Err(format!("it takes {handle:?}, which it was never shown"));
        }
        self.host.acquire(from, handle);
        Ok(())
    }

    fn log(&self, log: asks::Log) {
        let (Some(job), Some(task)) = (log.job, log.task) else { return };
        let job = id_from(job);
        if !self.books.lock().jobs.contains_key(&job) || log.encoded_len() > LOG_RECORD_BYTES_MAX {
            return;
        }
        let level = |name: &str| {
            ["trace", "debug", "info", "warn", "error"]
                .into_iter()
                .find(|level| *level == name)
                .unwrap_or("info")
        };
        let (source, level) = match log.stream.as_str() {
            "stdout" => (LogSource::Stdout, None),
            "stderr" => (LogSource::Stderr, None),
            stream => (LogSource::Record, Some(level(stream))),
        };
        let mut text = log.text;
        text.truncate(text.floor_char_boundary(LOG_LINE_BYTES_MAX));
        let fields = pairs_from(log.fields);
        let task = id_from(task);
        self.host.log(LogLine { job, task, source, level, target: log.target, text, fields });
    }

    /// The report of a call that is inside, of which nothing is given that is not held.
    fn report(
        &self,
        driver: &Arc<Driver>,
        instance: InstanceId,
        report: v1::WorkerReport,
    ) -> Result<CallReport, Error> {
        let report = report_from(report, &|travels, _| self.take(driver, travels))?;
        match &report.result {
            Ok(values) => check_held(driver, instance, values.iter())?,
            Err(error) => check_held(driver, instance, error.payload().into_iter())?,
        }
        if !self.books.lock().left(instance, report.task) {
            return Err(Error::invalid_argument(format!("{} is not inside of {instance}", report.task)));
        }
        Ok(report)
    }

    fn finished(&self, driver: &Arc<Driver>, finished: asks::Finished) -> Result<(), Error> {
        let instance = InstanceId(finished.instance);
        let report = finished.report.ok_or_else(|| missing("Finished.report"))?;
        let report = self.report(driver, instance, report)?;
        self.host.finished(instance, report);
        Ok(())
    }

    fn gone(&self, driver: &Arc<Driver>, gone: asks::Gone) -> Result<(), Error> {
        let instance = InstanceId(gone.instance);
        let calls = gone.calls.into_iter().map(|call| self.report(driver, instance, call));
        let calls = calls.collect::<Result<_, Error>>()?;
        let take = |travels, _| self.take(driver, travels);
        let cause = gone.cause.map(|cause| failure_from(cause, &take)).transpose()?;
        if let Some(cause) = &cause {
            check_held(driver, instance, cause.payload().into_iter())?;
        }
        if self.books.lock().sandboxes.remove(&instance).is_none() {
            return Err(Error::invalid_argument(format!("the sandbox {instance} is not its own")));
        }
        driver.workers.left(instance);
        self.host.gone(GoneReport { instance, calls, cause });
        Ok(())
    }
}
