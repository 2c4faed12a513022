//! Properties: what comes out is what a loop over the elements gives.

use std::collections::HashMap;

use engine_arrays::{Binary, DType, Operand, Reduction, Scalar, Unary};
use futures::executor::block_on;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::{budget, floats, integers, items, numbers, some_integers, texts, truths, work};

type OfOne = fn(f64) -> f64;
type OfTwo = fn(f64, f64) -> f64;
type Key = (Option<String>, i64);

/// Lengths on both sides of the border between two pieces.
fn long() -> impl Strategy<Value = usize> {
    prop_oneof![0_usize..40, 16_380..16_390_usize, 40_000..40_010_usize]
}

fn some_float() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => -1e6..1e6_f64,
        1 => Just(f64::NAN),
        1 => prop_oneof![Just(0.0), Just(-0.0), Just(f64::INFINITY), Just(f64::NEG_INFINITY)],
    ]
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn floats_element_by_element(length in long(), seed in vec((some_float(), some_float()), 1..60)) {
        let pairs: Vec<(f64, f64)> = seed.iter().copied().cycle().take(length).collect();
        let (budget, a): (_, Vec<f64>) = (budget(), pairs.iter().map(|pair| pair.0).collect());
        let b: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
        let mut work = work(&budget);
        let (left, right) = (floats(&work, &a), floats(&work, &b));
        let naive: [(Binary, OfTwo); 8] = [
            (Binary::Add, |a, b| a + b),
            (Binary::Multiply, |a, b| a * b),
            (Binary::Divide, |a, b| a / b),
            (Binary::FloorDivide, |a, b| (a / b).floor()),
            (Binary::Minimum, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }),
            (Binary::Maximum, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }),
            (Binary::Less, |a, b| f64::from(u8::from(a < b))),
            (Binary::NotEqual, |a, b| f64::from(u8::from(a != b))),
        ];
        for (operation, naive) in naive {
            let operands = (Operand::Array(left.clone()), Operand::Array(right.clone()));
            let made = block_on(engine_arrays::binary(&mut work, operation, operands.0, operands.1)).unwrap();
            for (at, made) in numbers(&made).into_iter().enumerate() {
                let wanted = naive(a[at], b[at]);
                prop_assert!(same(made, wanted), "{operation:?} of {} and {}: {made}", a[at], b[at]);
            }
        }
    }

    #[test]
    fn integers_divide_as_in_python(pairs in vec((any::<i64>(), any::<i64>()), 1..50)) {
        let fits = |(a, b): &(i64, i64)| *b != 0 && (*a, *b) != (i64::MIN, -1);
        let pairs: Vec<_> = pairs.into_iter().filter(fits).collect();
        let (a, b): (Vec<i64>, Vec<i64>) = pairs.iter().copied().unzip();
        let budget = budget();
        let mut work = work(&budget);
        let (left, right) = (Operand::Array(integers(&work, &a)), Operand::Array(integers(&work, &b)));
        let mut divided = |operation| {
            block_on(engine_arrays::binary(&mut work, operation, left.clone(), right.clone())).unwrap()
        };
        let (quotients, rests) = (divided(Binary::FloorDivide), divided(Binary::Remainder));
        for (at, (quotient, rest)) in items(&quotients).into_iter().zip(items(&rests)).enumerate() {
            let (Scalar::Signed(quotient), Scalar::Signed(rest)) = (quotient, rest) else { panic!("integers") };
            prop_assert_eq!(i128::from(quotient) * i128::from(b[at]) + i128::from(rest), i128::from(a[at]));
            prop_assert!(rest == 0 || (rest < 0) == (b[at] < 0), "{} % {} is {}", a[at], b[at], rest);
        }
    }

    #[test]
    fn shapes_are_stretched(rows in 1_usize..200, columns in 1_usize..200) {
        let budget = budget();
        let mut work = work(&budget);
        let matrix: Vec<f64> = (0..rows * columns).map(|at| at as f64).collect();
        let m = floats(&work, &matrix).reshape(&[rows, columns]).unwrap();
        let row = floats(&work, &matrix[..columns]);
        let column = floats(&work, &matrix[..rows]).reshape(&[rows, 1]).unwrap();
        let sum = |work: &mut _, other| {
            let (left, right) = (Operand::Array(m.clone()), Operand::Array(other));
            numbers(&block_on(engine_arrays::binary(work, Binary::Add, left, right)).unwrap())
        };
        let (with_row, with_column) = (sum(&mut work, row), sum(&mut work, column));
        let turned = block_on(engine_arrays::transpose(&mut work, &m, &[])).unwrap();
        prop_assert_eq!(turned.shape(), [columns, rows]);
        let turned = numbers(&turned);
        for i in 0..rows {
            for j in 0..columns {
                let at = i * columns + j;
                prop_assert_eq!(with_row[at], matrix[at] + j as f64);
                prop_assert_eq!(with_column[at], matrix[at] + i as f64);
                prop_assert_eq!(turned[j * rows + i], matrix[at]);
            }
        }
    }

    #[test]
    fn reductions_of_what_is_there(
        seed in vec(option::weighted(0.8, -1000_i64..1000), 0..60),
        length in long(),
    ) {
        let length = if seed.is_empty() { 0 } else { length };
        let values: Vec<Option<i64>> = seed.iter().copied().cycle().take(length).collect();
        let there: Vec<i64> = values.iter().copied().flatten().collect();
        let budget = budget();
        let mut work = work(&budget);
        let array = some_integers(&mut work, &values);
        let mut reduce = |reduction| block_on(engine_arrays::reduce(&mut work, reduction, &array)).unwrap();
        prop_assert_eq!(reduce(Reduction::Sum), Scalar::Signed(there.iter().sum()));
        prop_assert_eq!(reduce(Reduction::Count), Scalar::Signed(there.len() as i64));
        let or_null = |value: Option<i64>| value.map_or(Scalar::Null, Scalar::Signed);
        prop_assert_eq!(reduce(Reduction::Min), or_null(there.iter().copied().min()));
        prop_assert_eq!(reduce(Reduction::Max), or_null(there.iter().copied().max()));
        let first = |wanted: Option<i64>| values.iter().position(|value| value.is_some() && *value == wanted);
        let place = |wanted: Option<i64>| or_null(first(wanted).map(|at| at as i64));
        prop_assert_eq!(reduce(Reduction::ArgMax), place(there.iter().copied().max()));
        prop_assert_eq!(reduce(Reduction::Any), Scalar::Bool(there.iter().any(|value| *value != 0)));
        prop_assert_eq!(reduce(Reduction::All), Scalar::Bool(there.iter().all(|value| *value != 0)));
        if there.is_empty() {
            prop_assert_eq!(reduce(Reduction::Mean), Scalar::Null);
        } else {
            let mean = there.iter().sum::<i64>() as f64 / there.len() as f64;
            let squares: f64 = there.iter().map(|value| (*value as f64 - mean).powi(2)).sum();
            let variance = squares / there.len() as f64;
            let close = |made: Scalar, wanted: f64| {
                let near = |made: f64| (made - wanted).abs() <= 1e-9 * (1.0 + wanted.abs());
                matches!(made, Scalar::Float(made) if near(made))
            };
            prop_assert!(close(reduce(Reduction::Mean), mean));
            prop_assert!(close(reduce(Reduction::Var), variance));
            prop_assert!(close(reduce(Reduction::Std), variance.sqrt()));
        }
    }

    #[test]
    fn reductions_along_each_dimension(
        shape in (1_usize..20, 1_usize..40, 1_usize..30),
        seed in vec(-50_i64..50, 1..30),
    ) {
        let (a, b, c) = shape;
        let values: Vec<i64> = seed.iter().copied().cycle().take(a * b * c).collect();
        let budget = budget();
        let mut work = work(&budget);
        let cube = integers(&work, &values).reshape(&[a, b, c]).unwrap();
        let at = |i: usize, j: usize, k: usize| values[(i * b + j) * c + k];
        for axis in 0..3 {
            let mut reduced = |reduction| {
                block_on(engine_arrays::reduce_axis(&mut work, reduction, &cube, axis)).unwrap()
            };
            let (sum, places) = (reduced(Reduction::Sum), reduced(Reduction::ArgMin));
            let lines: Vec<Vec<i64>> = match axis {
                0 => (0..b * c).map(|jk| (0..a).map(|i| at(i, jk / c, jk % c)).collect()).collect(),
                1 => (0..a * c).map(|ik| (0..b).map(|j| at(ik / c, j, ik % c)).collect()).collect(),
                _ => (0..a * b).map(|ij| (0..c).map(|k| at(ij / b, ij % b, k)).collect()).collect(),
            };
            let sums: Vec<f64> = lines.iter().map(|line| line.iter().sum::<i64>() as f64).collect();
            let firsts: Vec<f64> = lines
                .iter()
                .map(|line| line.iter().position(|value| value == line.iter().min().unwrap()).unwrap() as f64)
                .collect();
            prop_assert_eq!(numbers(&sum), sums);
            prop_assert_eq!(numbers(&places), firsts);
        }
    }

    #[test]
    fn products_of_matrices(m in 1_usize..150, k in 1_usize..300, n in 1_usize..270) {
        let budget = budget();
        let mut work = work(&budget);
        // Whole numbers, so that the order of the sum does not matter.
        let a: Vec<f64> = (0..m * k).map(|at| (at % 7) as f64 - 3.0).collect();
        let b: Vec<f64> = (0..k * n).map(|at| (at % 5) as f64 - 2.0).collect();
        let left = floats(&work, &a).reshape(&[m, k]).unwrap();
        let right = floats(&work, &b).reshape(&[k, n]).unwrap();
        let made = block_on(engine_arrays::matmul(&mut work, &left, &right)).unwrap();
        prop_assert_eq!(made.shape(), [m, n]);
        let made = numbers(&made);
        for i in 0..m {
            for j in 0..n {
                let wanted: f64 = (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum();
                prop_assert_eq!(made[i * n + j], wanted);
            }
        }
    }

    #[test]
    fn sorting_numbers(length in long(), seed in vec(some_float(), 1..3000), descending: bool) {
        // Not a multiple of the seed's length, so that runs differ.
        let values: Vec<f64> = (0..length).map(|at| seed[(at * 7 + at / 11) % seed.len()]).collect();
        let budget = budget();
        let mut work = work(&budget);
        let array = floats(&work, &values);
        let mut wanted = values.clone();
        let key = |value: &f64| if value.is_nan() { f64::NAN } else { value + 0.0 };
        wanted.sort_by(|a, b| key(a).total_cmp(&key(b)));
        if descending {
            wanted.reverse();
        }
        let sorted = numbers(&block_on(engine_arrays::sort(&mut work, &array, descending)).unwrap());
        prop_assert!(sorted.iter().zip(&wanted).all(|(a, b)| same(*a, *b)));
        let order = block_on(engine_arrays::argsort(&mut work, &[(&array, descending)])).unwrap();
        let places: Vec<usize> = numbers(&order).into_iter().map(|place| place as usize).collect();
        prop_assert!(places.iter().zip(&wanted).all(|(place, wanted)| same(values[*place], *wanted)));
        for pair in places.windows(2) {
            let is_kept = pair[0] < pair[1] || !same(values[pair[0]], values[pair[1]]);
            prop_assert!(is_kept, "those that are equal stay in order");
        }
        let once = numbers(&block_on(engine_arrays::unique(&mut work, &array)).unwrap());
        let mut wanted_once = wanted.clone();
        if descending {
            wanted_once.reverse();
        }
        wanted_once.dedup_by(|a, b| same(*a, *b));
        prop_assert_eq!(once.len(), wanted_once.len());
        prop_assert!(once.iter().zip(&wanted_once).all(|(a, b)| same(*a, *b)));
    }

    #[test]
    fn sorting_by_several_columns(
        rows in vec((option::of("[a-c]{0,2}"), -3_i64..3), 0..200),
        falls: (bool, bool),
    ) {
        let budget = budget();
        let mut work = work(&budget);
        let (names, counts): (Vec<_>, Vec<_>) = rows.iter().cloned().unzip();
        let (names, counts) = (texts(&work, &names), integers(&work, &counts));
        let columns = [(&names, falls.0), (&counts, falls.1)];
        let order = block_on(engine_arrays::argsort(&mut work, &columns)).unwrap();
        let mut wanted: Vec<usize> = (0..rows.len()).collect();
        wanted.sort_by(|a, b| {
            let turned = |order: std::cmp::Ordering, falls| if falls { order.reverse() } else { order };
            let (a, b) = (&rows[*a], &rows[*b]);
            let by_name = match (&a.0, &b.0) {
                (Some(a), Some(b)) => turned(a.cmp(b), falls.0),
                (a, b) => a.is_none().cmp(&b.is_none()),
            };
            by_name.then(turned(a.1.cmp(&b.1), falls.1))
        });
        let wanted: Vec<f64> = wanted.into_iter().map(|place| place as f64).collect();
        prop_assert_eq!(numbers(&order), wanted);
        let once = items(&block_on(engine_arrays::unique(&mut work, &names)).unwrap());
        let mut all: Vec<Option<String>> = rows.iter().map(|row| row.0.clone()).collect();
        all.sort_by(|a, b| a.is_none().cmp(&b.is_none()).then(a.cmp(b)));
        all.dedup();
        let all: Vec<Scalar> = all.into_iter().map(|name| name.map_or(Scalar::Null, Scalar::Text)).collect();
        prop_assert_eq!(once, all);
    }

    #[test]
    fn groups(rows in vec((option::of("[a-d]{1,2}"), 0_i64..4, -100_i64..100), 1..60), length in long()) {
        let rows: Vec<_> = rows.iter().cloned().cycle().take(length).collect();
        let budget = budget();
        let mut work = work(&budget);
        let names = texts(&work, &rows.iter().map(|row| row.0.clone()).collect::<Vec<_>>());
        let codes = integers(&work, &rows.iter().map(|row| row.1).collect::<Vec<_>>());
        let values = integers(&work, &rows.iter().map(|row| row.2).collect::<Vec<_>>());
        let asked = [(&values, Reduction::Sum), (&values, Reduction::Max), (&names, Reduction::Count)];
        let made = block_on(engine_arrays::group_by(&mut work, &[&names, &codes], &asked)).unwrap();
        let mut order: Vec<Key> = Vec::new();
        let mut wanted: HashMap<Key, (i64, i64, i64)> = HashMap::new();
        for (name, code, value) in rows {
            let key = (name.clone(), code);
            let group = wanted.entry(key.clone()).or_insert_with(|| {
                order.push(key);
                (0, i64::MIN, 0)
            });
            *group = (group.0 + value, group.1.max(value), group.2 + i64::from(name.is_some()));
        }
        let column = |make: &dyn Fn(&Key) -> Scalar| order.iter().map(make).collect::<Vec<_>>();
        prop_assert_eq!(items(&made.keys[0]), column(&|key| key.0.clone().map_or(Scalar::Null, Scalar::Text)));
        prop_assert_eq!(items(&made.keys[1]), column(&|key| Scalar::Signed(key.1)));
        prop_assert_eq!(items(&made.aggregates[0]), column(&|key| Scalar::Signed(wanted[key].0)));
        prop_assert_eq!(items(&made.aggregates[1]), column(&|key| Scalar::Signed(wanted[key].1)));
        prop_assert_eq!(items(&made.aggregates[2]), column(&|key| Scalar::Signed(wanted[key].2)));
    }

    #[test]
    fn choosing_rows(
        length in long(),
        columns in 1_usize..4,
        seed in vec(any::<bool>(), 1..50),
        places in vec(-10_i64..10, 0..40),
    ) {
        let budget = budget();
        let mut work = work(&budget);
        let values: Vec<i64> = (0..(length * columns) as i64).collect();
        let table = integers(&work, &values).reshape(&[length, columns]).unwrap();
        let mask: Vec<bool> = seed.iter().copied().cycle().take(length).collect();
        let truth = truths(&work, &mask);
        let kept = block_on(engine_arrays::filter(&mut work, &table, &truth)).unwrap();
        let rows = values.chunks(columns).zip(&mask).filter(|(_, kept)| **kept);
        let wanted: Vec<f64> = rows.flat_map(|(row, _)| row).map(|value| *value as f64).collect();
        prop_assert_eq!(numbers(&kept), wanted);
        if length >= 10 {
            let numbered = integers(&work, &places);
            let taken = block_on(engine_arrays::take(&mut work, &table, &numbered)).unwrap();
            let row = |place: &i64| if *place < 0 { length as i64 + place } else { *place };
            let width = columns as i64;
            let of_row = |place| (0..width).map(move |at| (row(place) * width + at) as f64);
            let wanted: Vec<f64> = places.iter().flat_map(of_row).collect();
            prop_assert_eq!(numbers(&taken), wanted);
        }
        let both = [table.clone(), table.slice(1, 3).unwrap()];
        let twice = block_on(engine_arrays::concatenate(&mut work, &both, 0)).unwrap();
        let more = &values[columns.min(values.len())..(3 * columns).min(values.len())];
        let wanted: Vec<f64> = values.iter().chain(more).map(|value| *value as f64).collect();
        prop_assert_eq!(numbers(&twice), wanted);
        let both = [table.clone(), table];
        let wide = block_on(engine_arrays::concatenate(&mut work, &both, 1)).unwrap();
        let rows = values.chunks(columns).flat_map(|row| row.iter().chain(row));
        let wanted: Vec<f64> = rows.map(|value| *value as f64).collect();
        prop_assert_eq!(numbers(&wide), wanted);
    }

    #[test]
    fn sequences(start in -100_i64..100, stop in -100_i64..100, step in -7_i64..7) {
        let budget = budget();
        let mut work = work(&budget);
        let [start_at, stop_at, step_by] = [start, stop, step].map(Scalar::Signed);
        let made = block_on(engine_arrays::arange(&mut work, DType::I32, &start_at, &stop_at, &step_by));
        if step == 0 {
            prop_assert!(made.is_err());
            return Ok(());
        }
        let wanted: Vec<f64> = (0..)
            .map(|at| start + at * step)
            .take_while(|value| if step > 0 { *value < stop } else { *value > stop })
            .map(|value| value as f64)
            .collect();
        prop_assert_eq!(numbers(&made.unwrap()), wanted);
    }
}

