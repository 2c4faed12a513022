//! Components of the concurrent world: several calls inside one sandbox at once.

use std::pin::pin;
use std::time::Duration;

use engine_core::work::{Call, CallReport, Entry, Life};
use engine_core::{Error, TaskId};
use futures::future::Either;
use futures::stream::{FuturesUnordered, StreamExt};
use smallvec::SmallVec;
use wasmtime::component::{Accessor, HasSelf, Linker, Resource};

use crate::bindings::engine::compute::objects::Waitable as WitWaitable;
use crate::bindings::engine::compute::types as wit;
use crate::concurrent::bindings::engine::compute::objects_async as wit_async;
use crate::errors::HostError;
use crate::guest::Guest;
use crate::handles::ObjectHandle;
use crate::host::{Caller, Until, Wait, Waitable};
use crate::imports::timed_out;
use crate::instance::{End, Served, begin, not_started, store};
use crate::load::Loaded;

/// The second world, generated. What both worlds import is the same as in the first.
pub(crate) mod bindings {
    // The generated code's unsafe blocks call exports whose types it has checked at load.
    #![allow(missing_docs, unreachable_pub, unsafe_code, clippy::all)]

    use crate::errors::HostError;

    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "concurrent-component",
        imports: { default: trappable },
        trappable_error_type: {
            "engine:compute/types.error" => HostError,
        },
        with: {
            "engine:compute/types": crate::bindings::engine::compute::types,
            "engine:compute/objects": crate::bindings::engine::compute::objects,
            "engine:compute/tasks": crate::bindings::engine::compute::tasks,
            "engine:compute/actors": crate::bindings::engine::compute::actors,
            "engine:compute/placement-groups": crate::bindings::engine::compute::placement_groups,
            "engine:compute/context": crate::bindings::engine::compute::context,
            "engine:compute/logging": crate::bindings::engine::compute::logging,
        },
        require_store_data_send: true,
    });
}

/// What components of the concurrent world may import on top of the others.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wit_async::add_to_linker::<Guest, HasSelf<Guest>>(linker, |guest| guest)
}

impl wit_async::Host for Guest {}

/// From within a host function of this world: waits, while other calls of the sandbox go on.
async fn wait_for(
    accessor: &Accessor<Guest, HasSelf<Guest>>,
    caller: Caller,
    items: &[Waitable],
    until: Until,
    timeout: Option<u64>,
) {
    let timeout = timeout.map(Duration::from_nanos);
    let wait = accessor.with(|mut access| access.get().host.wait(caller, items, until, timeout));
    if let Wait::Blocked(over) = wait {
        over.await;
    }
}

impl wit_async::HostWithStore<Guest> for HasSelf<Guest> {
    async fn get(
        accessor: &Accessor<Guest, Self>,
        object: Resource<ObjectHandle>,
        timeout: Option<u64>,
    ) -> Result<wit::Value, HostError> {
        let (caller, object, outcome) = accessor.with(|mut access| {
            let guest = access.get();
            let object = guest.handles.object(&object)?;
            Ok::<_, HostError>((guest.caller(), object, guest.host.outcome(guest.caller(), object)))
        })?;
        if outcome.is_none() {
            wait_for(accessor, caller, &[Waitable::Object(object)], Until::AllOrFailure, timeout).await;
        }
        accessor.with(|mut access| {
            let guest = access.get();
            match guest.host.outcome(caller, object) {
                Some(Ok(value)) => Ok(guest.value_to_guest(&value)?),
                Some(Err(error)) => Err(Error::clone(&error).into()),
                None => Err(timed_out(&format!("object {object}"), timeout).into()),
            }
        })
    }

    async fn wait(
        accessor: &Accessor<Guest, Self>,
        items: Vec<WitWaitable>,
        num_ready: u32,
        timeout: Option<u64>,
    ) -> Result<Vec<u32>, HostError> {
        let (caller, waitables) = accessor.with(|mut access| {
            let guest = access.get();
            Ok::<_, HostError>((guest.caller(), guest.waitables_from_guest(items, num_ready)?))
        })?;
        if waitables.is_empty() {
            return Ok(Vec::new());
        }
        wait_for(accessor, caller, &waitables, Until::Count(num_ready), timeout).await;
        Ok(accessor.with(|mut access| access.get().ready_indexes(&waitables, num_ready)))
    }

