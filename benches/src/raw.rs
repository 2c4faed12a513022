//! The limit: wasmtime alone, called in the tightest loop that gives every call a sandbox.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::anyhow;
use wasmtime::component::{Component, Func, Instance, InstancePre, Linker, Resource, ResourceType, Val};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Store,
    error::Context as _,
};

/// A guest of the SDK on wasmtime alone, its imports left out, and what is called in it.
#[derive(Clone)]
pub(crate) struct Raw {
    engine: Engine,
    pre: Arc<InstancePre<()>>,
    run: wasmtime::component::ComponentExportIndex,
    function: Arc<str>,
    arguments: Arc<[Val]>,
}

impl Raw {
    /// The guest of the benches, or another; its function `noop` is called.
    pub(crate) fn new(guest: &Path) -> anyhow::Result<Self> {
        Self::load(|engine| Component::from_file(engine, guest)).map_err(|error| anyhow!("{error:?}"))
    }

    /// The same, its machine code kept in this folder and mapped from there, as the engine does it.
    pub(crate) fn mapped(guest: &Path, folder: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(guest).map_err(|error| anyhow!("reading {}: {error}", guest.display()))?;
        Self::load(|engine| engine_runtime::mapped_component(engine, folder, &bytes))
            .map_err(|error| anyhow!("{error:?}"))
    }

    /// The same guest, with another call: of this function, with these arguments of the codec `python`.
    pub(crate) fn calling(&self, function: &str, arguments: &[Vec<u8>]) -> Self {
        let arguments = arguments.iter().map(|bytes| {
            Val::Record(vec![
                ("codec".to_owned(), Val::Enum("python".to_owned())),
                ("bytes".to_owned(), Val::List(bytes.iter().copied().map(Val::U8).collect())),
                ("handles".to_owned(), Val::List(Vec::new())),
            ])
        });
        Self { function: function.into(), arguments: arguments.collect(), ..self.clone() }
    }

    fn load(component: impl FnOnce(&Engine) -> Result<Component>) -> Result<Self> {
        let mut config = Config::new();
        config.concurrency_support(false).epoch_interruption(true).max_wasm_stack(1 << 20);
        config.async_stack_size(3 << 19);
        let mut pool = PoolingAllocationConfig::new();
        pool.linear_memory_keep_resident(128 << 10).table_keep_resident(16 << 10);
        pool.max_memories_per_component(4).max_tables_per_component(8).max_tables_per_module(4);
        pool.table_elements(64 << 10).max_unused_warm_slots(256);
        pool.pagemap_scan(Enabled::Auto);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config)?;
        let component = component(&engine)?;
        let mut linker = Linker::<()>::new(&engine);
        linker.instance("engine:compute/types@0.1.0")?.resource(
            "invocation",
            ResourceType::host::<()>(),
            |_, _| Ok(()),
        )?;
        wasi_stubs(&mut linker)?;
        linker.define_unknown_imports_as_traps(&component)?;
        let pre = Arc::new(linker.instantiate_pre(&component)?);
        let program =
            component.get_export_index(None, "engine:compute/program@0.1.0").context("no program")?;
        let run = component.get_export_index(Some(&program), "run").context("no run")?;
        Ok(Self { engine, pre, run, function: "noop".into(), arguments: Arc::new([]) })
    }

    fn instance(&self, store: &mut Store<()>) -> Result<(Instance, Func)> {
        store.set_epoch_deadline(1 << 40);
        let instance = self.pre.instantiate(&mut *store)?;
        let run = instance.get_func(&mut *store, self.run).context("no function")?;
        Ok((instance, run))
    }

    fn call(&self, store: &mut Store<()>, run: Func) -> Result<()> {
        let invocation = Resource::<()>::new_own(0).try_into_resource_any(&mut *store)?;
        let arguments = Val::List(self.arguments.to_vec());
        let arguments = [Val::Resource(invocation), Val::String((*self.function).to_owned()), arguments];
        let mut results = [Val::Bool(false)];
        run.call(&mut *store, &arguments, &mut results)?;
        invocation.resource_drop(&mut *store)?;
        match &results[0] {
            Val::Result(Ok(_)) => Ok(()),
            other => wasmtime::bail!("the guest answered {other:?}"),
        }
    }

    /// Sandboxes per second: instantiate, call and drop, on so many threads at once.
    pub(crate) fn fresh_per_second(&self, threads: usize, count: u64) -> anyhow::Result<f64> {
        self.on_threads(threads, count, |raw, count| {
            for _ in 0..count {
                let mut store = Store::new(&raw.engine, ());
                let (_, run) = raw.instance(&mut store)?;
                raw.call(&mut store, run)?;
            }
            Ok(())
        })
    }

    /// Calls per second of one sandbox that stays.
    pub(crate) fn warm_per_second(&self, count: u64) -> anyhow::Result<f64> {
        self.on_threads(1, count, |raw, count| {
            let mut store = Store::new(&raw.engine, ());
            let (_, run) = raw.instance(&mut store)?;
            for _ in 0..count {
                raw.call(&mut store, run)?;
            }
            Ok(())
        })
    }

    fn on_threads(
        &self,
        threads: usize,
        count: u64,
        work: impl Fn(&Self, u64) -> Result<()> + Send + Sync,
    ) -> anyhow::Result<f64> {
        let start = Instant::now();
        let share = count / threads as u64;
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| work(self, share))).collect();
            running
                .into_iter()
                .try_for_each(|thread| thread.join().unwrap_or_else(|_| wasmtime::bail!("a thread panicked")))
        })
        .map_err(|error: wasmtime::Error| anyhow!("{error:?}"))?;
        Ok((share * threads as u64) as f64 / start.elapsed().as_secs_f64())
    }
}

/// All of WASI that a guest of the SDK uses when it does nothing: the seed of a hash map. And CPython: its
/// environment and arguments, none, and the seed of its random numbers.
fn wasi_stubs(linker: &mut Linker<()>) -> Result<()> {
    for version in ["0.2.9", "0.2.6", "0.2.4", "0.2.3", "0.2.0"] {
        linker
            .instance(&format!("wasi:random/insecure-seed@{version}"))?
            .func_wrap("insecure-seed", |_, ()| Ok(((1_u64, 2_u64),)))?;
        linker
            .instance(&format!("wasi:random/random@{version}"))?
            .func_wrap("get-random-bytes", |_, (count,): (u64,)| {
                Ok((vec![7_u8; usize::try_from(count)?],))
            })?;
        let mut environment = linker.instance(&format!("wasi:cli/environment@{version}"))?;
        environment.func_wrap("get-environment", |_, ()| Ok((Vec::<(String, String)>::new(),)))?;
        environment.func_wrap("get-arguments", |_, ()| Ok((Vec::<String>::new(),)))?;
    }
    Ok(())
}
