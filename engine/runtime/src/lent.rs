//! Values on their way into a guest: the bytes go from where they lie straight into the guest's buffer,
//! large ones without a copy (see [`crate::mapped`]).
//!
//! How a type is lowered is wasmtime's own affair, hidden in its documentation: another version of it may
//! ask for other functions here.

// Lowering is an unsafe trait, the derived code's too.
#![allow(unsafe_code)]

use std::any::Any;
use std::mem::MaybeUninit;
use std::ops::Range;

use engine_core::Value;
use wasmtime::component::__internal::{CanonicalAbiInfo, InstanceType, InterfaceType, LowerContext};
use wasmtime::component::{ComponentType, Lower};
use wasmtime::{Result, ValRaw};

use crate::bindings::engine::compute::types as wit;
use crate::guest::Guest;
use crate::mapped::Alignment;
use crate::values::codec_to_guest;

/// The record `value` of the WIT, with bytes that the node keeps.
#[derive(ComponentType, Lower)]
#[component(record)]
pub(crate) struct LentValue {
    codec: wit::Codec,
    bytes: LentBytes,
    handles: Vec<wit::Handle>,
}

impl LentValue {
    /// A value with the guest's own handles to what is inside.
    pub(crate) fn new(value: &Value, handles: Vec<wit::Handle>) -> Self {
        let length = engine_objects::bytes(value).len();
        let bytes = LentBytes { source: Source::Kept(value.clone()), range: 0..length };
        Self { codec: codec_to_guest(value.codec), bytes, handles }
    }

    /// A value of MessagePack that only the guest gets.
    pub(crate) fn msgpack(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        let bytes = LentBytes { source: Source::Own(bytes), range };
        Self { codec: wit::Codec::Msgpack, bytes, handles: Vec::new() }
    }
}

/// A `list<u8>`: part of the bytes of something.
pub(crate) struct LentBytes {
    source: Source,
    range: Range<usize>,
}

enum Source {
    Kept(Value),
    Own(Vec<u8>),
}

impl LentBytes {
    /// `length` bytes from `offset` on, as far as there are so many.
    pub(crate) fn part(value: Value, offset: u64, length: u64) -> Self {
        let end = engine_objects::bytes(&value).len();
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(end);
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(end - begin);
        Self { source: Source::Kept(value), range: begin..begin + length }
    }

    /// These bytes.
    pub(crate) fn own(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { source: Source::Own(bytes), range }
    }

    fn as_slice(&self) -> &[u8] {
        let bytes = match &self.source {
            Source::Kept(value) => engine_objects::bytes(value),
            Source::Own(bytes) => bytes,
        };
        &bytes[self.range.clone()]
    }

    /// Puts the bytes into a buffer that the guest makes, and says where.
    fn lower<T: 'static>(&self, cx: &mut LowerContext<'_, T>) -> Result<usize> {
        let length = self.range.len();
        let (at, mapped) = match self.map(cx)? {
            Some(mapped) => mapped,
            None => (cx.realloc(0, 0, 1, length)?, 0..0),
        };
        // wasmtime has checked that the buffer lies in the memory.
        let (target, source) = (&mut cx.as_slice_mut()[at..at + length], self.as_slice());
        target[..mapped.start].copy_from_slice(&source[..mapped.start]);
        target[mapped.end..].copy_from_slice(&source[mapped.end..]);
        Ok(at)
    }

    /// Maps as many of the bytes as can be: where the buffer is, and which bytes need no copy. None:
    /// nothing speaks for trying, and there is no buffer.
    fn map<T: 'static>(&self, cx: &mut LowerContext<'_, T>) -> Result<Option<(usize, Range<usize>)>> {
        let length = self.range.len();
        let (Source::Kept(value), Some(guest)) = (&self.source, guest_of(cx)) else { return Ok(None) };
        if length < guest.runtime.options.mapped_object_bytes_min {
            return Ok(None);
        }
        let Some(objects) = guest.mapped.as_ref().filter(|objects| objects.has_room()) else {
            return Ok(None);
        };
        let (allocator, untouched_bytes) = (objects.allocator.clone(), objects.untouched_bytes);
        let page = rustix::param::page_size();
        let Some(mapping) = engine_objects::mapping(&value.place) else { return Ok(None) };
        let offset = mapping.offset + self.range.start as u64;
        if self.range.end > mapping.length || !offset.is_multiple_of(page as u64) {
            return Ok(None);
        }
        if allocator.alignment() == Alignment::Unknown {
            // Learned with a single byte: what an allocator gave that cannot be mapped is lost to it.
            let aligned = aligned(cx, page, 1)?;
            allocator.learn(if aligned.is_some() { Alignment::Kept } else { Alignment::Ignored });
        }
        if allocator.alignment() == Alignment::Ignored {
            return Ok(None);
        }
        let Some(at) = aligned(cx, page, length)? else {
            allocator.learn(Alignment::Ignored);
            return Ok(None);
        };
        let begin = untouched_bytes.saturating_sub(at).next_multiple_of(page).min(length);
        // Out of the store while its memory is borrowed.
        let Some(mut objects) = guest_of(cx).and_then(|guest| guest.mapped.take()) else {
            return Ok(Some((at, 0..0)));
        };
        let target = &mut cx.as_slice_mut()[at + begin..at + length];
        // SAFETY: the memory belongs to the store whose data this was and will be again. Only guests
        // of the pool have any: its memories stay where they are until the store is gone.
        let mapped = unsafe { objects.map(target, mapping.file, offset + begin as u64, value.place.clone()) };
        if let Some(guest) = guest_of(cx) {
            guest.mapped = Some(objects);
            if mapped > 0 {
                guest.runtime.counts.mapped_objects.up();
            }
        }
        Ok(Some((at, begin..begin + mapped)))
    }
}

/// The store's data.
fn guest_of<'a, T: 'static>(cx: &'a mut LowerContext<'_, T>) -> Option<&'a mut Guest> {
    (cx.store.data_mut() as &mut dyn Any).downcast_mut()
}

/// A buffer at a multiple of `alignment`; none when the guest's allocator gave another.
fn aligned<T: 'static>(
    cx: &mut LowerContext<'_, T>,
    alignment: usize,
    length: usize,
) -> Result<Option<usize>> {
    match cx.realloc(0, 0, u32::try_from(alignment)?, length) {
        Ok(at) => Ok(Some(at)),
        // wasmtime's own check after the guest has returned; it has no type to tell it by.
        Err(error) if error.root_cause().to_string() == "realloc return: result not aligned" => Ok(None),
        Err(error) => Err(error),
    }
}

// SAFETY: the type is the list of bytes in all that wasmtime looks at: it says so itself, through the
// functions of `[u8]`.
unsafe impl ComponentType for LentBytes {
    type Lower = <[u8] as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = <[u8] as ComponentType>::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        <[u8] as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: both functions write address and length of a buffer that the guest's allocator has made, as
// for `[u8]`, and all of the destination.
unsafe impl Lower for LentBytes {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        _ty: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> Result<()> {
        let at = self.lower(cx)?;
        dst.write([ValRaw::i64(at as i64), ValRaw::i64(self.range.len() as i64)]);
        Ok(())
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        _ty: InterfaceType,
        offset: usize,
    ) -> Result<()> {
        let at = self.lower(cx)?;
        *cx.get(offset) = u32::try_from(at)?.to_le_bytes();
        *cx.get(offset + 4) = u32::try_from(self.range.len())?.to_le_bytes();
        Ok(())
    }
}
