//! `interface arrays`: arrays that lie with the host, and what guests have done with them.
//!
//! An operation runs on the guest's own fiber, in pieces, and yields when it has run for a tick, as the
//! guest's own code does: so it takes turns with other guests, is stopped where they are, and its time is
//! the call's.

use engine_arrays::{Array, Buffer, Encoded, Grant, Work};
use engine_core::value::no_handles;
use engine_core::{Codec, Error, ErrorCode, ObjectId, Place, Residence, Value};
use wasmtime::component::Resource;

use crate::bindings::engine::compute::arrays as wit;
use crate::errors::HostError;
use crate::guest::Guest;
use crate::handles::{ArrayHandle, ObjectHandle};
use crate::host::Caller;
use crate::imports::array_types::{
    binary_from_guest, dtype_from_guest, dtype_to_guest, failed, reduction_from_guest, scalar_from_guest,
    scalar_to_guest, sizes, unary_from_guest,
};
use crate::storage::value_in_place;
use crate::values::too_large;
use crate::writing::{Bounds, Writing, Written};

type Made = Result<Resource<ArrayHandle>, HostError>;

/// Bytes that are copied between two looks at the clock.
const COPIED_BYTES: usize = 256 << 10;

/// The bytes of a value, kept where they lie for as long as an array is made of them.
struct Pinned {
    value: Value,
    /// Of what is on the heap because there was no room for it elsewhere.
    _grant: Option<Grant>,
}

impl AsRef<[u8]> for Pinned {
    fn as_ref(&self) -> &[u8] {
        engine_objects::bytes(&self.value)
    }
}

impl Guest {
    fn work(&self) -> Work {
        Work::new(self.limiter.budget.clone(), self.runtime.options.tick)
    }

    fn array(&self, array: &Resource<ArrayHandle>) -> wasmtime::Result<Array> {
        self.handles.array(array).cloned()
    }

    fn arrays_of(&self, arrays: &[Resource<ArrayHandle>]) -> wasmtime::Result<Vec<Array>> {
        arrays.iter().map(|array| self.array(array)).collect()
    }

    /// Gives the guest an array, if it may have another.
    fn give(&mut self, made: engine_arrays::Result<Array>) -> Made {
        let made = made.map_err(failed)?;
        self.limiter.note();
        self.room_for_handles(1)?;
        let max = self.runtime.options.arrays_per_instance_max;
        if self.handles.arrays() >= max {
            return Err(Error::new(
                ErrorCode::LimitExceeded,
                format!(
                    "the guest holds {max} arrays, as many as it may (arrays_per_instance_max): drop those that are no longer needed"
                ),
            )
            .into());
        }
        Ok(self.handles.push_array(made))
    }

