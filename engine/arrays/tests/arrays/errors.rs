//! What is refused, and that nothing of the budget is lost by it.

use engine_arrays::{Array, Binary, Budget, DType, Error, Operand, Reduction, Scalar, Work};
use futures::executor::block_on;

use crate::{budget, floats, integers, items, numbers, texts, truths, work};

fn invalid<T: std::fmt::Debug>(made: engine_arrays::Result<T>, says: &str) {
    match made {
        Err(Error::Invalid(message)) => assert!(message.contains(says), "`{message}` does not say `{says}`"),
        other => panic!("{other:?}"),
    }
}

fn both(work: &mut Work, operation: Binary, left: &Array, right: &Array) -> engine_arrays::Result<Array> {
    block_on(engine_arrays::binary(
        work,
        operation,
        Operand::Array(left.clone()),
        Operand::Array(right.clone()),
    ))
}

#[test]
fn wrong_types_and_shapes_are_named() {
    let budget = budget();
    let mut work = work(&budget);
    let (three, two) = (floats(&work, &[1.0; 3]), floats(&work, &[1.0; 2]));
    let (words, truth) = (texts(&work, &[Some("a".into()), None]), truths(&work, &[true, false]));
    invalid(both(&mut work, Binary::Add, &three, &two), "add: f64[3] and f64[2] do not go together");
    invalid(both(&mut work, Binary::Add, &words, &words), "add is not for utf8[2] and utf8[2]");
    invalid(both(&mut work, Binary::Less, &words, &two), "utf8 and f64 have no type in common");
    invalid(both(&mut work, Binary::And, &two, &two), "not for f64[2]");
    invalid(block_on(engine_arrays::filter(&mut work, &three, &truth)), "needs one of bool[3]");
    invalid(block_on(engine_arrays::filter(&mut work, &three, &three)), "the mask is f64[3]");
    invalid(block_on(engine_arrays::take(&mut work, &three, &two)), "the indices are f64[2]");
    let far = integers(&work, &[0, 3]);
    invalid(block_on(engine_arrays::take(&mut work, &three, &far)), "there is no row 3 among 3");
    invalid(block_on(engine_arrays::matmul(&mut work, &three, &two)), "f64[3] and f64[2] do not go together");
    invalid(block_on(engine_arrays::matmul(&mut work, &far, &far)), "cast one of them to f64");
    invalid(three.reshape(&[2, 2]), "f64[3] cannot have the shape [2, 2]");
    invalid(
        block_on(engine_arrays::sort(&mut work, &three.reshape(&[3, 1]).unwrap(), false)),
        "one dimension",
    );
    invalid(block_on(engine_arrays::reduce(&mut work, Reduction::Sum, &words)), "sum is not for utf8[2]");
    invalid(block_on(engine_arrays::reduce_axis(&mut work, Reduction::Sum, &three, 1)), "has no dimension 1");
    invalid(block_on(engine_arrays::concatenate(&mut work, &[], 0)), "no arrays");
    invalid(
        block_on(engine_arrays::group_by(&mut work, &[&three], &[(&two, Reduction::Sum)])),
        "the same length",
    );
    invalid(block_on(engine_arrays::group_by(&mut work, &[], &[(&two, Reduction::Sum)])), "no keys");
    invalid(engine_arrays::from_bytes(&work, DType::I32, &[2], vec![0; 7]), "7 bytes are not those");
    invalid(engine_arrays::from_bytes(&work, DType::I64, &[usize::MAX, 8], vec![]), "0 bytes are not those");
}

#[test]
fn arrays_of_nothing() {
    let budget = budget();
    let mut work = work(&budget);
    let none = floats(&work, &[]);
    assert_eq!(numbers(&both(&mut work, Binary::Add, &none, &none).unwrap()), [0.0; 0]);
    assert_eq!(block_on(engine_arrays::reduce(&mut work, Reduction::Sum, &none)), Ok(Scalar::Float(0.0)));
    assert_eq!(block_on(engine_arrays::reduce(&mut work, Reduction::Max, &none)), Ok(Scalar::Null));
    assert_eq!(block_on(engine_arrays::sort(&mut work, &none, true)).unwrap().len(), 0);
    let grouped =
        block_on(engine_arrays::group_by(&mut work, &[&none], &[(&none, Reduction::Mean)])).unwrap();
    assert_eq!((grouped.keys[0].len(), grouped.aggregates[0].len()), (0, 0));
    let hollow = none.reshape(&[0, 3]).unwrap();
    let sums = block_on(engine_arrays::reduce_axis(&mut work, Reduction::Sum, &hollow, 0)).unwrap();
    assert_eq!(numbers(&sums), [0.0; 3]);
    let product = hollow.reshape(&[3, 0]).unwrap();
    let product = block_on(engine_arrays::matmul(&mut work, &product, &hollow)).unwrap();
    assert_eq!((product.shape(), numbers(&product)), (&[3, 3][..], vec![0.0; 9]));
}

