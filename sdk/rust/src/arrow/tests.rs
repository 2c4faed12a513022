//! What is written is read, in place, and what is damaged is refused.
use super::array::builder::{ListBuilder, StringBuilder, StringDictionaryBuilder};
use super::array::types::{Float64Type, Int32Type, Int64Type};
use super::array::{cast::AsArray, *};
use super::schema::{DataType, Field, Schema};
use super::{Element, Table, Tensor};
use crate::bindings::engine::compute::types as wit;
use crate::codec::{self, Value};
use crate::{Argument, Bytes, IntoArgument};
use std::ops::Range;
use std::sync::Arc;

mod damage;
mod foreign;
mod tensors;

fn trip<T: Value>(value: &T) -> T {
    codec::decode(codec::encode(value).unwrap().into_owned_wire()).unwrap()
}

fn encoded<T: Value>(value: &T) -> Vec<u8> {
    let value = codec::encode(value).unwrap().into_owned_wire();
    assert_eq!(value.codec, wit::Codec::ArrowIpc);
    value.bytes
}

fn decoded<T: Value>(bytes: Vec<u8>) -> Result<T, String> {
    codec::decode(wit::Value { codec: wit::Codec::ArrowIpc, bytes, handles: Vec::new() })
}

/// A column of about every kind, with nulls, nesting and dictionaries.
fn every_kind(rows: i64) -> RecordBatch {
    let numbers = || 0..rows;
    let mut tags = StringDictionaryBuilder::<Int32Type>::new();
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in numbers() {
        tags.append_value(["red", "green", "blue"][row as usize % 3]);
        lists.values().append_value(format!("item {row}"));
        lists.append(row % 4 != 0);
    }
    let pair = StructArray::from(vec![(
        Arc::new(Field::new("half", DataType::Float64, true)),
        Arc::new(numbers().map(|n| (n % 2 == 0).then_some(n as f64 / 2.0)).collect::<Float64Array>()) as _,
    )]);
    let sizes = FixedSizeListArray::try_new(
        Arc::new(Field::new("item", DataType::Int64, false)),
        2,
        Arc::new((0..2 * rows).collect::<Int64Array>()),
        None,
    );
    let runs = RunArray::try_new(&Int32Array::from(vec![rows as i32]), &StringArray::from(vec!["run"]));
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from_iter_values(numbers())) as ArrayRef, false),
        ("maybe", Arc::new(numbers().map(|n| (n % 3 > 0).then_some(n as i32)).collect::<Int32Array>()), true),
        ("flag", Arc::new(numbers().map(|n| Some(n % 2 == 0)).collect::<BooleanArray>()), true),
        ("name", Arc::new(numbers().map(|n| Some(format!("näme {n}"))).collect::<StringArray>()), true),
        (
            "view",
            Arc::new(numbers().map(|n| Some(format!("longer than twelve {n}"))).collect::<StringViewArray>()),
            true,
        ),
        ("tag", Arc::new(tags.finish()), true),
        ("list", Arc::new(lists.finish()), true),
        ("pair", Arc::new(pair), true),
        ("fixed", Arc::new(sizes.unwrap()), true),
        ("decimal", Arc::new(numbers().map(|n| Some(i128::from(n))).collect::<Decimal128Array>()), true),
        ("null", Arc::new(NullArray::new(rows as usize)), true),
        ("run", Arc::new(runs.unwrap()), true),
        (
            "bytes",
            Arc::new(FixedSizeBinaryArray::try_from_iter(numbers().map(|n| n.to_le_bytes())).unwrap()),
            true,
        ),
    ])
    .unwrap()
}

fn is_inside<T>(values: &[T], bytes: &Range<*const u8>) -> bool {
    let values = values.as_ptr_range();
    bytes.start <= values.start.cast() && values.end.cast() <= bytes.end
}

// contract: O4
#[test]
fn tables_come_back_as_they_were() {
    let schema = every_kind(1).schema();
    let batches = [1, 1000, 64].map(every_kind).to_vec();
    let table = Table::new(Arc::clone(&schema), batches.clone()).unwrap();
    assert_eq!(trip(&table), table);
    let sliced = Table::from(batches[1].slice(13, 100));
    assert_eq!(trip(&sliced), sliced);
    assert!(encoded(&sliced).len() < encoded(&table).len() / 3, "only the slice travels");

    let empty = Table::new(schema, Vec::new()).unwrap();
    assert_eq!(trip(&empty), empty);
    let rows_alone = RecordBatchOptions::new().with_row_count(Some(7));
    let rows_alone = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &rows_alone);
    assert_eq!(trip(&Table::from(rows_alone.unwrap())).num_rows(), 7);

    assert_eq!(trip(&Some(vec![table.clone()])), Some(vec![table]), "inside other values too");
}

