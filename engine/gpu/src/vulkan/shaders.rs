//! The library's kernels, in WGSL: put together from pieces, as there is one for each type.
//!
//! Every buffer is words of 32 bits, in which smaller elements lie packed; a thread that writes such elements
//! writes whole words, and keeps what of a word is not its own. Numbers of 16 bits are computed on as f32
//! and rounded by hand, as WGSL's own conversions round as they like and forget infinities.

use std::fmt::Write;

use half::{bf16, f16};

use crate::device::DeviceLimits;
use crate::dtype::DType;
use crate::error::{Result, exceeded};
use crate::ops::{Binary, Distribution, Unary};

/// Threads of a block of every kernel of the library.
pub(super) const BLOCK_THREADS: u64 = 256;

/// So many blocks, in rows of what the device allows.
pub(super) fn linear_grid(blocks: u64, limits: &DeviceLimits) -> Result<[u32; 3]> {
    let max = u64::from(limits.grid_max[0]);
    let columns = blocks.clamp(1, max);
    let rows = blocks.div_ceil(columns).max(1);
    if rows > u64::from(limits.grid_max[1]) {
        return exceeded(format!("{blocks} blocks are more than one launch has here: work on parts"));
    }
    Ok([columns as u32, rows as u32, 1])
}

/// Elements in a word.
pub(super) fn per_word(dtype: DType) -> u64 {
    4 / dtype.bytes().clamp(1, 4)
}

/// What elements are while they are computed on.
fn lane(dtype: DType) -> &'static str {
    match dtype {
        DType::I32 => "i32",
        DType::U8 | DType::U32 => "u32",
        _ => "f32",
    }
}

/// The bits of a number while it is computed on.
pub(super) fn lane_bits(number: f64, dtype: DType) -> u32 {
    match dtype {
        DType::U8 => u32::from(number as u8),
        DType::I32 => (number as i32).cast_unsigned(),
        DType::U32 => number as u32,
        DType::F16 => f16::from_f32(number as f32).to_f32().to_bits(),
        DType::Bf16 => bf16::from_f32(number as f32).to_f32().to_bits(),
        _ => (number as f32).to_bits(),
    }
}

const CONVERSIONS: &str = "
fn from_f16(h: u32) -> f32 {
    let sign = (h & 0x8000u) << 16u;
    let exponent = (h >> 10u) & 31u;
    let mantissa = h & 1023u;
    if exponent == 31u { return bitcast<f32>(sign | 0x7f800000u | (mantissa << 13u)); }
    if exponent == 0u {
        let small = f32(mantissa) * 5.9604644775390625e-8;
        return select(small, -small, sign != 0u);
    }
    return bitcast<f32>(sign | ((exponent + 112u) << 23u) | (mantissa << 13u));
}
fn to_f16(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    let sign = (bits >> 16u) & 0x8000u;
    let a = bits & 0x7fffffffu;
    if a > 0x7f800000u { return sign | 0x7e00u; }
    if a >= 0x477ff000u { return sign | 0x7c00u; }
    if a < 0x38800000u { return sign | u32(round(bitcast<f32>(a) * 16777216.0)); }
    return sign | ((a + 0xfffu + ((a >> 13u) & 1u) - 0x38000000u) >> 13u);
}
fn from_bf16(h: u32) -> f32 { return bitcast<f32>(h << 16u); }
fn to_bf16(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    if (bits & 0x7fffffffu) > 0x7f800000u { return (bits >> 16u) | 0x40u; }
    return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
}
";

/// A kernel that is being put together: `main` has `at`, a thread's number, `block`, its block's, and `l`, its
/// own in the block.
pub(super) struct Shader {
    text: String,
    buffers: usize,
}

impl Shader {
    pub(super) fn new() -> Self {
        Self { text: CONVERSIONS.to_owned(), buffers: 0 }
    }

    pub(super) fn add(&mut self, text: impl AsRef<str>) -> &mut Self {
        self.text.push_str(text.as_ref());
        self.text.push('\n');
        self
    }

    /// The next buffer.
    pub(super) fn buffer(&mut self, name: &str, writes: bool) -> &mut Self {
        let access = if writes { "read_write" } else { "read" };
        let at = self.buffers;
        self.buffers += 1;
        self.add(format!("@group(0) @binding({at}) var<storage, {access}> {name}: array<u32>;"))
    }

