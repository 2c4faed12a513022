//! What nodes ask of the head: names of actors, the ends of jobs, and that they may go.

use std::sync::Arc;

use engine_core::head::{Claim, Effect, JobRecord, Submission};
use engine_core::ids::ParseIdError;
use engine_core::node::{JobEnd, Progress};
use engine_core::{ActorId, Error, ErrorCode, JobId, NodeId, Value};
use engine_proto::convert::peer;
use engine_proto::v1::{self, head_message, node_reply, node_request};

use crate::cluster::ClusterHead;
use crate::cluster::records::Starting;

impl ClusterHead {
    /// Answers what a node asks. Asked again, the answer is the same.
    pub(super) fn request(&self, from: NodeId, request: v1::NodeRequest) {
        let id = request.id;
        let answer = match request.request {
            Some(node_request::Request::ClaimName(claim)) => self.claim(from, &claim),
            Some(node_request::Request::ReleaseName(release)) => parsed(&release.actor_id).map(|actor| {
                self.event(|core, _, _| core.release_name(actor));
                node_reply::Reply::Done(v1::Done {})
            }),
            Some(node_request::Request::LookupName(lookup)) => {
                self.head.lookup_name(&lookup.namespace, &lookup.name).map(named)
            }
            Some(node_request::Request::LookupGroup(lookup)) => {
                let found = self.head.lock().lookup_group(&lookup.namespace, &lookup.name);
                found.map(|group| node_reply::Reply::PlacementGroup(peer::id(group)))
            }
            Some(node_request::Request::Drain(drain)) => {
                self.drain_self(from, &drain).map(|()| node_reply::Reply::Done(v1::Done {}))
            }
            Some(node_request::Request::Leave(leave)) => {
                self.let_go(from, leave.in_order).map(|()| node_reply::Reply::Done(v1::Done {}))
            }
            Some(node_request::Request::JobEnded(view)) => {
                self.job_ended(view).map(|()| node_reply::Reply::Done(v1::Done {}))
            }
            Some(node_request::Request::RunGone(gone)) => parsed(&gone.run_id).map(|run| {
                self.event(|core, _, fx| core.run_is_gone(from, run, fx));
                node_reply::Reply::Done(v1::Done {})
            }),
            None => {
                Err(Error::new(ErrorCode::Unsupported, "this head does not know what is asked: update it"))
            }
        };
        let reply = Some(answer.unwrap_or_else(|error| node_reply::Reply::Error((&error).into())));
        self.say(from, head_message::Message::Reply(v1::NodeReply { id, reply }));
    }

    /// A node has told of a job. One that this head has forgotten, or was told to delete, stays forgotten.
    pub(super) fn remember_job(&self, home: NodeId, job: v1::KnownJob, is_back: bool) -> Result<(), Error> {
        let view = job.job.ok_or_else(|| Error::invalid_argument("KnownJob.job is missing"))?;
        let digest = job
            .digest
            .as_slice()
            .try_into()
            .map_err(|_| Error::invalid_argument("KnownJob.digest has not 32 bytes"))?;
        let run = run_of(&view)?;
        let submission = Submission {
            submission_id: view.submission_id.clone(),
            digest,
            name: view.name.clone(),
            namespace: view.namespace.clone(),
            tenant: engine_proto::convert::tenant(&view.tenant, "JobView.tenant")?,
            retries: view.job_retries,
        };
        if is_back && self.head.job(run).is_err() {
            return Ok(());
        }
        if let Some(spec) = job.spec
            && !view.state().is_final()
        {
            let starting = Starting { spec, is_orphaned: false };
            self.starting.lock().entry(run.job()).or_insert(starting);
        }
        let is_new = self.event(|core, now, _| core.job_is_known(now, run, submission, home));
        match is_new && view.state().is_final() {
            true => self.job_ended(view),
            false => Ok(()),
        }
    }

    pub(super) fn claim(&self, from: NodeId, claim: &v1::ClaimName) -> Result<node_reply::Reply, Error> {
        let actor: ActorId = parsed(&claim.actor_id)?;
        self.memory.check_room()?;
        let (namespace, name) = (&claim.namespace, &claim.name);
        let claimed = self.event(|core, _, _| {
            // What the dead have still said has no effect: nobody would give the name back.
            core.check_return(from)?;
            core.claim_name(namespace, name, (actor, from), claim.get_if_exists)
        })?;
        Ok(match claimed {
            Claim::Granted => node_reply::Reply::Done(v1::Done {}),
            Claim::Existing(actor, node) => named((actor, node)),
        })
    }

    /// A run of a job has ended on the node of its root task.
    fn job_ended(&self, view: v1::JobView) -> Result<(), Error> {
        let run = run_of(&view)?;
        let error = view.error.clone().map(|error| Arc::new(Error::from(error)));
        let state = view.state();
        let end = JobEnd {
            // The view keeps what it gave back.
            result: match (state, error) {
                (v1::JobState::Succeeded, _) => Ok(Value::empty()),
                (_, Some(error)) => Err(error),
                (_, None) => Err(Arc::new(Error::internal("the job ended without saying why"))),
            },
            stopped: state == v1::JobState::Stopped,
            progress: Progress::default(),
        };
        let is_at_it = |record: JobRecord| !record.state.is_end() && record.run_id() == run;
        if self.head.job(run).is_ok_and(is_at_it) {
            self.ended.lock().insert(run.job(), view);
        }
        self.event(|core, now, fx| fx.extend(core.job_ended(now, run, end).map(Effect::JobForgotten)));
        self.forget_spec(run);
        self.news.send_modify(|news| *news += 1);
        Ok(())
    }
}

/// The run that a node tells of.
fn run_of(view: &v1::JobView) -> Result<JobId, Error> {
    Ok(parsed::<JobId>(&view.job_id)?.at_run(view.run))
}

fn named((actor, node): (ActorId, NodeId)) -> node_reply::Reply {
    node_reply::Reply::Actor(v1::NamedActor { actor_id: actor.to_string(), node_id: node.to_string() })
}

fn parsed<T: std::str::FromStr<Err = ParseIdError>>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|error: ParseIdError| Error::invalid_argument(error.to_string()))
}
