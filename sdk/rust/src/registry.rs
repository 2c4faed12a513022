//! The tasks, actors and main function of a component, gathered from all of its modules.
use crate::code::ErrorCode;
use crate::error::Error;
use crate::failure::Failure;
use crate::incoming::Incoming;
use crate::returns::Encodings;
use std::any::Any;
use std::future::Future;
use std::pin::Pin;

/// What a call gives back.
pub type Outcome = Result<Vec<Encodings>, Failure>;

/// A task, as `#[engine::task]` writes it down.
pub struct TaskEntry {
    /// The full path of the function, with the crate's name.
    pub path: &'static str,
    /// Decodes the arguments and runs it.
    pub run: fn(Incoming) -> Outcome,
}

/// An actor class, as `#[engine::actor]` writes it down.
pub struct ActorEntry {
    /// The full path of the type, with the crate's name.
    pub path: &'static str,
    /// Decodes the arguments and makes it.
    pub create: fn(Incoming) -> Result<Box<dyn Any>, Failure>,
    /// What it can be asked.
    pub methods: &'static [MethodEntry],
}

/// A method of an actor.
pub struct MethodEntry {
    /// Its name.
    pub name: &'static str,
    /// Decodes the arguments and runs it.
    pub serve: Serve,
}

/// A call that goes on while others do.
pub type Running<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// How a method is run, by what it does with the actor.
#[derive(Clone, Copy)]
pub enum Serve {
    /// `fn(&self)`
    Shared(fn(&dyn Any, Incoming) -> Outcome),
    /// `fn(&mut self)`
    Exclusive(fn(&mut dyn Any, Incoming) -> Outcome),
    /// `async fn(&self)`
    SharedAsync(for<'a> fn(&'a dyn Any, Incoming) -> Running<'a>),
    /// `async fn(&mut self)`
    ExclusiveAsync(for<'a> fn(&'a mut dyn Any, Incoming) -> Running<'a>),
}

/// The main function, as `#[engine::main]` writes it down.
pub struct MainEntry {
    /// Runs it with the arguments of the command line.
    pub run: fn(Vec<String>) -> Outcome,
}

inventory::collect!(TaskEntry);
inventory::collect!(ActorEntry);
inventory::collect!(MainEntry);

/// The name that a function is called by: its path without the crate.
pub const fn name_of(path: &'static str) -> &'static str {
    let bytes = path.as_bytes();
    let mut at = 0;
    while at + 1 < bytes.len() {
        if bytes[at] == b':' && bytes[at + 1] == b':' {
            return path.split_at(at + 2).1;
        }
        at += 1;
    }
    path
}

pub(crate) fn task(name: &str) -> Result<&'static TaskEntry, Failure> {
    find(inventory::iter::<TaskEntry>.into_iter(), |entry| entry.path, name, "task")
}

pub(crate) fn actor(name: &str) -> Result<&'static ActorEntry, Failure> {
    find(inventory::iter::<ActorEntry>.into_iter(), |entry| entry.path, name, "actor")
}

pub(crate) fn main() -> Result<&'static MainEntry, Failure> {
    inventory::iter::<MainEntry>.into_iter().next().ok_or_else(|| {
        unknown_function(
            "the component has no main function: it is a library (`engine::library!()`) whose tasks are \
             called by other components; give it one with `#[engine::main]` to submit it as a job",
        )
    })
}

impl ActorEntry {
    pub(crate) fn method(&self, name: &str) -> Result<&'static MethodEntry, Failure> {
        let method = self.methods.iter().find(|method| method.name == name);
        method.ok_or_else(|| {
            let class = name_of(self.path);
            unknown(&format!("method of actor `{class}`"), name, self.methods.iter().map(|m| m.name))
        })
    }
}

fn find<T>(
    entries: impl Iterator<Item = &'static T> + Clone,
    path: impl Fn(&T) -> &'static str,
    name: &str,
    noun: &str,
) -> Result<&'static T, Failure> {
    let mut found = entries.clone().filter(|entry| name_of(path(entry)) == name);
    match (found.next(), found.next()) {
        (Some(entry), None) => Ok(entry),
        (Some(one), Some(other)) => {
            let (one, other) = (path(one), path(other));
            let message = format!(
                "two {noun}s of the component are named `{name}` ({one} and {other}); rename one or put it \
                 into another module"
            );
            let kind = Some("AmbiguousFunction".to_owned());
            Err(Error::make(ErrorCode::InvalidComponent, kind, message).into_failure())
        }
        (None, _) => Err(unknown(noun, name, entries.map(|entry| name_of(path(entry))))),
    }
}

fn unknown(noun: &str, name: &str, known: impl Iterator<Item = &'static str>) -> Failure {
    const NAMES_SHOWN_MAX: usize = 20;
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    let more = known.len().saturating_sub(NAMES_SHOWN_MAX);
    known.truncate(NAMES_SHOWN_MAX);
    let known = match (known.is_empty(), more) {
        (true, _) => "it has none".to_owned(),
        (false, 0) => format!("it has {}", known.join(", ")),
        (false, more) => format!("it has {} and {more} more", known.join(", ")),
    };
    unknown_function(format!("the component has no {noun} `{name}`; {known}"))
}

fn unknown_function(message: impl Into<String>) -> Failure {
    Error::make(ErrorCode::NotFound, Some("UnknownFunction".to_owned()), message.into()).into_failure()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: Incoming) -> Outcome {
        Ok(Vec::new())
    }

    inventory::submit!(TaskEntry { path: "some_crate::square", run: nothing });
    inventory::submit!(TaskEntry { path: "some_crate::text::twice", run: nothing });
    inventory::submit!(TaskEntry { path: "other_crate::text::twice", run: nothing });

    #[test]
    fn a_task_is_found_by_its_path_without_the_crate() {
        assert_eq!(task("square").map(|entry| entry.path).unwrap(), "some_crate::square");
        const NAME: &str = name_of("some_crate::text::split");
        assert_eq!(NAME, "text::split");
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_there_are() {
        let failure = task("cube").err().unwrap();
        assert_eq!(failure.kind(), "UnknownFunction");
        assert!(failure.message().starts_with("the component has no task `cube`; it has square, "));
    }

    #[test]
    fn a_name_that_occurs_twice_is_refused_with_both_places() {
        let failure = task("text::twice").err().unwrap();
        assert_eq!(failure.kind(), "AmbiguousFunction");
        assert!(failure.message().contains("some_crate::text::twice"), "{failure}");
        assert!(failure.message().contains("other_crate::text::twice"), "{failure}");
    }
}