    /// `load_NAME(i)`: element i of the buffer, from `base` on.
    pub(super) fn loader(&mut self, name: &str, buffer: &str, dtype: DType) -> &mut Self {
        let body = match dtype {
            DType::F32 => format!("bitcast<f32>({buffer}[i])"),
            DType::I32 => format!("bitcast<i32>({buffer}[i])"),
            DType::F16 => format!("from_f16(({buffer}[i / 2u] >> ((i % 2u) * 16u)) & 0xffffu)"),
            DType::Bf16 => format!("from_bf16(({buffer}[i / 2u] >> ((i % 2u) * 16u)) & 0xffffu)"),
            DType::U8 => format!("(({buffer}[i / 4u] >> ((i % 4u) * 8u)) & 0xffu)"),
            _ => format!("{buffer}[i]"),
        };
        self.add(format!("fn load_{name}(i: u32) -> {} {{ return {body}; }}", lane(dtype)))
    }

    /// `bits(x)`: a number as the bits of an element.
    pub(super) fn encoder(&mut self, dtype: DType) -> &mut Self {
        let body = match dtype {
            DType::F32 | DType::I32 => "bitcast<u32>(x)",
            DType::F16 => "to_f16(x)",
            DType::Bf16 => "to_bf16(x)",
            DType::U8 => "x & 0xffu",
            _ => "x",
        };
        self.add(format!("fn bits(x: {}) -> u32 {{ return {body}; }}", lane(dtype)))
    }

    /// The scalars, each a word, as `p.NAME`. After the last buffer.
    pub(super) fn scalars(&mut self, names: &[&str]) -> &mut Self {
        let at = self.buffers;
        let members = names.iter().fold(String::new(), |mut members, name| {
            let _ = write!(members, "{name}: u32, ");
            members
        });
        self.add(format!("struct P {{ {members} }}\n@group(0) @binding({at}) var<uniform> p: P;"))
    }

    pub(super) fn main(&mut self, body: &str) -> String {
        self.add(format!(
            "@compute @workgroup_size({BLOCK_THREADS}) fn main(@builtin(workgroup_id) w: vec3u, \
             @builtin(num_workgroups) n: vec3u, @builtin(local_invocation_index) l: u32) {{\n\
             let block = w.y * n.x + w.x;\nlet at = block * {BLOCK_THREADS}u + l;\n{body}\n}}"
        ));
        std::mem::take(&mut self.text)
    }

    /// A thread for each word of `output`, of which the elements below `p.count` become `value(i)`.
    pub(super) fn elementwise(&mut self, dtype: DType) -> String {
        let per = per_word(dtype);
        if per == 1 {
            return self.main("if at < p.count { output[at] = bits(value(at)); }");
        }
        let width = 32 / per;
        self.main(&format!(
            "if at * {per}u >= p.count {{ return; }}
             var word = output[at];
             for (var k = 0u; k < {per}u; k++) {{
                 let i = at * {per}u + k;
                 if i < p.count {{ word = insertBits(word, bits(value(i)), k * {width}u, {width}u); }}
             }}
             output[at] = word;"
        ))
    }
}

/// Words `p.first` on, `p.words` of them, whose bytes from `p.begin` to `p.end` become those of `p.pattern`.
pub(super) fn fill() -> String {
    let mut shader = Shader::new();
    shader.buffer("output", true).scalars(&["first", "words", "begin", "end", "pattern"]);
    shader.main(
        "if at >= p.words { return; }
         let i = p.first + at;
         var word = output[i];
         for (var k = 0u; k < 4u; k++) {
             let byte = i * 4u + k;
             if byte >= p.begin && byte < p.end {
                 word = insertBits(word, extractBits(p.pattern, k * 8u, 8u), k * 8u, 8u);
             }
         }
         output[i] = word;",
    )
}

/// Words `p.first` on, `p.words` of them, whose `p.size` bytes from `p.to` on become those of `a` from `p.source` on.
pub(super) fn copy() -> String {
    let mut shader = Shader::new();
    shader.buffer("output", true).buffer("a", false);
    shader.loader("a", "a", DType::U8).scalars(&["first", "words", "source", "to", "size"]);
    shader.main(
        "if at >= p.words { return; }
         let i = p.first + at;
         var word = output[i];
         for (var k = 0u; k < 4u; k++) {
             let byte = i * 4u + k;
             if byte >= p.to && byte - p.to < p.size {
                 word = insertBits(word, load_a(p.source + byte - p.to), k * 8u, 8u);
             }
         }
         output[i] = word;",
    )
}

