//! Library calls on every device, against the reference.

use engine_gpu::{
    Binary, Buffer, DType, Distribution, Element, Matmul, Reduction, Session, Stream, Unary, bf16, f16,
};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::{buffer_of, judged, reference, values_of};

/// How far a result may be from the reference's: of the number's size, and at least.
fn tolerance(dtype: DType) -> (f64, f64) {
    match dtype {
        // Devices compute exponentials and the like with some rounding errors each.
        DType::F32 => (2e-5, 2e-5),
        DType::F64 => (1e-12, 1e-12),
        // One rounding, of 11 and of 8 bits, may go the other way.
        DType::F16 => (2e-3, 1e-3),
        DType::Bf16 => (1.6e-2, 1e-2),
        _ => (0.0, 0.0),
    }
}

/// Numbers of a type from some seed, of which most are small and some are not.
fn numbers(dtype: DType, count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let each = |_| match dtype {
        DType::U8 => (next() * 256.0).floor(),
        DType::U32 => (next() * 1000.0).floor(),
        DType::I32 | DType::I64 => (next() * 2000.0 - 1000.0).floor(),
        _ => next() * 4.0 - 2.0,
    };
    (0..count).map(each).collect()
}

fn upload(session: &Session, dtype: DType, values: &[f64]) -> Buffer {
    match dtype {
        DType::U8 => buffer_of(session, &values.iter().map(|v| *v as u8).collect::<Vec<_>>()),
        DType::I32 => buffer_of(session, &values.iter().map(|v| *v as i32).collect::<Vec<_>>()),
        DType::U32 => buffer_of(session, &values.iter().map(|v| *v as u32).collect::<Vec<_>>()),
        DType::I64 => buffer_of(session, &values.iter().map(|v| *v as i64).collect::<Vec<_>>()),
        DType::F16 => buffer_of(session, &values.iter().map(|v| f16::from_f64(*v)).collect::<Vec<_>>()),
        DType::Bf16 => buffer_of(session, &values.iter().map(|v| bf16::from_f64(*v)).collect::<Vec<_>>()),
        DType::F32 => buffer_of(session, &values.iter().map(|v| *v as f32).collect::<Vec<_>>()),
        DType::F64 => buffer_of(session, values),
    }
}

fn download(session: &Session, buffer: &Buffer) -> Vec<f64> {
    fn of<T: Element>(session: &Session, buffer: &Buffer, convert: impl Fn(T) -> f64) -> Vec<f64> {
        values_of::<T>(session, buffer).into_iter().map(convert).collect()
    }
    match buffer.dtype() {
        DType::U8 => of(session, buffer, |v: u8| f64::from(v)),
        DType::I32 => of(session, buffer, |v: i32| f64::from(v)),
        DType::U32 => of(session, buffer, |v: u32| f64::from(v)),
        DType::I64 => of(session, buffer, |v: i64| v as f64),
        DType::F16 => of(session, buffer, |v: f16| v.to_f64()),
        DType::Bf16 => of(session, buffer, |v: bf16| v.to_f64()),
        DType::F32 => of(session, buffer, |v: f32| f64::from(v)),
        DType::F64 => of(session, buffer, |v: f64| v),
    }
}

/// Runs the same on the reference and on a device: inputs with these numbers, an output of `size` that has
/// numbers already, which what is beyond the result must keep.
fn compare(
    session: &Session,
    what: &str,
    inputs: &[(DType, Vec<f64>)],
    (dtype, size): (DType, usize),
    factor: f64,
    run: impl Fn(&Stream, &[Buffer], &Buffer) -> engine_gpu::Result<()>,
) {
    let before = numbers(dtype, size, 99);
    let on = |session: &Session| {
        let inputs: Vec<Buffer> =
            inputs.iter().map(|(dtype, values)| upload(session, *dtype, values)).collect();
        let output = upload(session, dtype, &before);
        run(&session.stream(), &inputs, &output)
            .unwrap_or_else(|error| panic!("{what} on {session:?}: {error}"));
        download(session, &output)
    };
    let (expected, found) = (on(&reference()), on(session));
    let (relative, absolute) = tolerance(dtype);
    for (at, (expected, found)) in expected.iter().zip(&found).enumerate() {
        let allowed = (relative * expected.abs()).max(absolute) * factor;
        let same = expected == found || expected.is_nan() && found.is_nan();
        assert!(
            same || (expected - found).abs() <= allowed,
            "{what} of {dtype} on {session:?}: element {at} is {found} and should be {expected}, within {allowed}"
        );
    }
}

