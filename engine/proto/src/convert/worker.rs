//! What a node and its workers tell one another. Where bytes lie only the caller knows: it is asked how those of a
//! value travel, and what becomes of those that have come.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine_core::node::Waitable;
use engine_core::resources::{Quantity, Resources};
use engine_core::work::{Call, CallReport, Entry, Life, Start, StopReason, Usage};
use engine_core::{Argument, Error, InstanceId, Place, Value};

use crate::convert::peer::options::{env, env_from, returns, returns_from};
use crate::convert::peer::value::{codec_from, handle, handle_inside};
use crate::convert::peer::{id, id_from, read};
use crate::v1;
use crate::v1::from_worker as from;
use crate::v1::to_worker as to;

/// How the bytes of a value travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Travels {
    /// With it.
    Inline(Bytes),
    /// Not at all: the node keeps them by this number.
    Kept(u64),
}

/// Says how the bytes of a value travel.
pub type Lay<'a> = &'a dyn Fn(&Value) -> Travels;
/// Where the bytes of a value lie that has come, and how many there are, which is what the sender says for those that
/// are kept.
pub type Take<'a> = &'a dyn Fn(Travels, u64) -> Result<(Place, u64), Error>;

/// A value as it travels.
pub fn value(value: &Value, lay: Lay<'_>) -> v1::WorkerValue {
    use v1::worker_value::Place as Wire;
    v1::WorkerValue {
        codec: v1::Codec::from(value.codec).into(),
        handles: value.handles.iter().copied().map(handle).collect(),
        size: value.size,
        place: Some(match lay(value) {
            Travels::Inline(bytes) => Wire::Inline(bytes),
            Travels::Kept(number) => Wire::Kept(number),
        }),
    }
}

/// A value that has come.
///
/// # Errors
/// INVALID_ARGUMENT with the field that is missing or out of range; what `take` says.
pub fn value_from(value: v1::WorkerValue, take: Take<'_>) -> Result<Value, Error> {
    use v1::worker_value::Place as Wire;
    let codec = codec_from(value.codec, "WorkerValue.codec")?;
    let handles = read::all(value.handles, |handle| handle_inside(handle, "WorkerValue.handles"))?;
    let (place, size) = match read::required(value.place, "WorkerValue.place")? {
        Wire::Inline(bytes) => {
            let size = bytes.len() as u64;
            (take(Travels::Inline(bytes), size)?.0, size)
        }
        Wire::Kept(number) => take(Travels::Kept(number), value.size)?,
    };
    Ok(Value { codec, size, handles: read::shared(handles), place })
}

/// A failure as it travels.
pub fn failure(error: &Error, lay: Lay<'_>) -> v1::WorkerFailure {
    let payload = error.payload().map(|payload| value(payload, lay));
    v1::WorkerFailure { error: Some(error.into()), payload }
}

/// A failure that has come.
///
/// # Errors
/// As [`value_from`].
pub fn failure_from(failure: v1::WorkerFailure, take: Take<'_>) -> Result<Error, Error> {
    let error = read::required(failure.error, "WorkerFailure.error")?;
    if error.code.is_empty() {
        return Err(read::missing("Error.code"));
    }
    let payload = failure.payload.map(|payload| value_from(payload, take)).transpose()?;
    Ok(Error::from(error).with_payload(payload))
}

/// Arguments as they travel.
pub fn arguments(arguments: &[Argument], lay: Lay<'_>) -> Vec<v1::WorkerArgument> {
    use v1::worker_argument::Argument as Wire;
    let argument = |argument: &Argument| match argument {
        Argument::Value(given) => Wire::Value(value(given, lay)),
        Argument::Object(object) => Wire::Object(id(*object)),
    };
    arguments.iter().map(|given| v1::WorkerArgument { argument: Some(argument(given)) }).collect()
}

/// Arguments that have come.
///
/// # Errors
/// As [`value_from`].
pub fn arguments_from(arguments: Vec<v1::WorkerArgument>, take: Take<'_>) -> Result<Vec<Argument>, Error> {
    use v1::worker_argument::Argument as Wire;
    read::all(arguments, |argument| {
        Ok(match read::required(argument.argument, "WorkerArgument.argument")? {
            Wire::Value(value) => Argument::Value(value_from(value, take)?),
            Wire::Object(object) => Argument::Object(id_from(object)),
        })
    })
}

