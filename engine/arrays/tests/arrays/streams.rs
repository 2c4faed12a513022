//! Arrays and tables as Arrow IPC streams, there and back, and damaged ones.

use engine_arrays::{Array, Buffer, DType, Encoded, Scalar};
use futures::executor::block_on;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::{budget, floats, integers, items, some_integers, texts, truths, work};

fn bytes(encoded: Encoded) -> Vec<u8> {
    let bytes: Vec<u8> = encoded.parts.iter().flat_map(|part| part.as_slice().to_vec()).collect();
    assert_eq!(bytes.len() as u64, encoded.size);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn tables_come_back(
        rows in vec((option::of(any::<i64>()), option::of("[a-z]{0,9}"), any::<bool>()), 0..50),
        begin in 0_usize..60,
    ) {
        let budget = budget();
        let mut work = work(&budget);
        let numbers = some_integers(&mut work, &rows.iter().map(|row| row.0).collect::<Vec<_>>());
        let names = texts(&work, &rows.iter().map(|row| row.1.clone()).collect::<Vec<_>>());
        let truth = truths(&work, &rows.iter().map(|row| row.2).collect::<Vec<_>>());
        // Parts of arrays too: their bits and offsets do not begin at the beginning.
        let part = |array: &Array| array.slice(begin, rows.len()).unwrap();
        let named = [("n", &numbers), ("t", &names), ("b", &truth)];
        let columns = named.map(|(name, array)| (name.to_owned(), part(array)));
        let stream = bytes(engine_arrays::encode_table(&work, &columns).unwrap());
        let before = budget.used();
        let bytes = Buffer::from_vec(stream.clone());
        let read = block_on(engine_arrays::read_table(&mut work, bytes, None)).unwrap();
        prop_assert_eq!(budget.used(), before, "what is read in place takes nothing");
        for ((name, written), (same_name, read)) in columns.iter().zip(&read) {
            prop_assert_eq!(name, same_name);
            prop_assert_eq!(items(written), items(read));
        }
        let wanted = ["t".to_owned()];
        let bytes = Buffer::from_vec(stream);
        let one = block_on(engine_arrays::read_table(&mut work, bytes, Some(&wanted))).unwrap();
        prop_assert_eq!(one.len(), 1);
        prop_assert_eq!(items(&one[0].1), items(&columns[1].1));
    }

    #[test]
    fn damaged_streams_are_refused_or_read(at in 0_usize..2000, value: u8, cut in 0_usize..2000) {
        let budget = budget();
        let mut work = work(&budget);
        let tensor = floats(&work, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).reshape(&[2, 3]).unwrap();
        let words = texts(&work, &[Some("one".into()), None]);
        let table = [("t".to_owned(), words), ("n".to_owned(), integers(&work, &[1, 2]))];
        let streams = [
            bytes(engine_arrays::encode_array(&work, &tensor).unwrap()),
            bytes(engine_arrays::encode_table(&work, &table).unwrap()),
        ];
        for mut stream in streams {
            let at = at % stream.len();
            stream[at] = value;
            let short = stream[..cut.min(stream.len())].to_vec();
            for stream in [stream, short] {
                // Whatever comes out, it is an answer; what was read can be looked at.
                let bytes = Buffer::from_vec(stream);
                if let Ok(array) = block_on(engine_arrays::read_array(&mut work, bytes.clone())) {
                    items(&array);
                }
                if let Ok(columns) = block_on(engine_arrays::read_table(&mut work, bytes, None)) {
                    columns.iter().for_each(|(_, array)| drop(items(array)));
                }
            }
        }
    }
}

#[test]
fn shapes_come_back() {
    let budget = budget();
    let mut work = work(&budget);
    let all = floats(&work, &(0..24).map(f64::from).collect::<Vec<_>>());
    for shape in [vec![24], vec![2, 12], vec![2, 3, 4], vec![24, 1]] {
        let array = all.reshape(&shape).unwrap();
        let stream = bytes(engine_arrays::encode_array(&work, &array).unwrap());
        let read = block_on(engine_arrays::read_array(&mut work, Buffer::from_vec(stream))).unwrap();
        assert_eq!((read.shape(), items(&read)), (array.shape(), items(&array)));
    }
    let one = all.slice(3, 4).unwrap().reshape(&[]).unwrap();
    let stream = bytes(engine_arrays::encode_array(&work, &one).unwrap());
    let read = block_on(engine_arrays::read_array(&mut work, Buffer::from_vec(stream))).unwrap();
    assert_eq!((read.shape(), items(&read)), (&[1][..], vec![Scalar::Float(3.0)]));
}

#[test]
fn what_was_not_aligned_is_copied_and_counted() {
    let budget = budget();
    let work = work(&budget);
    let mut raw = vec![0_u8; 81];
    raw[1] = 7;
    let buffer = Buffer::from_vec(raw);
    let read = engine_arrays::read_raw(&work, DType::I64, &[10], buffer.slice(1)).unwrap();
    assert_eq!((read.item(0).unwrap(), budget.used()), (Scalar::Signed(7), 80));
    drop(read);
    let read = engine_arrays::read_raw(&work, DType::I64, &[10], buffer.slice_with_length(0, 80)).unwrap();
    assert_eq!((read.len(), budget.used()), (10, 0));
}

#[test]
fn columns_that_there_are_not_are_named() {
    let budget = budget();
    let mut work = work(&budget);
    let table = [("amount".to_owned(), floats(&work, &[1.0]))];
    let stream = bytes(engine_arrays::encode_table(&work, &table).unwrap());
    let wanted = ["price".to_owned()];
    let read = block_on(engine_arrays::read_table(&mut work, Buffer::from_vec(stream), Some(&wanted)));
    let message = read.unwrap_err().to_string();
    assert!(message.contains("no column `price`; it has `amount`"), "{message}");
    let twice = [("a".to_owned(), floats(&work, &[1.0])), ("a".to_owned(), floats(&work, &[1.0]))];
    let message = engine_arrays::encode_table(&work, &twice).err().expect("refused").to_string();
    assert!(message.contains("named `a`"), "{message}");
}
