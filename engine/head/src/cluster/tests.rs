//! A head that is killed and comes back.

mod enrollment;
mod node;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use engine_core::events::EventKind;
use engine_core::head::{JobState, Limits, Watch};
use engine_core::{ActorId, Error, ErrorCode, JobId, TenantName};
use engine_net::{Backend, JobKey, Scope, StateKey};
use engine_proto::v1::{self, node_reply, node_request};
use futures::FutureExt;
use futures::future::join_all;
use parking_lot::{Condvar, Mutex};

use super::{ClusterBackend, ClusterHead, MemoryLimits, Options, records};
use crate::Components;
use crate::meta::{Embedded, Entries, MetaError, MetaStore, Revision, Write};
use node::{TestLine, TestNode};

/// A store whose commits wait until they are let through, or fail.
struct Gated {
    store: Embedded,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    is_shut: bool,
    is_broken: bool,
    /// The writes of each transaction that was asked for.
    transactions: Vec<usize>,
}

impl Gate {
    fn shut(&self) {
        self.state.lock().is_shut = true;
    }

    fn open(&self) {
        self.state.lock().is_shut = false;
        self.changed.notify_all();
    }

    fn transactions(&self) -> Vec<usize> {
        self.state.lock().transactions.clone()
    }
}

impl MetaStore for Gated {
    fn read(&mut self) -> Result<(Revision, Entries), MetaError> {
        self.store.read()
    }

    fn commit(&mut self, after: Revision, writes: &[Write]) -> Result<Revision, MetaError> {
        let mut state = self.gate.state.lock();
        state.transactions.push(writes.len());
        while state.is_shut {
            self.gate.changed.wait(&mut state);
        }
        if state.is_broken {
            return Err(MetaError::Full("meta.redb".into()));
        }
        drop(state);
        self.store.commit(after, writes)
    }
}

fn limits() -> Limits {
    let watch = Watch {
        silence_max: Duration::from_secs(60),
        reconnect_max: Duration::from_secs(60),
        ..Watch::default()
    };
    Limits { watch, ..Limits::default() }
}

/// Random bits: each head has ids of its own.
fn key() -> [u8; 16] {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(1);
    [NEXT.fetch_add(1, Ordering::Relaxed); 16]
}

fn start(folder: &Path) -> Arc<ClusterHead> {
    let memory_dir = Some(folder.to_owned());
    let options = Options { limits: limits(), memory_dir, ..Options::default() };
    ClusterHead::start(key(), &options).expect("its memory is whole")
}

fn start_gated(folder: &Path, memory: MemoryLimits) -> (Arc<ClusterHead>, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let store = Embedded::open(folder).expect("its memory is whole");
    let mut store: Box<dyn MetaStore> = Box::new(Gated { store, gate: gate.clone() });
    let restored = records::read(&mut *store, folder, None).expect("its memory is whole");
    let components = Components::durable(folder.join("components"), 1 << 20);
    let options = Options { limits: limits(), memory, ..Options::default() };
    let kept = (crate::Secrets::default(), crate::Policies::default());
    let head = ClusterHead::restore(key(), &options, (components, kept), store, restored).expect("it starts");
    gate.state.lock().transactions.clear();
    (head, gate)
}

fn actor(n: u64) -> ActorId {
    ActorId::from_bits(n, n << 32)
}

fn claim(name: &str, n: u64) -> node_request::Request {
    node_request::Request::ClaimName(v1::ClaimName {
        namespace: "x".to_owned(),
        name: name.to_owned(),
        actor_id: actor(n).to_string(),
        get_if_exists: false,
    })
}

fn lookup(name: &str) -> node_request::Request {
    node_request::Request::LookupName(v1::LookupName { namespace: "x".to_owned(), name: name.to_owned() })
}

fn is_done(reply: &node_reply::Reply) -> bool {
    matches!(reply, node_reply::Reply::Done(_))
}

const COMPONENT: &[u8] = b"a component";

fn upload(head: &ClusterHead) {
    head.head.components().insert(Components::id_of(COMPONENT), COMPONENT).expect("room");
}

