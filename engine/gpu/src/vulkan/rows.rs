//! The library's kernels in which a block of threads works together: reductions, softmax, layer norm, matmul.
//! They write f32 (or integers of 32 bits); results of 16 bits are cast afterwards.

use crate::dtype::DType;
use crate::ops::{Matmul, Reduction};
use crate::vulkan::shaders::Shader;

/// Rows and columns of the result that one block makes.
pub(super) const TILE: u64 = 64;

/// What a reduction reads and writes. The memory beside the buffers is bound once, as both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stage {
    /// Reads what another stage has left in the memory beside the buffers.
    pub(super) from_scratch: bool,
    /// Leaves its result there, for another stage or to be cast.
    pub(super) to_scratch: bool,
    /// Another stage comes: indices are left with the values, and sums are not yet means.
    pub(super) is_first_of_two: bool,
}

/// Of [outer, axis, inner] to [outer, parts, inner]: each block makes one number, of `p.part` elements.
/// Values in the memory beside the buffers stand from `p.values` on, indices from `p.indices` on.
pub(super) fn reduce(op: Reduction, dtype: DType, stage: Stage) -> String {
    let wide = match dtype {
        DType::I32 | DType::U32 => dtype,
        _ => DType::F32,
    };
    let lane = wide.name();
    let is_index = op == Reduction::ArgMaximum;
    let mut shader = Shader::new();
    if !stage.to_scratch {
        shader.buffer("output", true);
    }
    if !stage.from_scratch {
        shader.buffer("a", false).loader("a", "a", dtype);
    }
    if stage.from_scratch || stage.to_scratch {
        shader.buffer("s", true);
    }
    let scalars =
        ["axis", "inner", "part", "parts", "blocks", "identity", "total", "values", "indices", "result"];
    shader.scalars(&scalars);
    if stage.from_scratch {
        shader.add(format!("fn load_a(i: u32) -> {lane} {{ return bitcast<{lane}>(s[p.values + i]); }}"));
    }
    let index = if stage.from_scratch { "s[p.indices + i]" } else { "e" };
    let better = "v > best || (v == best && j < best_at)";
    let (each, join) = match op {
        Reduction::Sum | Reduction::Mean => ("best += v;".to_owned(), "best += v;"),
        Reduction::Minimum => ("best = min(best, v);".to_owned(), "best = min(best, v);"),
        Reduction::Maximum => ("best = max(best, v);".to_owned(), "best = max(best, v);"),
        Reduction::ArgMaximum => (
            format!("let j = {index}; if {better} {{ best = v; best_at = j; }}"),
            "let j = shared_at[l + step]; if v > best || (v == best && j < best_at) { best = v; best_at = j; }",
        ),
    };
    shader.add(format!("var<workgroup> shared_values: array<{lane}, 256>;"));
    let (keep, give) = match is_index {
        true => {
            shader.add("var<workgroup> shared_at: array<u32, 256>;");
            ("shared_at[l] = best_at;", "best_at = shared_at[0];")
        }
        false => ("", ""),
    };
    let target = if stage.to_scratch { "s[p.result + block]" } else { "output[block]" };
    let store = match (is_index, stage.is_first_of_two) {
        (true, true) => {
            "s[p.result + block] = bitcast<u32>(best); s[p.indices + block] = best_at;".to_owned()
        }
        // Only where every element is none: the first.
        (true, false) => format!("{target} = select(best_at, 0u, best_at == 0xffffffffu);"),
        (false, false) if op == Reduction::Mean => format!("{target} = bitcast<u32>(best / f32(p.total));"),
        _ => format!("{target} = bitcast<u32>(best);"),
    };
    shader.main(&format!(
        "let o = block / (p.parts * p.inner);
         let q = (block / p.inner) % p.parts;
         let inside = block % p.inner;
         let is_one = block < p.blocks;
         var best = bitcast<{lane}>(p.identity);
         var best_at = 0xffffffffu;
         let end = select(0u, min(q * p.part + p.part, p.axis), is_one);
         for (var e = q * p.part + l; e < end; e += 256u) {{
             let i = (o * p.axis + e) * p.inner + inside;
             let v = load_a(i);
             {each}
         }}
         shared_values[l] = best;
         {keep}
         workgroupBarrier();
         for (var step = 128u; step > 0u; step = step / 2u) {{
             if l < step {{
                 let v = shared_values[l + step];
                 {join}
                 shared_values[l] = best;
                 {keep}
             }}
             workgroupBarrier();
         }}
         if l == 0u && is_one {{
             best = shared_values[0];
             {give}
             {store}
         }}"
    ))
}

/// `together(x)`: over the block's threads, what `join` makes of `best` and `v`.
fn together(name: &str, join: &str) -> String {
    format!(
        "fn {name}(l: u32, mine: f32) -> f32 {{
             var best = mine;
             workgroupBarrier();
             shared_values[l] = best;
             workgroupBarrier();
             for (var step = 128u; step > 0u; step = step / 2u) {{
                 if l < step {{
                     let v = shared_values[l + step];
                     best = {join};
                     shared_values[l] = best;
                 }}
                 workgroupBarrier();
             }}
             return shared_values[0];
         }}"
    )
}