fn dtypes_of(session: &Session) -> Vec<DType> {
    session.description().dtypes.clone()
}

fn floats_of(session: &Session) -> Vec<DType> {
    dtypes_of(session).into_iter().filter(|dtype| dtype.is_float()).collect()
}

#[test]
fn unary() {
    for session in judged() {
        for dtype in dtypes_of(&session) {
            for op in Unary::ALL.into_iter().filter(|op| op.takes(dtype)) {
                let mut values = numbers(dtype, 77, 1);
                if matches!(op, Unary::Log | Unary::Sqrt) {
                    values.iter_mut().for_each(|value| *value = value.abs() + 0.25);
                }
                let input = [(dtype, values)];
                let what = format!("{op:?}");
                compare(&session, &what, &input, (dtype, 80), 4.0, |stream, inputs, output| {
                    stream.unary(op, &inputs[0], output, 77)
                });
                let nothing = [(dtype, vec![0.0])];
                compare(&session, &what, &nothing, (dtype, 40), 4.0, |stream, _, output| {
                    stream.unary(Unary::Absolute, output, output, 33)
                });
            }
        }
    }
}

#[test]
fn binary() {
    for session in judged() {
        for dtype in dtypes_of(&session) {
            for op in Binary::ALL.into_iter().filter(|op| op.takes(dtype)) {
                let mut left = numbers(dtype, 131, 2);
                let right = numbers(dtype, 131, 3);
                if op == Binary::Power {
                    left.iter_mut().for_each(|value| *value = value.abs() + 0.25);
                }
                let inputs = [(dtype, left), (dtype, right)];
                let what = format!("{op:?}");
                let out = (dtype, 133);
                compare(&session, &what, &inputs, out, 4.0, |stream, inputs, output| {
                    stream.binary(op, &inputs[0], &inputs[1], output, 131)
                });
                compare(&session, &what, &inputs, out, 4.0, |stream, inputs, output| {
                    stream.binary(op, &inputs[0], 3.0, output, 131)
                });
                compare(&session, &what, &inputs, out, 4.0, |stream, inputs, output| {
                    stream.binary(op, 2.0, &inputs[1], output, 131)
                });
                if op != Binary::Power {
                    compare(&session, &what, &inputs, out, 4.0, |stream, inputs, output| {
                        stream.binary(op, output, &inputs[0], output, 131)
                    });
                }
            }
        }
    }
}

#[test]
fn integers_wrap_and_division_by_zero_is_zero() {
    for session in judged() {
        let extremes = [f64::from(i32::MIN), f64::from(i32::MAX), -1.0, 0.0, 7.0];
        let pairs: Vec<(f64, f64)> = extremes.iter().flat_map(|a| extremes.map(|b| (*a, b))).collect();
        let (left, right) = pairs.iter().copied().unzip();
        let inputs = [(DType::I32, left), (DType::I32, right)];
        for op in [Binary::Add, Binary::Subtract, Binary::Multiply, Binary::Divide] {
            compare(
                &session,
                &format!("{op:?}"),
                &inputs,
                (DType::I32, 25),
                1.0,
                |stream, inputs, output| stream.binary(op, &inputs[0], &inputs[1], output, 25),
            );
        }
    }
}

#[test]
fn powers_of_what_is_below_zero() {
    for session in judged() {
        let inputs = [
            (DType::F32, vec![-2.0, -2.0, -2.0, 0.0, 0.0, -3.0]),
            (DType::F32, vec![2.0, 3.0, 0.0, 0.0, 2.0, -1.0]),
        ];
        compare(&session, "Power", &inputs, (DType::F32, 6), 4.0, |stream, inputs, output| {
            stream.binary(Binary::Power, &inputs[0], &inputs[1], output, 6)
        });
    }
}

#[test]
fn casts_between_all_types() {
    let awkward =
        [0.0, -0.0, 1.5, -1.5, 2.5, 255.0, 256.0, 300.0, -7.0, 65504.0, 65520.0, 1e-7, 3e9, -3e9, 5e9];
    for session in judged() {
        for from in dtypes_of(&session) {
            for to in dtypes_of(&session) {
                let mut values = awkward.to_vec();
                values.extend(numbers(from, 20, 5));
                if from.is_float() {
                    values.extend([f64::INFINITY, f64::NEG_INFINITY, f64::NAN]);
                }
                let count = values.len() as u64;
                let what = format!("Cast from {from}");
                let input = [(from, values)];
                // To the last bit: rounding is part of what is promised.
                compare(&session, &what, &input, (to, count as usize + 2), 0.0, |stream, inputs, output| {
                    stream.cast(&inputs[0], output, count)
                });
            }
        }
    }
}

