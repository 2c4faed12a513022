//! What a worker was given, and so may name: its sandboxes and their calls, the values that are kept for it, and the
//! handles that it may take.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use engine_core::ids::IdMap;
use engine_core::{ComponentId, Error, ErrorCode, Handle, InstanceId, JobId, Place, TaskId};
use engine_runtime::host::{Caller, DiskDraft, Lost};
use engine_runtime::{ComponentWorld, JobContext};
use futures::channel::oneshot;
use smallvec::SmallVec;
use tokio::task::AbortHandle;

/// Values that are kept for one worker.
const KEPT_MAX: usize = 1_000_000;
/// Objects on disk that one worker writes at once.
const DRAFTS_MAX: usize = 10_000;
/// Requests of one worker that are not answered.
const WAITING_MAX: usize = 100_000;
/// Handles that a sandbox was shown last, and may take: at least so many.
const SHOWN_MAX: usize = 2_000_000;

/// What one worker was given.
#[derive(Default)]
pub(super) struct Books {
    pub(super) sandboxes: IdMap<InstanceId, Sandbox>,
    /// Jobs that it was told of.
    pub(super) jobs: IdMap<JobId, Arc<JobContext>>,
    kept: HashMap<u64, Kept>,
    drafts: HashMap<u64, Option<DiskDraft>>,
    next_number: u64,
    /// Bytes of what it has written and nothing holds yet but this.
    written_bytes: u64,
    /// What it waits for, by the numbers of its requests.
    waiting: HashMap<u64, AbortHandle>,
    pub(super) loads: HashMap<u64, (ComponentId, oneshot::Sender<Result<ComponentWorld, Error>>)>,
    pub(super) worlds: HashMap<ComponentId, ComponentWorld>,
}

/// A sandbox of a worker.
pub(super) struct Sandbox {
    job: JobId,
    /// The call that it was started with: an actor's constructor, whose time may go on.
    first: TaskId,
    inside: SmallVec<[TaskId; 2]>,
    shown: Shown,
    /// Since when it is to end.
    pub(super) stopping: Option<Instant>,
}

/// Handles that a sandbox may take, as they are in what it was given. The oldest are forgotten.
#[derive(Default)]
struct Shown {
    new: HashSet<Handle>,
    old: HashSet<Handle>,
}

/// A value that is kept for a worker.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) place: Place,
    /// Bytes.
    pub(super) size: u64,
    /// What is lost when its bytes are.
    pub(super) origin: Option<Lost>,
    /// The worker has made it.
    pub(super) is_written: bool,
}

impl Shown {
    fn show(&mut self, handle: Handle) {
        if self.new.len() >= SHOWN_MAX {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(handle);
    }

    fn has(&self, handle: &Handle) -> bool {
        self.new.contains(handle) || self.old.contains(handle)
    }
}

impl Sandbox {
    pub(super) fn new(job: JobId, first: TaskId) -> Self {
        Self { job, first, inside: SmallVec::new(), shown: Shown::default(), stopping: None }
    }
}

fn too_many(name: &str, max: usize) -> Error {
    Error::new(
        ErrorCode::LimitExceeded,
        format!(
            "the tenant's guests on this node have {max} at once, as many as they may ({name}): drop some"
        ),
    )
}

impl Books {
    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// A number for a component that is to be compiled.
    pub(super) fn next_load(&mut self) -> u64 {
        self.number()
    }

    /// A call is about to be told of.
    pub(super) fn enters(&mut self, instance: InstanceId, task: TaskId) {
        if let Some(sandbox) = self.sandboxes.get_mut(&instance) {
            sandbox.inside.push(task);
        }
    }

    /// A call has ended; false when it is not inside.
    pub(super) fn left(&mut self, instance: InstanceId, task: TaskId) -> bool {
        let Some(sandbox) = self.sandboxes.get_mut(&instance) else { return false };
        let at = sandbox.inside.iter().position(|inside| *inside == task);
        at.map(|at| sandbox.inside.swap_remove(at)).is_some()
    }

    /// Who asks, when that is one of its sandboxes with a call that it serves.
    pub(super) fn caller(&self, instance: InstanceId, task: TaskId) -> Result<Caller, Error> {
        match self.sandboxes.get(&instance) {
            Some(sandbox) if sandbox.first == task || sandbox.inside.contains(&task) => {
                Ok(Caller { instance, task, job: sandbox.job })
            }
            _ => Err(Error::new(
                ErrorCode::PermissionDenied,
                format!("the sandbox {instance} does not serve {task} here"),
            )),
        }
    }

    /// Who lets go or takes: that is the sandbox's, whichever call it serves.
    pub(super) fn holder(&self, instance: InstanceId, task: TaskId) -> Option<Caller> {
        let sandbox = self.sandboxes.get(&instance)?;
        Some(Caller { instance, task, job: sandbox.job })
    }

    /// A sandbox is given something with these handles inside.
    pub(super) fn show(&mut self, instance: InstanceId, handles: &[Handle]) {
        if let Some(sandbox) = self.sandboxes.get_mut(&instance) {
            handles.iter().for_each(|handle| sandbox.shown.show(*handle));
        }
    }

    pub(super) fn was_shown(&self, instance: InstanceId, handle: &Handle) -> bool {
        self.sandboxes.get(&instance).is_some_and(|sandbox| sandbox.shown.has(handle))
    }

