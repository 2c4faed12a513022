//! Requests, checked before a backend sees them.

use std::collections::HashSet;
use std::path::Path;
use std::str::FromStr;

use engine_core::Error;
use engine_core::ids::{JobId, ParseIdError};
use engine_proto::convert::{component_id, std_duration};
use engine_proto::limits::{
    JOB_ARGUMENTS_MAX, JOB_COMPONENTS_MAX, JOB_DIRECTORIES_MAX, JOB_ENV_MAX, LIST_ITEMS_DEFAULT,
    LIST_ITEMS_MAX, NAME_BYTES_MAX, SECRETS_MAX,
};
use engine_proto::v1::{self, Kind, job_spec};

use crate::backend::{JobKey, StateKey};

/// An id of a kind, or INVALID_ARGUMENT with what is expected.
pub(crate) fn id<T: FromStr<Err = ParseIdError>>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|error: ParseIdError| Error::invalid_argument(error.to_string()))
}

/// A job by its id or its submission id.
pub(crate) fn job_key(text: String) -> Result<JobKey, Error> {
    if let Ok(job) = text.parse::<JobId>() {
        return Ok(JobKey::Id(job));
    }
    if text.is_empty() {
        return Err(Error::invalid_argument("no job was named: give its id or its submission id"));
    }
    name("submission id", &text)?;
    Ok(JobKey::Submission(text))
}

/// A thing by its kind and id.
pub(crate) fn state_key(kind: Kind, text: String) -> Result<StateKey, Error> {
    Ok(match kind {
        Kind::Unspecified => return Err(unspecified_kind()),
        Kind::Job => StateKey::Job(job_key(text)?),
        Kind::Task => StateKey::Task(id(&text)?),
        Kind::Actor => StateKey::Actor(id(&text)?),
        Kind::Object => StateKey::Object(id(&text)?),
        Kind::Node => StateKey::Node(id(&text)?),
        Kind::PlacementGroup => StateKey::PlacementGroup(id(&text)?),
        Kind::Event => StateKey::Event(id(&text)?),
    })
}

/// The error of a request that says no kind.
pub(crate) fn unspecified_kind() -> Error {
    Error::invalid_argument(
        "no kind was named: use jobs, tasks, actors, objects, nodes, placement-groups or events",
    )
}

/// A limit of a listing, with its default.
pub(crate) fn limit(asked: u32) -> Result<usize, Error> {
    match asked {
        0 => Ok(LIST_ITEMS_DEFAULT as usize),
        1..=LIST_ITEMS_MAX => Ok(asked as usize),
        _ => Err(Error::invalid_argument(format!(
            "{asked} items were asked for, at most {LIST_ITEMS_MAX} are listed at once"
        ))),
    }
}

/// Checks that a job's specification is complete and within its bounds.
///
/// # Errors
/// INVALID_ARGUMENT, which says what is wrong.
pub fn job_spec(spec: &v1::JobSpec) -> Result<(), Error> {
    for (what, text) in
        [("submission id", &spec.submission_id), ("name", &spec.name), ("namespace", &spec.namespace)]
    {
        name(what, text)?;
    }
    if spec.submission_id.parse::<JobId>().is_ok() {
        return Err(Error::invalid_argument(format!(
            "the submission id {} looks like a job's id: choose another",
            spec.submission_id
        )));
    }
    components(spec)?;
    match &spec.entry {
        None => return Err(Error::invalid_argument("the job says neither main nor invoke nor client")),
        Some(job_spec::Entry::Invoke(text)) if text.trim().is_empty() => {
            return Err(Error::invalid_argument(
                "the expression to invoke is empty: use for example add(1, 2)",
            ));
        }
        Some(job_spec::Entry::Invoke(_)) => {}
        Some(job_spec::Entry::Client(_)) => client(spec)?,
        Some(job_spec::Entry::Run(main)) => {
            at_most("arguments", main.arguments.len(), JOB_ARGUMENTS_MAX)?;
            if let Some(bad) = main.arguments.iter().find(|text| text.contains('\0')) {
                return Err(Error::invalid_argument(format!("the argument {bad:?} contains a zero byte")));
            }
        }
    }
    environment(spec)?;
    secrets(spec)?;
    directories(spec)?;
    if let Some(deadline) = spec.limits.as_ref().and_then(|limits| limits.deadline.as_ref())
        && std_duration(deadline).is_none_or(|deadline| deadline.is_zero())
    {
        return Err(Error::invalid_argument("the job's deadline is not a positive duration"));
    }
    Ok(())
}

