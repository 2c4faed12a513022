//! A session: one job whose root is this process.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use engine_agent::Options;
use engine_core::node::Waitable;
use engine_core::{Error, ErrorCode};
use engine_embedded::Embedded;
use engine_proto::v1;
use parking_lot::Mutex;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyListMethods, PySequence, PyTuple, PyType};
use tokio::runtime::Runtime;

use crate::client::{Client, Held};
use crate::elsewhere::Elsewhere;
use crate::errors::raised;
use crate::handles::{Actor, Object, PlacementGroup, Task};
use crate::options;
use crate::shared::{Shared, block_on, timeout};
use crate::values::{arguments_from_python, value_from_python, value_to_python};

/// How long the last lines of log may take to come from an engine elsewhere.
const LAST_LINES_TIME_MAX: Duration = Duration::from_secs(5);
/// Threads of the engine's own, beside those that guests run on.
const ENGINE_THREADS: usize = 2;

/// One job whose root is this process.
#[pyclass(frozen, module = "engine._native")]
pub(crate) struct Session {
    shared: Arc<Shared>,
    component: Option<String>,
    address: String,
    tenant: String,
    owned: Mutex<Option<Owned>>,
}

/// What ends with the session.
struct Owned {
    runtime: Runtime,
    /// The engine, when it is in this process.
    embedded: Option<Embedded>,
    logs: Option<JoinHandle<()>>,
}

impl Owned {
    /// Ends the job, and with it the engine in this process.
    fn end(self, shared: &Shared) {
        self.runtime.block_on(shared.client.end());
        self.end_after_job();
    }

    fn end_after_job(self) {
        let Self { runtime, embedded, logs } = self;
        runtime.block_on(async {
            // The last lines come before the end does.
            if let Some(logs) = logs {
                let lines = tokio::task::spawn_blocking(move || logs.join());
                match &embedded {
                    Some(_) => drop(lines.await),
                    // An engine elsewhere may be away.
                    None => drop(tokio::time::timeout(LAST_LINES_TIME_MAX, lines).await),
                }
            }
            if let Some(embedded) = embedded {
                embedded.shutdown().await;
            }
        });
        runtime.shutdown_background();
    }
}

/// What a session is started with.
struct Asked {
    components: Vec<Part<PathBuf>>,
    spec: v1::JobSpec,
    engine: Engine,
}

/// A component that the job brings: where it is, or its bytes.
pub(crate) struct Part<T> {
    pub(crate) name: String,
    pub(crate) component: T,
    /// Whether it is made ready when something of it is to start, and not before.
    pub(crate) on_demand: bool,
}

fn parts(components: HashMap<String, PathBuf>, on_demand: &[String]) -> Vec<Part<PathBuf>> {
    let part =
        |(name, component): (String, PathBuf)| Part { on_demand: on_demand.contains(&name), name, component };
    components.into_iter().map(part).collect()
}

/// Which engine.
enum Engine {
    /// One of its own.
    Embedded(Box<Options>),
    /// One that runs.
    At(Elsewhere),
}