#[test]
fn every_half_goes_to_f32_and_back() {
    for session in judged() {
        // Below 2⁻¹⁴ devices may say 0, and a NaN is any NaN.
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let halves: Vec<f16> = all.iter().map(|bits| f16::from_bits(*bits)).collect();
        let (there, wide) = (buffer_of(&session, &halves), session.allocate(DType::F32, 65_536));
        let (wide, back) = (wide.expect("there is room"), session.allocate(DType::F16, 65_536));
        let back = back.expect("there is room");
        session.stream().cast(&there, &wide, 65_536).expect("it is right");
        session.stream().cast(&wide, &back, 65_536).expect("it is right");
        for (half, found) in halves.iter().zip(values_of::<f16>(&session, &back)) {
            assert!(
                *half == found || half.is_nan() && found.is_nan(),
                "{half} became {found} on {session:?}"
            );
        }
    }
}

#[test]
fn reductions() {
    // The last ones are long enough for two stages.
    let shapes: [(&[u64], Option<usize>); 7] = [
        (&[100], None),
        (&[3, 50, 7], None),
        (&[3, 50, 7], Some(0)),
        (&[3, 50, 7], Some(1)),
        (&[3, 50, 7], Some(2)),
        (&[40_000], None),
        (&[2, 17_000, 2], Some(1)),
    ];
    for session in judged() {
        for dtype in dtypes_of(&session).into_iter().filter(|dtype| Reduction::Maximum.takes(*dtype)) {
            for (shape, axis) in shapes {
                let total: u64 = shape.iter().product();
                let results = axis.map_or(1, |axis| total / shape[axis]);
                // Small whole numbers, of which all sums are exact but in the narrowest types.
                let values = numbers(DType::U8, total as usize, 7).iter().map(|value| value % 4.0).collect();
                let input = [(dtype, values)];
                for op in Reduction::ALL.into_iter().filter(|op| op.takes(dtype)) {
                    let what = format!("{op:?} of {dtype} {shape:?} over {axis:?}");
                    let output = (op.result(dtype), results as usize + 1);
                    compare(&session, &what, &input, output, 1.0, |stream, inputs, output| {
                        stream.reduce(op, &inputs[0], shape, axis, output)
                    });
                }
            }
        }
    }
}

#[test]
fn softmax_and_layer_norm() {
    for session in judged() {
        for dtype in floats_of(&session) {
            for (rows, columns) in [(1, 1), (3, 5), (7, 128), (2, 300)] {
                let count = (rows * columns) as usize;
                let column = || numbers(dtype, columns as usize, 8);
                let inputs = [(dtype, numbers(dtype, count, 9)), (dtype, column()), (dtype, column())];
                let out = (dtype, count + 1);
                compare(&session, "softmax", &inputs, out, 2.0, |stream, inputs, output| {
                    stream.softmax(&inputs[0], output, rows, columns)
                });
                for (scale, shift) in [(None, None), (Some(1), None), (None, Some(2)), (Some(1), Some(2))] {
                    compare(&session, "layer norm", &inputs, out, 8.0, |stream, inputs, output| {
                        let [scale, shift] = [scale, shift].map(|at: Option<usize>| at.map(|at| &inputs[at]));
                        stream.layer_norm(&inputs[0], scale, shift, output, rows, columns, 1e-3)
                    });
                }
            }
        }
    }
}

#[test]
fn softmax_of_large_numbers_does_not_overflow() {
    for session in judged() {
        let inputs = [(DType::F32, vec![1e30, 1e30, -1e30, 0.0, 88.0, 90.0])];
        compare(&session, "softmax", &inputs, (DType::F32, 6), 2.0, |stream, inputs, output| {
            stream.softmax(&inputs[0], output, 2, 3)
        });
    }
}

