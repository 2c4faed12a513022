//! Fields from the wire that must be there and in range.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use engine_core::resources::{Quantity, Resources};
use engine_core::{ComponentId, Error};

use crate::convert::peer::id::{WireId, id_from};
use crate::v1;

/// Ten-thousandths of a unit that a quantity may have: few enough that sums of them do not overflow.
pub const QUANTITY_PARTS_MAX: u64 = 9_000_000_000_000_000;

/// That a field is missing.
pub(in crate::convert) fn missing(field: &str) -> Error {
    Error::invalid_argument(format!("{field} is missing"))
}

/// That a field is not what it may be.
pub(in crate::convert) fn wrong(field: &str, how: impl Display) -> Error {
    Error::invalid_argument(format!("{field} {how}"))
}

/// A field that must be there.
pub(in crate::convert) fn required<T>(value: Option<T>, field: &str) -> Result<T, Error> {
    value.ok_or_else(|| missing(field))
}

/// An id that must be there.
pub(in crate::convert) fn id<I: WireId>(id: Option<v1::Id>, field: &str) -> Result<I, Error> {
    required(id, field).map(id_from)
}

/// Ids in a row.
pub(in crate::convert) fn ids<I: WireId, C: FromIterator<I>>(ids: &[v1::Id]) -> C {
    ids.iter().copied().map(id_from).collect()
}

/// Items of a repeated field, in order.
pub(in crate::convert) fn all<T, U>(
    items: Vec<T>,
    read: impl FnMut(T) -> Result<U, Error>,
) -> Result<Vec<U>, Error> {
    items.into_iter().map(read).collect()
}

/// A slice that is shared; an empty one takes no memory.
pub(in crate::convert) fn shared<T>(items: Vec<T>) -> Arc<[T]> {
    if items.is_empty() { Arc::default() } else { items.into() }
}

/// An enum of a number that it knows; 0 may still stand for "not said".
pub(in crate::convert) fn enumeration<E: TryFrom<i32>>(number: i32, field: &str) -> Result<E, Error> {
    E::try_from(number).map_err(|_| wrong(field, format_args!("is {number}, which is not known here")))
}

/// An amount of a resource.
pub(in crate::convert) fn quantity(parts: u64, field: &str) -> Result<Quantity, Error> {
    if parts > QUANTITY_PARTS_MAX {
        return Err(wrong(field, format_args!("is {parts} ten-thousandths, more than {QUANTITY_PARTS_MAX}")));
    }
    Ok(Quantity(parts))
}

/// An amount of every kind of resource.
pub(in crate::convert) fn resources(resources: &v1::Resources, field: &str) -> Result<Resources, Error> {
    quantity(resources.cpus, &format!("{field}.cpus"))?;
    quantity(resources.gpus, &format!("{field}.gpus"))?;
    for parts in resources.custom.values() {
        quantity(*parts, &format!("{field}.custom"))?;
    }
    Ok(Resources::from(resources))
}

/// A component's digest.
pub(in crate::convert) fn component(bytes: &Bytes, field: &str) -> Result<ComponentId, Error> {
    match <[u8; 32]>::try_from(bytes.as_ref()) {
        Ok(bytes) => Ok(ComponentId(bytes)),
        Err(_) if bytes.is_empty() => Err(missing(field)),
        Err(_) => Err(wrong(field, format_args!("has {} bytes instead of 32", bytes.len()))),
    }
}

/// A component's digest as it travels.
pub(in crate::convert) fn component_bytes(component: ComponentId) -> Bytes {
    Bytes::copy_from_slice(&component.0)
}

/// A span as it travels: at most the 584 years that the core can tell apart.
pub(in crate::convert) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