fn spec(submission: &str) -> v1::JobSpec {
    let digest = Components::id_of(COMPONENT).to_string();
    v1::JobSpec {
        submission_id: submission.to_owned(),
        name: "n".to_owned(),
        components: vec![v1::JobComponent { name: "main".to_owned(), digest, ..v1::JobComponent::default() }],
        main: "main".to_owned(),
        entry: Some(v1::job_spec::Entry::Run(v1::MainEntry::default())),
        ..v1::JobSpec::default()
    }
}

fn id(view: &v1::JobView) -> JobId {
    view.job_id.parse().expect("an id")
}

async fn until(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

// contract: H2, J1
#[tokio::test]
async fn a_submission_is_known_after_a_restart_and_so_is_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = TestNode::start(1).await;
    let head = start(folder.path());
    upload(&head);
    let line = node.join(&head).await.expect("it is welcome");
    let backend = ClusterBackend(head.clone());
    let job = id(&backend.submit(&Scope::ALL, spec("once")).await.expect("it runs"));
    assert_eq!(node.started(), [job]);
    drop(line);
    head.close();

    let head = start(folder.path());
    let backend = ClusterBackend(head.clone());
    assert_eq!(head.head.job(job).expect("it is known").state, JobState::Running, "it goes on");
    let mut line = node.join(&head).await.expect("with its old id");
    assert_eq!(id(&backend.submit(&Scope::ALL, spec("once")).await.expect("known")), job);
    let other = v1::JobSpec { name: "other".to_owned(), ..spec("once") };
    let error = backend.submit(&Scope::ALL, other).await.expect_err("another program");
    assert_eq!(error.code(), ErrorCode::AlreadyExists);
    assert_eq!(node.started(), [job], "it was not started again");
    let value = v1::JobResult { wave: Some("42".to_owned()), ..v1::JobResult::default() };
    let ended = v1::JobView {
        job_id: job.to_string(),
        submission_id: "once".to_owned(),
        state: v1::JobState::Succeeded.into(),
        result: Some(value.clone()),
        ..v1::JobView::default()
    };
    assert!(is_done(&line.ask(1, node_request::Request::JobEnded(ended)).await));
    head.close();

    let backend = ClusterBackend(start(folder.path()));
    let view = backend.get_job(&Scope::ALL, JobKey::Submission("once".to_owned())).await.expect("it is kept");
    assert_eq!((id(&view), view.state(), view.result), (job, v1::JobState::Succeeded, Some(value)));
    let found = backend.get(&Scope::ALL, StateKey::Job(JobKey::Id(job))).await.expect("it is kept");
    assert!(matches!(found.view, Some(v1::view::View::Job(view)) if id(&view) == job));
    backend.delete_job(&Scope::ALL, JobKey::Id(job)).await.expect("it has ended");
    backend.0.close();
    // Its node may still know of it: what was deleted stays so.
    let head = start(folder.path());
    let known = v1::KnownJob {
        job: Some(v1::JobView { job_id: job.to_string(), ..v1::JobView::default() }),
        digest: vec![0; 32],
        spec: None,
    };
    let _line = node.join_with(&head, vec![known]).await.expect("it is welcome");
    assert_eq!(head.head.job(job).expect_err("deleted").code(), ErrorCode::NotFound);
    head.close();
}

// contract: H2, A8
#[tokio::test]
async fn a_name_is_kept_though_only_another_node_has_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let (silent, back) = (TestNode::start(1).await, TestNode::start(2).await);
    let head = start(folder.path());
    let mut first = silent.join(&head).await.expect("it is welcome");
    let mut second = back.join(&head).await.expect("it is welcome");
    assert!(is_done(&first.ask(1, claim("theirs", 1)).await));
    assert!(is_done(&second.ask(1, claim("given-up", 2)).await));
    let release = v1::ReleaseName { actor_id: actor(2).to_string() };
    assert!(is_done(&second.ask(2, node_request::Request::ReleaseName(release)).await));
    head.close();

    let head = start(folder.path());
    assert_eq!(head.nodes_alive(), 2, "both are expected");
    let mut line = back.join(&head).await.expect("with its old id");
    let node_reply::Reply::Actor(found) = line.ask(1, lookup("theirs")).await else { panic!("it is kept") };
    assert_eq!((found.actor_id, found.node_id), (actor(1).to_string(), silent.id.to_string()));
    let node_reply::Reply::Error(error) = line.ask(2, claim("theirs", 3)).await else { panic!("taken") };
    assert_eq!(error.code, "ALREADY_EXISTS");
    assert!(is_done(&line.ask(3, claim("given-up", 3)).await));
    // The silent one is dead in the end, and its name is free.
    head.event(|core, now, fx| core.node_leaves(now, silent.id, "it was told to", fx));
    assert!(is_done(&line.ask(4, claim("theirs", 4)).await));
    head.close();
}

