//! A running node.

use std::sync::Arc;
use std::time::Duration;

use engine_core::{ComponentId, Error};

use engine_core::resources::Resources;
use engine_head::{Components, Head};
use engine_net::Gate;
use engine_objects::{SpillOptions, Store, open_target};
use engine_proto::v1;
use engine_runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::backend::NodeBackend;
use crate::background::{self, Kind};
use crate::client::Client;
use crate::clock::Clock;
use crate::cluster::{self, HeadLine, Membership, Network, NodePeer};
use crate::driver::Driver;
use crate::faulty_disk::with_faults;
use crate::groups;
use crate::host::GuestHost;
use crate::jobs::Jobs;
use crate::options::Options;
use crate::workers::WorkerOptions;

/// A running node: with a head of its own in the same process, or one of a cluster.
pub struct Node {
    driver: Arc<Driver>,
    backend: Arc<NodeBackend>,
    runtime: Runtime,
    timer: JoinHandle<()>,
    /// Where the packets of other nodes come in, when there are some.
    port: Option<JoinHandle<()>>,
    /// The head inside this process, when the node is one of its own.
    own_head: Option<JoinHandle<()>>,
    /// The line to the cluster's head, when there is one.
    line: Option<HeadLine>,
    /// Renews the node's certificate, when it has one.
    renewal: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts a node. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// What the system does not give: memory for the arena, threads, randomness.
    pub async fn start(mut options: Options) -> Result<Self, Error> {
        let clock = Clock::start();
        let store_options = engine_objects::Options {
            arena_bytes_max: usize::try_from(options.store_bytes_max).unwrap_or(usize::MAX),
            inline_object_bytes_max: options.inline_object_bytes_max,
            spill: SpillOptions {
                folder: options.spill_folder.clone(),
                spill_bytes_max: options.spill_bytes_max,
                ..SpillOptions::default()
            },
            ..engine_objects::Options::default()
        };
        let store = match &options.spill_folder {
            Some(folder) => Store::with_target(&store_options, with_faults(open_target(folder)?))?,
            None => Store::new(&store_options)?,
        };
        options.limits.store_bytes_max = options.store_bytes_max;
        options.limits.spill = store.can_spill();
        let whole_cpus = options.cpus.as_f64().ceil() as usize;
        options.runtime.guest_threads = whole_cpus.max(1);
        if options.runtime.compile_cache.is_none() {
            options.runtime.compile_cache = options.data_dir.as_ref().map(|dir| dir.join("machine-code"));
        }
        let runtime = Runtime::new(options.runtime.clone())?;
        options.limits.instances_max = options.limits.instances_max.min(runtime.instances_max());
        let total = total(&options);
        let labels = labels(&options);
        let key = options.cluster.as_ref().map_or_else(random_key, |cluster| Ok(cluster.key.0))?;
        let node = engine_core::node::Node::new(key, total, labels, options.limits.clone());
        let folder = options.data_dir.as_ref().map(|dir| dir.join("components"));
        let components = Components::new(folder, options.component_store_bytes_max);
        // A node in the head's own process is never silent.
        options.head_limits.watch.silence_max = Duration::MAX;
        let head = Arc::new(Head::new(random_key()?, options.head_limits.clone(), components));
        let jobs = Jobs::new(options.log_bytes_per_job_max, options.ended_job_log_bytes_max);
        let id = node.id();
        let workers = WorkerOptions::of(&options, runtime.instances_max(), store.can_spill());
        let driver = Driver::new(node, clock, store, head, jobs, workers);
        if let Some(cluster) = options.cluster.clone() {
            driver.join(Arc::new(Network::new(cluster, id, Arc::downgrade(&driver)).await?));
        } else {
            driver.head.event(|head, _| head.started(clock.now()));
        }

        runtime.attach(Arc::new(GuestHost { driver: Arc::downgrade(&driver), is_client: false }));
        driver.attach(runtime.clone());
        let timer = background::spawn(Kind::Timer, driver.timer.clone().run(Arc::downgrade(&driver)));
        let line = driver.network().ok().map(|network| HeadLine::start(&driver, network)).transpose()?;
        let port = driver.network().ok().map(|network| {
            let backend = Arc::new(NodePeer::new(driver.clone()));
            background::spawn(Kind::PeerPort, network.take_packets(backend))
        });
        let certified = driver.network().ok().filter(|network| network.options.identity.is_some());
        let renewal =
            certified.map(|network| background::spawn(Kind::Renewal, cluster::renew(network.clone())));
        let own_head = line
            .is_none()
            .then(|| background::spawn(Kind::OwnHead, groups::run_own_head(Arc::downgrade(&driver))));
        let backend = Arc::new(NodeBackend::new(driver.clone(), options.progress_interval));
        Ok(Self { driver, backend, runtime, timer, port, own_head, line, renewal })
    }

    /// What the node answers to clients.
    pub fn backend(&self) -> Arc<NodeBackend> {
        self.backend.clone()
    }

    /// Keeps a component that a job will bring to be loaded on demand.
    ///
    /// # Errors
    /// LIMIT_EXCEEDED when no more are kept.
    pub fn keep_component(&self, bytes: &[u8]) -> Result<ComponentId, Error> {
        self.driver.head.components().add(bytes)
    }

