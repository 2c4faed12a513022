//! Names of actors, unique in their namespace (contract A8).

use crate::error::{Error, ErrorCode};
use crate::head::{Head, NameRecord, Record};
use crate::ids::{ActorId, NodeId};
use crate::tenant::unscoped;

/// The answer to a claim of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The name is the claimant's.
    Granted,
    /// An actor on this node has it, and the claimant said that it will do.
    Existing(ActorId, NodeId),
}

impl Head {
    /// Claims a name for an actor that is about to be created on a node. Claiming it again for the same
    /// actor is safe. `namespace`: as [`TenantName::scoped`](crate::TenantName::scoped) has it.
    pub fn claim_name(
        &mut self,
        namespace: &str,
        name: &str,
        (actor, node): (ActorId, NodeId),
        get_if_exists: bool,
    ) -> Result<Claim, Error> {
        if name.is_empty() {
            return Err(Error::invalid_argument("an actor's name must not be empty: leave it out instead"));
        }
        self.check_name("actor's name", name)?;
        self.check_name("namespace", namespace)?;
        let key = (namespace.to_owned(), name.to_owned());
        match self.names.get(&key) {
            Some((existing, _)) if *existing == actor => return Ok(Claim::Granted),
            Some((existing, node)) if get_if_exists => return Ok(Claim::Existing(*existing, *node)),
            Some((existing, _)) => {
                return Err(Error::new(
                    ErrorCode::AlreadyExists,
                    format!(
                        "{existing} has the name {name:?} in the namespace {:?}: use another name, or get_if_exists to use that actor",
                        unscoped(namespace).1
                    ),
                ));
            }
            None => {}
        }
        if self.names.len() >= self.limits.names_max {
            return Err(Error::new(
                ErrorCode::LimitExceeded,
                format!(
                    "names_max of {} is reached: kill named actors that are not needed",
                    self.limits.names_max
                ),
            ));
        }
        self.names.insert(key.clone(), (actor, node));
        self.names_changed.note(key.clone());
        self.named.insert(actor, key);
        Ok(Claim::Granted)
    }

    /// An actor is dead, or was not created after all.
    pub fn release_name(&mut self, actor: ActorId) {
        if let Some(key) = self.named.remove(&actor) {
            self.names.remove(&key);
            self.names_changed.note(key);
        }
    }

    /// The names of actors on a dead node are free again.
    pub(super) fn release_names_of(&mut self, dead: NodeId) {
        let Self { names, named, names_changed, .. } = self;
        names.retain(|key, (actor, node)| {
            if *node == dead {
                named.remove(actor);
                names_changed.note(key.clone());
            }
            *node != dead
        });
    }

    pub(super) fn name_record(&self, namespace: &str, name: &str) -> Option<Record> {
        let (actor, node) = self.lookup_name(namespace, name).ok()?;
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Some(Record::Name(NameRecord { namespace, name, actor, node }))
    }

    /// The actor of this name, and the node that it lives on.
    pub fn lookup_name(&self, namespace: &str, name: &str) -> Result<(ActorId, NodeId), Error> {
        self.names.get(&(namespace.to_owned(), name.to_owned())).copied().ok_or_else(|| {
            Error::new(
                ErrorCode::NotFound,
                format!("no actor has the name {name:?} in the namespace {:?}", unscoped(namespace).1),
            )
        })
    }

    /// The name and namespace of an actor.
    pub fn name_of(&self, actor: ActorId) -> Option<(&str, &str)> {
        self.named.get(&actor).map(|(namespace, name)| (namespace.as_str(), name.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Limits;
    use crate::ids::IdGenerator;

    // contract: A8
    #[test]
    fn a_name_is_unique_in_its_namespace_and_free_again_after() {
        let mut head = Head::new([1; 16], Limits::default());
        let mut ids = IdGenerator::new([2; 16]);
        let (here, there) = (ids.node(), ids.node());
        let (a, b) = ((ids.actor(), here), (ids.actor(), there));
        assert_eq!(head.claim_name("x", "n", a, false).expect("free"), Claim::Granted);
        assert_eq!(head.claim_name("x", "n", a, false).expect("again"), Claim::Granted);
        assert_eq!(head.claim_name("x", "n", b, false).expect_err("taken").code(), ErrorCode::AlreadyExists);
        assert_eq!(head.claim_name("x", "n", b, true).expect("found"), Claim::Existing(a.0, here));
        assert_eq!(head.claim_name("y", "n", b, false).expect("another namespace"), Claim::Granted);
        assert_eq!(head.lookup_name("x", "n").expect("there"), a);
        assert_eq!(head.lookup_name("z", "n").expect_err("not there").code(), ErrorCode::NotFound);
        head.release_name(a.0);
        assert_eq!(head.lookup_name("x", "n").expect_err("released").code(), ErrorCode::NotFound);
        assert_eq!(head.lookup_name("y", "n").expect("untouched"), b);
        head.release_names_of(there);
        assert_eq!(head.lookup_name("y", "n").expect_err("its node died").code(), ErrorCode::NotFound);
        assert_eq!(head.name_of(b.0), None);
    }
}
