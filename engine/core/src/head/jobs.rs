//! Jobs: PENDING, RUNNING, then STOPPED, SUCCEEDED or FAILED (contract J1).

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorCode};
use crate::head::{Head, Record};
use crate::ids::{IdMap, JobId, NodeId};
use crate::node::{JobEnd, Progress};
use crate::tenant::TenantName;
use crate::time::Time;
use crate::value::{Outcome, Value};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobState {
    /// Accepted.
    Pending,
    /// Its root task was handed to a node.
    Running,
    /// It was told to stop.
    Stopped,
    /// Its root task ended well.
    Succeeded,
    /// Its root task failed.
    Failed,
}

impl JobState {
    /// The state as it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopped => "STOPPED",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
        }
    }

    /// Whether the job has ended.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Stopped | Self::Succeeded | Self::Failed)
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is submitted, as far as the head needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Submission {
    /// Makes repeating the submission safe; empty: none.
    pub submission_id: String,
    /// A digest of all that is asked for: the same submission id must come with the same.
    pub digest: [u8; 32],
    /// For people.
    pub name: String,
    /// Where its actors' names are found.
    pub namespace: String,
    /// Who submits.
    pub tenant: TenantName,
    /// How often it is run again when the node of its root task dies.
    pub retries: u32,
}

impl Submission {
    /// What makes it one with others: each tenant has submission ids of its own.
    pub(super) fn key(&self) -> (TenantName, String) {
        (self.tenant.clone(), self.submission_id.clone())
    }
}

/// A run of a job that was lost with the node of its root task.
#[derive(Debug, Clone)]
pub struct LostRun {
    /// That node.
    pub home: NodeId,
    /// When its root task was handed to it.
    pub started: Option<Time>,
    /// When it was lost.
    pub ended: Time,
    /// Why.
    pub error: Arc<Error>,
}

/// A job as the head knows it.
#[derive(Debug, Clone)]
pub struct JobRecord {
    /// Its id.
    pub id: JobId,
    /// What was submitted.
    pub submission: Submission,
    /// Where it stands.
    pub state: JobState,
    /// Which run of it this is, from 0.
    pub run: u32,
    /// The runs before, in order.
    pub lost: Vec<LostRun>,
    /// Somebody has asked for its end: it is not run again.
    pub is_to_stop: bool,
    /// When it was accepted.
    pub submitted: Time,
    /// The node of its root task.
    pub home: Option<NodeId>,
    /// When its root task was handed to a node.
    pub started: Option<Time>,
    /// When it ended.
    pub ended: Option<Time>,
    /// The root's value.
    pub result: Option<Value>,
    /// Why it failed or was stopped.
    pub error: Option<Arc<Error>>,
    /// Its tasks, at the end.
    pub progress: Progress,
}

impl JobRecord {
    /// The id of the run that it is at: what the nodes know it by.
    pub fn run_id(&self) -> JobId {
        self.id.at_run(self.run)
    }

    /// Whether it may have to be started yet, or again.
    pub fn may_start(&self) -> bool {
        !self.state.is_end() && (self.state == JobState::Pending || self.run < self.submission.retries)
    }
}

/// The answer to a submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Submitted {
    /// A new job.
    New(JobId),
    /// It was submitted before.
    Known(JobId),
}

impl Head {
    /// Accepts a job.
    pub fn submit(&mut self, now: Time, submission: Submission) -> Result<Submitted, Error> {
        for (what, text) in [
            ("name", &submission.name),
            ("namespace", &submission.namespace),
            ("submission id", &submission.submission_id),
        ] {
            self.check_name(what, text)?;
        }
        if let Some(known) = self.by_submission.get(&submission.key()) {
            let same = self.jobs.get(known).is_some_and(|job| job.submission.digest == submission.digest);
            if same {
                return Ok(Submitted::Known(*known));
            }
            return Err(Error::new(
                ErrorCode::AlreadyExists,
                format!(
                    "the submission id {:?} was used for {known}, which asked for something else: use another id",
                    submission.submission_id
                ),
            ));
        }
        let (retries, max) = (submission.retries, self.limits.job_retries_max);
        if retries > max {
            return Err(Error::new(
                ErrorCode::LimitExceeded,
                format!("job_retries of {retries} is above job_retries_max of {max} runs: ask for fewer"),
            ));
        }
        if self.jobs.len() - self.ended.len() >= self.limits.jobs_max {
            return Err(Error::new(
                ErrorCode::LimitExceeded,
                format!(
                    "jobs_max of {} is reached: wait for a job to end, or stop one",
                    self.limits.jobs_max
                ),
            ));
        }
        self.check_tenant_submits(now, &submission.tenant)?;
        let id = self.ids.job();
        self.enter_job(now, id, submission);
        self.note_submission(now, id);
        Ok(Submitted::New(id))
    }

