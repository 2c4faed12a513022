//! Messages.

use std::sync::Arc;
use std::time::Duration;

use engine_core::node::{Failure, Message, Parcel, PreemptedBy};
use engine_core::work::StopReason;
use engine_core::{Error, TaskId};

use crate::convert::peer::value::{
    failure, failure_from, handle, handle_from, needed_handle, parcel, parcel_from,
};
use crate::convert::peer::{MakePlace, ReadPlace, id, id_from, read, task};
use crate::v1;
use crate::v1::peer_message as wire;

/// The first index that no object that was yielded has: ids have room for no more.
const EMITTED_INDEX_END: u32 = (1 << 31) - 1;

/// A message as it travels.
pub(super) fn message(message: &Message, bytes: ReadPlace<'_>) -> v1::PeerMessage {
    use wire::Message as Wire;
    let message = match message {
        Message::Run(run) => Wire::Run(Box::new(task::task(run, bytes))),
        Message::Refused { task, attempt } => {
            Wire::Refused(wire::Refused { task: Some(id(*task)), attempt: *attempt })
        }
        Message::Preempted { task, attempt, by } => Wire::Preempted(wire::Preempted {
            task: Some(id(*task)),
            attempt: *attempt,
            for_share: *by == PreemptedBy::Share,
        }),
        Message::HasRoom => Wire::HasRoom(wire::HasRoom {}),
        Message::Ended { task, attempt, ran, result } => Wire::Ended(wire::Ended {
            task: Some(id(*task)),
            attempt: *attempt,
            ran_nanos: ran.map(|ran| u64::try_from(ran.as_nanos()).unwrap_or(u64::MAX)),
            result: Some(returned(result, bytes)),
        }),
        Message::Emitted { task, attempt, index, parcel: value } => Wire::Emitted(wire::Emitted {
            task: Some(id(*task)),
            attempt: *attempt,
            index: *index,
            parcel: Some(parcel(value, bytes)),
        }),
        Message::Read { task, read } => Wire::Read(wire::Read { task: Some(id(*task)), read: *read }),
        Message::Call(call) => Wire::Call(Box::new(task::call(call, bytes))),
        Message::CancelCall { task, force, recursive } => {
            Wire::CancelCall(wire::CancelCall { task: Some(id(*task)), force: *force, recursive: *recursive })
        }
        Message::KillActor(actor, may_restart) => {
            Wire::KillActor(wire::KillActor { actor: Some(id(*actor)), may_restart: *may_restart })
        }
        Message::Cancel { task, attempt, reason, recursive, force } => Wire::Cancel(wire::Cancel {
            task: Some(id(*task)),
            attempt: *attempt,
            reason: stop_reason(*reason).into(),
            recursive: *recursive,
            force: *force,
        }),
        Message::EndIncarnation(incarnation, reason) => Wire::EndIncarnation(wire::EndIncarnation {
            incarnation: Some(task::incarnation(*incarnation)),
            reason: stop_reason(*reason).into(),
        }),
        Message::IncarnationEnded { incarnation, calls, cause } => {
            let cut_short = |(call, error): &(TaskId, Option<Failure>)| wire::CutShort {
                task: Some(id(*call)),
                failure: error.as_ref().map(|error| failure(error, bytes)),
            };
            Wire::IncarnationEnded(Box::new(wire::IncarnationEnded {
                incarnation: Some(task::incarnation(*incarnation)),
                calls: calls.iter().map(cut_short).collect(),
                cause: cause.as_ref().map(|cause| failure(cause, bytes)),
            }))
        }
        Message::EndScope(actor, reason) => {
            Wire::EndScope(wire::EndScope { actor: Some(id(*actor)), reason: reason.to_string() })
        }
        Message::Keeps(object) => Wire::Keeps(id(*object)),
        Message::Borrow(what) => Wire::Borrow(handle(*what)),
        Message::Borrowed(what, is_there) => {
            Wire::Borrowed(wire::Borrowed { handle: Some(handle(*what)), is_there: *is_there })
        }
        Message::Received(what) => Wire::Received(handle(*what)),
        Message::Release(what, given) => {
            Wire::Release(wire::Release { handle: Some(handle(*what)), given: *given })
        }
        Message::Want(object) => Wire::Want(id(*object)),
        Message::Outcome(object, result) => {
            Wire::Outcome(wire::Outcome { object: Some(id(*object)), result: Some(outcome(result, bytes)) })
        }
        Message::Missing(object, holder, why) => Wire::Missing(Box::new(wire::Missing {
            object: Some(id(*object)),
            holder: Some(id(*holder)),
            failure: Some(failure(why, bytes)),
        })),
        Message::Drop(object) => Wire::Drop(id(*object)),
        Message::JobHere(job) => Wire::JobHere(id(*job)),
        Message::EndJob(job, reason) => {
            Wire::EndJob(wire::EndJob { job: Some(id(*job)), reason: reason.to_string() })
        }
        Message::JobGone { job, nodes } => Wire::JobGone(wire::JobGone {
            job: Some(id(*job)),
            nodes: nodes.iter().copied().map(id).collect(),
        }),
        Message::WhatIsHeld(job) => Wire::WhatIsHeld(id(*job)),
        Message::Held { job, retains, balance } => {
            Wire::Held(wire::Held { job: Some(id(*job)), retains: *retains, balance: *balance })
        }
        Message::LessIsHeld(job) => Wire::LessIsHeld(id(*job)),
        Message::SweepJob(job) => Wire::SweepJob(id(*job)),
    };
    v1::PeerMessage { message: Some(message) }
}