    /// Starts a job whose root is this program, and attaches it. The components have been uploaded.
    ///
    /// # Errors
    /// What is wrong with `spec`, and LIMIT_EXCEEDED beyond `clients_max`.
    pub async fn attach_client(&self, spec: v1::JobSpec) -> Result<Client, Error> {
        Client::attach(&self.driver, spec).await
    }

    /// What the node answers to others and to the head of its cluster.
    pub fn peer(&self) -> Arc<NodePeer> {
        Arc::new(NodePeer::new(self.driver.clone()))
    }

    /// What judges those that ask it, when it is a node of a cluster: clients show a ticket of the head's.
    pub fn gate(&self) -> Option<Arc<Gate>> {
        self.driver.network().ok().map(|network| network.gate.clone())
    }

    /// How the node stands with its cluster; none: it is one of its own.
    pub fn membership(&self) -> Option<watch::Receiver<Membership>> {
        self.driver.network().ok().map(|network| network.membership())
    }

    /// Has the node leave its cluster in order: what it has goes elsewhere or comes to its end, in so much time.
    /// That it has left, [`Self::membership`] says; it goes on until then.
    pub fn leave(&self, deadline: Duration) {
        let id = self.driver.read(|node| node.id());
        // At once, whether or not the head is there.
        self.driver.event(|node, now, fx| node.node_drains(now, id, Some(deadline), fx));
        crate::cluster::say_that_it_drains(&self.driver);
    }

    /// Whether the node drains, whoever asked for that.
    pub fn is_draining(&self) -> bool {
        self.driver.read(|node| node.is_draining())
    }

    /// Whether the node has asked to be let go, and the head is not there to hear it.
    pub fn is_unheard(&self) -> bool {
        self.driver.network().is_ok_and(|network| network.is_unheard())
    }

    #[cfg(test)]
    pub(crate) fn driver(&self) -> &Arc<Driver> {
        &self.driver
    }

    /// What is left on a node whose jobs have all ended; none when nothing is. Tests and soaks ask.
    pub fn leftover(&self) -> Option<String> {
        self.driver
            .read(|node| node.broken_invariant().or_else(|| node.leftover()))
            .or_else(|| leaked(&self.driver))
    }

    /// Ends every sandbox and the node's threads.
    pub async fn shutdown(self) {
        self.timer.abort();
        self.driver.lines.close();
        drop(self.line);
        for task in self.port.iter().chain(&self.own_head).chain(&self.renewal) {
            task.abort();
        }
        self.driver.workers.shutdown();
        let runtime = self.runtime;
        if background::blocking(Kind::Compile, move || runtime.shutdown()).await.is_err() {
            tracing::warn!("the runtime did not shut down in order");
        }
        // What was being written when the last job ended may not be dropped yet.
        for _ in 0..LEAK_LOOKS {
            if leaked(&self.driver).is_none() {
                return;
            }
            tokio::time::sleep(LEAK_LOOK_INTERVAL).await;
        }
        if let Some(leaked) = leaked(&self.driver) {
            tracing::error!("leaked: {leaked}");
        }
    }
}

/// How often a node that ends looks whether its store is empty, and in between.
const LEAK_LOOKS: u32 = 50;
const LEAK_LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What the store holds and the books do not know, when they know of nothing.
fn leaked(driver: &Driver) -> Option<String> {
    let usage = driver.store.usage();
    // Files without objects are on their way: deleting a large one takes the system seconds.
    let is_empty = usage.arena_extents == 0 && usage.spill.objects == 0;
    let view = driver.read(|node| node.node_view());
    if is_empty || view.objects > 0 || view.instances > 0 {
        return None;
    }
    Some(format!(
        "nothing is left in the books, and the store holds {} objects in the arena and {} on disk",
        usage.arena_extents, usage.spill.objects
    ))
}

fn total(options: &Options) -> Resources {
    let mut total = Resources::default();
    total.cpus = options.cpus;
    total.gpus = options.gpus;
    total.memory = options.memory_bytes;
    for (name, quantity) in &options.resources {
        total.set_custom(name, *quantity);
    }
    total
}

fn labels(options: &Options) -> Vec<(String, String)> {
    let mut labels = options.labels.clone();
    labels.push(("engine.io/arch".to_owned(), std::env::consts::ARCH.to_owned()));
    labels.push(("engine.io/os".to_owned(), std::env::consts::OS.to_owned()));
    labels
}

/// Fresh random bits, so that ids cannot be guessed.
///
/// # Errors
/// INTERNAL when the system gives none.
pub fn random_key() -> Result<[u8; 16], Error> {
    let mut key = [0; 16];
    let filled = rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty());
    match filled {
        Ok(16) => Ok(key),
        Ok(_) | Err(_) => Err(Error::internal("the system gave no random bits")),
    }
}

#[cfg(test)]
mod tests {
    use engine_core::ids::IdGenerator;

    use super::*;

    #[test]
    fn every_node_has_a_key_of_its_own() {
        let (a, b) = (random_key().expect("bits"), random_key().expect("bits"));
        assert_ne!(a, b);
        assert_ne!(IdGenerator::new(a).task(), IdGenerator::new(b).task());
    }
}