/// A client is one program, which nobody here can run again.
fn client(spec: &v1::JobSpec) -> Result<(), Error> {
    if !spec.main.is_empty() || spec.job_retries > 0 || spec.cpus.is_some() || spec.memory_bytes.is_some() {
        return Err(Error::invalid_argument(
            "the root of the job is a client outside: it has no main component, takes no CPUs and no memory, \
             and is not run again; leave out `main`, `cpus`, `memory_bytes` and `job_retries`",
        ));
    }
    Ok(())
}

fn components(spec: &v1::JobSpec) -> Result<(), Error> {
    at_most("components", spec.components.len(), JOB_COMPONENTS_MAX)?;
    let mut names = HashSet::new();
    for component in &spec.components {
        if component.name.is_empty() {
            return Err(Error::invalid_argument(format!("the component {} has no name", component.digest)));
        }
        name("component's name", &component.name)?;
        component_id(&component.digest)?;
        engine_access::signed::check_signature(&component.signature)?;
        if !names.insert(component.name.as_str()) {
            return Err(Error::invalid_argument(format!(
                "two components of the job are named {:?}: name them apart",
                component.name
            )));
        }
    }
    let is_client = matches!(spec.entry, Some(job_spec::Entry::Client(_)));
    if is_client && spec.job_retries > 0 {
        return Err(Error::invalid_argument(format!(
            "job_retries is {}, and the root of the job is a client, which cannot be run again: leave it at 0",
            spec.job_retries
        )));
    }
    if !is_client && !names.contains(spec.main.as_str()) {
        return Err(Error::invalid_argument(format!(
            "the job starts the component {:?}, which is not among those that it brings along",
            spec.main
        )));
    }
    Ok(())
}

fn environment(spec: &v1::JobSpec) -> Result<(), Error> {
    at_most("environment variables", spec.env.len(), JOB_ENV_MAX)?;
    spec.env.iter().try_for_each(|(name, value)| variable(name, value))
}

/// Checks a variable of a guest's environment.
///
/// # Errors
/// INVALID_ARGUMENT for what the system cannot have as one.
pub fn variable(name: &str, value: &str) -> Result<(), Error> {
    if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
        let name: String = name.chars().take(NAME_BYTES_MAX).collect();
        return Err(Error::invalid_argument(format!(
            "{name:?} is not an environment variable: its name must not be empty or contain '=', and neither \
             its name nor its value may contain a zero byte"
        )));
    }
    Ok(())
}

fn secrets(spec: &v1::JobSpec) -> Result<(), Error> {
    at_most("secrets", spec.secrets.len(), SECRETS_MAX)?;
    let mut variables: HashSet<&str> = spec.env.keys().map(String::as_str).collect();
    for secret in &spec.secrets {
        secret_name(&secret.name)?;
        let variable = secret.variable.as_str();
        if variable.is_empty() || variable.len() > NAME_BYTES_MAX || variable.contains(['=', '\0']) {
            return Err(Error::invalid_argument(format!(
                "the secret {} is to be in the environment variable {variable:?}, which is no name of one",
                secret.name
            )));
        }
        if !variables.insert(variable) {
            return Err(Error::invalid_argument(format!(
                "the environment variable {variable} is given twice, once by the secret {}",
                secret.name
            )));
        }
    }
    Ok(())
}

/// Checks the name of a secret: 1 to 128 letters, digits, `_`, `-` and `.`, not beginning with `.`.
///
/// # Errors
/// INVALID_ARGUMENT for what is none. It does not show the text, which may be a value.
pub fn secret_name(text: &str) -> Result<(), Error> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let is_name =
        (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.starts_with('.') && text.bytes().all(is_plain);
    match is_name {
        true => Ok(()),
        false => Err(Error::invalid_argument(format!(
            "that is no name of a secret: expected 1 to {NAME_BYTES_MAX} letters, digits, _, - and ., not beginning \
             with ."
        ))),
    }
}

fn directories(spec: &v1::JobSpec) -> Result<(), Error> {
    at_most("directories", spec.directories.len(), JOB_DIRECTORIES_MAX)?;
    let mut guests = HashSet::new();
    for directory in &spec.directories {
        if !Path::new(&directory.host).is_absolute() {
            return Err(Error::invalid_argument(format!(
                "the directory {:?} is not an absolute path on the node",
                directory.host
            )));
        }
        if directory.guest.is_empty() || directory.guest.contains('\0') {
            return Err(Error::invalid_argument(format!(
                "the directory {} has no path for the guest: use for example /data",
                directory.host
            )));
        }
        if !guests.insert(directory.guest.as_str()) {
            return Err(Error::invalid_argument(format!(
                "two directories are given to the guest as {}",
                directory.guest
            )));
        }
    }
    Ok(())
}