#[pymethods]
impl Session {
    /// An engine in this process.
    #[staticmethod]
    #[pyo3(signature = (components, *, num_cpus=None, num_gpus=None, resources=None, memory=None,
        store_memory=None, spill_dir=None, namespace=None, name=None, env=None, task_memory=None, on_log=None,
        on_demand=Vec::new()))]
    #[allow(clippy::too_many_arguments)]
    fn embedded(
        py: Python<'_>,
        components: HashMap<String, PathBuf>,
        num_cpus: Option<f64>,
        num_gpus: Option<f64>,
        resources: Option<HashMap<String, f64>>,
        memory: Option<u64>,
        store_memory: Option<u64>,
        spill_dir: Option<PathBuf>,
        namespace: Option<String>,
        name: Option<String>,
        env: Option<HashMap<String, String>>,
        task_memory: Option<u64>,
        on_log: Option<Py<PyAny>>,
        on_demand: Vec<String>,
    ) -> PyResult<Self> {
        let mut options = Options::detect();
        options.data_dir = engine_embedded::data_dir();
        if let Some(cpus) = num_cpus {
            options.cpus = options::quantity(cpus, "CPUs")?;
        }
        if let Some(gpus) = num_gpus {
            options.gpus = options::quantity(gpus, "GPUs")?;
        }
        for (name, units) in resources.unwrap_or_default() {
            let quantity = options::quantity(units, &name)?;
            options.resources.push((name, quantity));
        }
        options.memory_bytes = memory.unwrap_or(options.memory_bytes);
        options.store_bytes_max = store_memory.unwrap_or(options.store_bytes_max);
        options.spill_folder = engine_embedded::spill_folder(spill_dir, &options);
        let spec = spec(namespace, name, env, task_memory);
        let engine = Engine::Embedded(Box::new(options));
        start(py, Asked { components: parts(components, &on_demand), spec, engine }, on_log)
    }

    /// A job of a running engine.
    #[staticmethod]
    #[pyo3(signature = (components, address=None, *, credentials=None, token=None, namespace=None, name=None, env=None,
        task_memory=None, reconnect_max=30.0, on_log=None, on_demand=Vec::new()))]
    #[allow(clippy::too_many_arguments)]
    fn connect(
        py: Python<'_>,
        components: HashMap<String, PathBuf>,
        address: Option<String>,
        credentials: Option<PathBuf>,
        token: Option<String>,
        namespace: Option<String>,
        name: Option<String>,
        env: Option<HashMap<String, String>>,
        task_memory: Option<u64>,
        reconnect_max: f64,
        on_log: Option<Py<PyAny>>,
        on_demand: Vec<String>,
    ) -> PyResult<Self> {
        let reconnect_max = timeout(Some(reconnect_max))?.unwrap_or(Duration::MAX);
        let engine = Engine::At(Elsewhere { address, credentials, token, reconnect_max });
        let spec = spec(namespace, name, env, task_memory);
        start(py, Asked { components: parts(components, &on_demand), spec, engine }, on_log)
    }

    #[classattr]
    fn is_sandbox() -> bool {
        false
    }

    #[classattr]
    fn concurrent_component() -> &'static str {
        "python-concurrent"
    }

    #[getter]
    fn component(&self) -> Option<&str> {
        self.component.as_deref()
    }

    /// Of the engine.
    #[getter]
    fn address(&self) -> &str {
        &self.address
    }

    fn put(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let value = value_from_python(&self.shared, value)?;
        let held = self.shared.ask(py, self.shared.client.put(value))?;
        Object::of(&self.shared, held)?.into_py(py)
    }

    fn get_many<'py>(
        &self,
        py: Python<'py>,
        objects: &Bound<'py, PySequence>,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyList>> {
        let timeout = self::timeout(timeout)?;
        let mut ids = Vec::with_capacity(objects.len()?);
        for object in objects.try_iter()? {
            ids.push(object?.cast::<Object>()?.get().id);
        }
        let values = self.shared.block(py, self.shared.client.get(&ids, timeout))?;
        let list = PyList::empty(py);
        for value in &values {
            list.append(value_to_python(py, &self.shared, value)?)?;
        }
        Ok(list)
    }

    fn wait(
        &self,
        py: Python<'_>,
        items: &Bound<'_, PySequence>,
        num_ready: u32,
        timeout: Option<f64>,
    ) -> PyResult<Vec<u32>> {
        let timeout = self::timeout(timeout)?;
        let items = items.try_iter()?.map(|item| waitable(&item?)).collect::<PyResult<Vec<_>>>()?;
        self.shared.block(py, self.shared.client.wait(&items, num_ready, timeout))
    }

    fn spawn(
        &self,
        py: Python<'_>,
        function: &Bound<'_, PyAny>,
        arguments: &Bound<'_, PySequence>,
        options: &Bound<'_, PyAny>,
    ) -> PyResult<Task> {
        let options = options::task_options(options)?;
        let arguments = arguments_from_python(&self.shared, arguments)?;
        let call = self.shared.client.spawn(options::function(function)?, arguments, options);
        Ok(Task::new(&self.shared, self.shared.ask(py, call)?))
    }

    fn create_actor(
        &self,
        py: Python<'_>,
        function: &Bound<'_, PyAny>,
        arguments: &Bound<'_, PySequence>,
        options: &Bound<'_, PyAny>,
    ) -> PyResult<Actor> {
        let options = options::actor_options(options)?;
        let arguments = arguments_from_python(&self.shared, arguments)?;
        let class = options::function(function)?;
        let created = self.shared.client.create_actor(class, arguments, options);
        let actor = Arc::new(self.shared.block(py, created)?);
        Ok(Actor { shared: self.shared.clone(), actor })
    }

    fn lookup_actor(&self, py: Python<'_>, name: String, namespace: Option<String>) -> PyResult<Actor> {
        let found = self.shared.client.lookup_actor(name, namespace);
        let actor = Arc::new(self.shared.block(py, found)?);
        Ok(Actor { shared: self.shared.clone(), actor })
    }

    fn create_group(
        &self,
        py: Python<'_>,
        bundles: &Bound<'_, PyAny>,
        strategy: &str,
        name: Option<String>,
    ) -> PyResult<PlacementGroup> {
        let (bundles, strategy) = (options::bundles(bundles)?, options::group_strategy(strategy)?);
        let created = self.shared.client.create_group(bundles, strategy, name);
        self.group(self.shared.block(py, created)?)
    }

    fn lookup_group(&self, py: Python<'_>, name: String) -> PyResult<PlacementGroup> {
        let found = self.shared.client.lookup_group(name);
        self.group(self.shared.block(py, found)?)
    }

    /// Who and where this process is.
    fn context<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let client = &self.shared.client;
        let fields = PyDict::new(py);
        fields.set_item("job_id", client.job())?;
        fields.set_item("node_id", client.node().to_string())?;
        fields.set_item("tenant", &self.tenant)?;
        fields.set_item("namespace", client.namespace())?;
        CLASS.import(py, "engine._backend", "Context")?.call((), Some(&fields))
    }

    fn nodes<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let class = CLASS.import(py, "engine._backend", "Node")?;
        let nodes = self.shared.ask(py, self.shared.client.nodes())?;
        let amounts = |amounts: Vec<(String, engine_core::resources::Quantity)>| {
            PyTuple::new(py, amounts.into_iter().map(|(name, quantity)| (name, quantity.0)))
        };
        let node = |node: engine_runtime::host::NodeInfo| {
            let labels = PyTuple::new(py, node.labels)?;
            class.call1((node.id, labels, amounts(node.total)?, amounts(node.available)?))
        };
        nodes.into_iter().map(node).collect()
    }

    /// Calls back once, from a thread of the session's, when the item is ready or the session ends.
    fn when_ready(&self, item: &Bound<'_, PyAny>, callback: Py<PyAny>) -> PyResult<()> {
        let (item, client) = (waitable(item)?, self.shared.client.clone());
        self.shared.runtime.spawn(async move {
            // Whatever became of it is seen by who looks.
            drop(client.wait(&[item], 1, None).await);
            let call = move || {
                let called = Python::try_attach(|py| {
                    if let Err(error) = callback.call0(py) {
                        error.write_unraisable(py, Some(callback.bind(py)));
                    }
                });
                if called.is_none() {
                    // What Python owns can only be given back to an interpreter.
                    std::mem::forget(callback);
                }
            };
            drop(tokio::task::spawn_blocking(call).await);
        });
        Ok(())
    }

    /// Ends the session, and with it its job. Repeating it does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let Some(owned) = self.owned.lock().take() else { return Ok(()) };
        if owned.embedded.is_some() {
            py.detach(|| owned.end(&self.shared));
            return Ok(());
        }
        // An engine elsewhere may be away: whoever does not wait for it leaves the job to its `client_grace`.
        let ended = block_on(py, &self.shared.runtime, self.shared.client.end());
        match ended {
            Ok(()) => py.detach(|| owned.end_after_job()),
            Err(_) => owned.runtime.shutdown_background(),
        }
        ended
    }
}

