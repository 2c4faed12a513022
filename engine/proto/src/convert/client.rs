//! What clients that are attached to nodes tell them, and hear.

use bytes::Bytes;
use engine_core::node::Waitable;
use engine_core::options::{ActorOptions, Lifetime};
use engine_core::resources::Quantity;
use engine_core::{Codec, Error, Handle};

use crate::convert::peer::options::{env, env_from, placement, placement_from};
use crate::convert::peer::value::{codec_from, handle_inside};
use crate::convert::peer::{id, id_from, read};
use crate::v1;

pub use crate::convert::peer::group::{bundle, bundle_from, strategy_from};
pub use crate::convert::peer::options::{call_options, call_options_from, task_options, task_options_from};
pub use crate::convert::peer::value::{handle, handle_from};

/// Where the bytes of a value that comes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// With it.
    Inline(Bytes),
    /// In the pieces of this number, which came before it.
    Pieces(u64),
}

/// A value as it travels.
pub fn value(codec: Codec, handles: &[Handle], bytes: Came) -> v1::ClientValue {
    use v1::client_value::Place as Wire;
    v1::ClientValue {
        codec: v1::Codec::from(codec).into(),
        handles: handles.iter().copied().map(handle).collect(),
        place: Some(match bytes {
            Came::Inline(bytes) => Wire::Inline(bytes),
            Came::Pieces(number) => Wire::Pieces(number),
        }),
    }
}

/// A value from the wire.
///
/// # Errors
/// INVALID_ARGUMENT with the field that is missing or out of range.
pub fn value_from(value: v1::ClientValue) -> Result<(Codec, Vec<Handle>, Came), Error> {
    use v1::client_value::Place as Wire;
    let codec = codec_from(value.codec, "ClientValue.codec")?;
    let handles = read::all(value.handles, |handle| handle_inside(handle, "ClientValue.handles"))?;
    let bytes = match read::required(value.place, "ClientValue.place")? {
        Wire::Inline(bytes) => Came::Inline(bytes),
        Wire::Pieces(number) => Came::Pieces(number),
    };
    Ok((codec, handles, bytes))
}

/// What is waited for, as it travels.
pub fn waitable(item: Waitable) -> v1::ClientWaitable {
    use v1::client_waitable::Item as Wire;
    let item = match item {
        Waitable::Object(object) | Waitable::Value(object) => Wire::Object(id(object)),
        Waitable::NextOf(task) => Wire::NextOf(id(task)),
    };
    v1::ClientWaitable { item: Some(item) }
}

/// What is waited for, from the wire.
///
/// # Errors
/// INVALID_ARGUMENT when it is not said.
pub fn waitable_from(waitable: v1::ClientWaitable) -> Result<Waitable, Error> {
    use v1::client_waitable::Item as Wire;
    Ok(match read::required(waitable.item, "ClientWaitable.item")? {
        Wire::Object(object) => Waitable::Object(id_from(object)),
        Wire::NextOf(task) => Waitable::NextOf(id_from(task)),
    })
}

/// What an actor asks for, as it travels.
pub fn actor_options(options: &ActorOptions) -> v1::ActorOptions {
    let group = |(name, calls): &(String, u32)| v1::actor_options::ConcurrencyGroup {
        name: name.clone(),
        calls: *calls,
    };
    v1::ActorOptions {
        name: options.name.clone(),
        namespace: options.namespace.clone(),
        get_if_exists: options.get_if_exists,
        detached: options.lifetime == Lifetime::Detached,
        placement: placement(&options.placement),
        max_restarts: options.max_restarts,
        max_task_retries: options.max_task_retries,
        max_concurrency: options.max_concurrency,
        concurrency_groups: options.concurrency_groups.iter().map(group).collect(),
        max_pending_calls: options.max_pending_calls,
        env: env(&options.env),
    }
}

/// What an actor asks for, from the wire.
///
/// # Errors
/// INVALID_ARGUMENT with the field that is missing or out of range.
pub fn actor_options_from(options: v1::ActorOptions) -> Result<ActorOptions, Error> {
    Ok(ActorOptions {
        name: options.name,
        namespace: options.namespace,
        get_if_exists: options.get_if_exists,
        lifetime: if options.detached { Lifetime::Detached } else { Lifetime::Job },
        placement: placement_from(options.placement)?,
        max_restarts: options.max_restarts,
        max_task_retries: options.max_task_retries,
        max_concurrency: options.max_concurrency,
        concurrency_groups: options
            .concurrency_groups
            .into_iter()
            .map(|group| (group.name, group.calls))
            .collect(),
        max_pending_calls: options.max_pending_calls,
        env: env_from(options.env)?,
    })
}

/// Amounts by name, as they travel.
pub fn amounts(amounts: Vec<(String, Quantity)>) -> std::collections::HashMap<String, u64> {
    amounts.into_iter().map(|(name, quantity)| (name, quantity.0)).collect()
}

#[cfg(test)]
mod tests {
    use engine_core::options::Placement;
    use engine_core::{ActorId, ObjectId, TaskId};

    use super::*;

    #[test]
    fn values_go_there_and_back() {
        let inside = [Handle::Object(ObjectId::from_bits(1, 2)), Handle::Actor(ActorId::from_bits(3, 4))];
        for came in [Came::Inline(Bytes::from_static(b"abc")), Came::Pieces(7)] {
            let sent = value(Codec::Python, &inside, came.clone());
            assert_eq!(value_from(sent).expect("it is whole"), (Codec::Python, inside.to_vec(), came));
        }
        let stream = value(Codec::Raw, &[Handle::Stream(TaskId::from_bits(1, 2))], Came::Pieces(1));
        assert!(value_from(stream).is_err(), "a stream is in no value");
        assert!(value_from(v1::ClientValue::default()).is_err());
    }

    #[test]
    fn actor_options_go_there_and_back() {
        let options = ActorOptions {
            name: Some("n".to_owned()),
            namespace: Some("s".to_owned()),
            get_if_exists: true,
            lifetime: Lifetime::Detached,
            placement: Placement { gpus: Quantity(5_000), ..Placement::default() },
            max_restarts: -1,
            max_task_retries: 2,
            max_concurrency: 3,
            concurrency_groups: vec![("io".to_owned(), 4)],
            max_pending_calls: Some(5),
            env: [("A".to_owned(), "1".to_owned())].into(),
        };
        assert_eq!(actor_options_from(actor_options(&options)).expect("they are whole"), options);
    }

    #[test]
    fn waitables_go_there_and_back() {
        for item in [Waitable::Object(ObjectId::from_bits(1, 2)), Waitable::NextOf(TaskId::from_bits(1, 2))] {
            assert_eq!(waitable_from(waitable(item)).expect("it is whole"), item);
        }
        assert!(waitable_from(v1::ClientWaitable::default()).is_err());
    }
}
