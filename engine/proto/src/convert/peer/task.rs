//! Tasks and calls for another node, and their arguments.

use std::sync::Arc;

use engine_core::node::{ActorPart, Incarnation, RemoteArgument, RemoteCall, RemoteJob, RemoteTask};
use engine_core::options::Function;
use engine_core::work::Entry;
use engine_core::{Error, LaneId};

use crate::convert::peer::value::{parcel, parcel_from};
use crate::convert::peer::{MakePlace, ReadPlace, id, options, read};
use crate::convert::tenant::{tenant, tenant_text};
use crate::v1;

/// A task as it travels.
pub(super) fn task(task: &RemoteTask, bytes: ReadPlace<'_>) -> v1::RemoteTask {
    v1::RemoteTask {
        id: Some(id(task.id)),
        attempt: task.attempt,
        job: Some(job(&task.job)),
        function: Some(function(&task.function)),
        entry: Some(entry(&task.entry)),
        arguments: task.arguments.iter().map(|each| argument(each, bytes)).collect(),
        options: options::task_options(&task.options),
        name: task.name.clone(),
        read: task.read,
        part: task.part.as_ref().map(part),
        may_wait: task.may_wait,
        may_preempt: task.may_preempt,
    }
}

/// A task from the wire.
pub(super) fn task_from(task: v1::RemoteTask, place: MakePlace<'_>) -> Result<RemoteTask, Error> {
    Ok(RemoteTask {
        id: read::id(task.id, "RemoteTask.id")?,
        attempt: task.attempt,
        job: job_from(&read::required(task.job, "RemoteTask.job")?)?,
        function: function_from(read::required(task.function, "RemoteTask.function")?)?,
        entry: entry_from(read::required(task.entry, "RemoteTask.entry")?),
        arguments: read::all(task.arguments, |each| argument_from(each, place))?,
        options: options::task_options_from(task.options)?,
        name: task.name,
        read: task.read,
        part: task.part.map(part_from).transpose()?,
        may_wait: task.may_wait,
        may_preempt: task.may_preempt,
    })
}

fn part(part: &ActorPart) -> v1::ActorPart {
    use v1::actor_part::{Call, Constructor, Part as Wire};
    let (of, part) = match *part {
        ActorPart::Constructor { incarnation, max_concurrency, cpus, detached } => {
            (incarnation, Wire::Constructor(Constructor { max_concurrency, cpus: cpus.0, detached }))
        }
        ActorPart::Call { incarnation, owner } => (incarnation, Wire::Call(Call { owner: Some(id(owner)) })),
    };
    v1::ActorPart { incarnation: Some(incarnation(of)), part: Some(part) }
}

fn part_from(part: v1::ActorPart) -> Result<ActorPart, Error> {
    use v1::actor_part::{Constructor, Part as Wire};
    let incarnation = incarnation_from(part.incarnation, "ActorPart.incarnation")?;
    Ok(match read::required(part.part, "ActorPart.part")? {
        Wire::Constructor(Constructor { max_concurrency, cpus, detached }) => {
            let cpus = read::quantity(cpus, "ActorPart.Constructor.cpus")?;
            ActorPart::Constructor { incarnation, max_concurrency, cpus, detached }
        }
        Wire::Call(call) => {
            ActorPart::Call { incarnation, owner: read::id(call.owner, "ActorPart.Call.owner")? }
        }
    })
}

/// An incarnation as it travels.
pub(super) fn incarnation(incarnation: Incarnation) -> v1::Incarnation {
    v1::Incarnation { actor: Some(id(incarnation.actor)), number: incarnation.number }
}

/// An incarnation from the wire, which must be there.
pub(super) fn incarnation_from(
    incarnation: Option<v1::Incarnation>,
    field: &str,
) -> Result<Incarnation, Error> {
    let v1::Incarnation { actor, number } = read::required(incarnation, field)?;
    Ok(Incarnation { actor: read::id(actor, "Incarnation.actor")?, number })
}

/// A call as it travels.
pub(super) fn call(call: &RemoteCall, bytes: ReadPlace<'_>) -> v1::RemoteCall {
    v1::RemoteCall {
        id: Some(id(call.id)),
        job: Some(job(&call.job)),
        actor: Some(id(call.actor)),
        lane: call.lane.0,
        component: read::component_bytes(call.component),
        method: call.method.to_string(),
        arguments: call.arguments.iter().map(|each| argument(each, bytes)).collect(),
        options: options::call_options(&call.options),
    }
}

