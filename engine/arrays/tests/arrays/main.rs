//! Every operation against a naive one on plain vectors, and what is refused.

mod errors;
mod naive;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use engine_arrays::{Array, Budget, DType, Scalar, Work};
use futures::executor::block_on;

/// A budget that is large enough for every test.
pub(crate) fn budget() -> Arc<Budget> {
    Budget::new(1 << 30)
}

/// Work that yields at every piece, so that every test crosses all the places where others get their turn.
pub(crate) fn work(budget: &Arc<Budget>) -> Work {
    Work::new(budget.clone(), Duration::ZERO)
}

/// A one-dimensional array.
pub(crate) fn floats(work: &Work, values: &[f64]) -> Array {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    engine_arrays::from_bytes(work, DType::F64, &[values.len()], bytes).expect("an array")
}

/// A one-dimensional array.
pub(crate) fn integers(work: &Work, values: &[i64]) -> Array {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    engine_arrays::from_bytes(work, DType::I64, &[values.len()], bytes).expect("an array")
}

/// A one-dimensional array.
pub(crate) fn truths(work: &Work, values: &[bool]) -> Array {
    let bytes = values.iter().map(|value| u8::from(*value)).collect();
    engine_arrays::from_bytes(work, DType::Bool, &[values.len()], bytes).expect("an array")
}

/// A one-dimensional array.
pub(crate) fn texts(work: &Work, values: &[Option<String>]) -> Array {
    engine_arrays::from_texts(work, values.to_vec()).expect("an array")
}

/// Integers of which some are missing: where nothing is true.
pub(crate) fn some_integers(work: &mut Work, values: &[Option<i64>]) -> Array {
    let all = integers(work, &values.iter().map(|value| value.unwrap_or(0)).collect::<Vec<_>>());
    let mask = truths(work, &values.iter().map(Option::is_some).collect::<Vec<_>>());
    let (yes, no) = (engine_arrays::Operand::Array(all), engine_arrays::Operand::Scalar(Scalar::Null));
    block_on(engine_arrays::choose(work, &mask, yes, no)).expect("an array")
}

/// The elements, one by one.
pub(crate) fn items(array: &Array) -> Vec<Scalar> {
    (0..array.len()).map(|at| array.item(at).expect("an element")).collect()
}

/// The numbers, none of which is missing.
pub(crate) fn numbers(array: &Array) -> Vec<f64> {
    let number = |item| match item {
        Scalar::Float(value) => value,
        Scalar::Signed(value) => value as f64,
        Scalar::Unsigned(value) => value as f64,
        Scalar::Bool(value) => f64::from(u8::from(value)),
        other => panic!("{other} is no number"),
    };
    items(array).into_iter().map(number).collect()
}