/// A message from the wire.
pub(super) fn message_from(message: v1::PeerMessage, place: MakePlace<'_>) -> Result<Message, Error> {
    use wire::Message as Wire;
    Ok(match read::required(message.message, "PeerMessage.message")? {
        Wire::Run(run) => Message::Run(Box::new(task::task_from(*run, place)?)),
        Wire::Refused(refused) => {
            Message::Refused { task: read::id(refused.task, "Refused.task")?, attempt: refused.attempt }
        }
        Wire::Preempted(preempted) => Message::Preempted {
            task: read::id(preempted.task, "Preempted.task")?,
            attempt: preempted.attempt,
            by: if preempted.for_share { PreemptedBy::Share } else { PreemptedBy::Drain },
        },
        Wire::HasRoom(_) => Message::HasRoom,
        Wire::Ended(ended) => Message::Ended {
            task: read::id(ended.task, "Ended.task")?,
            attempt: ended.attempt,
            ran: ended.ran_nanos.map(Duration::from_nanos),
            result: returned_from(read::required(ended.result, "Ended.result")?, place)?,
        },
        Wire::Emitted(emitted) => Message::Emitted {
            task: read::id(emitted.task, "Emitted.task")?,
            attempt: emitted.attempt,
            index: emitted_index(emitted.index)?,
            parcel: parcel_from(read::required(emitted.parcel, "Emitted.parcel")?, place)?,
        },
        Wire::Read(read) => Message::Read { task: read::id(read.task, "Read.task")?, read: read.read },
        Wire::Call(call) => Message::Call(Box::new(task::call_from(*call, place)?)),
        Wire::CancelCall(cancel) => Message::CancelCall {
            task: read::id(cancel.task, "CancelCall.task")?,
            force: cancel.force,
            recursive: cancel.recursive,
        },
        Wire::KillActor(kill) => {
            Message::KillActor(read::id(kill.actor, "KillActor.actor")?, kill.may_restart)
        }
        Wire::Cancel(cancel) => Message::Cancel {
            task: read::id(cancel.task, "Cancel.task")?,
            attempt: cancel.attempt,
            reason: stop_reason_from(cancel.reason, "Cancel.reason")?,
            recursive: cancel.recursive,
            force: cancel.force,
        },
        Wire::EndIncarnation(end) => Message::EndIncarnation(
            task::incarnation_from(end.incarnation, "EndIncarnation.incarnation")?,
            stop_reason_from(end.reason, "EndIncarnation.reason")?,
        ),
        Wire::IncarnationEnded(ended) => Message::IncarnationEnded {
            incarnation: task::incarnation_from(ended.incarnation, "IncarnationEnded.incarnation")?,
            calls: read::all(ended.calls, |call| cut_short_from(call, place))?,
            cause: ended.cause.map(|cause| failure_from(cause, place)).transpose()?,
        },
        Wire::EndScope(end) => {
            Message::EndScope(read::id(end.actor, "EndScope.actor")?, Arc::from(end.reason))
        }
        Wire::Keeps(object) => Message::Keeps(id_from(object)),
        Wire::Borrow(what) => Message::Borrow(handle_from(what)?),
        Wire::Borrowed(borrowed) => {
            Message::Borrowed(needed_handle(borrowed.handle, "Borrowed.handle")?, borrowed.is_there)
        }
        Wire::Received(what) => Message::Received(handle_from(what)?),
        Wire::Release(release) => {
            Message::Release(needed_handle(release.handle, "Release.handle")?, release.given)
        }
        Wire::Want(object) => Message::Want(id_from(object)),
        Wire::Outcome(outcome) => Message::Outcome(
            read::id(outcome.object, "Outcome.object")?,
            outcome_from(read::required(outcome.result, "Outcome.result")?, place)?,
        ),
        Wire::Missing(missing) => Message::Missing(
            read::id(missing.object, "Missing.object")?,
            read::id(missing.holder, "Missing.holder")?,
            failure_from(read::required(missing.failure, "Missing.failure")?, place)?,
        ),
        Wire::Drop(object) => Message::Drop(id_from(object)),
        Wire::JobHere(job) => Message::JobHere(id_from(job)),
        Wire::EndJob(end) => Message::EndJob(read::id(end.job, "EndJob.job")?, Arc::from(end.reason)),
        Wire::JobGone(gone) => {
            Message::JobGone { job: read::id(gone.job, "JobGone.job")?, nodes: read::ids(&gone.nodes) }
        }
        Wire::WhatIsHeld(job) => Message::WhatIsHeld(id_from(job)),
        Wire::Held(held) => Message::Held {
            job: read::id(held.job, "Held.job")?,
            retains: held.retains,
            balance: held.balance,
        },
        Wire::LessIsHeld(job) => Message::LessIsHeld(id_from(job)),
        Wire::SweepJob(job) => Message::SweepJob(id_from(job)),
    })
}