    /// A job that another head has accepted, and of which this run is on this one's node. False: it is
    /// known.
    pub fn adopt_job(&mut self, now: Time, run: JobId, submission: Submission) -> bool {
        let is_new = !self.jobs.contains_key(&run.job());
        if is_new {
            self.enter_job(now, run, submission);
        }
        is_new
    }

    /// A node that has joined has a job's root task, or had it, and this head does not know the job: it has
    /// started afresh. False: it is known.
    pub fn job_is_known(&mut self, now: Time, run: JobId, submission: Submission, home: NodeId) -> bool {
        let is_new = self.adopt_job(now, run, submission);
        if is_new && let Some(job) = self.jobs.get_mut(&run.job()) {
            job.home = Some(home);
            self.note_known_job(now, run, home);
        }
        self.job_started(now, run);
        is_new
    }

    fn enter_job(&mut self, now: Time, run: JobId, submission: Submission) {
        let id = run.job();
        if !submission.submission_id.is_empty() {
            self.by_submission.insert(submission.key(), id);
        }
        let record = JobRecord {
            id,
            submission,
            state: JobState::Pending,
            run: run.run(),
            lost: Vec::new(),
            is_to_stop: false,
            submitted: now,
            home: None,
            started: None,
            ended: None,
            result: None,
            error: None,
            progress: Progress::default(),
        };
        self.jobs.insert(id, record);
        self.jobs_changed.note(id);
    }

    /// Says which node is to have the job's root task: [`Self::least_busy_node`].
    ///
    /// # Errors
    /// UNSCHEDULABLE when there is no node.
    pub fn place_job(&mut self, id: JobId) -> Result<NodeId, Error> {
        let home = self.least_busy_node()?;
        if let Some(job) = self.jobs.get_mut(&id) {
            job.home = Some(home);
            self.jobs_changed.note(id);
        }
        Ok(home)
    }

    /// The node that has the root tasks of the fewest jobs, and of these the one that has most CPUs free. One
    /// whose connection is broken only when there is no other.
    ///
    /// # Errors
    /// UNSCHEDULABLE when there is no node.
    pub fn least_busy_node(&self) -> Result<NodeId, Error> {
        self.least_busy_node_but(&[])
    }

    /// The same without these nodes, which did not answer.
    ///
    /// # Errors
    /// As [`Self::least_busy_node`].
    pub fn least_busy_node_but(&self, silent: &[NodeId]) -> Result<NodeId, Error> {
        let mut by_node: IdMap<NodeId, usize> = IdMap::default();
        for job in self.jobs.values().filter(|job| !job.state.is_end()) {
            if let Some(home) = job.home {
                *by_node.entry(home).or_insert(0) += 1;
            }
        }
        let jobs = |id: NodeId| by_node.get(&id).copied().unwrap_or(0);
        let home = self
            .nodes_that_take_jobs()
            .filter(|(node, ..)| !silent.contains(&node.id))
            .min_by_key(|(node, load, is_broken)| {
                (*is_broken, jobs(node.id), std::cmp::Reverse(load.free.cpus), node.id)
            })
            .map(|(node, ..)| node.id);
        home.ok_or_else(|| {
            let message = match (self.nodes_expected(), self.nodes.draining().count()) {
                (0, 1..) => {
                    "every node of the cluster drains and takes no new work: start one with `engine agent --head ADDRESS`".to_owned()
                }
                (0, 0) => "the cluster has no node: start one with `engine agent --head ADDRESS`".to_owned(),
                (expected, _) => format!("the head has come back, and none of its {expected} nodes has yet"),
            };
            Error::new(ErrorCode::Unschedulable, message)
        })
    }

    /// A job, when it is at this run and has not ended.
    pub(super) fn at_run(&mut self, run: JobId) -> Option<&mut JobRecord> {
        self.jobs.get_mut(&run.job()).filter(|job| job.run == run.run() && !job.state.is_end())
    }

    /// A node has taken the root task of a run.
    pub fn job_started(&mut self, now: Time, run: JobId) {
        // One that no node was given yet has not begun, whoever says so.
        let is_given = !self.between_runs.contains_key(&run.job());
        if let Some(job) = self.at_run(run)
            && job.state == JobState::Pending
            && is_given
        {
            job.state = JobState::Running;
            job.started = Some(now);
            self.jobs_changed.note(run.job());
            self.note_start(now, run);
        }
    }