    fn give_all(&mut self, made: Vec<Array>) -> Result<Vec<Resource<ArrayHandle>>, HostError> {
        let mut given = Vec::with_capacity(made.len());
        for array in made {
            match self.give(Ok(array)) {
                Ok(array) => given.push(array),
                Err(error) => {
                    // The guest never hears of these.
                    for array in &given {
                        self.handles.take_array(array)?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(given)
    }

    /// The bytes of an object where they lie, once it is there, and how they are read.
    async fn in_place(
        &mut self,
        object: ObjectId,
        timeout: Option<u64>,
    ) -> Result<(Buffer, Codec), HostError> {
        let (host, from, left) = (self.host.clone(), self.caller(), self.limiter.budget.left());
        let value = value_in_place(&host, from, object, timeout, left).await?;
        let is_own = value.place.residence() == Residence::Inline
            && value.size > host.inline_object_bytes_max() as u64;
        let grant = match is_own {
            true => Some(self.limiter.budget.take(value.size, "reading an object").map_err(failed)?),
            false => None,
        };
        let codec = value.codec;
        Ok((Buffer::from(bytes::Bytes::from_owner(Pinned { value, _grant: grant })), codec))
    }

    /// The same of an Arrow stream.
    async fn stream(&mut self, object: ObjectId, timeout: Option<u64>) -> Result<Buffer, HostError> {
        match self.in_place(object, timeout).await? {
            (bytes, Codec::ArrowIpc) => Ok(bytes),
            (_, codec) => Err(Error::invalid_argument(format!(
                "object {object} is of codec {}, and arrays are read from arrow-ipc: put an array or a table (or raw bytes, with `from-raw`)",
                codec_name(codec)
            ))
            .into()),
        }
    }

    /// Makes an object of a stream, without a way through the guest's memory.
    async fn put_stream(
        &mut self,
        from: Caller,
        encoded: engine_arrays::Result<Encoded>,
    ) -> Result<Resource<ObjectHandle>, HostError> {
        let encoded = encoded.map_err(failed)?;
        self.room_for_handles(1)?;
        let (size, options) = (encoded.size, &self.runtime.options);
        let bounds = Bounds {
            memory_bytes_max: options.writer_memory_bytes_max.min(options.value_bytes_max),
            value_bytes_max: options.value_bytes_max,
        };
        let host = self.host.clone();
        let memory_max = if host.can_spill() { bounds.memory_bytes_max } else { bounds.value_bytes_max };
        let place = match in_memory(&mut self.work(), &*host, &encoded, memory_max).await? {
            Some(place) => place,
            None if !host.can_spill() && size > bounds.value_bytes_max => {
                return Err(too_large(size, bounds.value_bytes_max).into());
            }
            None => {
                let (mut work, mut writing) = (self.work(), Writing::new(Codec::ArrowIpc));
                for part in encoded.parts.iter().flat_map(|part| part.chunks(COPIED_BYTES)) {
                    writing.append(&host, part, bounds).await?;
                    work.pause().await;
                }
                match writing.finish(&host).await? {
                    Written::Small(bytes) => host.place(bytes)?,
                    Written::Stored(place, _) => place,
                }
            }
        };
        drop(encoded);
        let value = Value { codec: Codec::ArrowIpc, size, handles: no_handles(), place };
        self.put_value_from(from, value)
    }
}

/// Copies a stream to one room in memory; none when there is no such room.
async fn in_memory(
    work: &mut Work,
    host: &dyn crate::host::Host,
    encoded: &Encoded,
    memory_max: u64,
) -> Result<Option<Place>, HostError> {
    if encoded.size <= host.inline_object_bytes_max() as u64 {
        let parts: Vec<&[u8]> = encoded.parts.iter().map(|part| part.as_slice()).collect();
        return Ok(Some(host.place(parts.concat())?));
    }
    let Some(size) = usize::try_from(encoded.size).ok().filter(|_| encoded.size <= memory_max) else {
        return Ok(None);
    };
    let mut draft = match host.allocate(size) {
        Ok(draft) => draft,
        Err(error) if error.code() == ErrorCode::StoreFull => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    for part in encoded.parts.iter().flat_map(|part| part.chunks(COPIED_BYTES)) {
        draft.append(part)?;
        work.pause().await;
    }
    Ok(Some(draft.seal()))
}

fn codec_name(codec: Codec) -> &'static str {
    match codec {
        Codec::Raw => "raw",
        Codec::Msgpack => "msgpack",
        Codec::ArrowIpc => "arrow-ipc",
        Codec::Python => "python",
    }
}

impl wit::HostArray for Guest {
    fn from_bytes(&mut self, dtype: wit::Dtype, shape: Vec<u64>, bytes: Vec<u8>) -> Made {
        let made = engine_arrays::from_bytes(&self.work(), dtype_from_guest(dtype), &sizes(&shape), bytes);
        self.give(made)
    }

    fn from_texts(&mut self, texts: Vec<Option<String>>) -> Made {
        let made = engine_arrays::from_texts(&self.work(), texts);
        self.give(made)
    }

    async fn from_object(&mut self, object: Resource<ObjectHandle>, timeout: Option<u64>) -> Made {
        let object = self.handles.object(&object)?;
        let bytes = self.stream(object, timeout).await?;
        let made = engine_arrays::read_array(&mut self.work(), bytes).await;
        self.give(made)
    }

    async fn from_raw(
        &mut self,
        object: Resource<ObjectHandle>,
        dtype: wit::Dtype,
        shape: Vec<u64>,
        timeout: Option<u64>,
    ) -> Made {
        let object = self.handles.object(&object)?;
        let (bytes, codec) = self.in_place(object, timeout).await?;
        if codec != Codec::Raw {
            let codec = codec_name(codec);
            return Err(Error::invalid_argument(format!(
                "object {object} is of codec {codec}, and not raw bytes"
            ))
            .into());
        }
        let made = engine_arrays::read_raw(&self.work(), dtype_from_guest(dtype), &sizes(&shape), bytes);
        self.give(made)
    }

    async fn full(&mut self, dtype: wit::Dtype, shape: Vec<u64>, value: wit::Scalar) -> Made {
        let (dtype, shape, value) = (dtype_from_guest(dtype), sizes(&shape), scalar_from_guest(value));
        let made = engine_arrays::full(&mut self.work(), dtype, &shape, &value).await;
        self.give(made)
    }

    async fn sequence(
        &mut self,
        dtype: wit::Dtype,
        start: wit::Scalar,
        stop: wit::Scalar,
        step: wit::Scalar,
    ) -> Made {
        let [start, stop, step] = [start, stop, step].map(scalar_from_guest);
        let made =
            engine_arrays::arange(&mut self.work(), dtype_from_guest(dtype), &start, &stop, &step).await;
        self.give(made)
    }

    async fn concatenate(&mut self, arrays: Vec<Resource<ArrayHandle>>, axis: u32) -> Made {
        let arrays = self.arrays_of(&arrays)?;
        let made = engine_arrays::concatenate(&mut self.work(), &arrays, axis as usize).await;
        self.give(made)
    }

    async fn choose(&mut self, mask: Resource<ArrayHandle>, yes: wit::Operand, no: wit::Operand) -> Made {
        let (mask, yes, no) =
            (self.array(&mask)?, self.operand_from_guest(yes)?, self.operand_from_guest(no)?);
        let made = engine_arrays::choose(&mut self.work(), &mask, yes, no).await;
        self.give(made)
    }

    async fn binary(
        &mut self,
        operation: wit::BinaryOperation,
        left: wit::Operand,
        right: wit::Operand,
    ) -> Made {
        let (left, right) = (self.operand_from_guest(left)?, self.operand_from_guest(right)?);
        let made = engine_arrays::binary(&mut self.work(), binary_from_guest(operation), left, right).await;
        self.give(made)
    }

    async fn argsort(&mut self, columns: Vec<(Resource<ArrayHandle>, bool)>) -> Made {
        let mut arrays = Vec::with_capacity(columns.len());
        for (array, descending) in columns {
            arrays.push((self.array(&array)?, descending));
        }
        let columns: Vec<(&Array, bool)> = arrays.iter().map(|(array, falls)| (array, *falls)).collect();
        let made = engine_arrays::argsort(&mut self.work(), &columns).await;
        self.give(made)
    }

    fn dtype(&mut self, array: Resource<ArrayHandle>) -> wasmtime::Result<wit::Dtype> {
        Ok(dtype_to_guest(self.handles.array(&array)?.dtype()))
    }

    fn shape(&mut self, array: Resource<ArrayHandle>) -> wasmtime::Result<Vec<u64>> {
        Ok(self.handles.array(&array)?.shape().iter().map(|size| *size as u64).collect())
    }

    fn nbytes(&mut self, array: Resource<ArrayHandle>) -> wasmtime::Result<u64> {
        Ok(self.handles.array(&array)?.nbytes())
    }

    fn null_count(&mut self, array: Resource<ArrayHandle>) -> wasmtime::Result<u64> {
        Ok(self.handles.array(&array)?.null_count() as u64)
    }

    async fn read(
        &mut self,
        array: Resource<ArrayHandle>,
        offset: u64,
        length: u64,
    ) -> Result<Vec<u8>, HostError> {
        let array = self.array(&array)?;
        engine_arrays::read_bytes(&mut self.work(), &array, offset, length).await.map_err(failed)
    }

    fn texts(
        &mut self,
        array: Resource<ArrayHandle>,
        offset: u64,
        length: u64,
    ) -> Result<Vec<Option<String>>, HostError> {
        engine_arrays::read_texts(&self.work(), self.handles.array(&array)?, offset, length).map_err(failed)
    }

    fn item(&mut self, array: Resource<ArrayHandle>, index: u64) -> Result<wit::Scalar, HostError> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        Ok(scalar_to_guest(self.handles.array(&array)?.item(index).map_err(failed)?))
    }

    async fn to_object(&mut self, array: Resource<ArrayHandle>) -> Result<Resource<ObjectHandle>, HostError> {
        let (array, from) = (self.array(&array)?, self.caller());
        let encoded = engine_arrays::encode_array(&self.work(), &array);
        self.put_stream(from, encoded).await
    }

    async fn unary(&mut self, array: Resource<ArrayHandle>, operation: wit::UnaryOperation) -> Made {
        let array = self.array(&array)?;
        let made = engine_arrays::unary(&mut self.work(), unary_from_guest(operation), &array).await;
        self.give(made)
    }

    async fn cast(&mut self, array: Resource<ArrayHandle>, dtype: wit::Dtype) -> Made {
        let array = self.array(&array)?;
        let made = engine_arrays::cast(&mut self.work(), &array, dtype_from_guest(dtype)).await;
        self.give(made)
    }

    async fn reduce(
        &mut self,
        array: Resource<ArrayHandle>,
        operation: wit::Reduction,
    ) -> Result<wit::Scalar, HostError> {
        let array = self.array(&array)?;
        let made = engine_arrays::reduce(&mut self.work(), reduction_from_guest(operation), &array).await;
        Ok(scalar_to_guest(made.map_err(failed)?))
    }

    async fn reduce_axis(
        &mut self,
        array: Resource<ArrayHandle>,
        operation: wit::Reduction,
        axis: u32,
    ) -> Made {
        let (array, operation) = (self.array(&array)?, reduction_from_guest(operation));
        let made = engine_arrays::reduce_axis(&mut self.work(), operation, &array, axis as usize).await;
        self.give(made)
    }

    async fn matmul(&mut self, array: Resource<ArrayHandle>, right: Resource<ArrayHandle>) -> Made {
        let (array, right) = (self.array(&array)?, self.array(&right)?);
        let made = engine_arrays::matmul(&mut self.work(), &array, &right).await;
        self.give(made)
    }

    async fn transpose(&mut self, array: Resource<ArrayHandle>, axes: Vec<u32>) -> Made {
        let array = self.array(&array)?;
        let axes: Vec<usize> = axes.into_iter().map(|axis| axis as usize).collect();
        let made = engine_arrays::transpose(&mut self.work(), &array, &axes).await;
        self.give(made)
    }

    fn reshape(&mut self, array: Resource<ArrayHandle>, shape: Vec<u64>) -> Made {
        let made = self.handles.array(&array)?.reshape(&sizes(&shape));
        self.give(made)
    }

    fn rows(&mut self, array: Resource<ArrayHandle>, begin: u64, end: u64) -> Made {
        let clip = |row: u64| usize::try_from(row).unwrap_or(usize::MAX);
        let made = self.handles.array(&array)?.slice(clip(begin), clip(end));
        self.give(made)
    }

    async fn take(&mut self, array: Resource<ArrayHandle>, indices: Resource<ArrayHandle>) -> Made {
        let (array, indices) = (self.array(&array)?, self.array(&indices)?);
        let made = engine_arrays::take(&mut self.work(), &array, &indices).await;
        self.give(made)
    }

    async fn filter(&mut self, array: Resource<ArrayHandle>, mask: Resource<ArrayHandle>) -> Made {
        let (array, mask) = (self.array(&array)?, self.array(&mask)?);
        let made = engine_arrays::filter(&mut self.work(), &array, &mask).await;
        self.give(made)
    }

    async fn sort(&mut self, array: Resource<ArrayHandle>, descending: bool) -> Made {
        let array = self.array(&array)?;
        let made = engine_arrays::sort(&mut self.work(), &array, descending).await;
        self.give(made)
    }

    async fn unique(&mut self, array: Resource<ArrayHandle>) -> Made {
        let array = self.array(&array)?;
        let made = engine_arrays::unique(&mut self.work(), &array).await;
        self.give(made)
    }

    fn drop(&mut self, array: Resource<ArrayHandle>) -> wasmtime::Result<()> {
        self.handles.take_array(&array)?;
        Ok(())
    }
}

impl wit::Host for Guest {
    async fn group_by(
        &mut self,
        keys: Vec<Resource<ArrayHandle>>,
        aggregates: Vec<(Resource<ArrayHandle>, wit::Reduction)>,
    ) -> Result<wit::Grouped, HostError> {
        let keys = self.arrays_of(&keys)?;
        let mut values = Vec::with_capacity(aggregates.len());
        for (array, operation) in aggregates {
            values.push((self.array(&array)?, reduction_from_guest(operation)));
        }
        let keys: Vec<&Array> = keys.iter().collect();
        let aggregates: Vec<_> = values.iter().map(|(array, operation)| (array, *operation)).collect();
        let made = engine_arrays::group_by(&mut self.work(), &keys, &aggregates).await.map_err(failed)?;
        let count = made.keys.len();
        let mut given = self.give_all(made.keys.into_iter().chain(made.aggregates).collect())?;
        let aggregates = given.split_off(count);
        Ok(wit::Grouped { keys: given, aggregates })
    }

    async fn read_table(
        &mut self,
        object: Resource<ObjectHandle>,
        columns: Option<Vec<String>>,
        timeout: Option<u64>,
    ) -> Result<Vec<(String, Resource<ArrayHandle>)>, HostError> {
        let object = self.handles.object(&object)?;
        let bytes = self.stream(object, timeout).await?;
        let read =
            engine_arrays::read_table(&mut self.work(), bytes, columns.as_deref()).await.map_err(failed)?;
        let (names, arrays): (Vec<String>, Vec<Array>) = read.into_iter().unzip();
        Ok(names.into_iter().zip(self.give_all(arrays)?).collect())
    }

    async fn write_table(
        &mut self,
        columns: Vec<(String, Resource<ArrayHandle>)>,
    ) -> Result<Resource<ObjectHandle>, HostError> {
        let from = self.caller();
        let mut arrays = Vec::with_capacity(columns.len());
        for (name, array) in columns {
            arrays.push((name, self.array(&array)?));
        }
        let encoded = engine_arrays::encode_table(&self.work(), &arrays);
        self.put_stream(from, encoded).await
    }
}
