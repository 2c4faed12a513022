//! Ends of actors: by kill, and when nobody can reach them any more (contract A4).

use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::ids::ActorId;
use crate::node::actor::ActorState;
use crate::node::{Caller, Effects, Node};
use crate::time::Time;
use crate::value::Handle;
use crate::work::StopReason;

impl Node {
    /// Ends an actor's incarnation now; calls in flight fail. With `restart`, its budget applies.
    pub fn kill_actor(
        &mut self,
        now: Time,
        from: Caller,
        id: ActorId,
        restart: bool,
        fx: &mut Effects,
    ) -> Result<(), Error> {
        self.serving(from)?;
        self.check_holds(from, Handle::Actor(id))?;
        if self.actors.contains_key(&id) {
            self.kill(now, id, restart, fx);
        } else {
            self.kill_remote_actor(id, restart);
        }
        self.schedule(now, fx);
        Ok(())
    }

    pub(super) fn kill(&mut self, now: Time, id: ActorId, restart: bool, fx: &mut Effects) {
        let Some(actor) = self.actors.get(&id) else { return };
        if restart {
            // One that has no sandbox is about to get a new one anyway.
            match actor.instance {
                Some(instance) => self.stop_instance(instance, StopReason::ActorEnded, fx),
                None => self.end_incarnation_there(id, StopReason::ActorEnded),
            }
            return;
        }
        self.end_actor(now, id, "it was killed", StopReason::ActorEnded, fx);
    }

    /// Ends an actor for good, whatever it is doing.
    pub(super) fn end_actor(
        &mut self,
        now: Time,
        id: ActorId,
        why: &str,
        reason: StopReason,
        fx: &mut Effects,
    ) {
        let cause = Arc::new(Error::new(ErrorCode::ActorDied, format!("the actor is dead: {why}")));
        self.end_actor_with(now, id, cause, reason, fx);
    }

    /// Ends an actor for good; its calls fail with this error.
    pub(super) fn end_actor_with(
        &mut self,
        now: Time,
        id: ActorId,
        cause: Arc<Error>,
        reason: StopReason,
        fx: &mut Effects,
    ) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        if actor.is_dead() {
            return;
        }
        actor.state = ActorState::Dead(cause.clone());
        if let Some(instance) = actor.instance {
            self.stop_instance(instance, reason, fx);
        } else if actor.host.is_some() {
            self.end_incarnation_there(id, reason);
        } else if let Some(key) = actor.creating {
            self.end_now(now, key, Error::clone(&cause), reason, fx);
        }
        self.actor_dies(now, id, cause, fx);
    }

    /// Ends an actor that has neither handles nor calls, and forgets it when it has ended.
    pub(super) fn end_actor_if_unreachable(&mut self, now: Time, id: ActorId, fx: &mut Effects) {
        let Some(actor) = self.actors.get(&id) else { return };
        if actor.edges > 0 || actor.unfinished > 0 {
            return;
        }
        if !actor.is_dead() {
            return self.end_actor(now, id, "its last handle was dropped", StopReason::ActorEnded, fx);
        }
        if actor.has_incarnation() || actor.creating.is_some() || actor.arguments_held() {
            return;
        }
        self.keep_dead_actor(id);
        self.actors.remove(&id);
    }
}