    async fn sleep(_accessor: &Accessor<Guest, Self>, duration: u64) -> wasmtime::Result<()> {
        tokio::time::sleep(Duration::from_nanos(duration)).await;
        Ok(())
    }
}

/// Serves calls as they come, each as soon as it is there; the core bounds how many are inside.
pub(crate) async fn serve(
    pre: &bindings::ConcurrentComponentPre<Guest>,
    loaded: &Loaded,
    guest: Guest,
    life: Life,
    call: Call,
) -> End {
    let mut store = store(pre.engine(), guest);
    let program = match pre.instantiate_async(&mut store).await {
        Ok(program) => program,
        Err(error) => return not_started(store, loaded, &call, &error),
    };
    let (control, host, instance) = {
        let guest = store.data();
        (guest.control.clone(), guest.host.clone(), guest.instance)
    };
    let ended = store
        .run_concurrent(async |accessor| {
            let mut inside = FuturesUnordered::new();
            inside.push(enter(&program, accessor, call, 0));
            let mut calls: u64 = 1;
            loop {
                let next = if inside.is_empty() {
                    Either::Right(control.next_call().await)
                } else {
                    match futures::future::select(inside.next(), pin!(control.next_call())).await {
                        Either::Left((Some(ended), _)) => Either::Left(ended),
                        Either::Left((None, _)) => continue,
                        Either::Right((call, _)) => Either::Right(call),
                    }
                };
                match next {
                    Either::Right(call) => {
                        inside.push(enter(&program, accessor, call, calls));
                        calls += 1;
                    }
                    Either::Left((report, cause)) => {
                        if cause.is_some() || life == Life::Task {
                            return End::of_call(report, cause);
                        }
                        host.finished(instance, report);
                        accessor.with(|mut access| access.data_mut().release_moved());
                    }
                }
            }
        })
        .await;
    let end = match ended {
        Ok(end) => end,
        // A trap ends all calls inside: whose it was can be told only when there was one.
        Err(trap) => {
            let guest = store.data_mut();
            let error = guest.error_of_trap(&trap);
            let mut calls = guest.control.unfinished(|_, _| error.clone());
            if calls.len() > 1 {
                calls = SmallVec::new();
            }
            End { calls, cause: Some(error) }
        }
    };
    if end.cause.is_some() {
        store.data().runtime.counts.traps.up();
    }
    end
}

/// One call.
async fn enter(
    program: &bindings::ConcurrentComponent,
    accessor: &Accessor<Guest>,
    call: Call,
    calls: u64,
) -> (CallReport, Option<Error>) {
    let task: TaskId = call.task;
    let begun = accessor.with(|mut access| {
        let guest = access.data_mut();
        let index = begin(guest, &call, calls);
        guest.arguments_to_guest(&call).map(|arguments| (index, arguments)).map_err(|error| (index, error))
    });
    let (index, served) = match begun {
        Err((index, error)) => (index, error.into()),
        Ok((index, arguments)) => {
            let invocation = Resource::new_borrow(index);
            let program = program.engine_compute_program_async();
            let returned = match &call.entry {
                Entry::Main(arguments) => {
                    let returned = program.call_main(accessor, invocation, arguments.to_vec()).await;
                    returned.map(|result| result.map(|value| vec![value]))
                }
                Entry::Run(name) => program.call_run(accessor, invocation, name.to_string(), arguments).await,
                Entry::Invoke(text) => match crate::plain::untyped_call(text) {
                    Ok((name, arguments)) => program.call_run(accessor, invocation, name, arguments).await,
                    Err(error) => Err(error.into()),
                },
                Entry::Create(class) => {
                    let returned =
                        program.call_create(accessor, invocation, class.to_string(), arguments).await;
                    returned.map(|result| result.map(|()| Vec::new()))
                }
                Entry::Method(name) => {
                    program.call_call(accessor, invocation, name.to_string(), arguments).await
                }
            };
            (index, accessor.with(|mut access| access.data_mut().served(&call, index, returned)))
        }
    };
    accessor.with(|mut access| {
        let guest = access.data_mut();
        guest.leave(index);
        let usage = guest.control.finished(task);
        match served {
            Served::Alive(result) => (CallReport { task, result, usage }, None),
            Served::Dead(error) => (CallReport { task, result: Err(error.clone()), usage }, Some(error)),
        }
    })
}