pub(super) fn unary(op: Unary, dtype: DType, in_place: bool) -> String {
    let zero = if dtype == DType::I32 { "0i" } else { "0.0" };
    let value = match op {
        Unary::Negate => "-x".to_owned(),
        Unary::Absolute => "abs(x)".to_owned(),
        Unary::Exp => "exp(x)".to_owned(),
        Unary::Log => "log(x)".to_owned(),
        Unary::Sqrt => "sqrt(x)".to_owned(),
        Unary::Sin => "sin(x)".to_owned(),
        Unary::Cos => "cos(x)".to_owned(),
        // Beyond, it is 1 in f32, and e to twice the number may be none.
        Unary::Tanh => "tanh(clamp(x, -15.0, 15.0))".to_owned(),
        Unary::Sigmoid => "1.0 / (1.0 + exp(-x))".to_owned(),
        Unary::Relu => format!("select({zero}, x, x > {zero})"),
        Unary::Floor => "floor(x)".to_owned(),
        Unary::Ceil => "ceil(x)".to_owned(),
    };
    let mut shader = Shader::new();
    shader.buffer("output", true);
    if !in_place {
        shader.buffer("a", false);
    }
    shader.loader("a", if in_place { "output" } else { "a" }, dtype).encoder(dtype).scalars(&["count"]);
    shader.add(format!("fn value(i: u32) -> {} {{ let x = load_a(i); return {value}; }}", lane(dtype)));
    shader.elementwise(dtype)
}

/// Where a side of a binary operation comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// The output, which is worked on in place.
    Output,
    /// The next buffer.
    Buffer,
    /// A scalar.
    Number,
}

pub(super) fn binary(op: Binary, dtype: DType, sides: [From; 2]) -> String {
    let lane = lane(dtype);
    let value = match op {
        Binary::Add => "x + y",
        Binary::Subtract => "x - y",
        Binary::Multiply => "x * y",
        Binary::Divide if dtype.is_float() => "x / y",
        Binary::Divide => "select(x / y, 0, y == 0)",
        Binary::Power => "power(x, y)",
        Binary::Minimum => "min(x, y)",
        Binary::Maximum => "max(x, y)",
    };
    let mut shader = Shader::new();
    shader.buffer("output", true);
    for (name, side) in ["x", "y"].iter().zip(sides) {
        if side == From::Buffer {
            shader.buffer(name, false);
        }
    }
    shader.encoder(dtype).scalars(&["count", "x", "y"]);
    for (name, side) in ["x", "y"].iter().zip(sides) {
        match side {
            From::Output => shader.loader(name, "output", dtype),
            From::Buffer => shader.loader(name, name, dtype),
            From::Number => shader
                .add(format!("fn load_{name}(i: u32) -> {lane} {{ return bitcast<{lane}>(p.{name}); }}")),
        };
    }
    if op == Binary::Power {
        shader.add(
            "fn power(x: f32, y: f32) -> f32 {
                 if y == 0.0 { return 1.0; }
                 let size = pow(abs(x), y);
                 return select(size, -size, x < 0.0 && fract(y * 0.5) != 0.0);
             }",
        );
    }
    shader.add(format!(
        "fn value(i: u32) -> {lane} {{ let x = load_x(i); let y = load_y(i); return {value}; }}"
    ));
    shader.elementwise(dtype)
}

pub(super) fn cast(from: DType, to: DType) -> String {
    let (have, want) = (lane(from), lane(to));
    let value = match (have, want) {
        ("f32", "f32") => "x",
        // Beyond an integer's range its nearest; NaN is 0.
        ("f32", "u32") if to == DType::U8 => "select(u32(clamp(x, 0.0, 255.0)), 0u, !(x > 0.0))",
        ("f32", "u32") => {
            "select(select(u32(clamp(x, 0.0, 4294967040.0)), 0xffffffffu, x >= 4294967296.0), 0u, !(x > 0.0))"
        }
        ("f32", _) => {
            "select(select(select(i32(clamp(x, -2147483520.0, 2147483520.0)), 2147483647i, x >= 2147483648.0), \
             bitcast<i32>(0x80000000u), x <= -2147483648.0), 0i, !(x > 0.0) && !(x <= 0.0))"
        }
        (_, "f32") => "f32(x)",
        ("i32", "u32") => "bitcast<u32>(x)",
        ("u32", "i32") => "bitcast<i32>(x)",
        _ => "x",
    };
    let mut shader = Shader::new();
    shader.buffer("output", true).buffer("a", false);
    shader.loader("a", "a", from).encoder(to).scalars(&["count"]);
    shader.add(format!("fn value(i: u32) -> {want} {{ let x = load_a(i); return {value}; }}"));
    shader.elementwise(to)
}