#[test]
fn functions_of_one_element() {
    let budget = budget();
    let mut work = work(&budget);
    let values = [-2.5, -0.5, 0.0, 0.5, 1.5, 2.5];
    let array = floats(&work, &values);
    let functions: [(Unary, OfOne); 6] = [
        (Unary::Exp, f64::exp),
        (Unary::Sqrt, f64::sqrt),
        (Unary::Tanh, f64::tanh),
        (Unary::Floor, f64::floor),
        (Unary::Round, f64::round_ties_even),
        (Unary::Absolute, f64::abs),
    ];
    for (operation, function) in functions {
        let made = numbers(&block_on(engine_arrays::unary(&mut work, operation, &array)).unwrap());
        for (made, value) in made.into_iter().zip(values) {
            assert!(same(made, function(value)), "{operation:?} of {value} is {made}");
        }
    }
    let whole = integers(&work, &[1, 4, 9]);
    let roots = block_on(engine_arrays::unary(&mut work, Unary::Sqrt, &whole)).unwrap();
    assert_eq!((roots.dtype(), numbers(&roots)), (DType::F64, vec![1.0, 2.0, 3.0]));
    let missing = some_integers(&mut work, &[Some(1), None]);
    let are_missing = block_on(engine_arrays::unary(&mut work, Unary::IsNull, &missing)).unwrap();
    assert_eq!(items(&are_missing), [Scalar::Bool(false), Scalar::Bool(true)]);
}