// contract: H2, H3
#[tokio::test]
async fn who_was_declared_dead_stays_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = TestNode::start(1).await;
    let head = start(folder.path());
    let _line = node.join(&head).await.expect("it is welcome");
    head.event(|core, now, fx| core.node_leaves(now, node.id, "it was told to", fx));
    head.settled().await.expect("there is room");
    head.close();
    let head = start(folder.path());
    let error = node.join(&head).await.err().expect("it is fenced");
    assert_eq!(error.code(), ErrorCode::NodeDied);
    let shown =
        ClusterBackend(head.clone()).get(&Scope::ALL, StateKey::Node(node.id)).await.expect("it is shown");
    let Some(v1::view::View::Node(shown)) = shown.view else { panic!("it is a node") };
    assert_eq!(shown.state(), v1::NodeState::Dead);
    let other = TestNode::start(2).await.join(&head).await.expect("it is welcome");
    assert_eq!(other.departed, [node.id.to_string()], "it hears of whom others may still speak");
    head.close();
    // So is one that the head has forgotten to be dead, as it says who has welcomed it.
    drop(Embedded::open(folder.path()).and_then(|mut store| {
        let (revision, entries) = store.read()?;
        let dead = entries.into_iter().map(|(key, _)| key).filter(|key| key.starts_with(b"node/"));
        store.commit(revision, &dead.map(Write::Delete).collect::<Vec<_>>())
    }));
    let head = start(folder.path());
    assert!(head.head.lock().check_join(node.id).is_ok(), "it is forgotten");
    let error = node.join(&head).await.err().expect("it is fenced");
    assert_eq!(error.code(), ErrorCode::NodeDied);
    TestNode::start(3).await.join(&head).await.expect("a new one is welcome");
    head.close();
}

// contract: H2
#[tokio::test]
async fn nothing_leaves_before_it_is_durable() {
    let folder = tempfile::tempdir().expect("a folder");
    let (head, gate) = start_gated(folder.path(), MemoryLimits::default());
    let (first, second) = (TestNode::start(1).await, TestNode::start(2).await);
    let mut line = first.join(&head).await.expect("it is welcome");
    gate.shut();
    line.request(1, claim("mine", 1));
    until(|| head.head.lookup_name("x", "mine").is_ok()).await;
    let mut joining = Box::pin(second.join(&head));
    assert!(joining.as_mut().now_or_never().is_none());
    until(|| head.nodes_alive() == 2).await;
    // Signs of life are heard meanwhile, and change nothing that is written.
    for version in 1..50 {
        line.beat(version);
    }
    let cpus = |head: &ClusterHead| {
        let core = head.head.lock();
        core.nodes().find(|(info, _)| info.id == first.id).map(|(_, load)| load.free.cpus.0)
    };
    until(|| cpus(&head) == Some(40_000 - 49)).await;
    assert!(joining.as_mut().now_or_never().is_none(), "it is not welcome yet");
    assert!(line.reply(1).now_or_never().is_none(), "the name is not granted yet");
    gate.open();
    assert!(is_done(&line.reply(1).await));
    joining.await.expect("it is welcome");
    assert!(gate.transactions().len() <= 3, "{:?}", gate.transactions());

    // Killed before it is durable: nobody was told, and it never was.
    gate.shut();
    line.request(2, claim("never", 2));
    until(|| head.head.lookup_name("x", "never").is_ok()).await;
    until(|| gate.transactions().last() == Some(&1)).await;
    head.memory.close();
    gate.state.lock().is_broken = true;
    gate.open();
    head.close();
    assert!(line.reply(2).now_or_never().is_none());
    let head = start(folder.path());
    assert!(head.head.lookup_name("x", "mine").is_ok());
    assert!(head.head.lookup_name("x", "never").is_err());
    head.close();
}

