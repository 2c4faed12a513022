//! `interface types`: what the handles can do; where values pass, in [`super::direct`].

use std::time::Duration;

use engine_core::{Error, ErrorCode, Handle};
use wasmtime::component::Resource;

use crate::bindings::engine::compute::types as wit;
use crate::errors::HostError;
use crate::guest::Guest;
use crate::handles::{ActorHandle, GroupHandle, InvocationHandle, ObjectHandle, TaskEntry, TaskHandle};
use crate::host::{Next, Spawned, Until, Waitable};
use crate::imports::linked_by_hand;
use crate::imports::waiting::timed_out;
use crate::values::codec_to_guest;

impl wit::Host for Guest {
    fn convert_error(&mut self, error: HostError) -> wasmtime::Result<wit::Error> {
        match error {
            HostError::Guest(error) => self.error_to_guest(&error),
            HostError::Trap(trap) => Err(trap),
        }
    }
}

impl Guest {
    /// The resource of a task or call that the node has just accepted.
    pub(crate) fn spawned(&mut self, spawned: Spawned) -> Resource<TaskHandle> {
        match spawned.outputs {
            Some(outputs) => {
                (0..outputs).for_each(|index| self.adopt(Handle::Object(spawned.task.output(index))))
            }
            None => self.adopt(Handle::Stream(spawned.task)),
        }
        self.handles.push_task(TaskEntry { task: spawned.task, outputs: spawned.outputs })
    }
}

impl wit::HostObject for Guest {
    fn id(&mut self, object: Resource<ObjectHandle>) -> wasmtime::Result<String> {
        Ok(self.handles.object(&object)?.to_string())
    }

    fn duplicate(&mut self, object: Resource<ObjectHandle>) -> wasmtime::Result<Resource<ObjectHandle>> {
        self.room_for_handles(1)?;
        let object = self.handles.object(&object)?;
        self.acquire(Handle::Object(object));
        Ok(self.handles.push_object(object))
    }

    fn is_ready(&mut self, object: Resource<ObjectHandle>) -> wasmtime::Result<bool> {
        let object = self.handles.object(&object)?;
        Ok(self.host.is_ready(self.caller(), object))
    }

    async fn get(&mut self, _: Resource<ObjectHandle>, _: Option<u64>) -> Result<wit::Value, HostError> {
        Err(linked_by_hand())
    }

    async fn metadata(
        &mut self,
        object: Resource<ObjectHandle>,
        timeout: Option<u64>,
    ) -> Result<wit::Metadata, HostError> {
        let object = self.handles.object(&object)?;
        let value = self.value_of(object, timeout).await?;
        Ok(wit::Metadata {
            codec: codec_to_guest(value.codec),
            size: value.size,
            handles: u32::try_from(value.handles.len()).unwrap_or(u32::MAX),
        })
    }

    async fn read(
        &mut self,
        _: Resource<ObjectHandle>,
        _: u64,
        _: u64,
        _: Option<u64>,
    ) -> Result<Vec<u8>, HostError> {
        Err(linked_by_hand())
    }

    async fn handles(
        &mut self,
        object: Resource<ObjectHandle>,
        timeout: Option<u64>,
    ) -> Result<Vec<wit::Handle>, HostError> {
        let object = self.handles.object(&object)?;
        let value = self.value_of(object, timeout).await?;
        Ok(self.handles_to_guest(&value.handles)?)
    }

    fn drop(&mut self, object: Resource<ObjectHandle>) -> wasmtime::Result<()> {
        let object = self.handles.take_object(&object)?;
        self.release(Handle::Object(object));
        Ok(())
    }
}

impl wit::HostTask for Guest {
    fn id(&mut self, task: Resource<TaskHandle>) -> wasmtime::Result<String> {
        Ok(self.handles.task(&task)?.task.to_string())
    }

    fn outputs(&mut self, task: Resource<TaskHandle>) -> wasmtime::Result<Vec<Resource<ObjectHandle>>> {
        let entry = self.handles.task(&task)?;
        let outputs = entry.outputs.unwrap_or(0);
        self.room_for_handles(outputs as usize)?;
        let objects = (0..outputs).map(|index| {
            let object = entry.task.output(index);
            self.acquire(Handle::Object(object));
            self.handles.push_object(object)
        });
        Ok(objects.collect())
    }

    async fn next(
        &mut self,
        task: Resource<TaskHandle>,
        timeout: Option<u64>,
    ) -> Result<Option<Resource<ObjectHandle>>, HostError> {
        let entry = self.handles.task(&task)?;
        if entry.outputs.is_some() {
            return Err(Error::invalid_argument(format!(
                "{} does not stream its objects: read them with `outputs`, or spawn it with streaming returns",
                entry.task
            ))
            .into());
        }
        self.room_for_handles(1)?;
        let mut has_waited = false;
        loop {
            match self.host.next(self.caller(), entry.task) {
                Next::Object(object) => {
                    self.adopt(Handle::Object(object));
                    return Ok(Some(self.handles.push_object(object)));
                }
                Next::End => return Ok(None),
                Next::Failed(error) => return Err(Error::clone(&error).into()),
                Next::Pending if has_waited && timeout.is_some() => {
                    return Err(timed_out(&format!("the next object of {}", entry.task), timeout).into());
                }
                Next::Pending => {
                    let timeout = timeout.map(Duration::from_nanos);
                    self.wait_for(&[Waitable::NextOf(entry.task)], Until::AllOrFailure, timeout).await;
                    has_waited = true;
                }
            }
        }
    }

