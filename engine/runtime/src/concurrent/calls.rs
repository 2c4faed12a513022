//! The calls of one sandbox, each entered as soon as it is there.

// The failure that the generated code returns is large; it is looked at once per call.
#![allow(clippy::result_large_err)]

use std::pin::pin;

use engine_core::work::{Call, CallReport, Entry, Life};
use engine_core::{Error, TaskId};
use futures::future::Either;
use futures::stream::{FuturesUnordered, StreamExt};
use smallvec::SmallVec;
use wasmtime::component::{Accessor, ComponentNamedList, Lift, Lower, Resource, TypedFunc};

use crate::bindings::engine::compute::types::Failure;
use crate::concurrent::bindings;
use crate::errors::HostError;
use crate::guest::Guest;
use crate::handles::InvocationHandle;
use crate::instance::{End, Served, begin, not_started, store};
use crate::lent::LentValue;
use crate::load::Loaded;
use crate::received::ReturnedValue;
use crate::storage::{arguments_in_memory, house_all};

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

type Invocation = Resource<InvocationHandle>;
/// The name of a function, class or method, and its arguments.
type Named = (Invocation, String, Vec<LentValue>);
/// What an export returns.
type Returned<T> = (Result<T, Failure>,);

/// The exports, with the types of values that copy bytes once.
struct Exports {
    main: TypedFunc<(Invocation, Vec<String>), Returned<ReturnedValue>>,
    run: TypedFunc<Named, Returned<Vec<ReturnedValue>>>,
    create: TypedFunc<Named, Returned<()>>,
    call: TypedFunc<Named, Returned<Vec<ReturnedValue>>>,
}

impl Exports {
    fn of(program: &bindings::ConcurrentComponent) -> Self {
        let program = program.engine_compute_program_async();
        // SAFETY: the generated code has checked the exports against the WIT, and these types are those
        // of the WIT too.
        #[allow(unsafe_code)]
        unsafe {
            Self {
                main: TypedFunc::new_unchecked(*program.func_main().func()),
                run: TypedFunc::new_unchecked(*program.func_run().func()),
                create: TypedFunc::new_unchecked(*program.func_create().func()),
                call: TypedFunc::new_unchecked(*program.func_call().func()),
            }
        }
    }
}

/// One call.
async fn enter(
    program: &bindings::ConcurrentComponent,
    accessor: &Accessor<Guest>,
    mut call: Call,
    calls: u64,
) -> (CallReport, Option<Error>) {
    let task: TaskId = call.task;
    let (index, host, from, max) = accessor.with(|mut access| {
        let guest = access.data_mut();
        let index = begin(guest, &call, calls);
        (index, guest.host.clone(), guest.caller(), guest.limiter.max())
    });
    let begun = match arguments_in_memory(&host, &mut call, max).await {
        Ok(()) => accessor.with(|mut access| {
            let arguments = access.data_mut().arguments_to_guest(&call);
            arguments.map(|arguments| (index, arguments)).map_err(|error| (index, error))
        }),
        Err(error) => Err((index, HostError::Guest(error))),
    };
    let (index, served) = match begun {
        Err((index, error)) => (index, error.into()),
        Ok((index, arguments)) => {
            let invocation = Resource::new_own(index);
            let program = Exports::of(program);
            let returned = match &call.entry {
                Entry::Main(arguments) => {
                    let arguments = (invocation, arguments.to_vec());
                    let returned = called(accessor, program.main, task, arguments).await;
                    returned.map(|(result,)| result.map(|value| vec![value]))
                }
                Entry::Run(name) => {
                    let arguments = (invocation, name.to_string(), arguments);
                    called(accessor, program.run, task, arguments).await.map(|(result,)| result)
                }
                Entry::Invoke(text) => match crate::plain::untyped_call(text) {
                    Ok((name, arguments)) => {
                        let arguments = arguments.into_iter().map(LentValue::msgpack).collect();
                        let arguments = (invocation, name, arguments);
                        called(accessor, program.run, task, arguments).await.map(|(result,)| result)
                    }
                    Err(error) => Err(error.into()),
                },
                Entry::Create(class) => {
                    let arguments = (invocation, class.to_string(), arguments);
                    let returned = called(accessor, program.create, task, arguments).await;
                    returned.map(|(result,)| result.map(|()| Vec::new()))
                }
                Entry::Method(name) => {
                    let arguments = (invocation, name.to_string(), arguments);
                    called(accessor, program.call, task, arguments).await.map(|(result,)| result)
                }
                Entry::Client => Err(crate::errors::no_client().into()),
            };
            (index, accessor.with(|mut access| access.data_mut().served(&call, index, returned)))
        }
    };
    let served = match served {
        Served::Alive(result) => Served::Alive(house_all(&host, from, result).await),
        dead => dead,
    };
    accessor.with(|mut access| {
        let guest = access.data_mut();
        guest.leave(index);
        guest.guest_tasks.retain(|(_, other)| *other != task);
        let usage = guest.control.finished(task);
        match served {
            Served::Alive(result) => (CallReport { task, result, usage }, None),
            Served::Dead(error) => (CallReport { task, result: Err(error.clone()), usage }, Some(error)),
        }
    })
}

/// Calls an export, and notes which call the guest's own task serves.
async fn called<P, R>(
    accessor: &Accessor<Guest>,
    function: TypedFunc<P, R>,
    task: TaskId,
    parameters: P,
) -> wasmtime::Result<R>
where
    P: ComponentNamedList + Lower + Send + Sync + 'static,
    R: ComponentNamedList + Lift + Send + Sync + 'static,
{
    let call = accessor.with(|mut access| -> wasmtime::Result<_> {
        let call = function.start_call_concurrent(&mut access, parameters)?;
        access.data_mut().guest_tasks.push((call.task(), task));
        Ok(call)
    })?;
    function.finish_call_concurrent(accessor, call).await
}