// contract: H1
#[tokio::test]
async fn a_node_that_goes_before_it_is_welcome_is_missed_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (head, gate) = start_gated(folder.path(), MemoryLimits::default());
    let node = TestNode::start(1).await;
    gate.shut();
    let mut joining = Box::pin(node.join(&head));
    assert!(joining.as_mut().now_or_never().is_none(), "its welcome waits for the disk");
    let is_missed = || {
        let core = head.head.lock();
        core.events().newest_first().any(|event| event.kind == EventKind::NodeDisconnected)
    };
    assert!(head.nodes_alive() == 1 && !is_missed());
    drop(joining);
    assert!(is_missed());
    gate.open();
    head.close();
}

#[tokio::test]
async fn changes_that_wait_are_written_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let (head, gate) = start_gated(folder.path(), MemoryLimits::default());
    let node = TestNode::start(1).await;
    let mut line = node.join(&head).await.expect("it is welcome");
    let before = gate.transactions().len();
    gate.shut();
    for n in 0..500 {
        line.request(n, claim(&format!("name-{n}"), n + 1));
    }
    until(|| head.head.lookup_name("x", "name-499").is_ok()).await;
    gate.open();
    for n in 0..500 {
        assert!(is_done(&line.reply(n).await));
    }
    let transactions = gate.transactions()[before..].to_vec();
    assert!(transactions.len() <= 3, "{transactions:?}");
    assert_eq!(transactions.iter().sum::<usize>(), 500);
    head.close();
}

#[tokio::test]
async fn what_waits_for_the_disk_is_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = MemoryLimits { meta_changes_queued_max: 3, ..MemoryLimits::default() };
    let (head, gate) = start_gated(folder.path(), memory);
    let node = TestNode::start(1).await;
    let mut line = node.join(&head).await.expect("it is welcome");
    gate.shut();
    line.request(0, claim("first", 100));
    until(|| gate.transactions().len() == 2).await;
    for n in 1..6 {
        line.request(n, claim(&format!("name-{n}"), n));
    }
    until(|| head.memory.check_room().is_err()).await;
    gate.open();
    let mut done = Vec::new();
    for n in 0..6 {
        let reply = line.reply(n).await;
        if let node_reply::Reply::Error(error) = &reply {
            assert!(error.message.contains("meta_changes_queued_max of 3"), "{error:?}");
        }
        done.push(is_done(&reply));
    }
    assert_eq!(done[..4], [true; 4]);
    until(|| head.memory.check_room().is_ok()).await;
    assert!(is_done(&line.ask(9, claim("later", 9)).await), "there is room again");
    head.close();
}

#[tokio::test]
async fn a_head_whose_store_fails_ends_and_keeps_what_it_has_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let (head, gate) = start_gated(folder.path(), MemoryLimits::default());
    let node = TestNode::start(1).await;
    let mut line = node.join(&head).await.expect("it is welcome");
    let backend = ClusterBackend(head.clone());
    upload(&head);
    let job = id(&backend.submit(&Scope::ALL, spec("kept")).await.expect("it runs"));
    gate.state.lock().is_broken = true;
    let error = backend.submit(&Scope::ALL, spec("lost")).await.expect_err("it cannot be remembered");
    assert_eq!(error.code(), ErrorCode::OutOfDisk, "{error}");
    assert!(error.message().contains("full") && error.message().contains("stops"), "{error}");
    assert_eq!(head.failed().await.code(), ErrorCode::OutOfDisk);
    assert_eq!(node.started(), [job], "what was not remembered was not started");
    line.request(1, claim("never", 1));
    until(|| head.memory.check_room().is_err()).await;
    let other = TestNode::start(2).await;
    assert!(other.join(&head).now_or_never().is_none(), "it is not refused: it tries again");
    assert!(line.reply(1).now_or_never().is_none());
    head.close();
    let head = start(folder.path());
    assert_eq!(head.head.job_by_submission(&TenantName::default(), "kept").expect("it was said").id, job);
    assert!(head.head.job_by_submission(&TenantName::default(), "lost").is_err());
    head.close();
}

