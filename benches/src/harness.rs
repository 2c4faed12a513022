//! An engine in this process, and jobs in it.

use std::path::Path;

use anyhow::{Context, Result, bail};
use engine_agent::{Node, Options};
use engine_net::{Backend, JobKey, Scope, WatchQuery};
use engine_proto::v1::{self, job_event::Event, job_spec};
use futures::StreamExt;

/// An engine in this process.
pub(crate) struct Engine {
    node: Node,
}

/// How a job went.
pub(crate) struct Ran {
    /// What it wrote, standard output and error together.
    pub(crate) lines: Vec<String>,
    /// How it ended.
    pub(crate) job: v1::JobView,
}

impl Engine {
    pub(crate) async fn start(options: Options) -> Result<Self> {
        Ok(Self { node: Node::start(options).await? })
    }

    /// Runs `main` of an SDK component with these arguments, to its end.
    pub(crate) async fn run(&self, component: &Path, arguments: &[&str]) -> Result<Ran> {
        self.run_watching(component, arguments, |_| {}).await
    }

    /// The same, with each line given to `watch` as it comes.
    pub(crate) async fn run_watching(
        &self,
        component: &Path,
        arguments: &[&str],
        watch: impl FnMut(&str),
    ) -> Result<Ran> {
        let job = self.submit(&Scope::ALL, component, arguments).await?;
        self.watch(job, watch).await
    }

    /// Submits the same for a tenant, and leaves it alone.
    pub(crate) async fn submit(&self, scope: &Scope, component: &Path, arguments: &[&str]) -> Result<JobKey> {
        let bytes = std::fs::read(component).with_context(|| format!("reading {}", component.display()))?;
        let id = engine_head::Components::id_of(&bytes);
        let backend = self.node.backend();
        backend.upload(scope, id, bytes.into(), &[]).await?;
        let digest = engine_proto::convert::digest(id);
        let arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
        let spec = v1::JobSpec {
            components: vec![v1::JobComponent { name: "main".into(), digest, ..v1::JobComponent::default() }],
            main: "main".into(),
            entry: Some(job_spec::Entry::Run(v1::MainEntry { arguments })),
            ..v1::JobSpec::default()
        };
        Ok(JobKey::Id(backend.submit(scope, spec).await?.job_id.parse()?))
    }

    /// Follows a job to its end.
    pub(crate) async fn watch(&self, job: JobKey, mut watch: impl FnMut(&str)) -> Result<Ran> {
        let backend = self.node.backend();
        let mut events = backend.watch_job(&Scope::ALL, job, WatchQuery::default()).await?;
        let mut lines = Vec::new();
        while let Some(event) = events.next().await {
            match event?.event {
                Some(Event::Logs(batch)) => {
                    for line in batch.lines {
                        watch(&line.text);
                        lines.push(line.text);
                    }
                }
                Some(Event::Job(job)) => return Ok(Ran { lines, job }),
                _ => {}
            }
        }
        bail!("the job's events ended before the job did")
    }

    /// What nodes offer.
    pub(crate) fn backend(&self) -> std::sync::Arc<dyn Backend> {
        self.node.backend()
    }

    /// What the engine counts.
    pub(crate) async fn counters(&self) -> Result<v1::NodeCounters> {
        Ok(self.node.backend().status(&Scope::ALL).await?.counters.unwrap_or_default())
    }

    pub(crate) async fn stop(self) {
        self.node.shutdown().await;
    }
}

impl Ran {
    /// The last line, which every guest of the benches makes a JSON object; an error when the job
    /// failed.
    pub(crate) fn json(&self) -> Result<serde_json::Value> {
        if self.job.state() != v1::JobState::Succeeded {
            bail!("the job did not succeed: {:?}\n{}", self.job.error, self.lines.join("\n"));
        }
        let last = self.lines.last().context("the job wrote nothing")?;
        serde_json::from_str(last).with_context(|| format!("the job's last line is {last:?}"))
    }
}
