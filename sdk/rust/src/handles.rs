//! The handles that travel inside values: numbered while a value is encoded, looked up while one is
//! decoded. In MessagePack a handle is extension type 1, its payload the index as 4 bytes, big end
//! first.
use crate::bindings::engine::compute::types as wit;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeTuple, Serializer};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The MessagePack extension type of a handle.
const EXTENSION: i8 = 1;

/// A resource of the host, shared within the guest; the last clone's drop releases it.
#[derive(Clone, Debug)]
pub(crate) enum Handle {
    Object(Arc<wit::Object>),
    Actor(Arc<wit::Actor>),
    PlacementGroup(Arc<wit::PlacementGroup>),
}

impl Handle {
    pub(crate) fn from_wire(handle: wit::Handle) -> Self {
        match handle {
            wit::Handle::Object(object) => Handle::Object(Arc::new(object)),
            wit::Handle::Actor(actor) => Handle::Actor(Arc::new(actor)),
            wit::Handle::PlacementGroup(group) => Handle::PlacementGroup(Arc::new(group)),
        }
    }

    /// A second handle of the host's, to give away.
    pub(crate) fn to_wire(&self) -> wit::Handle {
        match self {
            Handle::Object(object) => wit::Handle::Object(object.duplicate()),
            Handle::Actor(actor) => wit::Handle::Actor(actor.duplicate()),
            Handle::PlacementGroup(group) => wit::Handle::PlacementGroup(group.duplicate()),
        }
    }

    pub(crate) fn view(&self) -> wit::HandleView<'_> {
        match self {
            Handle::Object(object) => wit::HandleView::Object(object),
            Handle::Actor(actor) => wit::HandleView::Actor(actor),
            Handle::PlacementGroup(group) => wit::HandleView::PlacementGroup(group),
        }
    }

    fn address(&self) -> usize {
        match self {
            Handle::Object(object) => Arc::as_ptr(object) as usize,
            Handle::Actor(actor) => Arc::as_ptr(actor) as usize,
            Handle::PlacementGroup(group) => Arc::as_ptr(group) as usize,
        }
    }

    fn noun(&self) -> &'static str {
        match self {
            Handle::Object(_) => "a reference to an object",
            Handle::Actor(_) => "an actor handle",
            Handle::PlacementGroup(_) => "a placement group",
        }
    }
}

#[derive(Default)]
struct Writing {
    handles: Vec<Handle>,
    /// By the resource's address, so that a handle that occurs twice travels once.
    indexes: HashMap<usize, u32>,
}

thread_local! {
    static WRITING: RefCell<Vec<Writing>> = const { RefCell::new(Vec::new()) };
    static READING: RefCell<Vec<Vec<Handle>>> = const { RefCell::new(Vec::new()) };
}

/// Pops a table that was pushed, even when encoding or decoding fails on the way.
struct Popped<T: 'static>(&'static std::thread::LocalKey<RefCell<Vec<T>>>);

impl<T> Drop for Popped<T> {
    fn drop(&mut self) {
        self.0.with(|stack| stack.borrow_mut().pop());
    }
}

/// Runs `encode`, and gives the handles that were met.
pub(crate) fn collecting<T>(encode: impl FnOnce() -> T) -> (T, Vec<Handle>) {
    WRITING.with(|stack| stack.borrow_mut().push(Writing::default()));
    let popped = Popped(&WRITING);
    let result = encode();
    let handles = WRITING.with(|stack| {
        stack.borrow_mut().last_mut().map(|table| std::mem::take(&mut table.handles)).unwrap_or_default()
    });
    drop(popped);
    (result, handles)
}

/// Runs `decode` while the handles are there to be found by their index.
pub(crate) fn offering<T>(handles: Vec<Handle>, decode: impl FnOnce() -> T) -> T {
    READING.with(|stack| stack.borrow_mut().push(handles));
    let _popped = Popped(&READING);
    decode()
}

pub(crate) fn serialize<S: Serializer>(handle: Handle, serializer: S) -> Result<S::Ok, S::Error> {
    let index = WRITING.with(|stack| {
        let mut stack = stack.borrow_mut();
        let table = stack.last_mut()?;
        let next = u32::try_from(table.handles.len()).ok()?;
        let index = *table.indexes.entry(handle.address()).or_insert(next);
        if index == next {
            table.handles.push(handle.clone());
        }
        Some(index)
    });
    let Some(index) = index else {
        return Err(S::Error::custom(format!(
            "{} can only travel in values that engine itself encodes (arguments, results, `put`)",
            handle.noun()
        )));
    };
    serializer.serialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, &Extension(index.to_be_bytes()))
}

struct Extension([u8; 4]);

impl Serialize for Extension {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Payload<'a>(&'a [u8]);
        impl Serialize for Payload<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(self.0)
            }
        }
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&EXTENSION)?;
        tuple.serialize_element(&Payload(&self.0))?;
        tuple.end()
    }
}

/// Reads one handle; `wanted` says what for, in words.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
    wanted: &'static str,
) -> Result<Handle, D::Error> {
    deserializer.deserialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, HandleVisitor(wanted))
}

pub(crate) fn mismatch<E: de::Error>(found: &Handle, wanted: &str) -> E {
    E::custom(format!("found {}, expected {wanted}", found.noun()))
}

struct HandleVisitor(&'static str);

impl<'de> Visitor<'de> for HandleVisitor {
    type Value = Handle;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Handle, D::Error> {
        deserializer.deserialize_tuple(2, self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Handle, A::Error> {
        let extension: i8 =
            sequence.next_element()?.ok_or_else(|| de::Error::custom("a handle without its type"))?;
        if extension != EXTENSION {
            return Err(de::Error::custom(format!("extension type {extension}, expected {}", self.0)));
        }
        let Index(index) =
            sequence.next_element()?.ok_or_else(|| de::Error::custom("a handle without its index"))?;
        let found = READING
            .with(|stack| stack.borrow().last().and_then(|handles| handles.get(index as usize)).cloned());
        found.ok_or_else(|| {
            de::Error::custom(format!("the value names handle {index}, which did not come with it"))
        })
    }
}

struct Index(u32);

impl<'de> Deserialize<'de> for Index {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IndexVisitor;
        impl Visitor<'_> for IndexVisitor {
            type Value = Index;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the 4 bytes of a handle's index")
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Index, E> {
                let bytes = bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))?;
                Ok(Index(u32::from_be_bytes(bytes)))
            }
        }
        deserializer.deserialize_bytes(IndexVisitor)
    }
}