    fn cancel(&mut self, task: Resource<TaskHandle>, force: bool, recursive: bool) -> Result<(), HostError> {
        let entry = self.handles.task(&task)?;
        Ok(self.host.cancel(self.caller(), entry.task, force, recursive)?)
    }

    fn drop(&mut self, task: Resource<TaskHandle>) -> wasmtime::Result<()> {
        let entry = self.handles.take_task(&task)?;
        match entry.outputs {
            Some(outputs) => {
                (0..outputs).for_each(|index| self.release(Handle::Object(entry.task.output(index))))
            }
            None => self.release(Handle::Stream(entry.task)),
        }
        Ok(())
    }
}

impl wit::HostActor for Guest {
    fn id(&mut self, actor: Resource<ActorHandle>) -> wasmtime::Result<String> {
        Ok(self.handles.actor(&actor)?.actor.to_string())
    }

    fn duplicate(&mut self, actor: Resource<ActorHandle>) -> wasmtime::Result<Resource<ActorHandle>> {
        self.room_for_handles(1)?;
        let entry = self.handles.actor(&actor)?;
        self.acquire(Handle::Actor(entry.actor));
        Ok(self.handles.push_actor(entry))
    }

    fn call(
        &mut self,
        actor: Resource<ActorHandle>,
        method: String,
        arguments: Vec<wit::Argument>,
        options: wit::CallOptions,
    ) -> Result<Resource<TaskHandle>, HostError> {
        self.room_for_handles(1)?;
        let entry = self.handles.actor(&actor)?;
        let texts = options.name.iter().chain([&method]).chain(&options.concurrency_group);
        self.check_texts(texts.chain(&options.retries.kinds))?;
        let arguments = self.arguments_from_guest(arguments)?;
        let options = self.call_options_from_guest(options)?;
        let spawned =
            self.host.call_actor(self.caller(), entry.actor, entry.lane, method, arguments, options)?;
        Ok(self.spawned(spawned))
    }

    fn kill(&mut self, actor: Resource<ActorHandle>, restart: bool) -> Result<(), HostError> {
        let entry = self.handles.actor(&actor)?;
        Ok(self.host.kill_actor(self.caller(), entry.actor, restart)?)
    }

    fn drop(&mut self, actor: Resource<ActorHandle>) -> wasmtime::Result<()> {
        let entry = self.handles.take_actor(&actor)?;
        self.release(Handle::Actor(entry.actor));
        Ok(())
    }
}

impl wit::HostPlacementGroup for Guest {
    fn id(&mut self, group: Resource<GroupHandle>) -> wasmtime::Result<String> {
        Ok(self.handles.group(&group)?.to_string())
    }

    fn duplicate(&mut self, group: Resource<GroupHandle>) -> wasmtime::Result<Resource<GroupHandle>> {
        self.room_for_handles(1)?;
        let group = self.handles.group(&group)?;
        self.acquire(Handle::PlacementGroup(group));
        Ok(self.handles.push_group(group))
    }

    fn ready(&mut self, group: Resource<GroupHandle>) -> wasmtime::Result<Resource<ObjectHandle>> {
        self.room_for_handles(1)?;
        let group = self.handles.group(&group)?;
        let object = self.host.group_ready(self.caller(), group)?;
        self.adopt(Handle::Object(object));
        Ok(self.handles.push_object(object))
    }

    fn remove(&mut self, group: Resource<GroupHandle>) -> Result<(), HostError> {
        let group = self.handles.group(&group)?;
        Ok(self.host.remove_group(self.caller(), group)?)
    }

    fn drop(&mut self, group: Resource<GroupHandle>) -> wasmtime::Result<()> {
        let group = self.handles.take_group(&group)?;
        self.release(Handle::PlacementGroup(group));
        Ok(())
    }
}

impl Guest {
    /// The call that the guest means.
    pub(super) fn serving(
        &mut self,
        invocation: &Resource<InvocationHandle>,
    ) -> wasmtime::Result<&mut crate::guest::Serving> {
        self.serving
            .get_mut(&invocation.rep())
            .ok_or_else(|| wasmtime::Error::msg("the guest used the invocation of a call that has ended"))
    }
}

impl wit::HostInvocation for Guest {
    fn task_id(&mut self, invocation: Resource<InvocationHandle>) -> wasmtime::Result<String> {
        Ok(self.serving(&invocation)?.task.to_string())
    }

    fn attempt(&mut self, invocation: Resource<InvocationHandle>) -> wasmtime::Result<u32> {
        Ok(self.serving(&invocation)?.attempt)
    }

    fn is_cancelled(&mut self, invocation: Resource<InvocationHandle>) -> wasmtime::Result<bool> {
        let task = self.serving(&invocation)?.task;
        Ok(self.control.is_interrupted(task))
    }

    async fn emit(&mut self, _: Resource<InvocationHandle>, _: wit::ValueView) -> Result<(), HostError> {
        Err(linked_by_hand())
    }

    fn drop(&mut self, _invocation: Resource<InvocationHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

/// LIMIT_EXCEEDED for what a call returns (contract L3).
pub(crate) fn too_much_returned(bytes: u64, max: u64) -> Error {
    let text = engine_core::resources::bytes;
    Error::new(
        ErrorCode::LimitExceeded,
        format!(
            "the call returned {} of values, more than one call may (returned_bytes_per_task_max is {})",
            text(bytes),
            text(max)
        ),
    )
}
