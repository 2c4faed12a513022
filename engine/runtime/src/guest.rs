//! The state of one sandbox: what its imports see.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine_core::options::Returns;
use engine_core::resources::Resources;
use engine_core::{ActorId, Error, ErrorCode, Handle, InstanceId, TaskId};
use parking_lot::Mutex;
use wasmtime::component::{GuestTaskId, ResourceTable};
use wasmtime_wasi::WasiCtx;

use crate::control::Control;
use crate::handles::Handles;
use crate::host::{Caller, Host};
use crate::job::JobContext;
use crate::limiter::MemoryLimiter;
use crate::logs::Logs;
use crate::mapped::MappedObjects;
use crate::runtime::Inner;

/// The call that an invocation resource stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Serving {
    pub(crate) task: TaskId,
    pub(crate) attempt: u32,
    pub(crate) returns: Returns,
    /// Bytes returned or yielded so far.
    pub(crate) returned_bytes: u64,
}

/// The data of a store.
pub(crate) struct Guest {
    pub(crate) runtime: Arc<Inner>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) job: Arc<JobContext>,
    pub(crate) control: Arc<Control>,
    pub(crate) instance: InstanceId,
    pub(crate) env: Arc<[(String, String)]>,
    pub(crate) assigned: Arc<Resources>,
    pub(crate) actor: Option<ActorId>,
    pub(crate) was_restarted: bool,
    /// What a component with `wasi:cli/run` sees as its arguments.
    pub(crate) arguments: Arc<[String]>,
    pub(crate) limiter: MemoryLimiter,
    pub(crate) handles: Handles,
    /// The calls inside, by the numbers of their invocations. A guest of the concurrent world may keep an invocation
    /// for longer than its call: no number comes again.
    pub(crate) serving: BTreeMap<u32, Serving>,
    pub(crate) invocations: u32,
    /// The call that was entered last.
    pub(crate) task: TaskId,
    /// In the concurrent world: which guest task serves which call.
    pub(crate) guest_tasks: Vec<(GuestTaskId, TaskId)>,
    /// Why the guest is about to trap, as it said.
    pub(crate) panicked: Option<String>,
    pub(crate) logs: Option<Arc<Mutex<Logs>>>,
    /// None: large objects are copied.
    pub(crate) mapped: Option<MappedObjects>,
    /// WASI's resources.
    pub(crate) table: ResourceTable,
    /// Made when it is first used: many guests never do.
    pub(crate) wasi: Option<Box<WasiCtx>>,
}

impl Guest {
    pub(crate) fn host(&self) -> &dyn Host {
        &*self.host
    }

    /// Who asks.
    pub(crate) fn caller(&self) -> Caller {
        Caller { instance: self.instance, task: self.task, job: self.job.job }
    }

    /// The guest gets one more handle to something that it holds or was given inside a value.
    pub(crate) fn acquire(&mut self, handle: Handle) {
        if self.handles.count_up(handle) {
            self.host.acquire(self.caller(), handle);
        }
    }

    /// The node has given the guest a handle.
    pub(crate) fn adopt(&mut self, handle: Handle) {
        if !self.handles.count_up(handle) {
            self.host.release(self.caller(), handle);
        }
    }

    /// The guest has one handle less.
    pub(crate) fn release(&mut self, handle: Handle) {
        if self.handles.count_down(handle) {
            self.host.release(self.caller(), handle);
        }
    }

    /// Releases the handles that went into values: the node has those by now.
    pub(crate) fn release_moved(&mut self) {
        for handle in self.handles.take_moved() {
            self.release(handle);
        }
    }

    /// LIMIT_EXCEEDED when the guest may not have so many handles more.
    pub(crate) fn room_for_handles(&self, more: usize) -> Result<(), Error> {
        let max = self.runtime.options.handles_per_instance_max;
        if self.handles.len().saturating_add(more) > max {
            return Err(Error::new(
                ErrorCode::LimitExceeded,
                format!(
                    "the guest holds {} handles and asks for {more} more than it may have (handles_per_instance_max is {max}): drop those that are no longer needed",
                    self.handles.len()
                ),
            ));
        }
        Ok(())
    }

    /// The guest's log, made when it first writes.
    pub(crate) fn logs(&mut self) -> &Arc<Mutex<Logs>> {
        self.logs.get_or_insert_with(|| {
            let options = &self.runtime.options;
            Arc::new(Mutex::new(Logs::new(
                self.host.clone(),
                self.job.job,
                self.task,
                options.log_bytes_per_task_max,
                options.log_line_bytes_max,
            )))
        })
    }

    /// A call begins.
    pub(crate) fn enter(&mut self, serving: Serving) -> u32 {
        self.task = serving.task;
        if let Some(logs) = &self.logs {
            logs.lock().begin(serving.task);
        }
        self.limiter.forget_refusal();
        if self.serving.is_empty() {
            self.limiter.begin();
        }
        self.invocations = self.invocations.wrapping_add(1);
        self.serving.insert(self.invocations, serving);
        self.invocations
    }

    /// Another of the calls inside goes on.
    pub(crate) fn turn_to(&mut self, task: TaskId) {
        if self.task != task {
            self.task = task;
            if let Some(logs) = &self.logs {
                logs.lock().turn_to(task);
            }
        }
    }

    /// A call has ended.
    pub(crate) fn leave(&mut self, index: u32) {
        self.serving.remove(&index);
        if let Some(logs) = &self.logs {
            logs.lock().finish();
        }
        // Where several calls are inside, what is not attributed is never a call's that has ended.
        if let Some((_, other)) = self.serving.iter().next_back() {
            self.turn_to(other.task);
        }
    }
}
