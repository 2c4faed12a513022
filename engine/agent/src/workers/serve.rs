//! Does what a worker asks for. What it says is believed to be hostile: who asks is looked up in its books, what is
//! inside of what it gives has to be held, and whatever cannot be is its end.

use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use engine_core::{Error, ErrorCode, InstanceId, Place, TaskId};
use engine_proto::convert::peer::id_from;
use engine_proto::convert::worker::component_from;
use engine_proto::v1;
use engine_proto::v1::from_worker::{self as asks, Message};
use engine_proto::v1::worker_answer::Answer;
use engine_runtime::host::{Caller, Host, Later, Wait};
use engine_worker::wire;

use super::books::Kept;
use super::payload::{self, Missed};
use super::worker::{Bytes, Worker};
use crate::backend::component_bytes;
use crate::driver::Driver;

/// Why a worker is ended.
pub(super) type Misdeed = String;

/// What becomes of a request at once; none: something else answers it.
pub(super) type Done = Option<Answer>;

/// A request.
pub(super) struct Request {
    pub(super) number: u64,
    pub(super) instance: InstanceId,
    pub(super) task: TaskId,
}

impl Worker {
    /// Hears one message.
    ///
    /// # Errors
    /// Why the worker is to end.
    pub(super) fn serve(self: &Arc<Self>, line: &mut BufReader<UnixStream>) -> Result<(), Misdeed> {
        let (said, length) = wire::read::<v1::FromWorker>(line).map_err(|error| error.to_string())?;
        let Some(driver) = self.driver.upgrade() else { return Err("its node ends".to_owned()) };
        let request = Request {
            number: said.number,
            instance: InstanceId(said.instance),
            task: said.task.map_or(TaskId::from_bits(0, 0), id_from),
        };
        let message = said.message.ok_or("it said nothing that is known")?;
        let takes_bytes =
            matches!(message, Message::Write(_) | Message::WriteWhenRoom(_) | Message::Append(_));
        if length > if takes_bytes { self.options.setup.value_bytes_max } else { 0 } {
            return Err(format!("it sent {length} bytes where it may not"));
        }
        let answered = match message {
            Message::Write(_) => self.write(&driver, line, length)?,
            Message::WriteWhenRoom(_) => self.write_when_room(&driver, &request, line, length)?,
            Message::Append(draft) => {
                let bytes = payload::bytes(line, length).map_err(|_| "its line broke")?;
                self.append(&request, draft, bytes)
            }
            message => match self.tells(&driver, &request, message)? {
                None => return Ok(()),
                Some(message) => self.asks(&driver, &request, message),
            },
        };
        if request.number == 0 {
            return Err("it asks and wants no answer".to_owned());
        }
        match answered {
            Ok(None) => {}
            Ok(Some(answer)) => self.answer_now(request.number, answer),
            Err(error) => self.refuse(&request, &error),
        }
        Ok(())
    }

    fn refuse(&self, request: &Request, error: &Error) {
        let known = (request.instance != InstanceId(0)).then_some(request.instance);
        self.answer(request.number, Answer::Failed(self.failure(known, error)), Bytes::None);
    }

    /// Keeps what was written, until it is put somewhere or let go.
    pub(super) fn keep_written(&self, place: Place, size: u64) -> Result<Answer, Error> {
        let kept = Kept { place, size, origin: None, is_written: true };
        self.books.lock().keep(kept).map(Answer::Kept)
    }