fn returned(result: &Result<Vec<Parcel>, Failure>, bytes: ReadPlace<'_>) -> wire::ended::Result {
    match result {
        Ok(values) => wire::ended::Result::Returned(wire::Returned {
            values: values.iter().map(|value| parcel(value, bytes)).collect(),
        }),
        Err(error) => wire::ended::Result::Failure(Box::new(failure(error, bytes))),
    }
}

fn returned_from(
    result: wire::ended::Result,
    place: MakePlace<'_>,
) -> Result<Result<Vec<Parcel>, Failure>, Error> {
    Ok(match result {
        wire::ended::Result::Returned(returned) => {
            Ok(read::all(returned.values, |value| parcel_from(value, place))?)
        }
        wire::ended::Result::Failure(failure) => Err(failure_from(*failure, place)?),
    })
}

fn cut_short_from(call: wire::CutShort, place: MakePlace<'_>) -> Result<(TaskId, Option<Failure>), Error> {
    let failure = call.failure.map(|failure| failure_from(failure, place)).transpose()?;
    Ok((read::id(call.task, "CutShort.task")?, failure))
}

fn outcome(result: &Result<Parcel, Failure>, bytes: ReadPlace<'_>) -> wire::outcome::Result {
    match result {
        Ok(value) => wire::outcome::Result::Value(parcel(value, bytes)),
        Err(error) => wire::outcome::Result::Failure(Box::new(failure(error, bytes))),
    }
}

fn outcome_from(
    result: wire::outcome::Result,
    place: MakePlace<'_>,
) -> Result<Result<Parcel, Failure>, Error> {
    Ok(match result {
        wire::outcome::Result::Value(value) => Ok(parcel_from(value, place)?),
        wire::outcome::Result::Failure(failure) => Err(failure_from(*failure, place)?),
    })
}

fn emitted_index(index: u32) -> Result<u32, Error> {
    if index >= EMITTED_INDEX_END {
        return Err(read::wrong("Emitted.index", format_args!("is {index}, not below {EMITTED_INDEX_END}")));
    }
    Ok(index)
}

fn stop_reason(reason: StopReason) -> v1::StopReason {
    match reason {
        StopReason::Cancelled => v1::StopReason::Cancelled,
        StopReason::Deadline => v1::StopReason::Deadline,
        StopReason::ActorEnded => v1::StopReason::ActorEnded,
        StopReason::JobEnded => v1::StopReason::JobEnded,
        StopReason::Retired => v1::StopReason::Retired,
    }
}

fn stop_reason_from(number: i32, field: &str) -> Result<StopReason, Error> {
    Ok(match read::enumeration(number, field)? {
        v1::StopReason::Unspecified => return Err(read::missing(field)),
        v1::StopReason::Cancelled => StopReason::Cancelled,
        v1::StopReason::Deadline => StopReason::Deadline,
        v1::StopReason::ActorEnded => StopReason::ActorEnded,
        v1::StopReason::JobEnded => StopReason::JobEnded,
        v1::StopReason::Retired => StopReason::Retired,
    })
}