/// A block for each row; `output` is f32.
pub(super) fn softmax(dtype: DType) -> String {
    let mut shader = Shader::new();
    shader.buffer("output", true).buffer("a", false).loader("a", "a", dtype);
    shader.scalars(&["rows", "columns", "identity"]).add("var<workgroup> shared_values: array<f32, 256>;");
    shader.add(together("largest_of", "max(best, v)")).add(together("sum_of", "best + v"));
    shader.main(
        "let first = block * p.columns;
         let end = select(0u, p.columns, block < p.rows);
         var most = bitcast<f32>(p.identity);
         for (var e = l; e < end; e += 256u) { most = max(most, load_a(first + e)); }
         let largest = largest_of(l, most);
         var part = 0.0;
         for (var e = l; e < end; e += 256u) { part += exp(load_a(first + e) - largest); }
         let sum = sum_of(l, part);
         for (var e = l; e < end; e += 256u) {
             output[first + e] = bitcast<u32>(exp(load_a(first + e) - largest) / sum);
         }",
    )
}

/// A block for each row; `output` is f32.
pub(super) fn layer_norm(dtype: DType, has_scale: bool, has_shift: bool) -> String {
    let mut shader = Shader::new();
    shader.buffer("output", true).buffer("a", false).loader("a", "a", dtype);
    if has_scale {
        shader.buffer("scale", false).loader("scale", "scale", dtype);
    }
    if has_shift {
        shader.buffer("shift", false).loader("shift", "shift", dtype);
    }
    shader.scalars(&["rows", "columns", "epsilon"]).add("var<workgroup> shared_values: array<f32, 256>;");
    shader.add(together("sum_of", "best + v"));
    let scale = if has_scale { "* load_scale(e)" } else { "" };
    let shift = if has_shift { "+ load_shift(e)" } else { "" };
    shader.main(&format!(
        "let first = block * p.columns;
         let end = select(0u, p.columns, block < p.rows);
         var part = 0.0;
         for (var e = l; e < end; e += 256u) {{ part += load_a(first + e); }}
         let mean = sum_of(l, part) / f32(p.columns);
         part = 0.0;
         for (var e = l; e < end; e += 256u) {{ let d = load_a(first + e) - mean; part += d * d; }}
         let by = inverseSqrt(sum_of(l, part) / f32(p.columns) + bitcast<f32>(p.epsilon));
         for (var e = l; e < end; e += 256u) {{
             output[first + e] = bitcast<u32>((load_a(first + e) - mean) * by {scale} {shift});
         }}"
    ))
}

/// A block for each [`TILE`] by [`TILE`] of the result, which is f32; `before` is what a multiple of is added.
pub(super) fn matmul(dtype: DType, shape: &Matmul) -> String {
    let adds = shape.beta != 0.0;
    let is_half = dtype.is_half();
    let mut shader = Shader::new();
    shader.buffer("output", true).buffer("a", false).loader("a", "a", dtype);
    shader.buffer("b", false).loader("b", "b", dtype);
    if adds && is_half {
        shader.buffer("before", false).loader("before", "before", dtype);
    } else if adds {
        shader.loader("before", "output", dtype);
    }
    shader.scalars(&["m", "n", "k", "batch", "alpha", "beta"]);
    shader.add("var<workgroup> ta: array<f32, 1024>;\nvar<workgroup> tb: array<f32, 1024>;");
    let a = if shape.transpose_left { "c * p.m + r" } else { "r * p.k + c" };
    let b = if shape.transpose_right { "c * p.k + r" } else { "r * p.n + c" };
    shader.add(format!(
        "fn left(z: u32, r: u32, c: u32) -> f32 {{
             if r < p.m && c < p.k {{ return load_a(z * p.m * p.k + {a}); }}
             return 0.0;
         }}
         fn right(z: u32, r: u32, c: u32) -> f32 {{
             if r < p.k && c < p.n {{ return load_b(z * p.k * p.n + {b}); }}
             return 0.0;
         }}"
    ));
    let old = if adds { "+ bitcast<f32>(p.beta) * load_before(i)" } else { "" };
    shader.main(&format!(
        "let z = p.batch + w.z;
         let row = w.y * 64u;
         let column = w.x * 64u;
         let ty = l / 16u;
         let tx = l % 16u;
         var sums: array<f32, 16>;
         for (var depth = 0u; depth < p.k; depth += 16u) {{
             for (var e = 0u; e < 4u; e++) {{
                 let i = l + e * 256u;
                 ta[i] = left(z, row + i / 16u, depth + i % 16u);
                 tb[i] = right(z, depth + i / 64u, column + i % 64u);
             }}
             workgroupBarrier();
             for (var q = 0u; q < 16u; q++) {{
                 let y = vec4f(tb[q * 64u + tx * 4u], tb[q * 64u + tx * 4u + 1u], tb[q * 64u + tx * 4u + 2u], tb[q * 64u + tx * 4u + 3u]);
                 for (var r = 0u; r < 4u; r++) {{
                     let x = ta[(ty * 4u + r) * 16u + q];
                     sums[r * 4u] += x * y.x;
                     sums[r * 4u + 1u] += x * y.y;
                     sums[r * 4u + 2u] += x * y.z;
                     sums[r * 4u + 3u] += x * y.w;
                 }}
             }}
             workgroupBarrier();
         }}
         for (var e = 0u; e < 16u; e++) {{
             let r = row + ty * 4u + e / 4u;
             let c = column + tx * 4u + e % 4u;
             if r < p.m && c < p.n {{
                 let i = (z * p.m + r) * p.n + c;
                 output[i] = bitcast<u32>(bitcast<f32>(p.alpha) * sums[e] {old});
             }}
         }}"
    ))
}
