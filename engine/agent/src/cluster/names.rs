//! Actors by their names, which the head keeps: inside this process, or the cluster's.

use std::sync::Arc;

use engine_core::head::Claim;
use engine_core::node::ActorCreation;
use engine_core::options::{ActorOptions, Function};
use engine_core::tenant::unscoped;
use engine_core::{ActorId, Argument, Error, NodeId};
use engine_proto::v1::{self, node_request};
use engine_runtime::host::Caller;

use crate::cluster::Network;
use crate::cluster::requests::Found;
use crate::driver::Driver;
use crate::host::caller;

/// A name that was asked for. Whoever goes before the answer has come has no use for it.
struct Claimed<'a> {
    network: &'a Network,
    actor: ActorId,
    is_answered: bool,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.network.release_name(self.actor);
        }
    }
}

impl Network {
    /// The namespace of a named actor of this node.
    pub(crate) fn namespace_of(&self, actor: ActorId) -> Option<String> {
        self.named.lock().get(&actor).map(|name| unscoped(&name.namespace).1.to_owned())
    }

    /// Tells the head that a name is free again.
    pub(crate) fn release_name(&self, actor: ActorId) {
        self.named.lock().remove(&actor);
        let release = v1::ReleaseName { actor_id: actor.to_string() };
        self.requests.tell(node_request::Request::ReleaseName(release));
    }
}

/// Creates an actor, or finds the one of that name.
pub(crate) async fn create_actor(
    driver: Arc<Driver>,
    from: Caller,
    namespace: String,
    (class, arguments, options): (Function, Vec<Argument>, ActorOptions),
) -> Result<ActorId, Error> {
    let Some(name) = options.name.clone() else {
        return driver.event(|node, now, fx| {
            let id = node.new_actor_id();
            node.create_actor(now, caller(from), ActorCreation { id, class, arguments, options }, fx)
        });
    };
    let Ok(network) = driver.network() else {
        let head = driver.head.clone();
        // In one event: the name is free for nobody else before the actor is there.
        return driver.event(|node, now, fx| {
            let id = node.new_actor_id();
            if let Claim::Existing(actor, owner) =
                head.claim_name(&namespace, &name, (id, node.id()), options.get_if_exists)?
            {
                node.found_actor(from.instance, actor, owner)?;
                return Ok(actor);
            }
            let creation = ActorCreation { id, class, arguments, options };
            node.create_actor(now, caller(from), creation, fx).inspect_err(|_| head.release_name(id))
        });
    };
    let id = driver.event(|node, _, _| node.new_actor_id());
    let claim =
        v1::ClaimName { namespace, name, actor_id: id.to_string(), get_if_exists: options.get_if_exists };
    // Whoever asks may be stopped meanwhile.
    let mut claimed = Claimed { network, actor: id, is_answered: false };
    let answer = network.requests.ask(node_request::Request::ClaimName(claim.clone())).await;
    claimed.is_answered = true;
    match answer? {
        Found::Nothing => {
            let creation = ActorCreation { id, class, arguments, options };
            network.named.lock().insert(id, v1::ClaimName { get_if_exists: false, ..claim });
            let created = driver.event(|node, now, fx| node.create_actor(now, caller(from), creation, fx));
            created.inspect_err(|_| network.release_name(id))
        }
        Found::Actor(actor, owner) => found(&driver, from, (actor, owner)),
        Found::Group(_) => Err(Error::internal("the head answers with what was not asked for")),
    }
}

/// Finds a named actor.
pub(crate) async fn lookup_actor(
    driver: Arc<Driver>,
    from: Caller,
    namespace: String,
    name: String,
) -> Result<ActorId, Error> {
    let Ok(network) = driver.network() else {
        let head = driver.head.clone();
        return driver.event(|node, _, _| {
            let (actor, owner) = head.lookup_name(&namespace, &name)?;
            node.found_actor(from.instance, actor, owner)?;
            Ok(actor)
        });
    };
    let lookup = v1::LookupName { namespace, name };
    match network.requests.ask(node_request::Request::LookupName(lookup)).await? {
        Found::Actor(actor, owner) => found(&driver, from, (actor, owner)),
        _ => Err(Error::internal("the head found a name and names no actor")),
    }
}

fn found(driver: &Driver, from: Caller, (actor, owner): (ActorId, NodeId)) -> Result<ActorId, Error> {
    driver.event(|node, _, _| node.found_actor(from.instance, actor, owner))?;
    Ok(actor)
}