#[test]
fn a_table_is_read_where_its_bytes_lie() {
    let table = Table::new(every_kind(1).schema(), vec![every_kind(1000), every_kind(64)]).unwrap();
    let bytes = encoded(&table);
    assert_eq!(bytes.len(), bytes.capacity(), "written once, into as much as is needed");
    let range = bytes.as_ptr_range();
    let table = decoded::<Table>(bytes).unwrap();
    for batch in table.batches() {
        assert!(is_inside(batch["id"].as_primitive::<Int64Type>().values(), &range));
        assert!(is_inside(batch["maybe"].as_primitive::<Int32Type>().values(), &range));
        assert!(is_inside(batch["flag"].as_boolean().values().values(), &range));
        assert!(is_inside(batch["name"].as_string::<i32>().value_data(), &range));
        assert!(is_inside(batch["name"].as_string::<i32>().value_offsets(), &range));
        let half = batch["pair"].as_struct().column(0).as_primitive::<Float64Type>();
        assert!(is_inside(half.values(), &range));
        assert!(is_inside(
            batch["fixed"].as_fixed_size_list().values().as_primitive::<Int64Type>().values(),
            &range
        ));
    }
    // The bytes are the table's now, and live as long as any part of it.
    let [first, _] = &table.into_batches()[..] else { panic!("two batches") };
    assert_eq!(first["id"].as_primitive::<Int64Type>().value(999), 999);
}

#[test]
fn bytes_that_are_not_aligned_are_read_too() {
    let table = Table::from(every_kind(100));
    let bytes = encoded(&table);
    for shift in 1..16 {
        let mut shifted = vec![0; shift];
        shifted.extend(&bytes);
        let shifted = super::buffer::Buffer::from_vec(shifted).slice(shift);
        let (schema, batches) = super::stream::read(&shifted).unwrap();
        assert_eq!(Table::new(schema, batches).unwrap(), table);
    }
}

#[test]
fn a_record_batch_is_passed_where_a_table_is_taken() {
    let batch = every_kind(3);
    let argument: crate::Result<Argument> = IntoArgument::<Table>::into_argument(&batch);
    argument.unwrap();
    IntoArgument::<Table>::into_argument(batch).unwrap();
}

#[test]
fn batches_become_one() {
    let table = Table::new(every_kind(1).schema(), vec![every_kind(3), every_kind(5)]).unwrap();
    assert_eq!(table.num_rows(), 8);
    let shown = format!("{table:?}");
    assert!(shown.starts_with("Table(8 rows in 2 batches, id: Int64, maybe: Int32"), "{shown}");
    let batch = table.into_batch().unwrap();
    assert_eq!((batch.num_rows(), batch["id"].as_primitive::<Int64Type>().value(3)), (8, 0));

    let other = record_batch!(("other", Int32, [1])).unwrap();
    let error = Table::new(batch.schema(), vec![batch, other]).unwrap_err();
    assert!(error.message().starts_with("batch 1 of a table: "), "{error}");
}

#[test]
fn another_codec_than_was_asked_for_says_what_to_do() {
    let table = Table::from(every_kind(2));
    let says = |error: String, parts: &[&str]| {
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
    };
    let plain = || codec::encode(&vec![1u8]).unwrap().into_owned_wire();
    says(codec::decode::<Table>(plain()).unwrap_err(), &["expected Table", "found plain data (MessagePack)"]);
    says(codec::decode::<Tensor<f32>>(plain()).unwrap_err(), &["expected Tensor<f32>", "take it as"]);
    let raw = || codec::encode(&Bytes::from(vec![1])).unwrap().into_owned_wire();
    says(codec::decode::<Table>(raw()).unwrap_err(), &["found raw bytes", "`Table::from_ipc`"]);
    says(decoded::<u64>(encoded(&table)).unwrap_err(), &["found an Arrow table", "`engine::arrow::Table`"]);

    let bytes = decoded::<Bytes>(encoded(&table)).unwrap();
    assert_eq!(bytes, table.to_ipc().unwrap());
    assert_eq!(Table::from_ipc(bytes).unwrap(), table);
}

#[test]
fn what_cannot_be_read_is_not_written_either() {
    let fields = [(0, Arc::new(Field::new("a", DataType::Int32, true)))].into_iter().collect();
    let union = UnionArray::try_new(fields, vec![0].into(), None, vec![Arc::new(Int32Array::from(vec![1]))]);
    let batch = RecordBatch::try_from_iter([("either", Arc::new(union.unwrap()) as ArrayRef)]).unwrap();
    let error = codec::encode(&Table::from(batch)).unwrap_err();
    assert!(
        error.message().starts_with("a value of type Table cannot be encoded: column `either`: "),
        "{error}"
    );
}