// contract: H2, J1
#[tokio::test]
async fn a_job_that_was_accepted_and_not_started_is_started_by_the_next_head() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = TestNode::start(1).await;
    let head = start(folder.path());
    let line = node.join(&head).await.expect("it is welcome");
    upload(&head);
    // It is written, and the head is killed before it does anything more.
    let (job, home) = head.accept(TenantName::default(), &spec("once")).expect("there is a node");
    assert_eq!(home, Some(node.id));
    head.settled().await.expect("there is room");
    assert_eq!(node.started(), []);
    drop(line);
    head.close();

    let head = start(folder.path());
    assert_eq!(head.head.job(job).expect("it is known").state, JobState::Pending);
    let refusals = node.refuse(Some(Error::new(ErrorCode::NodeDied, "the line breaks")));
    drop(node.join(&head).await.expect("it is welcome"));
    until(|| node.refusals() > refusals).await;
    assert_eq!(head.head.job(job).expect("it is known").state, JobState::Pending, "it is tried again");
    node.refuse(None);
    let _line = node.join(&head).await.expect("it is welcome");
    until(|| head.head.job(job).is_ok_and(|record| record.state == JobState::Running)).await;
    assert_eq!(node.started(), [job]);
    let again = ClusterBackend(head.clone()).submit(&Scope::ALL, spec("once")).await.expect("known");
    assert_eq!(id(&again), job);
    head.close();
}

// contract: J2
#[tokio::test]
async fn a_job_whose_node_does_not_answer_is_kept_and_started_once_it_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = TestNode::start(1).await;
    let head = start(folder.path());
    let _line = node.join(&head).await.expect("it is welcome");
    upload(&head);
    node.refuse(Some(Error::new(ErrorCode::NodeDied, "the line breaks")));
    let backend = ClusterBackend(head.clone());
    let job =
        id(&backend.submit(&Scope::ALL, spec("once")).await.expect("nobody knows whether it has begun"));
    assert_eq!(head.head.job(job).expect("it is known").state, JobState::Pending);
    node.refuse(None);
    until(|| head.head.job(job).is_ok_and(|record| record.state == JobState::Running)).await;
    assert_eq!(node.started(), [job]);
    head.close();
}

// contract: J2, H2
#[tokio::test]
async fn a_head_that_is_killed_between_two_runs_starts_the_next_one_when_it_is_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let nodes = [TestNode::start(1).await, TestNode::start(2).await];
    let head = start(folder.path());
    upload(&head);
    let mut lines = Vec::new();
    for node in &nodes {
        lines.push(node.join(&head).await.expect("it is welcome"));
    }
    let wanted = v1::JobSpec { job_retries: 1, ..spec("once") };
    let backend = ClusterBackend(head.clone());
    let job = id(&backend.submit(&Scope::ALL, wanted.clone()).await.expect("it runs"));
    let at = nodes.iter().position(|node| node.started() == [job]).expect("one has it");
    let (home, other, mut line) = (&nodes[at], &nodes[1 - at], lines.remove(1 - at));
    assert!(is_done(&lines[0].ask(1, claim("theirs", 1)).await));
    head.event(|core, now, fx| core.node_leaves(now, home.id, "it was told to", fx));
    assert_eq!(line.end_run().await, job);
    // What the dead node had still said is heard, and its name would never be free.
    lines[0].request(2, claim("late", 2));
    assert!(is_done(&line.ask(1, claim("theirs", 3)).await));
    assert!(is_done(&line.ask(2, claim("late", 3)).await));
    drop((line, lines));
    head.close();

    let head = start(folder.path());
    let record = head.head.job(job).expect("it is known");
    assert_eq!((record.state, record.run_id(), record.home), (JobState::Pending, job.at_run(1), None));
    let mut line = other.join(&head).await.expect("with its old id");
    assert_eq!(line.end_run().await, job, "it is asked again");
    assert_eq!(other.started(), []);
    let gone = node_request::Request::RunGone(v1::JobRun { run_id: job.to_string() });
    assert!(is_done(&line.ask(1, gone.clone()).await));
    until(|| head.head.job(job).is_ok_and(|record| record.state == JobState::Running)).await;
    assert!(is_done(&line.ask(2, gone).await));
    assert_eq!(other.started(), [job.at_run(1)]);
    let view = ClusterBackend(head.clone()).submit(&Scope::ALL, wanted).await.expect("known");
    assert_eq!((id(&view), view.run, view.job_retries), (job, 1, 1));
    assert_eq!(view.lost_runs[0].node_id, home.id.to_string());
    // Its last run: what it is to do is not kept any more.
    until(|| head.starting.lock().is_empty()).await;
    head.event(|core, now, fx| core.node_leaves(now, other.id, "it was told to", fx));
    assert_eq!(head.head.job(job).expect("known").state, JobState::Failed);
    head.close();
}

