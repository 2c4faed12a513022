//! Names of actors, unique in their namespace (contract A8).

use crate::error::{Error, ErrorCode};
use crate::head::Head;
use crate::ids::ActorId;

/// The answer to a claim of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The name is the claimant's.
    Granted,
    /// An actor has it, and the claimant said that it will do.
    Existing(ActorId),
}

impl Head {
    /// Claims a name for an actor that is about to be created.
    pub fn claim_name(
        &mut self,
        namespace: &str,
        name: &str,
        actor: ActorId,
        get_if_exists: bool,
    ) -> Result<Claim, Error> {
        if name.is_empty() {
            return Err(Error::invalid_argument("an actor's name must not be empty: leave it out instead"));
        }
        self.check_name("actor's name", name)?;
        self.check_name("namespace", namespace)?;
        let key = (namespace.to_owned(), name.to_owned());
        match self.names.get(&key) {
            Some(existing) if get_if_exists => return Ok(Claim::Existing(*existing)),
            Some(existing) => {
                return Err(Error::new(
                    ErrorCode::AlreadyExists,
                    format!(
                        "{existing} has the name {name:?} in the namespace {namespace:?}: use another name, or get_if_exists to use that actor"
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
        self.names.insert(key.clone(), actor);
        self.named.insert(actor, key);
        Ok(Claim::Granted)
    }

    /// An actor is dead, or was not created after all.
    pub fn release_name(&mut self, actor: ActorId) {
        if let Some(key) = self.named.remove(&actor) {
            self.names.remove(&key);
        }
    }

    /// The actor of this name.
    pub fn lookup_name(&self, namespace: &str, name: &str) -> Result<ActorId, Error> {
        self.names.get(&(namespace.to_owned(), name.to_owned())).copied().ok_or_else(|| {
            Error::new(
                ErrorCode::NotFound,
                format!("no actor has the name {name:?} in the namespace {namespace:?}"),
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
        let (a, b) = (ids.actor(), ids.actor());
        assert_eq!(head.claim_name("x", "n", a, false).expect("free"), Claim::Granted);
        assert_eq!(head.claim_name("x", "n", b, false).expect_err("taken").code(), ErrorCode::AlreadyExists);
        assert_eq!(head.claim_name("x", "n", b, true).expect("found"), Claim::Existing(a));
        assert_eq!(head.claim_name("y", "n", b, false).expect("another namespace"), Claim::Granted);
        assert_eq!(head.lookup_name("x", "n").expect("there"), a);
        assert_eq!(head.lookup_name("z", "n").expect_err("not there").code(), ErrorCode::NotFound);
        head.release_name(a);
        assert_eq!(head.lookup_name("x", "n").expect_err("released").code(), ErrorCode::NotFound);
        assert_eq!(head.lookup_name("y", "n").expect("untouched"), b);
    }
}