impl Session {
    fn group(&self, held: Held) -> PyResult<PlacementGroup> {
        let id = held
            .group()
            .ok_or_else(|| PyValueError::new_err("the engine gave a handle that is no placement group's"))?;
        Ok(PlacementGroup { shared: self.shared.clone(), held: Arc::new(held), id })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It was not closed. Whoever drops it holds the interpreter, which the logs may wait for.
        if let Some(owned) = self.owned.get_mut().take() {
            let shared = self.shared.clone();
            drop(std::thread::Builder::new().spawn(move || owned.end(&shared)));
        }
    }
}

fn waitable(item: &Bound<'_, PyAny>) -> PyResult<Waitable> {
    if let Ok(object) = item.cast::<Object>() {
        return Ok(Waitable::Object(object.get().id));
    }
    let task = item.cast::<Task>().map_err(|_| {
        PyTypeError::new_err(format!(
            "{} cannot be waited for: objects and streaming tasks can",
            item.get_type()
        ))
    })?;
    match task.get().stream {
        Some(_) => Ok(Waitable::NextOf(task.get().task)),
        None => Err(PyValueError::new_err(format!(
            "{} does not stream its objects: wait for its outputs",
            task.get().task
        ))),
    }
}

fn start(py: Python<'_>, asked: Asked, on_log: Option<Py<PyAny>>) -> PyResult<Session> {
    let component = asked.components.iter().find(|part| part.name == "python").map(|part| part.name.clone());
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(ENGINE_THREADS)
        .thread_name("engine")
        .enable_all()
        .build();
    let runtime = built.map_err(|error| {
        raised(py, None, &Error::internal(format!("starting the threads of the engine: {error}")))
    })?;
    let handle = runtime.handle().clone();
    let started = block_on(py, &handle, begin(asked))?;
    let Started { embedded, client, address, tenant } = started.map_err(|error| raised(py, None, &error))?;
    let shared = Arc::new(Shared { client, runtime: handle });
    let followed = on_log.map(|on_log| crate::logs::follow(&shared, on_log)).transpose();
    let logs = followed.map_err(|error| raised(py, None, &error))?;
    let owned = Mutex::new(Some(Owned { runtime, embedded, logs }));
    Ok(Session { shared, component, address, tenant, owned })
}