/// A call as it travels.
pub fn call(call: &Call, lay: Lay<'_>) -> v1::WorkerCall {
    use v1::worker_call::Entry as Wire;
    let entry = match &call.entry {
        Entry::Main(arguments) => Some(Wire::Main(v1::remote_task::Main { arguments: arguments.to_vec() })),
        Entry::Invoke(text) => Some(Wire::Invoke(text.to_string())),
        Entry::Run(name) => Some(Wire::Run(name.to_string())),
        Entry::Create(name) => Some(Wire::Create(name.to_string())),
        Entry::Method(name) => Some(Wire::Method(name.to_string())),
        Entry::Client => None,
    };
    v1::WorkerCall {
        task: Some(id(call.task)),
        attempt: call.attempt,
        entry,
        arguments: call.arguments.iter().map(|argument| value(argument, lay)).collect(),
        returns: returns(call.returns),
        cpu_time_ns: call.cpu_time.map(read::nanoseconds),
        assigned: call.assigned.as_deref().map(Into::into),
    }
}

/// A call that has come.
///
/// # Errors
/// As [`value_from`].
pub fn call_from(call: v1::WorkerCall, take: Take<'_>) -> Result<Call, Error> {
    use v1::worker_call::Entry as Wire;
    Ok(Call {
        task: read::id(call.task, "WorkerCall.task")?,
        attempt: call.attempt,
        entry: match read::required(call.entry, "WorkerCall.entry")? {
            Wire::Main(main) => Entry::Main(main.arguments.into()),
            Wire::Invoke(text) => Entry::Invoke(text.into()),
            Wire::Run(name) => Entry::Run(name.into()),
            Wire::Create(name) => Entry::Create(name.into()),
            Wire::Method(name) => Entry::Method(name.into()),
        },
        arguments: read::all(call.arguments, |argument| value_from(argument, take))?,
        returns: returns_from(call.returns)?,
        cpu_time: call.cpu_time_ns.map(Duration::from_nanos),
        assigned: call.assigned.map(|assigned| resources(&assigned)).transpose()?.map(Arc::new),
    })
}

fn resources(given: &v1::Resources) -> Result<Resources, Error> {
    read::resources(given, "Resources")
}

/// The start of a sandbox as it travels.
pub fn start(start: &Start, lay: Lay<'_>) -> to::Start {
    use to::start::{Actor, Life as Wire};
    to::Start {
        instance: start.instance.0,
        job: Some(id(start.job)),
        component: read::component_bytes(start.component),
        env: env(&start.env),
        memory_bytes_max: start.memory_bytes_max,
        assigned: Some((&*start.assigned).into()),
        life: Some(match &start.life {
            Life::Task => Wire::Task(v1::Heard {}),
            Life::Warm => Wire::Warm(v1::Heard {}),
            Life::Actor { actor, was_restarted, max_concurrency, cpus } => Wire::Actor(Actor {
                actor: Some(id(*actor)),
                was_restarted: *was_restarted,
                max_concurrency: *max_concurrency,
                cpus: cpus.0,
            }),
        }),
        call: Some(call(&start.call, lay)),
    }
}

/// The start of a sandbox that has come.
///
/// # Errors
/// As [`value_from`].
pub fn start_from(start: to::Start, take: Take<'_>) -> Result<Start, Error> {
    use to::start::Life as Wire;
    Ok(Start {
        instance: InstanceId(start.instance),
        job: read::id(start.job, "Start.job")?,
        component: read::component(&start.component, "Start.component")?,
        env: env_from(start.env)?,
        memory_bytes_max: start.memory_bytes_max,
        assigned: Arc::new(resources(&read::required(start.assigned, "Start.assigned")?)?),
        life: match read::required(start.life, "Start.life")? {
            Wire::Task(_) => Life::Task,
            Wire::Warm(_) => Life::Warm,
            Wire::Actor(actor) => Life::Actor {
                actor: read::id(actor.actor, "Start.Actor.actor")?,
                was_restarted: actor.was_restarted,
                max_concurrency: actor.max_concurrency,
                cpus: Quantity(actor.cpus),
            },
        },
        call: call_from(read::required(start.call, "Start.call")?, take)?,
    })
}

/// The report of a call as it travels.
pub fn report(report: &CallReport, lay: Lay<'_>) -> v1::WorkerReport {
    use v1::worker_report::Result as Wire;
    v1::WorkerReport {
        task: Some(id(report.task)),
        result: Some(match &report.result {
            Ok(values) => {
                let values = values.iter().map(|returned| value(returned, lay)).collect();
                Wire::Values(v1::WorkerValues { values })
            }
            Err(error) => Wire::Failed(failure(error, lay)),
        }),
        cpu_ns: read::nanoseconds(report.usage.cpu),
        memory_bytes: report.usage.memory_bytes,
    }
}

