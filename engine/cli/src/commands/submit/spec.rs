//! From arguments to a job's specification.

use std::path::Path;

use engine_client::messages::{Directory, JobComponent, JobLimits, JobSecret, JobSpec, MainEntry, job_spec};
use engine_proto::convert::duration;

use super::Submit;
use super::module::MAIN;
use crate::failure::Failure;
use crate::parse::DirectoryArg;
use crate::python;

/// The specification of the job, whose components were uploaded.
pub(super) fn spec(args: &Submit, mut components: Vec<JobComponent>) -> Result<JobSpec, Failure> {
    let entry = match &args.invoke {
        Some(expression) => job_spec::Entry::Invoke(expression.clone()),
        None if python::is_program(&args.module) => {
            job_spec::Entry::Run(MainEntry { arguments: python::arguments(&args.module, &args.arguments)? })
        }
        None => job_spec::Entry::Run(MainEntry { arguments: args.arguments.clone() }),
    };
    if python::is_program(&args.module)
        && let Some(main) = components.iter().find(|component| component.name == MAIN)
    {
        components.push(JobComponent { name: python::RUNNER.to_owned(), ..main.clone() });
    }
    Ok(JobSpec {
        submission_id: args.submission_id.clone().unwrap_or_default(),
        name: args.name.clone().unwrap_or_else(|| name_of(&args.module)),
        namespace: args.namespace.clone().unwrap_or_default(),
        components,
        main: MAIN.to_owned(),
        entry: Some(entry),
        env: args.env.iter().cloned().collect(),
        secrets: args.secret.iter().map(|text| secret(text)).collect(),
        directories: args.dir.iter().map(granted).collect::<Result<_, _>>()?,
        cpus: args.cpus.map(|cpus| cpus.0),
        memory_bytes: args.memory,
        limits: Some(JobLimits {
            deadline: args.deadline.map(duration),
            task_memory_bytes: args.task_memory,
            queued_tasks_max: args.queued_tasks_max,
            ..JobLimits::default()
        }),
        job_retries: args.job_retries,
        attached: !args.no_wait,
    })
}

/// `VARIABLE=NAME`, or the name of both.
fn secret(text: &str) -> JobSecret {
    let (variable, name) = text.split_once('=').unwrap_or((text, text));
    JobSecret { name: name.to_owned(), variable: variable.to_owned() }
}

/// The file's name without its ending, or the folder's.
fn name_of(module: &Path) -> String {
    let named = module.canonicalize().unwrap_or_else(|_| module.to_owned());
    named.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn granted(directory: &DirectoryArg) -> Result<Directory, Failure> {
    let wrong = |why: &str| Failure::Usage(format!("--dir {}: {why}", directory.host));
    let host = Path::new(&directory.host).canonicalize().map_err(|error| wrong(&error.to_string()))?;
    if !host.is_dir() {
        return Err(wrong("is not a directory"));
    }
    let host = host.into_os_string().into_string().map_err(|_| wrong("its path is not UTF-8"))?;
    Ok(Directory { host, guest: directory.guest.clone(), read_only: directory.read_only })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::submit::args::parse;

    #[test]
    fn a_command_line_becomes_a_specification() {
        let temp = tempfile::tempdir().unwrap();
        let line = format!(
            "dir/count.wasm --dir {}::/data:ro --env A=1 --secret B --secret C=d.e --cpus 2 --deadline 1500ms -- x y",
            temp.path().display()
        );
        let main =
            JobComponent { name: MAIN.to_owned(), digest: "sha256:1".to_owned(), ..JobComponent::default() };
        let spec = spec(&parse(&line).unwrap(), vec![main.clone()]).unwrap();
        assert_eq!(spec.components, [main]);
        assert_eq!(spec.name, "count");
        assert_eq!(spec.directories[0].host, temp.path().canonicalize().unwrap().to_str().unwrap());
        assert_eq!((spec.directories[0].guest.as_str(), spec.directories[0].read_only), ("/data", true));
        assert_eq!(spec.env["A"], "1");
        let secrets: Vec<_> = spec.secrets.iter().map(|s| (s.variable.as_str(), s.name.as_str())).collect();
        assert_eq!(secrets, [("B", "B"), ("C", "d.e")]);
        assert_eq!(spec.cpus, Some(20_000));
        let arguments = vec!["x".to_owned(), "y".to_owned()];
        assert_eq!(spec.entry, Some(job_spec::Entry::Run(MainEntry { arguments })));
        assert_eq!(spec.limits.unwrap().deadline.unwrap().seconds, 1);
    }

    #[test]
    fn the_runner_of_a_python_program_is_known_by_its_name_too() {
        let temp = tempfile::tempdir().unwrap();
        let program = temp.path().join("app.py");
        std::fs::write(&program, "print(1)\n").unwrap();
        let main =
            JobComponent { name: MAIN.to_owned(), digest: "sha256:1".to_owned(), ..JobComponent::default() };
        let spec = spec(&parse(program.to_str().unwrap()).unwrap(), vec![main.clone()]).unwrap();
        assert_eq!(spec.components, [main.clone(), JobComponent { name: "python".to_owned(), ..main }]);
    }

    #[test]
    fn a_directory_that_is_not_there_is_refused() {
        let line = "count.wasm --dir /nowhere/at/all::/data";
        let Err(Failure::Usage(text)) = spec(&parse(line).unwrap(), Vec::new()) else {
            panic!("it was granted")
        };
        assert!(text.starts_with("--dir /nowhere/at/all:"), "{text}");
    }
}
