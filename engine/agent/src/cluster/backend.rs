//! What this node answers to the others and to the head.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use engine_core::tenant::Tenancy;
use engine_core::{Error, ErrorCode, JobId, TaskId};
use engine_net::cluster::PeerBackend;
use engine_proto::convert::peer;
use engine_proto::v1;

use crate::backend::{job_progress, start_job};
use crate::cluster::starts;
use crate::driver::Driver;

/// A node as the others see it.
pub struct NodePeer {
    driver: Arc<Driver>,
}

impl NodePeer {
    pub(crate) fn new(driver: Arc<Driver>) -> Self {
        Self { driver }
    }

    fn log(&self, line: v1::PeerLogLine) -> Result<(), Error> {
        let bad = |error: engine_core::ids::ParseIdError| Error::invalid_argument(error.to_string());
        let job: JobId = line.job_id.parse().map_err(bad)?;
        let (Some(entry), Some(line)) = (self.driver.jobs.get(job), line.line) else { return Ok(()) };
        let task: TaskId = line.task_id.parse().map_err(bad)?;
        entry.logs.push_line(crate::logs::Line::from_view(job, task, line));
        Ok(())
    }
}

#[async_trait]
impl PeerBackend for NodePeer {
    fn frame(&self, frame: v1::PeerFrame) -> Result<(), Error> {
        for line in frame.logs {
            self.log(line)?;
        }
        let store = &self.driver.store;
        let mut packets = Vec::with_capacity(frame.packets.len());
        let mut wrong = None;
        for packet in frame.packets {
            match peer::packet_from(packet, &|bytes| store.place(bytes.into())) {
                Ok(packet) => packets.push(packet),
                Err(error) => {
                    wrong = Some(error);
                    break;
                }
            }
        }
        if !packets.is_empty() {
            // One event: what follows from all of them goes out together.
            self.driver.event(|node, now, fx| {
                packets.into_iter().for_each(|packet| node.packet(now, packet, fx));
            });
        }
        wrong.map_or(Ok(()), Err)
    }

    fn grants(&self, job: JobId) -> Result<v1::JobGrants, Error> {
        let context = self.driver.jobs.context(job).ok_or_else(|| {
            Error::new(ErrorCode::NotFound, format!("{job} is not known on this node any more"))
        })?;
        Ok(starts::grants(&context, self.driver.jobs.vouched(job).as_deref()))
    }

    fn progress(&self, job: JobId) -> v1::JobProgress {
        job_progress(&self.driver, job).unwrap_or_default()
    }

    async fn start_job(
        &self,
        job: JobId,
        tenancy: Tenancy,
        spec: v1::JobSpec,
        secrets: HashMap<String, String>,
        policy: Option<v1::ComponentPolicy>,
    ) -> Result<v1::JobView, Error> {
        start_job(&self.driver, job, tenancy, spec, secrets, policy).await
    }
}
