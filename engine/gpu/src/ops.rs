//! The operations of the library: what people should not write a kernel for by hand.
//!
//! Whoever makes an [`Operation`] (the session) has checked it: types, that every buffer is long enough, and
//! that what is written is nothing else that is read, but for elementwise operations in place.

use crate::backend::MemoryKey;
use crate::dtype::DType;

/// An operation on each element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unary {
    /// −x; integers wrap.
    Negate,
    /// |x|; integers wrap.
    Absolute,
    /// eˣ.
    Exp,
    /// ln x.
    Log,
    /// √x.
    Sqrt,
    /// sin x.
    Sin,
    /// cos x.
    Cos,
    /// tanh x.
    Tanh,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// x above 0, else 0.
    Relu,
    /// The largest whole number that is not above x.
    Floor,
    /// The smallest whole number that is not below x.
    Ceil,
}

impl Unary {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::Negate,
        Self::Absolute,
        Self::Exp,
        Self::Log,
        Self::Sqrt,
        Self::Sin,
        Self::Cos,
        Self::Tanh,
        Self::Sigmoid,
        Self::Relu,
        Self::Floor,
        Self::Ceil,
    ];

    /// Whether it is defined for elements of this type.
    pub fn takes(self, dtype: DType) -> bool {
        match self {
            Self::Negate | Self::Absolute => matches!(dtype, DType::I32 | DType::I64) || dtype.is_float(),
            Self::Relu => matches!(dtype, DType::I32 | DType::I64) || dtype.is_float(),
            _ => dtype.is_float(),
        }
    }
}

/// An operation on two elements at the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Binary {
    /// a + b; integers wrap.
    Add,
    /// a − b; integers wrap.
    Subtract,
    /// a · b; integers wrap.
    Multiply,
    /// a / b; of integers towards zero, and 0 where b is 0.
    Divide,
    /// a to the power of b; floats only. Below zero, a is only defined for a whole b.
    Power,
    /// The smaller; with a NaN, either.
    Minimum,
    /// The larger; with a NaN, either.
    Maximum,
}

impl Binary {
    /// Every one.
    pub const ALL: [Self; 7] =
        [Self::Add, Self::Subtract, Self::Multiply, Self::Divide, Self::Power, Self::Minimum, Self::Maximum];

    /// Whether it is defined for elements of this type.
    pub fn takes(self, dtype: DType) -> bool {
        dtype.is_float() || self != Self::Power && dtype != DType::U8
    }
}

/// Many elements to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// The sum; integers wrap.
    Sum,
    /// The smallest; with a NaN, any.
    Minimum,
    /// The largest; with a NaN, any.
    Maximum,
    /// The sum by the count; floats only.
    Mean,
    /// The index of the first largest along the axis, as u32.
    ArgMaximum,
}

impl Reduction {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Sum, Self::Minimum, Self::Maximum, Self::Mean, Self::ArgMaximum];

    /// Whether it is defined for elements of this type.
    pub fn takes(self, dtype: DType) -> bool {
        dtype.is_float() || self != Self::Mean && dtype != DType::U8
    }

    /// The type of the result.
    pub fn result(self, dtype: DType) -> DType {
        if self == Self::ArgMaximum { DType::U32 } else { dtype }
    }
}

/// How random numbers are distributed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Distribution {
    /// 32 random bits each, for u32: the same on every device.
    Bits,
    /// From `low` up to, without, `high`. From 0 to 1 in f32 the same on every device, else to a rounding.
    Uniform {
        /// The least.
        low: f32,
        /// What none reaches, but by rounding.
        high: f32,
    },
    /// The normal distribution, from the same bits on every device; logarithm and cosine are the device's.
    Normal {
        /// The middle.
        mean: f32,
        /// The standard deviation.
        deviation: f32,
    },
}

/// A product of matrices, or of as many pairs as `batch`, one behind the other, in row-major order:
/// `output[m, n] = alpha · left[m, k] · right[k, n] + beta · output[m, n]`. It is computed in f32 (f64 for
/// f64) and rounded at the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Matmul {
    /// How many products.
    pub batch: u64,
    /// Rows of the result.
    pub m: u64,
    /// Columns of the result.
    pub n: u64,
    /// Columns of the left, rows of the right.
    pub k: u64,
    /// The left lies as [k, m].
    pub transpose_left: bool,
    /// The right lies as [n, k].
    pub transpose_right: bool,
    /// What the product is multiplied with.
    pub alpha: f32,
    /// What of the result was there before and is added; with 0, it is not read.
    pub beta: f32,
}

impl Matmul {
    /// One product of [m, k] and [k, n].
    pub fn new(m: u64, n: u64, k: u64) -> Self {
        Self { batch: 1, m, n, k, transpose_left: false, transpose_right: false, alpha: 1.0, beta: 0.0 }
    }
}

/// One side of a binary operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Side {
    /// The elements of a buffer.
    Memory(MemoryKey),
    /// The same number everywhere.
    Number(f64),
}

/// A checked operation of the library. Counts are of elements, from the beginning of each buffer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Operation {
    Unary {
        op: Unary,
        dtype: DType,
        input: MemoryKey,
        output: MemoryKey,
        count: u64,
    },
    Binary {
        op: Binary,
        dtype: DType,
        left: Side,
        right: Side,
        output: MemoryKey,
        count: u64,
    },
    Cast {
        from: DType,
        to: DType,
        input: MemoryKey,
        output: MemoryKey,
        count: u64,
    },
    /// Of [outer, axis, inner] to [outer, inner].
    Reduce {
        op: Reduction,
        dtype: DType,
        input: MemoryKey,
        output: MemoryKey,
        outer: u64,
        axis: u64,
        inner: u64,
    },
    Softmax {
        dtype: DType,
        input: MemoryKey,
        output: MemoryKey,
        rows: u64,
        columns: u64,
    },
    LayerNorm {
        dtype: DType,
        input: MemoryKey,
        scale: Option<MemoryKey>,
        shift: Option<MemoryKey>,
        output: MemoryKey,
        rows: u64,
        columns: u64,
        epsilon: f32,
    },
    Random {
        dtype: DType,
        distribution: Distribution,
        seed: u64,
        output: MemoryKey,
        count: u64,
    },
    Matmul {
        dtype: DType,
        shape: Matmul,
        left: MemoryKey,
        right: MemoryKey,
        output: MemoryKey,
    },
}