    /// Keeps a value until the worker lets go of it.
    pub(super) fn keep(&mut self, kept: Kept) -> Result<u64, Error> {
        if self.kept.len() >= KEPT_MAX {
            return Err(too_many("kept_max", KEPT_MAX));
        }
        let number = self.number();
        self.written_bytes += if kept.is_written { kept.size } else { 0 };
        self.kept.insert(number, kept);
        Ok(number)
    }

    /// What is kept by this number.
    pub(super) fn kept(&self, number: u64) -> Result<&Kept, Error> {
        self.kept
            .get(&number)
            .ok_or_else(|| Error::invalid_argument(format!("the value {number} is not kept")))
    }

    pub(super) fn let_go(&mut self, number: u64) {
        if let Some(kept) = self.kept.remove(&number).filter(|kept| kept.is_written) {
            self.written_bytes -= kept.size;
        }
    }

    pub(super) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// Takes an object on disk out, to be written; 0: there is none yet. Gives its number.
    pub(super) fn take_draft(&mut self, number: u64) -> Result<(u64, Option<DiskDraft>), Error> {
        if number != 0 {
            let draft = self.drafts.get_mut(&number).and_then(Option::take);
            let missing = || Error::invalid_argument(format!("no object {number} is being written"));
            return draft.map(|draft| (number, Some(draft))).ok_or_else(missing);
        }
        if self.drafts.len() >= DRAFTS_MAX {
            return Err(too_many("drafts_max", DRAFTS_MAX));
        }
        let number = self.number();
        self.drafts.insert(number, None);
        Ok((number, None))
    }

    /// Puts an object on disk back; none: it is whole, or given up.
    pub(super) fn put_draft(&mut self, number: u64, draft: Option<DiskDraft>) {
        match draft {
            // Whoever has given it up meanwhile wants it no more.
            Some(draft) => {
                if let Some(slot) = self.drafts.get_mut(&number) {
                    *slot = Some(draft);
                }
            }
            None => drop(self.drafts.remove(&number)),
        }
    }

    /// A request waits; false when there are too many, or one of this number.
    pub(super) fn waits(&mut self, number: u64, task: AbortHandle) -> bool {
        if self.waiting.len() >= WAITING_MAX || number == 0 {
            task.abort();
            return false;
        }
        match self.waiting.insert(number, task) {
            None => true,
            Some(before) => {
                before.abort();
                false
            }
        }
    }

    /// A request does not wait any more; none: it was given up, or never waited.
    pub(super) fn waits_no_more(&mut self, number: u64) -> Option<AbortHandle> {
        self.waiting.remove(&number)
    }

    /// Ends all that waits, and lets go of everything. Gives the sandboxes, which are no more.
    pub(super) fn close(&mut self, error: &Error) -> Vec<InstanceId> {
        self.waiting.drain().for_each(|(_, task)| task.abort());
        for (_, (_, loading)) in self.loads.drain() {
            // Nobody waits for it when its job is not submitted any more.
            drop(loading.send(Err(error.clone())));
        }
        let sandboxes = self.sandboxes.drain().map(|(id, _)| id).collect();
        *self = Self::default();
        sandboxes
    }
}

#[cfg(test)]
mod tests {
    use engine_core::ids::IdGenerator;

    use super::*;

    #[test]
    fn a_worker_names_only_what_it_was_given() {
        let mut ids = IdGenerator::new([1; 16]);
        let (job, first, second, other) = (ids.job(), ids.task(), ids.task(), ids.task());
        let mut books = Books::default();
        let instance = InstanceId(3);
        books.sandboxes.insert(instance, Sandbox::new(job, first));
        books.enters(instance, first);
        books.enters(instance, second);
        assert_eq!(books.caller(instance, second).expect("inside").job, job);
        assert_eq!(
            books.caller(instance, other).expect_err("not inside").code(),
            ErrorCode::PermissionDenied
        );
        assert!(books.caller(InstanceId(4), first).is_err());
        assert!(books.left(instance, second) && !books.left(instance, second));
        assert!(books.caller(instance, second).is_err());
        assert!(books.left(instance, first));
        assert!(books.caller(instance, first).is_ok(), "what an actor's constructor left goes on");

        let handle = Handle::Object(first.output(0));
        assert!(!books.was_shown(instance, &handle));
        books.show(instance, &[handle]);
        assert!(books.was_shown(instance, &handle) && !books.was_shown(InstanceId(4), &handle));
    }

    #[test]
    fn what_is_kept_is_kept_until_it_is_let_go() {
        let mut books = Books::default();
        let kept = Kept { place: Place::default(), size: 7, origin: None, is_written: true };
        let number = books.keep(kept.clone()).expect("room");
        let read = books.keep(Kept { is_written: false, ..kept }).expect("room");
        assert_eq!((books.kept(number).expect("kept").size, books.written_bytes()), (7, 7));
        books.let_go(read);
        books.let_go(number);
        books.let_go(number);
        assert!(books.kept(number).is_err() && books.kept(0).is_err());
        assert_eq!(books.written_bytes(), 0);
    }

    #[test]
    fn an_object_on_disk_is_written_by_one_at_a_time() {
        let mut books = Books::default();
        let (number, none) = books.take_draft(0).expect("room");
        assert!(none.is_none() && books.take_draft(number).is_err(), "it is being written");
        books.put_draft(number, Some(DiskDraft::new(5_u8)));
        let (again, draft) = books.take_draft(number).expect("there");
        assert_eq!((again, draft.expect("one").into_inner::<u8>().expect("ours")), (number, 5));
        books.put_draft(number, None);
        books.put_draft(number, Some(DiskDraft::new(6_u8)));
        assert!(books.take_draft(number).is_err(), "it was given up");
    }
}