    /// A job was not started after all, and whoever submitted it is told so: it never was.
    pub fn withdraw_job(&mut self, now: Time, id: JobId, why: &Error) {
        if self.jobs.get(&id).is_some_and(|job| job.state == JobState::Pending && job.run == 0) {
            self.note_withdrawal(now, id, why);
            self.forget_job(id);
        }
    }

    /// A run has ended, nothing of it is left, and the job has ended with it. Says the run at which
    /// an old job was that was forgotten to make room. The end of a run that the job is not at any more has no effect.
    pub fn job_ended(&mut self, now: Time, run: JobId, end: JobEnd) -> Option<JobId> {
        let id = run.job();
        let job = self.at_run(run)?;
        job.state = match (&end.result, end.stopped) {
            (_, true) => JobState::Stopped,
            (Ok(_), _) => JobState::Succeeded,
            (Err(_), _) => JobState::Failed,
        };
        job.ended = Some(now);
        job.progress = end.progress;
        match end.result {
            Outcome::Ok(value) => job.result = Some(value),
            Outcome::Err(error) => job.error = Some(error),
        }
        self.between_runs.remove(&id);
        self.ended.push_back(id);
        self.jobs_changed.note(id);
        self.note_end(now, id);
        if self.ended.len() <= self.limits.ended_jobs_max {
            return None;
        }
        let oldest = self.ended.pop_front()?;
        let forgotten = self.jobs.get(&oldest).map(JobRecord::run_id);
        self.forget_job(oldest);
        forgotten
    }

    /// Forgets a job that has ended.
    pub fn delete_job(&mut self, id: JobId) -> Result<(), Error> {
        let job = self.job(id)?;
        if !job.state.is_end() {
            return Err(Error::invalid_argument(format!(
                "{id} is {}: only a job that has ended can be deleted; stop it first",
                job.state
            )));
        }
        let id = job.id;
        self.ended.retain(|other| *other != id);
        self.forget_job(id);
        Ok(())
    }

    fn forget_job(&mut self, id: JobId) {
        if let Some(job) = self.jobs.remove(&id) {
            self.by_submission.remove(&job.submission.key());
            self.jobs_changed.note(id);
        }
    }

    pub(super) fn job_record(&self, id: JobId) -> Option<Record> {
        let job = self.jobs.get(&id)?;
        Some(Record::Job(Box::new(JobRecord { result: None, ..job.clone() })))
    }

    /// One job, by its own id or that of a run.
    pub fn job(&self, id: JobId) -> Result<&JobRecord, Error> {
        let id = id.job();
        self.jobs.get(&id).ok_or_else(|| unknown_job(id))
    }

    /// The job of a tenant that has this submission id.
    pub fn job_by_submission(&self, tenant: &TenantName, submission_id: &str) -> Result<&JobRecord, Error> {
        match self.by_submission.get(&(tenant.clone(), submission_id.to_owned())) {
            Some(id) => self.job(*id),
            None => Err(unknown_submission(submission_id)),
        }
    }

    /// All jobs, the newest first.
    pub fn jobs(&self) -> Vec<&JobRecord> {
        let mut jobs: Vec<&JobRecord> = self.jobs.values().collect();
        jobs.sort_by_key(|job| (std::cmp::Reverse(job.submitted), job.id));
        jobs
    }

    pub(super) fn check_name(&self, what: &str, text: &str) -> Result<(), Error> {
        let max = self.limits.name_bytes_max;
        if text.len() > max {
            return Err(Error::new(
                ErrorCode::LimitExceeded,
                format!(
                    "the {what} has {} bytes, and name_bytes_max is {max}: use a shorter one",
                    text.len()
                ),
            ));
        }
        if text.chars().any(char::is_control) {
            return Err(Error::invalid_argument(format!(
                "the {what} {text:?} has a control character in it"
            )));
        }
        Ok(())
    }
}

/// That there is no job of this id, for whoever asks.
pub fn unknown_job(id: JobId) -> Error {
    Error::new(
        ErrorCode::NotFound,
        format!(
            "there is no {id}: it may have been deleted, or forgotten since it ended; `engine job list` shows those there are"
        ),
    )
}