/// The report of a call that has come.
///
/// # Errors
/// As [`value_from`].
pub fn report_from(report: v1::WorkerReport, take: Take<'_>) -> Result<CallReport, Error> {
    use v1::worker_report::Result as Wire;
    Ok(CallReport {
        task: read::id(report.task, "WorkerReport.task")?,
        result: match read::required(report.result, "WorkerReport.result")? {
            Wire::Values(values) => Ok(read::all(values.values, |returned| value_from(returned, take))?),
            Wire::Failed(failed) => Err(failure_from(failed, take)?),
        },
        usage: Usage { cpu: Duration::from_nanos(report.cpu_ns), memory_bytes: report.memory_bytes },
    })
}

/// What is waited for, as it travels.
pub fn waitable(item: Waitable) -> from::Waitable {
    use from::waitable::Item as Wire;
    let item = match item {
        Waitable::Object(object) => Wire::Object(id(object)),
        Waitable::Value(object) => Wire::Value(id(object)),
        Waitable::NextOf(task) => Wire::NextOf(id(task)),
    };
    from::Waitable { item: Some(item) }
}

/// What is waited for, of what has come.
///
/// # Errors
/// INVALID_ARGUMENT when it is not said.
pub fn waitable_from(waitable: from::Waitable) -> Result<Waitable, Error> {
    use from::waitable::Item as Wire;
    Ok(match read::required(waitable.item, "Waitable.item")? {
        Wire::Object(object) => Waitable::Object(id_from(object)),
        Wire::Value(object) => Waitable::Value(id_from(object)),
        Wire::NextOf(task) => Waitable::NextOf(id_from(task)),
    })
}

/// Why a sandbox is stopped, as it travels.
pub fn stop_reason(reason: StopReason) -> v1::StopReason {
    match reason {
        StopReason::Cancelled => v1::StopReason::Cancelled,
        StopReason::Deadline => v1::StopReason::Deadline,
        StopReason::ActorEnded => v1::StopReason::ActorEnded,
        StopReason::JobEnded => v1::StopReason::JobEnded,
        StopReason::Retired => v1::StopReason::Retired,
    }
}

/// Why a sandbox is stopped, of what has come.
///
/// # Errors
/// INVALID_ARGUMENT when it is not said.
pub fn stop_reason_from(reason: i32) -> Result<StopReason, Error> {
    Ok(match read::enumeration(reason, "Stop.reason")? {
        v1::StopReason::Unspecified => return Err(read::missing("Stop.reason")),
        v1::StopReason::Cancelled => StopReason::Cancelled,
        v1::StopReason::Deadline => StopReason::Deadline,
        v1::StopReason::ActorEnded => StopReason::ActorEnded,
        v1::StopReason::JobEnded => StopReason::JobEnded,
        v1::StopReason::Retired => StopReason::Retired,
    })
}

/// A digest as it travels.
pub fn component(component: engine_core::ComponentId) -> Bytes {
    read::component_bytes(component)
}

/// A digest, from the field of this name.
///
/// # Errors
/// INVALID_ARGUMENT when it has not 32 bytes.
pub fn component_from(bytes: &Bytes, field: &str) -> Result<engine_core::ComponentId, Error> {
    read::component(bytes, field)
}

/// Pairs of names and values, as they travel.
pub fn pairs(pairs: &[(String, String)]) -> Vec<v1::EnvVar> {
    pairs.iter().map(|(name, value)| v1::EnvVar { name: name.clone(), value: value.clone() }).collect()
}

/// Pairs of names and values that have come.
pub fn pairs_from(pairs: Vec<v1::EnvVar>) -> Vec<(String, String)> {
    pairs.into_iter().map(|pair| (pair.name, pair.value)).collect()
}

/// Amounts by name, as they travel.
pub fn amounts(amounts: &[(String, Quantity)]) -> Vec<v1::CustomResource> {
    let amount = |(name, quantity): &(String, Quantity)| v1::CustomResource {
        name: name.clone(),
        quantity: quantity.0,
    };
    amounts.iter().map(amount).collect()
}

/// Amounts by name that have come.
pub fn amounts_from(amounts: Vec<v1::CustomResource>) -> Vec<(String, Quantity)> {
    amounts.into_iter().map(|amount| (amount.name, Quantity(amount.quantity))).collect()
}

#[cfg(test)]
mod tests {
    use engine_core::ids::IdGenerator;
    use engine_core::options::Returns;
    use engine_core::{Codec, ComponentId, ErrorCode, Handle};

    use super::*;