#[test]
fn wrong_numbers_are_refused() {
    let budget = budget();
    let mut work = work(&budget);
    let (large, zero) = (integers(&work, &[i64::MAX]), integers(&work, &[0]));
    invalid(both(&mut work, Binary::Multiply, &large, &large), "the result does not fit");
    invalid(both(&mut work, Binary::FloorDivide, &large, &zero), "division by zero");
    invalid(both(&mut work, Binary::Remainder, &large, &zero), "division by zero");
    let divided = both(&mut work, Binary::Divide, &large, &zero).unwrap();
    assert_eq!(numbers(&divided), [f64::INFINITY]);
    let least = integers(&work, &[i64::MIN]);
    let minus_one = integers(&work, &[-1]);
    invalid(both(&mut work, Binary::FloorDivide, &least, &minus_one), "overflows");
    let pair = integers(&work, &[i64::MAX, 1]);
    invalid(block_on(engine_arrays::reduce(&mut work, Reduction::Sum, &pair)), "does not fit 64 bits");
    invalid(block_on(engine_arrays::cast(&mut work, &large, DType::I8)), "");
    let words = texts(&work, &[Some("12".into()), Some("x".into())]);
    invalid(block_on(engine_arrays::cast(&mut work, &words, DType::I64)), "x");
    let small = block_on(engine_arrays::full(&mut work, DType::U8, &[1], &Scalar::Signed(1))).unwrap();
    let beside = Operand::Scalar(Scalar::Signed(256));
    invalid(
        block_on(engine_arrays::binary(&mut work, Binary::Add, Operand::Array(small), beside)),
        "256 does not fit u8",
    );
}

#[test]
fn memory_is_bounded_and_comes_back() {
    let budget = Budget::new(3_000_000);
    let mut work = work(&budget);
    let million =
        block_on(engine_arrays::full(&mut work, DType::U8, &[1_000_000], &Scalar::Signed(1))).unwrap();
    let taken = budget.used();
    assert!((1_000_000..1_200_000).contains(&taken), "{taken}");
    match block_on(engine_arrays::cast(&mut work, &million, DType::F64)) {
        Err(Error::Memory { needs, used, max, .. }) => {
            assert!(needs >= 8_000_000 && used == taken && max == 3_000_000, "{needs} {used} {max}");
        }
        other => panic!("{other:?}"),
    }
    let view = million.slice(10, 20).unwrap();
    assert_eq!(budget.used(), taken, "views take nothing, and what failed has given all back");
    drop(million);
    assert_eq!(budget.used(), taken, "the view keeps it");
    assert_eq!(items(&view).len(), 10);
    drop(view);
    assert_eq!(budget.used(), 0);
    let huge = block_on(engine_arrays::full(&mut work, DType::F64, &[1 << 40], &Scalar::Null));
    assert!(matches!(huge, Err(Error::Memory { .. })));
    assert_eq!(budget.used(), 0);
}

#[test]
fn long_texts_are_not_made_before_there_is_room() {
    let budget = Budget::new(64 << 20);
    let mut work = work(&budget);
    let long = texts(&work, &[Some("x".repeat(4 << 20)), Some("y".into())]);
    let before = budget.used();
    let places =
        block_on(engine_arrays::full(&mut work, DType::I64, &[100_000], &Scalar::Signed(0))).unwrap();
    let taken = block_on(engine_arrays::take(&mut work, &long, &places));
    assert!(matches!(taken, Err(Error::Memory { .. })), "{taken:?}");
    drop(places);
    let text = Scalar::Text("z".repeat(4 << 20));
    let made = block_on(engine_arrays::full(&mut work, DType::Utf8, &[100_000], &text));
    assert!(matches!(made, Err(Error::Memory { .. })), "{made:?}");
    let (many, beside) = (texts(&work, &vec![None; 100_000]), Operand::Scalar(text));
    let equal =
        block_on(engine_arrays::binary(&mut work, Binary::Equal, Operand::Array(many), beside)).unwrap();
    assert_eq!((equal.len(), equal.null_count()), (100_000, 100_000));
    drop(equal);
    assert_eq!(budget.used(), before);
    let mask = truths(&work, &[false, true]);
    let kept = block_on(engine_arrays::filter(&mut work, &long, &mask));
    assert_eq!(items(&kept.unwrap()), [Scalar::Text("y".into())]);
}

#[test]
fn rows_of_more_than_a_piece() {
    let budget = budget();
    let mut work = work(&budget);
    let values: Vec<i64> = (0..60_000).collect();
    let wide = integers(&work, &values).reshape(&[3, 20_000]).unwrap();
    let (mask, places) = (truths(&work, &[true, false, true]), integers(&work, &[2, 0]));
    let kept = numbers(&block_on(engine_arrays::filter(&mut work, &wide, &mask)).unwrap());
    assert_eq!(
        (kept.len(), kept[19_999], kept[20_000], kept[39_999]),
        (40_000, 19_999.0, 40_000.0, 59_999.0)
    );
    let taken = numbers(&block_on(engine_arrays::take(&mut work, &wide, &places)).unwrap());
    assert_eq!((taken.len(), taken[0], taken[20_000]), (40_000, 40_000.0, 0.0));
}

#[test]
fn an_operation_that_is_dropped_gives_everything_back() {
    let budget = budget();
    let mut work = work(&budget);
    let values =
        block_on(engine_arrays::full(&mut work, DType::F64, &[100_000], &Scalar::Float(1.0))).unwrap();
    let before = budget.used();
    let mut sorting = Box::pin(engine_arrays::sort(&mut work, &values, false));
    let waker = futures::task::noop_waker();
    let mut polls = 0;
    while polls < 5 {
        assert!(sorting.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        polls += 1;
    }
    assert!(budget.used() > before);
    drop(sorting);
    assert_eq!(budget.used(), before);
}
