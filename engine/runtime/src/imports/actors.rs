//! `interface actors`: create and lookup.

use engine_core::options::{ActorOptions, Lifetime};
use engine_core::{ActorId, Handle};
use wasmtime::component::Resource;

use crate::bindings::engine::compute::actors as wit;
use crate::bindings::engine::compute::tasks::Function;
use crate::bindings::engine::compute::types::Argument;
use crate::errors::HostError;
use crate::guest::Guest;
use crate::handles::{ActorEntry, ActorHandle};
use crate::imports::tasks::{environment, function_name, placement_texts};

impl Guest {
    /// The resource of an actor that the node has just given a handle to: a lane of its own.
    pub(crate) fn actor_handle(&mut self, actor: ActorId) -> Resource<ActorHandle> {
        self.adopt(Handle::Actor(actor));
        let lane = self.host.new_lane();
        self.handles.push_actor(ActorEntry { actor, lane })
    }

    fn actor_options_from_guest(&self, options: wit::ActorOptions) -> Result<ActorOptions, HostError> {
        Ok(ActorOptions {
            name: options.name,
            namespace: options.namespace,
            get_if_exists: options.get_if_exists,
            lifetime: match options.lifetime {
                wit::Lifetime::Job => Lifetime::Job,
                wit::Lifetime::Detached => Lifetime::Detached,
            },
            placement: self.placement_from_guest(options.placement)?,
            max_restarts: options.max_restarts,
            max_task_retries: options.max_task_retries,
            max_concurrency: options.max_concurrency,
            concurrency_groups: options
                .concurrency_groups
                .into_iter()
                .map(|group| (group.name, group.max_concurrency))
                .collect(),
            max_pending_calls: options.max_pending_calls,
            env: environment(options.env),
        })
    }
}

impl wit::Host for Guest {
    async fn create(
        &mut self,
        class: Function,
        arguments: Vec<Argument>,
        options: wit::ActorOptions,
    ) -> Result<Resource<ActorHandle>, HostError> {
        self.room_for_handles(1)?;
        self.check_texts(
            class
                .component
                .iter()
                .chain([&class.name])
                .chain(&options.name)
                .chain(&options.namespace)
                .chain(placement_texts(&options.placement))
                .chain(options.concurrency_groups.iter().map(|group| &group.name))
                .chain(options.env.iter().flat_map(|(name, value)| [name, value])),
        )?;
        let arguments = self.arguments_from_guest(arguments)?;
        let options = self.actor_options_from_guest(options)?;
        let actor = self.host.create_actor(self.caller(), function_name(class), arguments, options).await?;
        Ok(self.actor_handle(actor))
    }

    async fn lookup(
        &mut self,
        name: String,
        namespace: Option<String>,
    ) -> Result<Resource<ActorHandle>, HostError> {
        self.room_for_handles(1)?;
        let actor = self.host.lookup_actor(self.caller(), name, namespace).await?;
        Ok(self.actor_handle(actor))
    }
}
