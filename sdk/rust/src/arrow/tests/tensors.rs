//! Tensors, and what is none.
use super::*;

fn tensor_trip<T: Element>(values: Vec<T>) {
    let length = values.len();
    for shape in
        [vec![length], vec![1, length], vec![2, length / 2], vec![length / 4, 2, 2], vec![length, 1, 1]]
    {
        let tensor = Tensor::new(shape.clone(), values.clone()).unwrap();
        let bytes = encoded(&tensor);
        let range = bytes.as_ptr_range();
        let back = decoded::<Tensor<T>>(bytes).unwrap();
        assert_eq!((back.shape(), back.values()), (&shape[..], &values[..]));
        assert!(is_inside(back.values(), &range), "read in place");
        assert_eq!(back.into_values(), values);
    }
}

// contract: O4
#[test]
fn tensors_come_back_as_they_were_and_are_read_where_their_bytes_lie() {
    tensor_trip::<i8>((0..16).collect());
    tensor_trip::<i16>((0..16).collect());
    tensor_trip::<i32>((0..16).collect());
    tensor_trip::<i64>((0..16).collect());
    tensor_trip::<u8>((0..16).collect());
    tensor_trip::<u16>((0..16).collect());
    tensor_trip::<u32>((0..16).collect());
    tensor_trip::<u64>((0..16).collect());
    tensor_trip::<f32>((0..16u8).map(f32::from).collect());
    tensor_trip::<f64>((0..16u8).map(f64::from).collect());
    for empty in [[0, 3], [3, 0], [0, 0]] {
        assert_eq!(trip(&Tensor::<f32>::new(empty, Vec::new()).unwrap()).shape(), empty);
    }
    let inside = vec![Tensor::new([2], vec![1u8, 2]).unwrap()];
    assert_eq!(trip(&inside), inside);
}