fn at_most(what: &str, count: usize, max: usize) -> Result<(), Error> {
    if count <= max {
        return Ok(());
    }
    Err(Error::invalid_argument(format!("the job has {count} {what}, at most {max} are allowed")))
}

fn name(what: &str, text: &str) -> Result<(), Error> {
    if text.len() > NAME_BYTES_MAX {
        return Err(Error::invalid_argument(format!(
            "the {what} has {} bytes, at most {NAME_BYTES_MAX} are allowed",
            text.len()
        )));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::invalid_argument(format!("the {what} {text:?} contains a control character")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use v1::{Directory, JobComponent, JobLimits, JobSpec, MainEntry};

    fn spec() -> JobSpec {
        JobSpec {
            components: vec![JobComponent {
                name: "main".into(),
                digest: format!("sha256:{:064}", 0),
                ..JobComponent::default()
            }],
            main: "main".into(),
            entry: Some(job_spec::Entry::Run(MainEntry::default())),
            ..JobSpec::default()
        }
    }

    fn refused(change: impl FnOnce(&mut JobSpec)) -> String {
        let mut spec = spec();
        change(&mut spec);
        job_spec(&spec).unwrap_err().message().to_owned()
    }

    #[test]
    fn a_complete_specification_is_accepted() {
        job_spec(&spec()).unwrap();
    }

    #[test]
    fn each_mistake_is_named() {
        assert!(refused(|s| s.main = "other".into()).contains("\"other\""));
        assert!(refused(|s| s.components.push(s.components[0].clone())).contains("name them apart"));
        assert!(refused(|s| s.components[0].digest = "x".into()).contains("digest"));
        assert!(refused(|s| s.entry = None).contains("neither"));
        assert!(refused(|s| s.entry = Some(job_spec::Entry::Invoke(" ".into()))).contains("empty"));
        assert!(refused(|s| s.name = "x".repeat(129)).contains("129 bytes"));
        assert!(refused(|s| s.namespace = "a\nb".into()).contains("control"));
        assert!(refused(|s| drop(s.env.insert("A=B".into(), String::new()))).contains("A=B"));
        let directory =
            |host: &str, guest: &str| Directory { host: host.into(), guest: guest.into(), read_only: true };
        assert!(refused(|s| s.directories.push(directory("data", "/data"))).contains("absolute"));
        assert!(refused(|s| s.directories.push(directory("/data", ""))).contains("no path"));
        assert!(
            refused(|s| s.directories = vec![directory("/a", "/d"), directory("/b", "/d")]).contains("/d")
        );
        let secret =
            |name: &str, variable: &str| v1::JobSecret { name: name.into(), variable: variable.into() };
        assert!(
            !refused(|s| s.secrets.push(secret("hunter 2", "A"))).contains("hunter"),
            "it may be a value"
        );
        assert!(refused(|s| s.secrets.push(secret("a", "A=B"))).contains("\"A=B\""));
        assert!(refused(|s| s.secrets = vec![secret("a", "A"), secret("b", "A")]).contains("twice"));
        let both = |s: &mut JobSpec| {
            s.env.insert("A".into(), "1".into());
            s.secrets.push(secret("a", "A"));
        };
        assert!(refused(both).contains("twice"));
        let deadline = Some(v1_duration(-1));
        assert!(
            refused(|s| s.limits = Some(JobLimits { deadline, ..JobLimits::default() })).contains("deadline")
        );
        let id = "job-0123456789abcdef01234567";
        assert!(refused(|s| s.submission_id = id.into()).contains("looks like"));
    }

    fn v1_duration(seconds: i64) -> engine_proto::prost_types::Duration {
        engine_proto::prost_types::Duration { seconds, nanos: 0 }
    }

    #[test]
    fn a_job_is_named_by_either_id() {
        let id = "job-0123456789abcdef01234567";
        assert_eq!(job_key(id.into()).unwrap(), JobKey::Id(id.parse().unwrap()));
        assert_eq!(job_key("mine".into()).unwrap(), JobKey::Submission("mine".into()));
        assert!(job_key(String::new()).is_err());
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let error = state_key(Kind::Task, "job-0123456789abcdef01234567".into()).unwrap_err();
        assert!(error.message().contains("expected task-"), "{error}");
    }

    #[test]
    fn a_listing_is_bounded() {
        assert_eq!(limit(0).unwrap(), 100);
        assert_eq!(limit(10_000).unwrap(), 10_000);
        assert!(limit(10_001).is_err());
    }
}
