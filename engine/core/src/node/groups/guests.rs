//! What guests ask of placement groups.

use std::sync::Arc;

use super::{Known, Place, removed};
use crate::error::Error;
use crate::group::{Bundle, GroupMessage, GroupSpec, GroupState, GroupStrategy};
use crate::ids::{ActorId, InstanceId, JobId, ObjectId, PlacementGroupId};
use crate::node::edges::State;
use crate::node::{Caller, Effects, Node};
use crate::options::{Placement, Strategy};
use crate::time::Time;
use crate::value::{Handle, Value};

/// A placement group that a guest asks for.
#[derive(Debug, Clone)]
pub struct GroupRequest {
    /// Its bundles.
    pub bundles: Vec<Bundle>,
    /// How they are laid over nodes.
    pub strategy: GroupStrategy,
    /// Unique in its namespace.
    pub name: Option<String>,
    /// Where its name is found.
    pub namespace: String,
}

impl Node {
    /// Asks for a placement group on behalf of a running call, which holds a handle to it. The head's
    /// answer is [`crate::node::Effect::GroupAnswered`]: until then, nobody else is to be given the handle.
    ///
    /// # Errors
    /// TASK_CANCELLED when the caller is not served any more.
    pub fn create_group(&mut self, from: Caller, request: GroupRequest) -> Result<PlacementGroupId, Error> {
        self.serving(from)?;
        let id = self.ids.placement_group();
        let instance = &self.instances[&from.instance];
        let (job, scope) = (instance.job, instance.scope);
        let GroupRequest { bundles, strategy, name, namespace } = request;
        let spec = Box::new(GroupSpec { id, job, owner: self.id, name, namespace, strategy, bundles });
        self.groups.outbox.push(GroupMessage::Create(spec.clone()));
        let known = Known {
            owned: Some((job, scope)),
            state: Some(GroupState::Pending),
            bundles: spec.bundles.iter().map(|bundle| Place::new(bundle.resources.clone())).collect(),
            request: Some(spec),
            ..Known::default()
        };
        self.groups.known.insert(id, known);
        self.acquire(from.instance, Handle::PlacementGroup(id));
        Ok(id)
    }

    /// A sandbox has found a named group: it holds a handle to it.
    pub fn found_group(&mut self, from: InstanceId, group: PlacementGroupId) {
        self.acquire(from, Handle::PlacementGroup(group));
    }

    /// An object that becomes ready when all bundles of a group are reserved for the first time, and fails
    /// when it is removed before. The caller holds a handle to it.
    ///
    /// # Errors
    /// PERMISSION_DENIED when the caller does not hold the group; those of `put`.
    pub fn group_ready(
        &mut self,
        from: Caller,
        group: PlacementGroupId,
        fx: &mut Effects,
    ) -> Result<ObjectId, Error> {
        let key = self.serving(from)?;
        self.check_holds(from, Handle::PlacementGroup(group))?;
        self.check_puts(key, 1)?;
        let id = self.new_put(key, Value::empty(), fx);
        self.acquire(from.instance, Handle::Object(id));
        let known = self.know_group(group);
        let state = match (known.was_created(), known.is_removed()) {
            (true, _) => return Ok(id),
            (_, true) => State::Failed(Arc::new(removed(group, &known.why.clone()))),
            _ => State::Pending,
        };
        if matches!(state, State::Pending) {
            self.groups.ready.insert(id, group);
        }
        if let Some(object) = self.objects.get_mut(&id) {
            let (counted_for, was) = (object.counted_for(), std::mem::replace(&mut object.state, state));
            self.value_gone(id, counted_for, &was);
        }
        Ok(id)
    }

    /// Removes a group: what runs in it ends, and all that it had is given back. Repeating it does nothing.
    ///
    /// # Errors
    /// PERMISSION_DENIED when the caller does not hold it.
    pub fn remove_group(
        &mut self,
        now: Time,
        from: Caller,
        group: PlacementGroupId,
        fx: &mut Effects,
    ) -> Result<(), Error> {
        self.serving(from)?;
        self.check_holds(from, Handle::PlacementGroup(group))?;
        self.give_group_up(now, group, "it was removed", fx);
        self.schedule(now, fx);
        Ok(())
    }

    fn give_group_up(&mut self, now: Time, group: PlacementGroupId, why: &str, fx: &mut Effects) {
        let known = self.know_group(group);
        if known.is_removed() {
            return;
        }
        known.is_removing = true;
        self.groups.outbox.push(GroupMessage::Remove(group));
        self.group_gone(now, group, why, fx);
    }

    /// A job or a detached actor ends, and the groups with it that its guests asked for here.
    pub(in crate::node) fn remove_groups_of(
        &mut self,
        now: Time,
        job: JobId,
        scope: Option<ActorId>,
        why: &str,
        fx: &mut Effects,
    ) {
        let owned = self.groups.known.iter().filter(|(_, known)| known.owned == Some((job, scope)));
        let owned: Vec<PlacementGroupId> = owned.map(|(id, _)| *id).collect();
        for group in owned {
            self.give_group_up(now, group, why, fx);
        }
    }

    /// Checks where a task or actor is to run, and has it run in its spawner's group when that one captures
    /// its children and they do not say where they run.
    pub(in crate::node) fn settle_strategy(
        &self,
        from: Caller,
        placement: &mut Placement,
    ) -> Result<(), Error> {
        let instance = &self.instances[&from.instance];
        if let (Strategy::Default, Some(group)) = (&placement.strategy, instance.captures)
            && placement.labels.is_empty()
        {
            placement.strategy = Strategy::PlacementGroup { group, bundle: None, capture_children: true };
            return Ok(());
        }
        let Some((group, _)) = placement.group() else { return Ok(()) };
        self.check_holds(from, Handle::PlacementGroup(group))?;
        if !placement.labels.is_empty() {
            return Err(Error::invalid_argument(format!(
                "what runs in {group} runs where its bundle is: give the labels to the group's bundles instead"
            )));
        }
        Ok(())
    }
}