/// A call from the wire.
pub(super) fn call_from(call: v1::RemoteCall, place: MakePlace<'_>) -> Result<RemoteCall, Error> {
    Ok(RemoteCall {
        id: read::id(call.id, "RemoteCall.id")?,
        job: job_from(&read::required(call.job, "RemoteCall.job")?)?,
        actor: read::id(call.actor, "RemoteCall.actor")?,
        lane: LaneId(call.lane),
        component: read::component(&call.component, "RemoteCall.component")?,
        method: call.method.into(),
        arguments: read::all(call.arguments, |each| argument_from(each, place))?,
        options: options::call_options_from(call.options)?,
    })
}

fn job(job: &RemoteJob) -> v1::RemoteJob {
    v1::RemoteJob {
        id: Some(id(job.id)),
        home: Some(id(job.home)),
        unfinished_tasks_max: job.unfinished_tasks_max.map(|max| max as u64),
        task_memory_bytes: job.task_memory_bytes,
        tenant: tenant_text(&job.tenant),
    }
}

fn job_from(job: &v1::RemoteJob) -> Result<RemoteJob, Error> {
    let count = |max: u64| {
        let too_many = |_| read::wrong("RemoteJob.unfinished_tasks_max", format_args!("is {max}: too many"));
        usize::try_from(max).map_err(too_many)
    };
    Ok(RemoteJob {
        id: read::id(job.id, "RemoteJob.id")?,
        home: read::id(job.home, "RemoteJob.home")?,
        unfinished_tasks_max: job.unfinished_tasks_max.map(count).transpose()?,
        task_memory_bytes: job.task_memory_bytes,
        tenant: tenant(&job.tenant, "RemoteJob.tenant")?,
    })
}

fn function(function: &Function) -> v1::Function {
    v1::Function { component: read::component_bytes(function.component), name: function.name.to_string() }
}

fn function_from(function: v1::Function) -> Result<Function, Error> {
    let component = read::component(&function.component, "Function.component")?;
    Ok(Function { component, name: function.name.into() })
}

fn entry(entry: &Entry) -> v1::remote_task::Entry {
    use v1::remote_task::{Entry as Wire, Main};
    match entry {
        Entry::Main(arguments) => Wire::Main(Main { arguments: arguments.to_vec() }),
        Entry::Invoke(text) => Wire::Invoke(text.to_string()),
        Entry::Run(text) => Wire::Run(text.to_string()),
        Entry::Create(text) => Wire::Create(text.to_string()),
        Entry::Method(text) => Wire::Method(text.to_string()),
        // A client stays where it is attached, so this is never sent; whoever got it would find no function.
        Entry::Client => Wire::Run(String::new()),
    }
}

fn entry_from(entry: v1::remote_task::Entry) -> Entry {
    use v1::remote_task::Entry as Wire;
    match entry {
        Wire::Main(main) => Entry::Main(read::shared(main.arguments)),
        Wire::Invoke(text) => Entry::Invoke(Arc::from(text)),
        Wire::Run(text) => Entry::Run(Arc::from(text)),
        Wire::Create(text) => Entry::Create(Arc::from(text)),
        Wire::Method(text) => Entry::Method(Arc::from(text)),
    }
}

fn argument(argument: &RemoteArgument, bytes: ReadPlace<'_>) -> v1::RemoteArgument {
    use v1::remote_argument::{Argument as Wire, Object, Pending};
    let argument = match argument {
        RemoteArgument::Value(value) => Wire::Value(parcel(value, bytes)),
        RemoteArgument::Object(object, owner, value) => Wire::Object(Object {
            object: Some(id(*object)),
            owner: Some(id(*owner)),
            parcel: Some(parcel(value, bytes)),
        }),
        RemoteArgument::Handle(object, owner) => {
            Wire::Handle(Pending { object: Some(id(*object)), owner: Some(id(*owner)) })
        }
    };
    v1::RemoteArgument { argument: Some(argument) }
}

fn argument_from(argument: v1::RemoteArgument, place: MakePlace<'_>) -> Result<RemoteArgument, Error> {
    use v1::remote_argument::Argument as Wire;
    Ok(match read::required(argument.argument, "RemoteArgument.argument")? {
        Wire::Value(value) => RemoteArgument::Value(parcel_from(value, place)?),
        Wire::Object(object) => RemoteArgument::Object(
            read::id(object.object, "RemoteArgument.Object.object")?,
            read::id(object.owner, "RemoteArgument.Object.owner")?,
            parcel_from(read::required(object.parcel, "RemoteArgument.Object.parcel")?, place)?,
        ),
        Wire::Handle(pending) => RemoteArgument::Handle(
            read::id(pending.object, "RemoteArgument.Pending.object")?,
            read::id(pending.owner, "RemoteArgument.Pending.owner")?,
        ),
    })
}
