//! What a node notes in its log of events: what becomes of actors that are owned here, and of its store.
//!
//! An actor that its job or a guest ends, or that nobody can reach any more, is no event.

use std::time::Duration;

use crate::error::Error;
use crate::events::{About, EventKind, Events, Severity};
use crate::ids::ActorId;
use crate::node::Node;
use crate::resources::bytes;
use crate::time::Time;

/// Of a store that is full one event is noted in this time, whatever is refused.
const STORE_EVENTS_EVERY: Duration = Duration::from_secs(10);

impl Node {
    /// What has happened here, as far as it is kept.
    pub fn events(&self) -> &Events {
        &self.events
    }

    fn about_actor(&self, id: ActorId) -> Option<(About, String, String)> {
        let actor = self.actors.get(&id)?;
        let node = actor.host.as_ref().map_or(self.id, |host| host.node);
        let about = About { actor: Some(id), ..About::job(actor.job).at(Some(node)) };
        let budget = match actor.options.max_restarts {
            ..0 => "any number".to_owned(),
            most => format!("{most}"),
        };
        let class = actor.function.name.to_string();
        Some((about, class, format!("{} of {budget}", actor.restarts)))
    }

    pub(super) fn note_restart(&mut self, now: Time, id: ActorId, why: &str) {
        let Some((about, class, restarts)) = self.about_actor(id) else { return };
        let message = format!("the {class} is made anew, restart {restarts}: {why}");
        self.events.note(now, Severity::Warning, EventKind::ActorRestarted, about, &message);
    }

    pub(super) fn note_death(&mut self, now: Time, id: ActorId, why: &str) {
        let Some((about, class, restarts)) = self.about_actor(id) else { return };
        let message = format!("the {class} has died, with {restarts} restarts used: {why}");
        self.events.note(now, Severity::Error, EventKind::ActorDied, about, &message);
    }

    pub(super) fn note_failed_spill(&mut self, now: Time, size: u64, error: &Error) {
        let message = format!("an object of {} stays in memory: {error}", bytes(size));
        let (when, about) = ((now, STORE_EVENTS_EVERY), About::node(self.id));
        self.events.note_rarely(when, Severity::Error, EventKind::SpillFailed, about, &message);
    }

    pub(super) fn note_full_store(&mut self, now: Time, error: &Error) {
        let (when, about) = ((now, STORE_EVENTS_EVERY), About::node(self.id));
        self.events.note_rarely(when, Severity::Error, EventKind::StoreFull, about, &error.to_string());
    }
}
