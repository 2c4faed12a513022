//! What guests and clients may name: checked where both come by, before it is kept or shown.

use engine_core::options::{ActorOptions, CallOptions, NAME_BYTES_MAX, Placement, TaskOptions};
use engine_core::resources::Resources;
use engine_core::{Error, ErrorCode};
use engine_runtime::host::Bundle;

/// Bytes of the environment and the options of one task, call or actor.
const OPTION_BYTES_MAX: usize = 1 << 20;
/// What a resource of its own cannot be named, as there are options for it.
const OWN_OPTIONS: [&str; 3] = ["cpus", "gpus", "memory"];

/// # Errors
/// LIMIT_EXCEEDED for one that is too long, INVALID_ARGUMENT for one with control characters.
pub(crate) fn name(what: &str, text: &str) -> Result<(), Error> {
    if text.len() > NAME_BYTES_MAX {
        let message = format!(
            "the {what} has {} bytes, and name_bytes_max is {NAME_BYTES_MAX}: use a shorter one",
            text.len()
        );
        return Err(Error::new(ErrorCode::LimitExceeded, message));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::invalid_argument(format!("the {what} {text:?} has a control character in it")));
    }
    Ok(())
}

/// # Errors
/// As [`name`]; INVALID_ARGUMENT for what is no variable; LIMIT_EXCEEDED for too much of it.
pub(crate) fn task(options: &TaskOptions) -> Result<(), Error> {
    options.name.iter().try_for_each(|text| name("task's name", text))?;
    placement(&options.placement)?;
    let kinds = options.retries.kinds.iter().map(|kind| kind.len());
    variables(options.env.iter().map(|(name, value)| (&**name, &**value)), kinds.sum())
}

/// # Errors
/// As [`task`].
pub(crate) fn actor(options: &ActorOptions) -> Result<(), Error> {
    options.name.iter().try_for_each(|text| name("actor's name", text))?;
    options.namespace.iter().try_for_each(|text| name("namespace", text))?;
    options.concurrency_groups.iter().try_for_each(|(text, _)| name("concurrency group's name", text))?;
    placement(&options.placement)?;
    let groups = options.concurrency_groups.len().saturating_mul(NAME_BYTES_MAX);
    variables(options.env.iter().map(|(name, value)| (&**name, &**value)), groups)
}

/// # Errors
/// As [`task`].
pub(crate) fn call(options: &CallOptions) -> Result<(), Error> {
    options.name.iter().try_for_each(|text| name("call's name", text))?;
    options.concurrency_group.iter().try_for_each(|text| name("concurrency group's name", text))?;
    bounded(options.retries.kinds.iter().map(|kind| kind.len()).sum())
}

/// # Errors
/// As [`name`].
pub(crate) fn bundles(bundles: &[Bundle]) -> Result<(), Error> {
    bundles.iter().try_for_each(|bundle| {
        custom(&bundle.resources)?;
        labels(&bundle.labels)
    })
}

fn placement(placement: &Placement) -> Result<(), Error> {
    placement.resources.iter().try_for_each(|(name, _)| resource(name))?;
    labels(&placement.labels)
}

fn custom(resources: &Resources) -> Result<(), Error> {
    resources.custom().iter().try_for_each(|(name, _)| resource(name))
}

fn resource(text: &str) -> Result<(), Error> {
    name("resource's name", text)?;
    if text.is_empty() {
        return Err(Error::invalid_argument("a resource without a name was asked for"));
    }
    match OWN_OPTIONS.contains(&text) {
        true => {
            let message =
                format!("{text} is no resource of the cluster's own: ask for it by the option `{text}`");
            Err(Error::invalid_argument(message))
        }
        false => Ok(()),
    }
}

fn labels(selectors: &[engine_core::options::LabelSelector]) -> Result<(), Error> {
    let mut bytes = 0;
    for selector in selectors {
        name("label's key", &selector.key)?;
        selector.values.iter().try_for_each(|value| name("label's value", value))?;
        bytes += selector.key.len() + selector.values.iter().map(String::len).sum::<usize>();
    }
    bounded(bytes)
}

fn variables<'a>(env: impl Iterator<Item = (&'a str, &'a str)>, mut bytes: usize) -> Result<(), Error> {
    for (name, value) in env {
        engine_net::check_variable(name, value)?;
        bytes = bytes.saturating_add(name.len() + value.len());
    }
    bounded(bytes)
}

fn bounded(bytes: usize) -> Result<(), Error> {
    if bytes <= OPTION_BYTES_MAX {
        return Ok(());
    }
    let message = format!(
        "the environment and options take {bytes} bytes, more than those of one task, call or actor may \
         (option_bytes_per_task_max is {OPTION_BYTES_MAX}): pass data as arguments"
    );
    Err(Error::new(ErrorCode::LimitExceeded, message))
}

#[cfg(test)]
mod tests {
    use engine_core::resources::Quantity;

    use super::*;

    #[test]
    fn names_are_bounded_and_shown_as_they_are() {
        name("name", "größer/漢字 🦀").unwrap();
        name("name", &"n".repeat(NAME_BYTES_MAX)).unwrap();
        assert_eq!(
            name("name", &"n".repeat(NAME_BYTES_MAX + 1)).unwrap_err().code(),
            ErrorCode::LimitExceeded
        );
        let refused = name("name", "a\u{1b}[2Jb").unwrap_err();
        assert!(refused.message().contains("a\\u{1b}[2Jb"), "{refused}");
    }

    #[test]
    fn resources_have_names_of_their_own() {
        let asks = |name: &str| {
            let resources = vec![(name.to_owned(), Quantity(1))];
            task(&TaskOptions {
                placement: Placement { resources, ..Placement::default() },
                ..TaskOptions::default()
            })
        };
        asks("gold").unwrap();
        for bad in ["", "cpus", "memory", "a\nb"] {
            assert_eq!(asks(bad).unwrap_err().code(), ErrorCode::InvalidArgument, "{bad:?}");
        }
    }

    #[test]
    fn variables_are_variables_and_bounded() {
        let with = |name: &str, value: &str| {
            let env = [(name.to_owned(), value.to_owned())].into_iter().collect();
            task(&TaskOptions { env, ..TaskOptions::default() })
        };
        with("A", "b=c").unwrap();
        for (name, value) in [("", "b"), ("A=B", "c"), ("A\0", "b"), ("A", "b\0c")] {
            assert_eq!(with(name, value).unwrap_err().code(), ErrorCode::InvalidArgument, "{name:?}");
        }
        let large = with("A", &"b".repeat(OPTION_BYTES_MAX)).unwrap_err();
        assert_eq!(large.code(), ErrorCode::LimitExceeded);
    }
}