#[test]
fn a_tensor_is_what_other_languages_call_one() {
    let tensor = Tensor::new([2, 3, 4], (0..24).collect::<Vec<i32>>()).unwrap();
    let table = Table::from_ipc(encoded(&tensor)).unwrap();
    let [batch] = table.batches() else { panic!("{table:?}") };
    let field = &table.schema().fields()[0];
    assert_eq!(batch.num_rows(), 2, "as `FixedShapeTensorArray.from_numpy_ndarray` makes it");
    assert_eq!(field.extension_type_name(), Some("arrow.fixed_shape_tensor"));
    assert_eq!(field.extension_type_metadata(), Some(r#"{"shape":[3,4]}"#));
    let item = Field::new("item", DataType::Int32, false);
    assert_eq!(field.data_type(), &DataType::FixedSizeList(Arc::new(item), 12));
}

#[test]
fn one_column_of_numbers_is_a_tensor_whoever_made_it() {
    let column = record_batch!(("x", Float32, [1.5, 2.5])).unwrap();
    let tensor: Tensor<f32> = decoded(encoded(&Table::from(column))).unwrap();
    assert_eq!((tensor.shape(), tensor.values()), (&[2][..], &[1.5, 2.5][..]));

    let batch = RecordBatch::try_from_iter([("fixed", Arc::clone(&every_kind(3)["fixed"]))]).unwrap();
    let tensor: Tensor<i64> = decoded(encoded(&Table::from(batch))).unwrap();
    assert_eq!((tensor.shape(), tensor.get(&[2, 1])), (&[3, 2][..], Some(5)));
}

#[test]
fn what_is_no_tensor_says_why() {
    let says = |batches: Vec<RecordBatch>, part: &str| {
        let table = Table::new(batches[0].schema(), batches).unwrap();
        let error = decoded::<Tensor<f32>>(encoded(&table)).unwrap_err();
        assert!(error.starts_with("expected a tensor of Float32, found ") && error.contains(part), "{error}");
    };
    let column = || record_batch!(("x", Float32, [1.0])).unwrap();
    says(vec![record_batch!(("x", Int32, [1])).unwrap()], "a column of Int32");
    says(vec![record_batch!(("x", Float32, [1.0]), ("y", Float32, [1.0])).unwrap()], "a table of 2 columns");
    says(vec![record_batch!(("x", Float32, [Some(1.0), None])).unwrap()], "missing values");
    says(vec![column(), column()], "2 batches");

    let with_metadata = |metadata: &str| {
        let tensor = Tensor::new([2, 2], vec![1.0f32; 4]).unwrap();
        let batch = Table::from_ipc(encoded(&tensor)).unwrap().into_batch().unwrap();
        let field = batch.schema().field(0).clone();
        let mut extension = field.metadata().clone();
        extension.insert("ARROW:extension:metadata", metadata);
        let schema = Schema::new(vec![field.with_metadata(extension)]);
        let batch = RecordBatch::try_new(Arc::new(schema), batch.columns().to_vec()).unwrap();
        decoded::<Tensor<f32>>(encoded(&Table::from(batch)))
    };
    assert_eq!(
        with_metadata(r#"{"shape":[1,2],"dim_names":["a","b"],"permutation":[0,1]}"#).unwrap().shape(),
        [2, 1, 2]
    );
    for (metadata, part) in [
        (r#"{"shape":[1,2],"permutation":[1,0]}"#, "`ascontiguousarray`"),
        (r#"{"shape":[4]}"#, "[2, 4]"),
        (r#"{"shape":[4611686018427387904,8]}"#, "cannot have 4 values"),
        (r#"{"shape":[-1]}"#, "the shape"),
        ("", "the shape"),
    ] {
        let error = with_metadata(metadata).unwrap_err();
        assert!(error.contains(part), "{metadata}: {error}");
    }
}

#[test]
fn shapes_are_checked_and_indexes_too() {
    assert!(Tensor::new([], vec![1u8]).unwrap_err().message().contains("at least one dimension"));
    let error = Tensor::new([2, 2], vec![1u8]).unwrap_err();
    assert_eq!(error.message(), "a tensor of shape [2, 2] cannot have 1 values");
    Tensor::new([usize::MAX, 2], vec![1u8]).unwrap_err();
    let wide = Tensor::<u8>::new([0, 1 << 40], Vec::new()).unwrap();
    assert!(codec::encode(&wide).unwrap_err().message().contains("make the first dimension larger"));

    let tensor = Tensor::new([2, 3, 4], (0..24).collect::<Vec<u8>>()).unwrap();
    assert_eq!((tensor.strides(), tensor.get(&[1, 2, 3])), (vec![12, 4, 1], Some(23)));
    assert_eq!([tensor.get(&[0, 3, 0]), tensor.get(&[0, 0]), tensor.get(&[usize::MAX; 3])], [None; 3]);
    assert_eq!(format!("{tensor:?}"), "Tensor(UInt8 [2, 3, 4])");
}

#[cfg(feature = "ndarray")]
#[test]
fn tensors_are_seen_by_ndarray_without_a_copy() {
    use crate::arrow::ndarray::{Array2, Axis, Ix2, arr2};
    let tensor = Tensor::new([2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    let view = tensor.view().unwrap().into_dimensionality::<Ix2>().unwrap();
    assert_eq!(view.as_ptr(), tensor.values().as_ptr());
    assert_eq!(view.sum_axis(Axis(0)).to_vec(), [5.0, 7.0, 9.0]);

    let array: Array2<f64> = arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    assert_eq!(Tensor::try_from(array.clone()).unwrap(), tensor);
    let turned = Tensor::try_from(array.clone().reversed_axes()).unwrap();
    assert_eq!((turned.shape(), turned.values()), (&[3, 2][..], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0][..]));
    let mut part = array;
    part.slice_axis_inplace(Axis(0), (1..).into());
    assert_eq!(Tensor::try_from(part).unwrap().values(), [4.0, 5.0, 6.0]);
}
