//! Shows a job while it runs.

use engine_client::messages::JobView;
use engine_client::{EngineError, Event, Job};
use futures::StreamExt;

use super::Submit;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::output::RunFormat;
use crate::output::logs::LogPrinter;
use crate::output::progress::{PLAIN_INTERVAL, ProgressView};

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
    let mut events = job.watch().await?;
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
                        eprintln!("{} was not stopped: {error}", job.id());
                    }
                });
                continue;
            }
        };
        match event.transpose()? {
            Some(Event::Logs(batch)) => {
                if let Err(error) = progress.suspend(|| printer.print(&batch.lines)) {
                    // Nobody reads what it writes: a program in a pipe would be ended by SIGPIPE.
                    job.stop().await?;
                    return Err(error.into());
                }
            }
            Some(Event::Progress(seen)) => progress.observe(&seen),
            Some(Event::Job(view)) if view.state().is_final() => return Ok((view, interrupted)),
            Some(Event::Job(_)) => {}
            None => {
                let said = format!("the engine stopped telling about {} before its end", job.id());
                return Err(Failure::Client(EngineError::internal(said).into()));
            }
        }
    }
}
