//! Bytes of another writer; `tests/data/README.md` says how they were made.
use super::*;

// contract: O4
#[test]
fn tables_and_tensors_of_pyarrow_are_read() {
    let table: Table = decoded(include_bytes!("../../../tests/data/table.arrow").to_vec()).unwrap();
    assert_eq!((table.num_rows(), table.batches().len()), (5, 2));
    let batch = table.into_batch().unwrap();
    assert_eq!(batch["id"].as_primitive::<Int64Type>().values(), &[1, 2, 3, 2, 3][..]);
    let names = batch["name"].as_string::<i32>();
    assert_eq!(names.iter().collect::<Vec<_>>()[2..], [Some("Grace"), None, Some("Grace")]);
    let tags = batch["tag"].as_dictionary::<Int32Type>().downcast_dict::<StringArray>().unwrap();
    assert_eq!(tags.into_iter().flatten().collect::<String>(), "ababa");

    let tensor: Tensor<f32> = decoded(include_bytes!("../../../tests/data/tensor.arrow").to_vec()).unwrap();
    assert_eq!((tensor.shape(), tensor.get(&[1, 2, 3])), (&[2, 3, 4][..], Some(23.0)));
}

#[test]
fn what_pyarrow_can_write_and_nobody_reads_in_place_says_what_to_do() {
    let turned = include_bytes!("../../../tests/data/turned.arrow").to_vec();
    let error = decoded::<Tensor<f32>>(turned).unwrap_err();
    assert!(error.contains("`ascontiguousarray`"), "{error}");
    let compressed = include_bytes!("../../../tests/data/compressed.arrow").to_vec();
    let error = decoded::<Table>(compressed).unwrap_err();
    assert!(error.contains("it is compressed"), "{error}");
}