    fn check_written(&self, more: u64) -> Result<(), Error> {
        let max = self.options.written_bytes_max;
        let written = self.books.lock().written_bytes();
        // One value is taken whatever its size, which has its own bound: it may be larger than memory.
        if written == 0 || written.saturating_add(more) <= max {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::LimitExceeded,
            format!(
                "the tenant's guests on this node have written {max} bytes of values that nothing holds yet (written_bytes_max): let some of them end first"
            ),
        ))
    }

    fn write(
        &self,
        driver: &Arc<Driver>,
        line: &mut BufReader<UnixStream>,
        length: u64,
    ) -> Result<Result<Done, Error>, Misdeed> {
        if let Err(error) = self.check_written(length) {
            return match payload::skip(line, length) {
                Ok(()) => Ok(Err(error)),
                Err(_) => Err("its line broke".to_owned()),
            };
        }
        let size = usize::try_from(length).map_err(|_| "it writes more than there is")?;
        match payload::place(line, size, &driver.store) {
            Ok(place) => Ok(self.keep_written(place, length).map(Some)),
            Err(Missed::NoRoom(error)) => Ok(Err(error)),
            Err(Missed::Broken) => Err("its line broke".to_owned()),
        }
    }

    fn write_when_room(
        self: &Arc<Self>,
        driver: &Arc<Driver>,
        request: &Request,
        line: &mut BufReader<UnixStream>,
        length: u64,
    ) -> Result<Result<Done, Error>, Misdeed> {
        let bytes = payload::bytes(line, length).map_err(|_| "its line broke")?;
        let from = self.check_written(length).and_then(|()| self.caller(request));
        let from = match from {
            Ok(from) => from,
            Err(error) => return Ok(Err(error)),
        };
        let this = self.clone();
        let stored = match driver.store.write(&[&bytes]) {
            Err(error) if error.code() == ErrorCode::StoreFull => {
                self.host.store_when_room(from, engine_objects::on_heap(bytes))
            }
            stored => Box::pin(std::future::ready(stored)),
        };
        Ok(self.later(request, stored, move |place| this.keep_written(place, length)))
    }

    fn append(self: &Arc<Self>, request: &Request, draft: u64, bytes: Vec<u8>) -> Result<Done, Error> {
        let (number, draft) = self.books.lock().take_draft(draft)?;
        let (this, failed, appended) = (self.clone(), self.clone(), self.host.append_on_disk(draft, bytes));
        let appended: Later<_> = Box::pin(async move {
            let appended = appended.await;
            // What could not be written can never be whole.
            appended.inspect_err(|_| failed.books.lock().put_draft(number, None))
        });
        self.later(request, appended, move |draft| {
            this.books.lock().put_draft(number, Some(draft));
            Ok(Answer::Draft(number))
        })
    }

    pub(super) fn caller(&self, request: &Request) -> Result<Caller, Error> {
        self.books.lock().caller(request.instance, request.task)
    }

    /// Answers when that has come to its end, unless it is given up before.
    pub(super) fn later<T: Send + 'static>(
        self: &Arc<Self>,
        request: &Request,
        later: Later<T>,
        answer: impl FnOnce(T) -> Result<Answer, Error> + Send + 'static,
    ) -> Result<Done, Error> {
        let (this, number, instance) = (self.clone(), request.number, request.instance);
        self.answers_later(request, async move {
            let answered = later.await.and_then(answer);
            if this.books.lock().waits_no_more(number).is_none() {
                return;
            }
            match answered {
                Ok(answer) => this.answer(number, answer, Bytes::None),
                Err(error) => {
                    this.refuse(&Request { number, instance, task: TaskId::from_bits(0, 0) }, &error);
                }
            }
        })
    }

    pub(super) fn answers_later(
        &self,
        request: &Request,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<Done, Error> {
        let driver = self.driver.upgrade().ok_or_else(|| Error::internal("the node ends"))?;
        // The work ends by taking what is entered here out again.
        let mut books = self.books.lock();
        let task = crate::background::spawn_on(&driver.background, crate::background::Kind::Worker, work);
        match books.waits(request.number, task.abort_handle()) {
            true => Ok(None),
            false => Err(Error::new(
                ErrorCode::LimitExceeded,
                "the tenant's guests on this node wait for as much as they may (waiting_max)",
            )),
        }
    }

    pub(super) fn blocks(self: &Arc<Self>, request: &Request, wait: Wait) -> Result<Done, Error> {
        let Wait::Blocked(over) = wait else { return Ok(Some(Answer::Done(v1::Heard {}))) };
        self.answer_now(request.number, Answer::Blocked(v1::Heard {}));
        let over: Later<()> = Box::pin(async move {
            over.await;
            Ok(())
        });
        self.later(request, over, |()| Ok(Answer::Done(v1::Heard {})))
    }

    pub(super) fn read(self: &Arc<Self>, request: &Request, read: &asks::Read) -> Result<Done, Error> {
        let kept = self.books.lock().kept(read.kept)?.clone();
        let end = read.offset.checked_add(read.length).filter(|end| *end <= kept.size);
        let end = end.ok_or_else(|| Error::invalid_argument("a value is read beyond its end"))?;
        if engine_objects::slice(&kept.place).is_some_and(|bytes| bytes.len() as u64 >= end) {
            let answer = Answer::Done(v1::Heard {});
            let range = read.offset as usize..end as usize;
            self.answer(request.number, answer, Bytes::Place(kept.place, range));
            return Ok(None);
        }
        let max = self.options.setup.memory_bytes_per_guest_max;
        if read.length > max {
            let message = format!("{} bytes are read at once, and {max} are as many as may be", read.length);
            return Err(Error::new(ErrorCode::LimitExceeded, message));
        }
        let (this, number, instance) = (self.clone(), request.number, request.instance);
        let (offset, length) = (read.offset, read.length);
        self.answers_later(request, async move {
            let turn = this.disk.clone().acquire_owned().await;
            let read = this.host.read(kept.place, offset, length).await;
            if let (Err(error), Some(origin)) = (&read, kept.origin)
                && error.code() == ErrorCode::ObjectLost
            {
                this.host.lost(origin, error);
            }
            if this.books.lock().waits_no_more(number).is_none() {
                return;
            }
            match read {
                Ok(bytes) => this.answer(number, Answer::Done(v1::Heard {}), Bytes::Heap(bytes)),
                Err(error) => {
                    this.refuse(&Request { number, instance, task: TaskId::from_bits(0, 0) }, &error);
                }
            }
            drop(turn);
        })
    }

    /// The bytes of a component that one of the jobs brought that the worker was told of.
    pub(super) fn needs(self: &Arc<Self>, request: &Request, digest: &bytes::Bytes) -> Result<Done, Error> {
        let component = component_from(digest, "FromWorker.need")?;
        let is_brought = |job: &Arc<engine_runtime::JobContext>| {
            job.components.values().any(|brought| brought.id == component)
        };
        if !self.books.lock().jobs.values().any(is_brought) {
            let message = format!("no job of the tenant {} has brought {component}", self.tenant());
            return Err(Error::new(ErrorCode::NotFound, message));
        }
        let (this, number, instance) = (self.clone(), request.number, request.instance);
        self.answers_later(request, async move {
            let bytes = match this.driver.upgrade() {
                Some(driver) => component_bytes(&driver, component).await,
                None => Err(Error::internal("the node ends")),
            };
            if this.books.lock().waits_no_more(number).is_none() {
                return;
            }
            match bytes {
                Ok(bytes) => this.answer(number, Answer::Done(v1::Heard {}), Bytes::Component(bytes)),
                Err(error) => {
                    this.refuse(&Request { number, instance, task: TaskId::from_bits(0, 0) }, &error);
                }
            }
        })
    }
}