// contract: H2
#[tokio::test]
async fn a_submit_waits_for_the_nodes_of_a_head_that_has_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = TestNode::start(1).await;
    let head = start(folder.path());
    upload(&head);
    drop(node.join(&head).await.expect("it is welcome"));
    head.close();
    let head = start(folder.path());
    let backend = ClusterBackend(head.clone());
    let mut submitting = Box::pin(backend.submit(&Scope::ALL, spec("")));
    assert!(submitting.as_mut().now_or_never().is_none());
    let _line = node.join(&head).await.expect("with its old id");
    let job = id(&submitting.await.expect("it runs"));
    assert_eq!(node.started(), [job]);
    head.close();
}

#[tokio::test]
async fn a_damaged_record_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    start(folder.path()).close();
    let mut store = Embedded::open(folder.path()).expect("it is free");
    let (revision, entries) = store.read().expect("whole");
    assert_eq!(entries.len(), 1, "the head itself");
    let write = Write::Put(b"name/x\0n".to_vec(), b"nonsense".to_vec());
    store.commit(revision, &[write]).expect("room");
    drop(store);
    let options = Options { memory_dir: Some(folder.path().to_owned()), ..Options::default() };
    let error = ClusterHead::start(key(), &options).err().expect("it is damaged");
    assert!(matches!(error, MetaError::Damaged { .. }) && error.to_string().contains("name/x"), "{error}");
}

/// Not a test: how many changes a second are durable, by so many nodes that each wait for every answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, for a release build"]
async fn measure_commits() {
    let base = std::env::var_os("ENGINE_MEASURE_FOLDER").map_or_else(std::env::temp_dir, Into::into);
    for askers in [1_u64, 8, 64, 512] {
        let folder = tempfile::tempdir_in(&base).expect("a folder");
        let (head, gate) = start_gated(folder.path(), MemoryLimits::default());
        let mut lines: Vec<TestLine> = Vec::new();
        for n in 0..askers {
            lines.push(TestNode::start(n + 1).await.join(&head).await.expect("it is welcome"));
        }
        let before = gate.transactions().len();
        let each = 2_000 / askers.min(100);
        let begun = std::time::Instant::now();
        let asking = lines.into_iter().zip(0..).map(|(mut line, asker)| {
            tokio::spawn(async move {
                for n in 0..each {
                    let actor = asker * each + n + 1;
                    assert!(is_done(&line.ask(n, claim(&format!("name-{actor}"), actor)).await));
                }
            })
        });
        join_all(asking).await.into_iter().for_each(|asked| asked.expect("answered"));
        let (took, changes) = (begun.elapsed().as_secs_f64(), askers * each);
        let transactions = gate.transactions().len() - before;
        println!(
            "{askers} askers: {:.0} changes a second in {:.0} transactions a second, {:.2} ms each",
            changes as f64 / took,
            transactions as f64 / took,
            took * 1e3 / transactions as f64
        );
        head.close();
    }
}
