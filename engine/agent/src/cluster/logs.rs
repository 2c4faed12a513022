//! Log lines of guests whose job's root task is on another node.

use std::time::SystemTime;

use engine_core::JobId;
use engine_proto::v1;
use engine_runtime::host::LogLine;

use crate::driver::Driver;
use crate::logs::Line;

impl Driver {
    /// Sends a line to the node of its job's root task, when that is another one.
    pub(crate) fn send_log(&self, line: LogLine) {
        let (job, task) = (line.job, line.task);
        if self.jobs.foreign_home(job).is_some() {
            let (function, root) = self.read(|node| node.function_of(task).unwrap_or_default());
            self.send_line(job, &Line::new(line, SystemTime::now(), function, root));
        }
    }

    /// The same of a line of which all is known.
    pub(crate) fn send_line(&self, job: JobId, line: &Line) {
        let Ok(network) = self.network() else { return };
        let Some(home) = self.jobs.foreign_home(job) else { return };
        let line = line.view(&network.node.to_string(), 0);
        let line = v1::PeerLogLine { job_id: job.to_string(), line: Some(line) };
        if !network.peers.log(home, line) {
            tracing::warn!(%job, "a log line was lost: the line to the node of its job is full");
        }
    }
}
