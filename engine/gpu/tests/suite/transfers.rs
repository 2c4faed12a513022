//! Bytes to, from and on devices, against a plain vector.

use engine_gpu::{Buffer, DType, Session};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::{code, every, values_of};

#[test]
fn fresh_buffers_are_zero_whatever_was_there() {
    for session in every() {
        for dtype in session.description().dtypes.clone() {
            let count = 1_000 / dtype.bytes() + 1;
            for _ in 0..3 {
                let buffer = session.allocate(dtype, count).expect("there is room");
                let mut bytes = vec![1; (count * dtype.bytes()) as usize];
                session.stream().download_bytes(&buffer, 0, &mut bytes).expect("it is there");
                assert!(bytes.iter().all(|byte| *byte == 0), "{dtype} on {session:?}");
                let dirt = vec![0xA5; bytes.len()];
                session.stream().upload_bytes(&buffer, 0, &dirt).expect("it fits");
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Upload { to: usize, at: u64, count: u64, seed: u8 },
    Fill { to: usize, at: u64, count: u64, value: u8 },
    Copy { from: usize, source: u64, to: usize, target: u64, count: u64 },
    Check { of: usize, at: u64, count: u64 },
}

const BUFFERS: usize = 2;
const COUNT: u64 = 90;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || (0..BUFFERS, 0..COUNT, 0..COUNT);
    let step = prop_oneof![
        (place(), any::<u8>()).prop_map(|((to, at, count), seed)| Step::Upload { to, at, count, seed }),
        (place(), any::<u8>()).prop_map(|((to, at, count), value)| Step::Fill { to, at, count, value }),
        (place(), 0..BUFFERS, 0..COUNT).prop_map(|((from, source, count), to, target)| Step::Copy {
            from,
            source,
            to,
            target,
            count
        }),
        place().prop_map(|(of, at, count)| Step::Check { of, at, count }),
    ];
    proptest::collection::vec(step, 1..24)
}

struct Model {
    buffers: Vec<Buffer>,
    bytes: Vec<Vec<u8>>,
}

impl Model {
    fn of(session: &Session, dtype: DType) -> Self {
        let buffer = |_| session.allocate(dtype, COUNT).expect("there is room");
        let size = (COUNT * dtype.bytes()) as usize;
        Self { buffers: (0..BUFFERS).map(buffer).collect(), bytes: vec![vec![0; size]; BUFFERS] }
    }

    /// Does the step on both sides; what reaches too far must be refused, and change nothing.
    fn step(&mut self, session: &Session, dtype: DType, step: &Step) {
        let (stream, size) = (session.stream(), dtype.bytes());
        let range = |at: u64, count: u64| (at * size) as usize..((at + count) * size) as usize;
        let fits = |at: u64, count: u64| at + count <= COUNT;
        match *step {
            Step::Upload { to, at, count, seed } => {
                let bytes: Vec<u8> = (0..count * size).map(|i| (i as u8).wrapping_mul(31) ^ seed).collect();
                let outcome = stream.upload_bytes(&self.buffers[to], at, &bytes);
                assert_eq!(outcome.is_ok(), fits(at, count), "{step:?}: {outcome:?}");
                if fits(at, count) {
                    self.bytes[to][range(at, count)].copy_from_slice(&bytes);
                }
            }
            Step::Fill { to, at, count, value } => {
                let pattern: Vec<u8> = (0..size as u8).map(|i| value.wrapping_add(i * 3)).collect();
                let outcome = self.fill(session, dtype, to, at, count, &pattern);
                assert_eq!(outcome.is_ok(), fits(at, count), "{step:?}: {outcome:?}");
                if fits(at, count) {
                    let bytes = &mut self.bytes[to][range(at, count)];
                    bytes.chunks_exact_mut(size as usize).for_each(|chunk| chunk.copy_from_slice(&pattern));
                }
            }
            Step::Copy { from, source, to, target, count } => {
                let outcome = stream.copy(&self.buffers[from], source, &self.buffers[to], target, count);
                let overlap = from == to && count > 0 && source.abs_diff(target) < count;
                let is_right = fits(source, count) && fits(target, count) && !overlap;
                assert_eq!(outcome.is_ok(), is_right, "{step:?}: {outcome:?}");
                if is_right {
                    let bytes = self.bytes[from][range(source, count)].to_vec();
                    self.bytes[to][range(target, count)].copy_from_slice(&bytes);
                }
            }
            Step::Check { of, at, count } => {
                let mut bytes = vec![0; (count * size) as usize];
                let outcome = stream.download_bytes(&self.buffers[of], at, &mut bytes);
                assert_eq!(outcome.is_ok(), fits(at, count), "{step:?}: {outcome:?}");
                if fits(at, count) {
                    assert_eq!(bytes, self.bytes[of][range(at, count)], "{step:?} of {dtype} on {session:?}");
                }
            }
        }
    }

    fn fill(
        &self,
        session: &Session,
        dtype: DType,
        to: usize,
        at: u64,
        count: u64,
        pattern: &[u8],
    ) -> engine_gpu::Result<()> {
        let (stream, buffer) = (session.stream(), &self.buffers[to]);
        match dtype {
            DType::U8 => stream.fill(buffer, at, count, pattern[0]),
            DType::F16 => {
                stream.fill(buffer, at, count, bytemuck::pod_read_unaligned::<engine_gpu::f16>(pattern))
            }
            DType::Bf16 => {
                stream.fill(buffer, at, count, bytemuck::pod_read_unaligned::<engine_gpu::bf16>(pattern))
            }
            DType::I32 => stream.fill(buffer, at, count, bytemuck::pod_read_unaligned::<i32>(pattern)),
            DType::U32 => stream.fill(buffer, at, count, bytemuck::pod_read_unaligned::<u32>(pattern)),
            DType::F32 => stream.fill(buffer, at, count, bytemuck::pod_read_unaligned::<f32>(pattern)),
            DType::I64 => stream.fill(buffer, at, count, bytemuck::pod_read_unaligned::<i64>(pattern)),
            DType::F64 => stream.fill(buffer, at, count, bytemuck::pod_read_unaligned::<f64>(pattern)),
        }
    }
}

#[test]
fn transfers_are_those_of_a_vector() {
    for session in every() {
        let dtypes = session.description().dtypes.clone();
        let cases = (proptest::sample::select(dtypes), steps());
        let mut runner =
            TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&cases, |(dtype, steps)| {
            let mut model = Model::of(&session, dtype);
            for step in &steps {
                model.step(&session, dtype, step);
            }
            for of in 0..BUFFERS {
                model.step(&session, dtype, &Step::Check { of, at: 0, count: COUNT });
            }
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("on {session:?}: {error}"));
    }
}

#[test]
fn transfers_larger_than_one_piece() {
    let count = (9 << 20) + 3_u64;
    for session in every() {
        let (one, other) = (session.allocate(DType::U8, count), session.allocate(DType::U8, count));
        let (one, other) = (one.expect("there is room"), other.expect("there is room"));
        let bytes: Vec<u8> = (0..count - 1).map(|i| (i % 251) as u8).collect();
        let stream = session.stream();
        stream.upload(&one, 1, &bytes).expect("it fits");
        // Within one buffer, by an odd number of bytes, in several pieces.
        stream.copy(&one, 1, &other, 0, count - 1).expect("it fits");
        let half = count / 2;
        stream.copy(&other, 0, &other, half + 1, half - 1).expect("they do not overlap");
        let made = values_of::<u8>(&session, &other);
        assert_eq!(made[..half as usize], bytes[..half as usize], "{session:?}");
        let copied = half as usize + 1..2 * half as usize;
        assert_eq!(made[copied], bytes[..half as usize - 1], "{session:?}");
    }
}

#[test]
fn types_must_be_those_of_the_buffer() {
    for session in every() {
        let floats = session.allocate(DType::F32, 4).expect("there is room");
        let integers = session.allocate(DType::U32, 4).expect("there is room");
        let stream = session.stream();
        assert_eq!(code(stream.upload(&floats, 0, &[1_u32])).as_str(), "INVALID_ARGUMENT");
        assert_eq!(code(stream.download(&floats, 0, &mut [0_i32])).as_str(), "INVALID_ARGUMENT");
        assert_eq!(code(stream.fill(&floats, 0, 1, 1_u8)).as_str(), "INVALID_ARGUMENT");
        assert_eq!(code(stream.copy(&floats, 0, &integers, 0, 1)).as_str(), "INVALID_ARGUMENT");
        assert_eq!(code(stream.upload_bytes(&floats, 0, &[0; 3])).as_str(), "INVALID_ARGUMENT");
    }
}