fn spec(
    namespace: Option<String>,
    name: Option<String>,
    env: Option<HashMap<String, String>>,
    task_memory: Option<u64>,
) -> v1::JobSpec {
    v1::JobSpec {
        name: name.unwrap_or_default(),
        namespace: namespace.unwrap_or_default(),
        entry: Some(v1::job_spec::Entry::Client(v1::ClientEntry {})),
        env: env.unwrap_or_default().into_iter().collect(),
        limits: Some(v1::JobLimits { task_memory_bytes: task_memory, ..v1::JobLimits::default() }),
        attached: true,
        ..v1::JobSpec::default()
    }
}

/// A session that has begun.
struct Started {
    embedded: Option<Embedded>,
    client: Client,
    address: String,
    tenant: String,
}

async fn begin(asked: Asked) -> Result<Started, Error> {
    let Asked { components, spec, engine } = asked;
    let mut read = Vec::with_capacity(components.len());
    for Part { name, component: path, on_demand } in components {
        let bytes = tokio::fs::read(&path).await.map_err(|error| {
            Error::new(
                ErrorCode::NotFound,
                format!("the component {name} cannot be read: {}: {error}", path.display()),
            )
        })?;
        read.push(Part { name, component: bytes, on_demand });
    }
    match engine {
        Engine::Embedded(options) => embed(read, spec, *options).await,
        Engine::At(elsewhere) => {
            let (session, address) = elsewhere.attach(read, spec).await?;
            let tenant = session.tenant().to_owned();
            Ok(Started { embedded: None, client: Client::Remote(session), address, tenant })
        }
    }
}

async fn embed(
    components: Vec<Part<Vec<u8>>>,
    mut spec: v1::JobSpec,
    options: Options,
) -> Result<Started, Error> {
    let embedded = Embedded::start(options).await.map_err(|error| match error {
        engine_embedded::Error::Node(error) => error,
        error => {
            Error::new(ErrorCode::NotFound, format!("the engine in this process did not start: {error}"))
        }
    })?;
    for Part { name, component: bytes, on_demand } in components {
        spec.components.push(match on_demand {
            true => embedded.add_component_on_demand(&name, &bytes)?,
            false => embedded.add_component(&name, bytes).await?,
        });
    }
    let client = Client::Here(embedded.attach(spec).await?);
    let (address, tenant) = ("embedded".to_owned(), "default".to_owned());
    Ok(Started { embedded: Some(embedded), client, address, tenant })
}