    fn lay(value: &Value) -> Travels {
        let bytes = value.place.downcast::<Bytes>().cloned();
        bytes.map_or(Travels::Kept(7), Travels::Inline)
    }

    fn take(travels: Travels, size: u64) -> Result<(Place, u64), Error> {
        match travels {
            Travels::Inline(bytes) => Ok((Place::new(Arc::new(bytes)), 0)),
            Travels::Kept(7) => Ok((Place::default(), size)),
            Travels::Kept(number) => Err(Error::invalid_argument(format!("{number} is not kept"))),
        }
    }

    fn small(bytes: &'static [u8]) -> Value {
        let object = IdGenerator::new([1; 16]).task().output(0);
        Value {
            codec: Codec::Msgpack,
            size: bytes.len() as u64,
            handles: [Handle::Object(object)].into(),
            place: Place::new(Arc::new(Bytes::from_static(bytes))),
        }
    }

    #[test]
    fn sandboxes_start_with_all_that_was_said() {
        let mut ids = IdGenerator::new([2; 16]);
        let mut assigned = Resources::default();
        assigned.memory = 77;
        for (life, entry) in [
            (Life::Task, Entry::Run("f".into())),
            (Life::Warm, Entry::Main(["a".to_owned(), "b".to_owned()].into())),
            (
                Life::Actor {
                    actor: ids.actor(),
                    was_restarted: true,
                    max_concurrency: 3,
                    cpus: Quantity(5_000),
                },
                Entry::Create("c".into()),
            ),
        ] {
            let kept = Value { size: 1 << 40, place: Place::default(), ..small(b"") };
            let start_of = Start {
                instance: InstanceId(9),
                job: ids.job(),
                component: ComponentId([3; 32]),
                env: [("A".to_owned(), "1".to_owned())].into(),
                memory_bytes_max: 1 << 20,
                assigned: Arc::new(assigned.clone()),
                life,
                call: Call {
                    task: ids.task(),
                    attempt: 2,
                    entry,
                    arguments: vec![small(b"abc"), kept],
                    returns: Returns::Streaming(Some(4)),
                    cpu_time: Some(Duration::from_nanos(5)),
                    assigned: Some(Arc::new(assigned.clone())),
                },
            };
            let back = start_from(start(&start_of, &lay), &take).expect("it is whole");
            // A place shows only whether there is one.
            assert_eq!(format!("{back:?}"), format!("{start_of:?}"));
            assert_eq!(back.call.arguments[0].place.downcast::<Bytes>().expect("bytes"), &&b"abc"[..]);
        }
        assert!(start_from(to::Start::default(), &take).is_err());
    }

    #[test]
    fn reports_go_there_and_back() {
        let task = IdGenerator::new([2; 16]).task();
        let usage = Usage { cpu: Duration::from_nanos(3), memory_bytes: 4 };
        let error = Error::new(ErrorCode::TaskFailed, "x").with_kind("k").with_payload(Some(small(b"why")));
        for result in [Ok(vec![small(b"a"), small(b"")]), Err(error)] {
            let said = CallReport { task, result, usage };
            let back = report_from(report(&said, &lay), &take).expect("it is whole");
            assert_eq!(format!("{back:?}"), format!("{said:?}"));
        }
    }

    #[test]
    fn what_is_not_kept_is_refused() {
        let mut wire = value(&small(b"abc"), &lay);
        wire.place = Some(v1::worker_value::Place::Kept(8));
        assert_eq!(value_from(wire.clone(), &take).expect_err("not kept").message(), "8 is not kept");
        wire.place = None;
        assert_eq!(value_from(wire, &take).expect_err("none").message(), "WorkerValue.place is missing");
    }

    #[test]
    fn what_inline_bytes_are_counts_and_not_what_is_said() {
        let mut wire = value(&small(b"abc"), &lay);
        wire.size = 1 << 50;
        assert_eq!(value_from(wire, &take).expect("it is whole").size, 3);
    }

    #[test]
    fn reasons_and_waitables_go_there_and_back() {
        for reason in [
            StopReason::Cancelled,
            StopReason::Deadline,
            StopReason::ActorEnded,
            StopReason::JobEnded,
            StopReason::Retired,
        ] {
            assert_eq!(stop_reason_from(stop_reason(reason).into()).expect("one"), reason);
        }
        assert!(stop_reason_from(0).is_err());
        let task = IdGenerator::new([2; 16]).task();
        for item in
            [Waitable::Object(task.output(1)), Waitable::Value(task.output(2)), Waitable::NextOf(task)]
        {
            assert_eq!(waitable_from(waitable(item)).expect("one"), item);
        }
    }
}
