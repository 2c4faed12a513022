//! The exports of an SDK's component, checked once at load and looked up when they are called.
//!
//! The generated code looks all of them up, and compares their types, in every new sandbox.

use wasmtime::component::{
    ComponentExportIndex, ComponentNamedList, Func, Instance, InstancePre, Lift, Lower, Resource, TypedFunc,
};
use wasmtime::{AsContextMut, Store};

use crate::bindings::ComponentPre;
use crate::bindings::engine::compute::types::Failure;
use crate::guest::Guest;
use crate::handles::InvocationHandle;
use crate::lent::LentValue;
use crate::received::ReturnedValue;

/// Which export.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Export {
    Main,
    Run,
    Create,
    Call,
}

const NAMES: [&str; 4] = ["main", "run", "create", "call"];
const INTERFACE: &str = "engine:compute/program@0.1.0";

/// A component whose exports have the types of `interface program`.
pub(crate) struct ProgramPre {
    linked: InstancePre<Guest>,
    exports: [ComponentExportIndex; NAMES.len()],
}

impl ProgramPre {
    /// Checks the exports' types.
    pub(crate) fn new(linked: InstancePre<Guest>) -> wasmtime::Result<Self> {
        let checked = ComponentPre::new(linked)?;
        let linked = checked.instance_pre().clone();
        let component = linked.component();
        let missing = || wasmtime::Error::msg(format!("{INTERFACE} is not exported whole"));
        let interface = component.get_export_index(None, INTERFACE).ok_or_else(missing)?;
        let index = |name| component.get_export_index(Some(&interface), name).ok_or_else(missing);
        let [main, run, create, call] = NAMES;
        let exports = [index(main)?, index(run)?, index(create)?, index(call)?];
        Ok(Self { linked, exports })
    }

    pub(crate) fn engine(&self) -> &wasmtime::Engine {
        self.linked.engine()
    }

    pub(crate) async fn instantiate(&self, store: &mut Store<Guest>) -> wasmtime::Result<Program<'_>> {
        let instance = self.linked.instantiate_async(store).await?;
        Ok(Program { pre: self, instance, found: [None; NAMES.len()] })
    }
}

/// An instance of it.
pub(crate) struct Program<'a> {
    pre: &'a ProgramPre,
    instance: Instance,
    found: [Option<Func>; NAMES.len()],
}

type Invocation = Resource<InvocationHandle>;
/// What the exports return, but for `main` and `create`.
pub(crate) type Returned<T> = wasmtime::Result<Result<T, Failure>>;

impl Program<'_> {
    fn function(&mut self, store: &mut Store<Guest>, export: Export) -> wasmtime::Result<Func> {
        let at = export as usize;
        if let Some(function) = self.found[at] {
            return Ok(function);
        }
        let function = self
            .instance
            .get_func(store, self.pre.exports[at])
            .ok_or_else(|| wasmtime::Error::msg(format!("{INTERFACE}#{} is gone", NAMES[at])))?;
        self.found[at] = Some(function);
        Ok(function)
    }

    pub(crate) async fn main(
        &mut self,
        store: &mut Store<Guest>,
        invocation: Invocation,
        arguments: &[String],
    ) -> Returned<ReturnedValue> {
        let function = self.function(store, Export::Main)?;
        // SAFETY: the type of `main` is this, as `ProgramPre::new` has checked.
        #[allow(unsafe_code)]
        let function = unsafe {
            TypedFunc::<(Invocation, &[String]), (Result<ReturnedValue, Failure>,)>::new_unchecked(function)
        };
        called(function, store, (invocation, arguments)).await
    }

    /// Calls `run` or `call`.
    pub(crate) async fn call(
        &mut self,
        store: &mut Store<Guest>,
        export: Export,
        invocation: Invocation,
        name: &str,
        arguments: &[LentValue],
    ) -> Returned<Vec<ReturnedValue>> {
        type Parameters<'a> = (Invocation, &'a str, &'a [LentValue]);
        let function =
            self.function(store, if matches!(export, Export::Call) { Export::Call } else { Export::Run })?;
        // SAFETY: the type of `run` and of `call` is this, as `ProgramPre::new` has checked.
        #[allow(unsafe_code)]
        let function = unsafe {
            TypedFunc::<Parameters<'_>, (Result<Vec<ReturnedValue>, Failure>,)>::new_unchecked(function)
        };
        called(function, store, (invocation, name, arguments)).await
    }

    pub(crate) async fn create(
        &mut self,
        store: &mut Store<Guest>,
        invocation: Invocation,
        class: &str,
        arguments: &[LentValue],
    ) -> Returned<()> {
        type Parameters<'a> = (Invocation, &'a str, &'a [LentValue]);
        let function = self.function(store, Export::Create)?;
        // SAFETY: the type of `create` is this, as `ProgramPre::new` has checked.
        #[allow(unsafe_code)]
        let function =
            unsafe { TypedFunc::<Parameters<'_>, (Result<(), Failure>,)>::new_unchecked(function) };
        called(function, store, (invocation, class, arguments)).await
    }
}

async fn called<P, T>(
    function: TypedFunc<P, (Result<T, Failure>,)>,
    store: &mut Store<Guest>,
    parameters: P,
) -> Returned<T>
where
    P: ComponentNamedList + Lower + Send + Sync,
    T: Lift + Send + Sync + 'static,
    (Result<T, Failure>,): ComponentNamedList + Lift,
{
    let (returned,) = function.call_async(store.as_context_mut(), parameters).await?;
    Ok(returned)
}