#[test]
fn random_numbers_are_those_of_the_reference() {
    for session in judged() {
        for (seed, count) in [(0, 1), (1, 5), (u64::MAX, 1_001)] {
            let bits = |stream: &Stream, _: &[Buffer], output: &Buffer| {
                stream.random(Distribution::Bits, seed, output, count)
            };
            let size = count as usize + 3;
            compare(&session, "random bits", &[], (DType::U32, size), 0.0, bits);
            for dtype in [DType::F32, DType::F16, DType::Bf16] {
                let unit = Distribution::Uniform { low: 0.0, high: 1.0 };
                compare(&session, "uniform", &[], (dtype, size), 0.0, |stream, _, output| {
                    stream.random(unit, seed, output, count)
                });
                let wide = Distribution::Uniform { low: -3.0, high: 5.0 };
                compare(&session, "uniform", &[], (dtype, size), 1.0, |stream, _, output| {
                    stream.random(wide, seed, output, count)
                });
                // WGSL promises sine and cosine to 2⁻¹¹, and the radius is below 6.
                let normal = Distribution::Normal { mean: 1.0, deviation: 2.0 };
                compare(&session, "normal", &[], (dtype, size), 500.0, |stream, _, output| {
                    stream.random(normal, seed, output, count)
                });
            }
        }
    }
}

#[test]
fn products_of_matrices() {
    let sizes =
        [(1, 1, 1, 1), (1, 5, 7, 3), (3, 17, 16, 33), (1, 64, 64, 64), (2, 65, 70, 20), (1, 128, 128, 128)];
    for session in judged() {
        for dtype in floats_of(&session) {
            for (batch, m, n, k) in sizes {
                for (transpose_left, transpose_right) in
                    [(false, false), (true, false), (false, true), (true, true)]
                {
                    for (alpha, beta) in [(1.0, 0.0), (0.5, 2.0)] {
                        let shape = Matmul { batch, m, n, k, transpose_left, transpose_right, alpha, beta };
                        let inputs = [
                            (dtype, numbers(dtype, (batch * m * k) as usize, 10)),
                            (dtype, numbers(dtype, (batch * k * n) as usize, 11)),
                        ];
                        let out = (dtype, (batch * m * n) as usize + 1);
                        // Of sums of k products of numbers up to 2.
                        compare(
                            &session,
                            &format!("{shape:?}"),
                            &inputs,
                            out,
                            8.0,
                            |stream, inputs, output| stream.matmul(shape, &inputs[0], &inputs[1], output),
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_product_with_no_beta_reads_nothing_of_what_was_there() {
    for session in judged() {
        let [a, b] = [(); 2].map(|()| buffer_of(&session, &[1.0_f32; 4]));
        let output = buffer_of(&session, &[f32::NAN; 4]);
        session.stream().matmul(Matmul::new(2, 2, 2), &a, &b, &output).expect("it is right");
        assert_eq!(values_of::<f32>(&session, &output), [2.0; 4]);
    }
}

#[test]
fn random_shapes_give_what_the_reference_gives() {
    let extents = (1..40_u64, 1..40_u64, 1..40_u64, 1..4_u64);
    let choices =
        (any::<(bool, bool, bool)>(), 0..3_usize, proptest::sample::select(Reduction::ALL.to_vec()));
    for session in judged() {
        let dtypes = floats_of(&session);
        let mut runner =
            TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
        let cases = (extents.clone(), choices.clone(), proptest::sample::select(dtypes));
        let outcome = runner.run(&cases, |((m, n, k, batch), (turns, axis, op), dtype)| {
            let (transpose_left, transpose_right, adds) = turns;
            let beta = if adds { 0.5 } else { 0.0 };
            let shape = Matmul { batch, m, n, k, transpose_left, transpose_right, alpha: 1.5, beta };
            let inputs = [
                (dtype, numbers(dtype, (batch * m * k) as usize, m)),
                (dtype, numbers(dtype, (batch * k * n) as usize, n)),
            ];
            let out = (dtype, (batch * m * n) as usize);
            compare(&session, &format!("{shape:?}"), &inputs, out, 8.0, |stream, inputs, output| {
                stream.matmul(shape, &inputs[0], &inputs[1], output)
            });
            let sizes = [m, n, k];
            let small = numbers(DType::U8, (m * n * k) as usize, k).iter().map(|value| value % 2.0).collect();
            let out = (op.result(dtype), (m * n * k / sizes[axis]) as usize);
            let what = format!("{op:?} of {sizes:?} over {axis}");
            compare(&session, &what, &[(dtype, small)], out, 1.0, |stream, inputs, output| {
                stream.reduce(op, &inputs[0], &sizes, Some(axis), output)
            });
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("on {session:?}: {error}"));
    }
}
