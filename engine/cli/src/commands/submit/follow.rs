//! Shows a job while it runs.

use engine_client::messages::JobView;
use engine_client::{EngineError, Event, Job, Seen};
use futures::StreamExt;

use super::Submit;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::output::RunFormat;
use crate::output::logs::LogPrinter;
use crate::output::progress::{PLAIN_INTERVAL, ProgressView};
use crate::output::terminal;

/// Prints what the job writes until it has ended; gives its last view, and whether we were told to
/// stop it. A second interrupt leaves at once.
pub(super) async fn follow(
    job: &Job,
    args: &Submit,
    interrupts: &mut Interrupts,
) -> Result<(JobView, bool), Failure> {
    let mut printer = LogPrinter::new(args.format == RunFormat::Json);
    let mut progress = ProgressView::new(args.progress);
    let mut interrupted = false;
    let mut run = job.view().run;
    let mut events = job.attach(args.reconnect_max);
    let mut beats = tokio::time::interval(PLAIN_INTERVAL);
    beats.tick().await;
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = beats.tick() => {
                progress.beat();
                continue;
            }
            () = interrupts.next() => {
                if interrupted {
                    return Err(Failure::Abandoned);
                }
                interrupted = true;
                progress.suspend(|| eprintln!("stopping {}; once more to leave at once", job.id()));
                // Not awaited here, so that what the job still writes is shown meanwhile.
                let job = job.clone();
                tokio::spawn(async move {
                    if let Err(error) = job.stop().await {
                        eprintln!("{} was not stopped: {}", job.id(), terminal::text(&error.to_string()));
                    }
                });
                continue;
            }
        };
        let event = match event.transpose()? {
            Some(Seen::Event(event)) => Some(*event),
            Some(Seen::Away(error)) => {
                let why = error.to_string();
                let why = terminal::text(&why);
                progress.suspend(|| eprintln!("the connection broke, trying another one: {why}"));
                continue;
            }
            Some(Seen::Back) => {
                progress.suspend(|| eprintln!("connected again"));
                continue;
            }
            None => None,
        };
        match event {
            Some(Event::Logs(batch)) => {
                if let Err(error) = progress.suspend(|| printer.print(&batch.lines)) {
                    // Nobody reads what it writes: a program in a pipe would be ended by SIGPIPE.
                    job.stop().await?;
                    return Err(error.into());
                }
            }
            Some(Event::Progress(seen)) => progress.observe(&seen),
            Some(Event::Job(view)) if view.state().is_final() => return Ok((view, interrupted)),
            Some(Event::Job(view)) if view.run > run => {
                run = view.run;
                progress.suspend(|| eprintln!("{}", terminal::text(&run_again(&view))));
            }
            Some(Event::Job(_)) => {}
            None => {
                let said = format!("the engine stopped telling about {} before its end", job.id());
                return Err(Failure::Client(EngineError::internal(said).into()));
            }
        }
    }
}

/// `job-… is run again (run 2 of 3): NODE_DIED: …`
fn run_again(view: &JobView) -> String {
    let (run, runs) = (view.run + 1, view.job_retries + 1);
    let lost = view.lost_runs.last().and_then(|lost| lost.error.clone()).map(EngineError::from);
    let why = lost.map(|error| format!(": {error}")).unwrap_or_default();
    format!("{} is run again (run {run} of {runs}){why}", view.job_id)
}

#[cfg(test)]
mod tests {
    use engine_client::ErrorCode;
    use engine_client::messages::LostRun;

    use super::*;

    // contract: J2
    #[test]
    fn a_run_that_was_lost_is_told_with_its_cause() {
        let error = EngineError::new(ErrorCode::NodeDied, "node-1 is dead");
        let lost = LostRun { error: Some((&error).into()), ..LostRun::default() };
        let view = JobView {
            job_id: "job-1".into(),
            run: 1,
            job_retries: 2,
            lost_runs: vec![lost],
            ..JobView::default()
        };
        assert_eq!(run_again(&view), "job-1 is run again (run 2 of 3): NODE_DIED: node-1 is dead");
    }
}
