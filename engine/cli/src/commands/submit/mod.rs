//! `engine submit`: run a program.

mod args;
mod follow;
mod module;
mod signature;
mod spec;

pub(crate) use args::Submit;

use engine_client::messages::{JobComponent, JobView};
use engine_client::{Client, EngineError, Job};
use engine_proto::convert::digest;

use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::output::progress::ProgressMode;
use crate::output::{self, RunFormat, error, json, time};

pub(crate) async fn run(args: Submit, target: Target) -> Result<(), Failure> {
    let modules = module::load_all(&args)?;
    let signals = |error| Failure::Other(format!("cannot wait for signals: {error}"));
    let mut interrupts = Interrupts::new().map_err(signals)?;
    let (client, embedded) = connect::running_or_embedded(target, &args.engine).await?;
    if args.no_wait && embedded.is_some() {
        if let Some(embedded) = embedded {
            embedded.shutdown().await;
        }
        return Err(Failure::Usage(
            "--no-wait needs an engine that goes on: start one with `engine up`".to_owned(),
        ));
    }
    let outcome = tokio::select! {
        outcome = submit(&client, &args, modules) => outcome,
        () = interrupts.next() => Err(Failure::Interrupted),
    };
    let outcome = match outcome {
        Ok(job) if args.no_wait => started(&job, args.format),
        Ok(job) => finish(&job, &args, &mut interrupts).await,
        Err(failure) => Err(failure),
    };
    match embedded {
        Some(embedded) if matches!(outcome, Err(Failure::Abandoned)) => embedded.abandon(),
        Some(embedded) => tokio::select! {
            () = embedded.shutdown() => {}
            () = interrupts.next() => {}
        },
        None => {}
    }
    outcome
}

async fn submit(client: &Client, args: &Submit, modules: Vec<module::Module>) -> Result<Job, Failure> {
    let mut components = Vec::new();
    for module in modules {
        let module::Module { name, bytes, on_demand, signature } = module;
        let id = client.upload_signed(bytes, &signature, on_demand).await?;
        components.push(JobComponent { name, digest: digest(id), on_demand, signature });
    }
    Ok(client.submit(spec::spec(args, components)?).await?)
}

fn started(job: &Job, format: RunFormat) -> Result<(), Failure> {
    match format {
        RunFormat::Text => {
            output::print(job.id())?;
            eprintln!("follow it with:  engine job logs -f {}", job.id());
            Ok(())
        }
        RunFormat::Json => output::print_json(&json::job(job.view())),
    }
}

async fn finish(job: &Job, args: &Submit, interrupts: &mut Interrupts) -> Result<(), Failure> {
    let (view, interrupted) = follow::follow(job, args, interrupts).await?;
    match args.format {
        RunFormat::Json => output::print_json(&json::job(&view))?,
        RunFormat::Text => {
            if let Some(wave) = view.result.as_ref().and_then(|result| result.wave.as_ref()) {
                output::print_result(wave)?;
            }
            let told = args.progress == ProgressMode::Auto && console::user_attended_stderr();
            if told || args.progress == ProgressMode::Bar || args.progress == ProgressMode::Plain {
                eprintln!("{}", summary(&view));
            }
        }
    }
    use engine_client::messages::JobState;
    if view.state() == JobState::Succeeded {
        return Ok(());
    }
    match &view.error {
        Some(failed) if !interrupted => eprint!("{}", error::render(&EngineError::from(failed.clone()))),
        _ => eprintln!("{} {}", view.job_id, view.state().name()),
    }
    Err(if interrupted { Failure::Interrupted } else { Failure::Job })
}

/// `job-… SUCCEEDED in 4.21 s: 1000 tasks, 1001 sandboxes`
fn summary(view: &JobView) -> String {
    let end = view.end_time.as_ref().and_then(engine_proto::convert::system_time);
    let took = time::between(view.submit_time.as_ref(), end).map(time::short);
    let progress = view.progress.clone().unwrap_or_default();
    // The root task is the job itself.
    let tasks = progress.tasks.unwrap_or_default().total().saturating_sub(1);
    let mut text = format!("{} {}", view.job_id, view.state().name());
    if let Some(took) = took {
        text.push_str(&format!(" in {took}"));
    }
    text.push_str(&format!(": {tasks} tasks, {} sandboxes", progress.instantiations));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_client::messages::{JobProgress, JobState, TaskCounts};

    #[test]
    fn a_job_is_summed_up_in_a_line() {
        let at = |seconds| Some(engine_proto::prost_types::Timestamp { seconds, nanos: 0 });
        let view = JobView {
            job_id: "job-1".into(),
            state: JobState::Succeeded.into(),
            submit_time: at(10),
            end_time: at(14),
            progress: Some(JobProgress {
                tasks: Some(TaskCounts { finished: 101, ..Default::default() }),
                instantiations: 101,
                ..Default::default()
            }),
            ..Default::default()
        };
        assert_eq!(summary(&view), "job-1 SUCCEEDED in 4.00 s: 100 tasks, 101 sandboxes");
    }
}
