//! Which of the calls inside asks: what a call spawns, puts, creates and logs is its own.

use wasmtime::component::{HasSelf, Linker, LinkerInstance, Resource};
use wasmtime::{AsContextMut, StoreContextMut};

use crate::bindings::engine::compute::{actors, arrays, logging, tasks, types};
use crate::guest::Guest;
use crate::handles::{ActorHandle, ArrayHandle, InvocationHandle};
use crate::imports::{ARRAYS, OBJECTS, TYPES, add_objects, add_types, answer};
use crate::received::ReceivedView;

/// Makes the call whose guest task is running the one that asks.
pub(crate) fn attribute(store: &mut StoreContextMut<'_, Guest>) -> wasmtime::Result<()> {
    // The oldest of the stack is the export that the host called.
    let stack: Vec<_> = store.async_call_stack()?.collect();
    let guest = store.data_mut();
    let found =
        stack.iter().rev().find_map(|running| guest.guest_tasks.iter().find(|(known, _)| known == running));
    if let Some((_, task)) = found {
        let task = *task;
        guest.turn_to(task);
    }
    Ok(())
}

fn asking<'a>(store: &'a mut StoreContextMut<'_, Guest>) -> wasmtime::Result<&'a mut Guest> {
    attribute(&mut store.as_context_mut())?;
    Ok(store.data_mut())
}

/// The interfaces of the first world once more, with those functions shadowed to which it matters
/// which call asks.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut instance = linker.instance("engine:compute/tasks@0.1.0")?;
    tasks::add_to_linker_instance::<Guest, HasSelf<Guest>>(&mut instance, |guest| guest)?;
    shadow_tasks(&mut instance)?;
    let mut instance = linker.instance("engine:compute/actors@0.1.0")?;
    actors::add_to_linker_instance::<Guest, HasSelf<Guest>>(&mut instance, |guest| guest)?;
    shadow_actors(&mut instance)?;
    let mut instance = linker.instance(TYPES)?;
    add_types(&mut instance)?;
    shadow_types(&mut instance)?;
    let mut instance = linker.instance(OBJECTS)?;
    add_objects(&mut instance)?;
    instance.func_wrap("put", |mut store, (view,): (ReceivedView,)| {
        let guest = asking(&mut store)?;
        let put = guest.put_view_now(view);
        answer(guest, put)
    })?;
    let mut instance = linker.instance(ARRAYS)?;
    arrays::add_to_linker_instance::<Guest, HasSelf<Guest>>(&mut instance, |guest| guest)?;
    shadow_arrays(&mut instance)?;
    let mut instance = linker.instance("engine:compute/logging@0.1.0")?;
    logging::add_to_linker_instance::<Guest, HasSelf<Guest>>(&mut instance, |guest| guest)?;
    instance.func_wrap(
        "log",
        |mut store,
         (level, target, message, fields): (logging::Level, String, String, Vec<(String, String)>)| {
            logging::Host::log(asking(&mut store)?, level, target, message, fields)
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

fn shadow_tasks(instance: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Arguments = (tasks::Function, Vec<types::Argument>, tasks::TaskOptions);
    instance.func_wrap("spawn", |mut store, (function, arguments, options): Arguments| {
        let guest = asking(&mut store)?;
        let spawned = tasks::Host::spawn(guest, function, arguments, options);
        answer(guest, spawned)
    })
}

fn shadow_actors(instance: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Arguments = (tasks::Function, Vec<types::Argument>, actors::ActorOptions);
    instance.func_wrap_async("create", |mut store, (class, arguments, options): Arguments| {
        Box::new(async move {
            let guest = asking(&mut store)?;
            let created = actors::Host::create(guest, class, arguments, options).await;
            answer(guest, created)
        })
    })
}

fn shadow_arrays(instance: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    instance.func_wrap_async(
        "[method]array.to-object",
        |mut store, (array,): (Resource<ArrayHandle>,)| {
            Box::new(async move {
                let guest = asking(&mut store)?;
                let put = arrays::HostArray::to_object(guest, array).await;
                answer(guest, put)
            })
        },
    )?;
    type Columns = Vec<(String, Resource<ArrayHandle>)>;
    instance.func_wrap_async("write-table", |mut store, (columns,): (Columns,)| {
        Box::new(async move {
            let guest = asking(&mut store)?;
            let put = arrays::Host::write_table(guest, columns).await;
            answer(guest, put)
        })
    })
}

fn shadow_types(instance: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Arguments = (Resource<ActorHandle>, String, Vec<types::Argument>, types::CallOptions);
    instance.func_wrap(
        "[method]actor.call",
        |mut store, (actor, method, arguments, options): Arguments| {
            let guest = asking(&mut store)?;
            let called = types::HostActor::call(guest, actor, method, arguments, options);
            answer(guest, called)
        },
    )?;
    // What a guest's event loop asks when it turns to another call.
    instance.func_wrap(
        "[method]invocation.is-cancelled",
        |mut store, (invocation,): (Resource<InvocationHandle>,)| {
            let guest = asking(&mut store)?;
            Ok((types::HostInvocation::is_cancelled(guest, invocation)?,))
        },
    )
}