const PHILOX: &str = "
fn product_high(a: u32, b: u32) -> u32 {
    let al = a & 0xffffu; let ah = a >> 16u;
    let bl = b & 0xffffu; let bh = b >> 16u;
    let low = al * bl;
    let middle = ah * bl + (low >> 16u);
    let other = al * bh + (middle & 0xffffu);
    return ah * bh + (middle >> 16u) + (other >> 16u);
}
fn philox(group: u32) -> array<u32, 4> {
    var c = array<u32, 4>(group, 0u, 0u, 0u);
    var k0 = p.seed_low;
    var k1 = p.seed_high;
    for (var round = 0u; round < 10u; round++) {
        let high_a = product_high(0xD2511F53u, c[0]);
        let low_a = 0xD2511F53u * c[0];
        let high_b = product_high(0xCD9E8D57u, c[2]);
        let low_b = 0xCD9E8D57u * c[2];
        c = array<u32, 4>(high_b ^ c[1] ^ k0, low_b, high_a ^ c[3] ^ k1, low_a);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}
fn unit(bits: u32) -> f32 { return f32(bits >> 8u) * 5.9604644775390625e-8; }
";

/// A thread for each group of four elements, which are of one word or two.
pub(super) fn random(distribution: Distribution, dtype: DType) -> String {
    let values = match distribution {
        Distribution::Bits => "let v = r;",
        Distribution::Uniform { .. } => {
            "let low = bitcast<f32>(p.first);
             let by = bitcast<f32>(p.second);
             let v = array<f32, 4>(low + unit(r[0]) * by, low + unit(r[1]) * by, low + unit(r[2]) * by, low + unit(r[3]) * by);"
        }
        Distribution::Normal { .. } => {
            "let mean = bitcast<f32>(p.first);
             let by = bitcast<f32>(p.second);
             let ra = by * sqrt(-2.0 * log(unit(r[0]) + 5.9604644775390625e-8));
             let rb = by * sqrt(-2.0 * log(unit(r[2]) + 5.9604644775390625e-8));
             let ta = 6.283185307179586 * (unit(r[1]) - 0.5);
             let tb = 6.283185307179586 * (unit(r[3]) - 0.5);
             let v = array<f32, 4>(mean + ra * cos(ta), mean + ra * sin(ta), mean + rb * cos(tb), mean + rb * sin(tb));"
        }
    };
    let per = per_word(dtype);
    let store = match per {
        1 => "if i + k < p.count { output[i + k] = bits(u[k]); }".to_owned(),
        _ => "if i + k < p.count {
                  let word = (i + k) / 2u;
                  output[word] = insertBits(output[word], bits(u[k]), (k % 2u) * 16u, 16u);
              }"
        .to_owned(),
    };
    let mut shader = Shader::new();
    shader.buffer("output", true).encoder(dtype);
    let scalars = ["count", "seed_low", "seed_high", "first", "second"];
    match distribution {
        Distribution::Bits => shader.scalars(&scalars[..3]),
        _ => shader.scalars(&scalars),
    };
    shader.add(PHILOX);
    shader.main(&format!(
        "let i = at * 4u;
         if i >= p.count {{ return; }}
         let r = philox(at);
         {values}
         var u = v;
         for (var k = 0u; k < 4u; k++) {{ {store} }}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_blocks_go_in_rows() {
        let limits = DeviceLimits {
            buffer_bytes_max: 0,
            binding_bytes_max: 0,
            binding_alignment_bytes: 1,
            bindings_max: 0,
            grid_max: [100, 50, 1],
            block_max: [0; 3],
            block_threads_max: 0,
            shared_bytes_max: 0,
        };
        assert_eq!(linear_grid(1, &limits), Ok([1, 1, 1]));
        assert_eq!(linear_grid(101, &limits), Ok([100, 2, 1]));
        assert_eq!(linear_grid(5_000, &limits), Ok([100, 50, 1]));
        assert!(linear_grid(5_001, &limits).is_err());
    }
}
