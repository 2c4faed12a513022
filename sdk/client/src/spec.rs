//! Short ways to a job's specification; every field of it can be set afterwards.

use engine_core::ComponentId;
use engine_proto::convert::digest;
use engine_proto::v1::{JobComponent, JobSpec, MainEntry, job_spec};

const MAIN: &str = "main";

/// A job that runs the main of one component with these arguments.
pub fn run<A: Into<String>>(component: ComponentId, arguments: impl IntoIterator<Item = A>) -> JobSpec {
    let arguments = arguments.into_iter().map(Into::into).collect();
    of(component, job_spec::Entry::Run(MainEntry { arguments }))
}

/// A job that calls one export of one component: `add(1, 2)`.
pub fn invoke(component: ComponentId, expression: impl Into<String>) -> JobSpec {
    of(component, job_spec::Entry::Invoke(expression.into()))
}

fn of(component: ComponentId, entry: job_spec::Entry) -> JobSpec {
    JobSpec {
        components: vec![JobComponent {
            name: MAIN.to_owned(),
            digest: digest(component),
            ..JobComponent::default()
        }],
        main: MAIN.to_owned(),
        entry: Some(entry),
        ..JobSpec::default()
    }
}
