//! Whatever numbers come in, they are refused by name or stay inside.

use engine_gpu::{Binary, Code, DType, Distribution, Matmul, Reduction, Unary};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::{code, every};

const COUNT: u64 = 64;

/// Small numbers, and those at the ends of what there is.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..=COUNT + 2,
        Just(u64::MAX),
        Just(u64::MAX / 2 + 1),
        Just(1 << 32),
        Just((1 << 32) - 1),
        any::<u64>()
    ]
}

fn config() -> Config {
    Config { cases: 128, failure_persistence: None, ..Config::default() }
}

#[test]
fn ranges_are_inside_or_refused() {
    for session in every() {
        let buffer = session.allocate(DType::F32, COUNT).expect("there is room");
        let other = session.allocate(DType::F32, COUNT).expect("there is room");
        let stream = session.stream();
        let outcome = TestRunner::new(config()).run(&(number(), number(), number()), |(at, to, count)| {
            let fits = |at: u64| at.checked_add(count).is_some_and(|end| end <= COUNT);
            let filled = stream.fill(&buffer, at, count, 1.0_f32);
            prop_assert_eq!(filled.is_ok(), fits(at));
            if let Err(error) = filled {
                prop_assert_eq!(error.code(), Code::OutOfBounds);
                prop_assert!(error.message().contains(&at.to_string()), "{}", error);
                prop_assert!(error.message().contains(&COUNT.to_string()), "{}", error);
            }
            prop_assert_eq!(stream.copy(&buffer, at, &other, to, count).is_ok(), fits(at) && fits(to));
            let count = count.min(2 * COUNT) as usize;
            let fits = at.checked_add(count as u64).is_some_and(|end| end <= COUNT);
            prop_assert_eq!(stream.upload(&buffer, at, &vec![0.0_f32; count]).is_ok(), fits);
            prop_assert_eq!(stream.download(&buffer, at, &mut vec![0.0_f32; count]).is_ok(), fits);
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("on {session:?}: {error}"));
    }
}

#[test]
fn shapes_are_inside_or_refused() {
    for session in every() {
        let [a, b, c] = [(); 3].map(|()| session.allocate(DType::F32, COUNT).expect("there is room"));
        let stream = session.stream();
        let numbers = (number(), number(), number(), number());
        let outcome = TestRunner::new(config()).run(&numbers, |(x, y, z, w)| {
            let fits = |shape: &[u64]| {
                let total = shape.iter().try_fold(1_u64, |total, extent| total.checked_mul(*extent));
                total.is_some_and(|total| (1..=COUNT).contains(&total))
            };
            prop_assert_eq!(stream.unary(Unary::Absolute, &a, &b, x).is_ok(), fits(&[x]));
            prop_assert_eq!(stream.binary(Binary::Add, &a, 1.0, &b, x).is_ok(), fits(&[x]));
            prop_assert_eq!(stream.softmax(&a, &b, x, y).is_ok(), fits(&[x, y]));
            prop_assert_eq!(stream.layer_norm(&a, None, None, &b, x, y, 1e-5).is_ok(), fits(&[x, y]));
            prop_assert_eq!(
                stream.reduce(Reduction::Sum, &a, &[x, y, z], Some(1), &b).is_ok(),
                fits(&[x, y, z])
            );
            let uniform = Distribution::Uniform { low: 0.0, high: 1.0 };
            prop_assert_eq!(stream.random(uniform, z, &a, x).is_ok(), fits(&[x]));
            let shape = Matmul { batch: w, ..Matmul::new(x, y, z) };
            let inside = fits(&[w, x, z]) && fits(&[w, z, y]) && fits(&[w, x, y]);
            prop_assert_eq!(stream.matmul(shape, &a, &b, &c).is_ok(), inside);
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("on {session:?}: {error}"));
    }
}

#[test]
fn what_is_not_defined_is_refused() {
    for session in every() {
        let floats = session.allocate(DType::F32, 8).expect("there is room");
        let out = session.allocate(DType::F32, 8).expect("there is room");
        let bytes = session.allocate(DType::U8, 8).expect("there is room");
        let integers = session.allocate(DType::I32, 8).expect("there is room");
        let stream = session.stream();
        let refused = [
            (stream.unary(Unary::Exp, &integers, &integers, 8), "UNSUPPORTED"),
            (stream.unary(Unary::Negate, &bytes, &bytes, 8), "UNSUPPORTED"),
            (stream.unary(Unary::Exp, &floats, &integers, 8), "INVALID_ARGUMENT"),
            (stream.binary(Binary::Power, &integers, 2.0, &integers, 8), "UNSUPPORTED"),
            (stream.binary(Binary::Add, &floats, &integers, &floats, 8), "INVALID_ARGUMENT"),
            (stream.binary(Binary::Add, 1.0, 2.0, &floats, 8), "INVALID_ARGUMENT"),
            (stream.cast(&floats, &floats, 8), "INVALID_ARGUMENT"),
            (stream.reduce(Reduction::Mean, &integers, &[8], None, &floats), "UNSUPPORTED"),
            (stream.reduce(Reduction::ArgMaximum, &floats, &[8], None, &out), "INVALID_ARGUMENT"),
            (stream.reduce(Reduction::Sum, &floats, &[8], None, &floats), "INVALID_ARGUMENT"),
            (stream.reduce(Reduction::Sum, &floats, &[], None, &out), "INVALID_ARGUMENT"),
            (stream.reduce(Reduction::Sum, &floats, &[1; 9], None, &out), "INVALID_ARGUMENT"),
            (stream.reduce(Reduction::Sum, &floats, &[8], Some(1), &out), "INVALID_ARGUMENT"),
            (stream.softmax(&floats, &floats, 2, 4), "INVALID_ARGUMENT"),
            (stream.softmax(&integers, &integers, 2, 4), "UNSUPPORTED"),
            (stream.layer_norm(&floats, None, None, &out, 2, 4, 0.0), "INVALID_ARGUMENT"),
            (stream.layer_norm(&floats, None, None, &out, 2, 4, f32::NAN), "INVALID_ARGUMENT"),
            (stream.random(Distribution::Bits, 1, &floats, 8), "UNSUPPORTED"),
            (stream.random(Distribution::Uniform { low: 1.0, high: 1.0 }, 1, &floats, 8), "INVALID_ARGUMENT"),
            (
                stream.random(Distribution::Normal { mean: 0.0, deviation: -1.0 }, 1, &floats, 8),
                "INVALID_ARGUMENT",
            ),
            (stream.matmul(Matmul::new(2, 2, 2), &floats, &floats, &floats), "INVALID_ARGUMENT"),
            (stream.matmul(Matmul::new(2, 2, 2), &integers, &integers, &integers), "UNSUPPORTED"),
            (
                stream.matmul(Matmul { alpha: f32::NAN, ..Matmul::new(2, 2, 2) }, &floats, &floats, &out),
                "INVALID_ARGUMENT",
            ),
        ];
        for (index, (outcome, expected)) in refused.into_iter().enumerate() {
            assert_eq!(code(outcome).as_str(), expected, "{index} on {session:?}");
        }
        // All that was refused has left the session as it was.
        stream.fill(&floats, 0, 8, 2.0_f32).expect("it is a buffer");
        stream.unary(Unary::Negate, &floats, &out, 8).expect("it is right");
        assert_eq!(crate::values_of::<f32>(&session, &out), [-2.0; 8]);
    }
}

#[test]
fn buffers_of_another_session_are_refused() {
    for (one, other) in every().into_iter().zip(every()) {
        let mine = one.allocate(DType::F32, 4).expect("there is room");
        let theirs = other.allocate(DType::F32, 4).expect("there is room");
        let stream = one.stream();
        let refused = [
            stream.upload(&theirs, 0, &[1.0_f32]),
            stream.download(&theirs, 0, &mut [1.0_f32]),
            stream.fill(&theirs, 0, 1, 1.0_f32),
            stream.copy(&theirs, 0, &mine, 0, 1),
            stream.copy(&mine, 0, &theirs, 0, 1),
            stream.unary(Unary::Exp, &theirs, &mine, 4),
            stream.unary(Unary::Exp, &mine, &theirs, 4),
            stream.binary(Binary::Add, &mine, &theirs, &mine, 4),
            stream.reduce(Reduction::Sum, &mine, &[4], None, &theirs),
            stream.matmul(Matmul::new(2, 2, 2), &mine, &theirs, &mine),
            stream.wait_for(&other.stream().record().expect("it is there")),
        ];
        for outcome in refused {
            assert_eq!(code(outcome), Code::InvalidArgument);
        }
    }
}