#[test]
fn types_meet_as_in_numpy() {
    let budget = budget();
    let mut work = work(&budget);
    let all = [
        DType::I8,
        DType::U8,
        DType::I16,
        DType::U16,
        DType::I32,
        DType::U32,
        DType::I64,
        DType::U64,
        DType::F32,
    ];
    let wanted = [
        (DType::I8, DType::U8, DType::I16),
        (DType::I32, DType::U8, DType::I32),
        (DType::I8, DType::U32, DType::I64),
        (DType::I64, DType::U64, DType::F64),
        (DType::I16, DType::F32, DType::F32),
        (DType::I32, DType::F32, DType::F64),
        (DType::U16, DType::U64, DType::U64),
    ];
    for (one, other, meet) in wanted {
        let mut one_of =
            |dtype| block_on(engine_arrays::full(&mut work, dtype, &[2], &Scalar::Signed(3))).unwrap();
        let (one, other) = (Operand::Array(one_of(one)), Operand::Array(one_of(other)));
        let made = block_on(engine_arrays::binary(&mut work, Binary::Add, one, other)).unwrap();
        assert_eq!((made.dtype(), numbers(&made)), (meet, vec![6.0, 6.0]));
    }
    // A single number takes the array's type; one with a fraction does not.
    for dtype in all {
        let array = block_on(engine_arrays::full(&mut work, dtype, &[1], &Scalar::Signed(3))).unwrap();
        let add = |work: &mut _, scalar| {
            block_on(engine_arrays::binary(
                work,
                Binary::Add,
                Operand::Array(array.clone()),
                Operand::Scalar(scalar),
            ))
            .unwrap()
        };
        assert_eq!(add(&mut work, Scalar::Signed(1)).dtype(), dtype);
        let wanted = if dtype == DType::F32 { DType::F32 } else { DType::F64 };
        assert_eq!(add(&mut work, Scalar::Float(0.5)).dtype(), wanted);
    }
}