/// That no job has this submission id, for whoever asks.
pub fn unknown_submission(submission_id: &str) -> Error {
    Error::new(
        ErrorCode::NotFound,
        format!("no job has the submission id {submission_id:?}: `engine job list` shows those there are"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::Limits;

    fn head() -> Head {
        Head::new([3; 16], Limits { jobs_max: 2, ended_jobs_max: 1, ..Limits::default() })
    }

    fn submission(id: &str, digest: u8) -> Submission {
        Submission {
            submission_id: id.to_owned(),
            digest: [digest; 32],
            name: "n".to_owned(),
            namespace: "default".to_owned(),
            tenant: TenantName::default(),
            retries: 0,
        }
    }

    fn new_job(head: &mut Head, id: &str) -> JobId {
        match head.submit(Time(1), submission(id, 1)) {
            Ok(Submitted::New(job)) => job,
            other => panic!("{other:?}"),
        }
    }

    fn no_node() -> Error {
        Error::new(ErrorCode::Unschedulable, "the cluster has no node")
    }

    fn end(result: Outcome, stopped: bool) -> JobEnd {
        JobEnd { result, stopped, progress: Progress::default() }
    }

    // contract: J1
    #[test]
    fn a_submission_id_makes_repeating_a_submit_safe() {
        let mut head = head();
        let job = new_job(&mut head, "once");
        assert_eq!(head.submit(Time(2), submission("once", 1)).expect("known"), Submitted::Known(job));
        let error = head.submit(Time(2), submission("once", 2)).expect_err("another program");
        assert_eq!(error.code(), ErrorCode::AlreadyExists);
        assert_ne!(new_job(&mut head, ""), job);
    }

    // contract: J1
    #[test]
    fn a_job_passes_through_its_states() {
        let failure = || Err(Arc::new(Error::new(ErrorCode::TaskFailed, "no")));
        for (result, stopped, state) in [
            (Ok(Value::empty()), false, JobState::Succeeded),
            (failure(), false, JobState::Failed),
            (failure(), true, JobState::Stopped),
        ] {
            let mut head = head();
            let job = new_job(&mut head, "");
            assert_eq!(head.job(job).expect("there").state, JobState::Pending);
            head.job_started(Time(2), job);
            assert_eq!(head.job(job).expect("there").state, JobState::Running);
            head.job_ended(Time(3), job, end(result, stopped));
            assert_eq!(head.job(job).expect("there").state, state);
            assert_eq!(head.job(job).expect("there").ended, Some(Time(3)));
            head.job_ended(Time(4), job, end(Ok(Value::empty()), false));
            assert_eq!(head.job(job).expect("there").state, state, "an end is final");
        }
    }

    #[test]
    fn tables_are_bounded_and_the_oldest_ended_job_is_forgotten() {
        let mut head = head();
        let (a, b) = (new_job(&mut head, "a"), new_job(&mut head, "b"));
        let error = head.submit(Time(1), submission("c", 1)).expect_err("full");
        assert_eq!(error.code(), ErrorCode::LimitExceeded);
        assert_eq!(head.job_ended(Time(2), a, end(Ok(Value::empty()), false)), None);
        assert_eq!(head.job_ended(Time(3), b, end(Ok(Value::empty()), false)), Some(a));
        assert_eq!(head.job(a).expect_err("forgotten").code(), ErrorCode::NotFound);
        assert!(head.job_by_submission(&TenantName::default(), "a").is_err());
        assert_eq!(head.job_by_submission(&TenantName::default(), "b").expect("there").id, b);
    }

    #[test]
    fn only_a_job_that_has_ended_is_deleted() {
        let mut head = head();
        let job = new_job(&mut head, "x");
        assert_eq!(head.delete_job(job).expect_err("pending").code(), ErrorCode::InvalidArgument);
        head.job_ended(Time(2), job, end(Ok(Value::empty()), false));
        head.delete_job(job).expect("ended");
        assert_eq!(head.delete_job(job).expect_err("gone").code(), ErrorCode::NotFound);
        let job = new_job(&mut head, "x");
        head.withdraw_job(Time(2), job, &no_node());
        let job = new_job(&mut head, "x");
        head.job_started(Time(3), job);
        head.withdraw_job(Time(2), job, &no_node());
        assert_eq!(head.job(job).expect("a node has it").state, JobState::Running);
    }

    #[test]
    fn names_that_cannot_be_printed_are_refused() {
        let mut head = head();
        let mut bad = submission("", 1);
        bad.name = "a\nb".to_owned();
        assert_eq!(
            head.submit(Time(1), bad.clone()).expect_err("newline").code(),
            ErrorCode::InvalidArgument
        );
        bad.name = "a".repeat(1000);
        assert_eq!(head.submit(Time(1), bad).expect_err("long").code(), ErrorCode::LimitExceeded);
    }
}
