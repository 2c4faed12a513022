//! What WGSL from strangers is looked at for before a compiler sees it, and what it says of itself.
//!
//! naga is recursive: over expressions, blocks, and what refers to what. Three bounds make that finite: the
//! bytes of a source, the operators of one statement, and the `else`s of a source; with them, compiling
//! stays within [`COMPILE_STACK_BYTES`] of a thread of its own.

use wgpu::naga;

use crate::backend::{BindingShape, ScalarRoom};
use crate::error::{Code, Error, Result, exceeded, invalid, unsupported};
use crate::vulkan::sizes::check_sizes;

/// Operators, and things that nest, in one statement: as deep as an expression can be.
const STATEMENT_OPERATORS_MAX: usize = 4_096;
/// `else`s in a source: as deep as a chain of them is to the compiler.
const ELSES_MAX: usize = 1_024;
/// Bytes of variables that are each thread's own, and of any value that is not taken apart.
const PRIVATE_BYTES_MAX: u64 = 64 << 10;
/// The stack of the thread that compiles. Only what is used of it is taken.
pub(super) const COMPILE_STACK_BYTES: usize = 256 << 20;

/// What a source says of one of its entry points.
#[derive(Debug)]
pub(super) struct Reflection {
    pub(super) module: naga::Module,
    /// Of each buffer.
    pub(super) bindings: Vec<BindingShape>,
    /// Of the scalars, where there are any.
    pub(super) scalars: Option<ScalarRoom>,
    pub(super) block: [u32; 3],
}

/// LIMIT_EXCEEDED for a source that would take the compiler too deep, or too much memory.
pub(super) fn check_depth(source: &str) -> Result<()> {
    let bytes = without_comments(source);
    check_sizes(&bytes)?;
    let (mut operators, mut elses, mut line) = (0, 0, 1);
    let mut word = Vec::new();
    for byte in bytes.bytes().chain([b' ']) {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            word.push(byte);
            continue;
        }
        elses += usize::from(std::mem::take(&mut word) == b"else");
        match byte {
            b';' | b'{' | b'}' => operators = 0,
            b'\n' => line += 1,
            b',' | b')' | b']' => {}
            _ if byte.is_ascii_punctuation() => operators += 1,
            _ => {}
        }
        if operators > STATEMENT_OPERATORS_MAX {
            return exceeded(format!(
                "line {line} of the kernel's source: a statement of more than {STATEMENT_OPERATORS_MAX} \
                 operators: split it"
            ));
        }
        if elses > ELSES_MAX {
            return exceeded(format!(
                "line {line} of the kernel's source: more than {ELSES_MAX} times `else`: use switch, or a table"
            ));
        }
    }
    Ok(())
}

/// What ends a line of WGSL, and so a comment.
const LINE_ENDS: [char; 7] = ['\n', '\x0b', '\x0c', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
/// Blanks of WGSL that are no white space to Rust.
const BLANKS: [char; 2] = ['\u{200e}', '\u{200f}'];

/// The source with spaces for comments, which nest in WGSL; line ends stay.
fn without_comments(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut chars = source.chars().peekable();
    let mut depth = 0;
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('/', Some('*')) => {
                chars.next();
                depth += 1;
            }
            ('*', Some('/')) if depth > 0 => {
                chars.next();
                depth -= 1;
                if depth == 0 {
                    out.push(' ');
                }
            }
            ('/', Some('/')) if depth == 0 => while chars.next_if(|c| !LINE_ENDS.contains(c)).is_some() {},
            ('\n', _) => out.push('\n'),
            (c, _) if BLANKS.contains(&c) => out.push(' '),
            _ if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// Reads a source and what its entry point takes.
///
/// # Errors
/// GPU_COMPILE_ERROR with the compiler's text; INVALID_ARGUMENT for an entry point that is not there, and
/// bindings that are not as [`crate::KernelSource::Wgsl`] says.
pub(super) fn reflect(source: &str, entry: &str, shared_bytes_max: u32) -> Result<Reflection> {
    let compile_error = |text: String| Error::new(Code::CompileError, format!("kernel {entry}: {text}"));
    let module =
        naga::front::wgsl::parse_str(source).map_err(|error| compile_error(error.emit_to_string(source)))?;
    let mut validator =
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all());
    let info = validator.validate(&module).map_err(|error| compile_error(error.emit_to_string(source)))?;
    let found = module.entry_points.iter().position(|point| point.name == entry);
    let Some(index) = found else {
        let names: Vec<&str> = module.entry_points.iter().map(|point| point.name.as_str()).take(16).collect();
        return invalid(format!("the source has no entry point {entry}; it has: {}", names.join(", ")));
    };
    let point = &module.entry_points[index];
    if point.stage != naga::ShaderStage::Compute {
        return invalid(format!("{entry} is no compute shader: write @compute before it"));
    }
    if point.workgroup_size_overrides.is_some() {
        return unsupported(format!("{entry}: a workgroup size of overrides: write numbers"));
    }
    let uses = info.get_entry_point(index);
    let size = |ty| module.types[ty].inner.try_size(module.to_ctx()).map(u64::from);
    let mut layouts = naga::proc::Layouter::default();
    layouts.update(module.to_ctx()).map_err(|error| compile_error(error.to_string()))?;
    let (mut storage, mut uniform) = (Vec::new(), None);
    let (mut shared, mut private) = (0, 0);
    for (_, variable) in module.global_variables.iter().filter(|(handle, _)| !uses[*handle].is_empty()) {
        let name = variable.name.as_deref().unwrap_or("?");
        match variable.space {
            naga::AddressSpace::Storage { access } => {
                let writes = access.contains(naga::StorageAccess::STORE);
                // Of what has no end, one element.
                let bytes_min = size(variable.ty).unwrap_or(u64::MAX);
                storage.push((slot(variable, name, entry)?, BindingShape { writes, bytes_min }));
            }
            naga::AddressSpace::Uniform if uniform.is_none() => {
                let layout = layouts[variable.ty];
                let alignment = u64::from(layout.alignment * 1_u32);
                let room = ScalarRoom { bytes: u64::from(layout.size), alignment };
                uniform = Some((slot(variable, name, entry)?, room));
            }
            naga::AddressSpace::Uniform => {
                return invalid(format!(
                    "{entry}: a second var<uniform> {name}: put all scalars in one struct"
                ));
            }
            naga::AddressSpace::WorkGroup => shared += size(variable.ty).unwrap_or(u64::MAX >> 16),
            naga::AddressSpace::Private => private += size(variable.ty).unwrap_or(u64::MAX >> 16),
            _ => {
                return unsupported(format!(
                    "{entry}: {name} is no buffer: kernels have buffers and scalars"
                ));
            }
        }
    }
    let functions = module.functions.iter().map(|(_, function)| function).chain([&point.function]);
    for (_, variable) in functions.flat_map(|function| function.local_variables.iter()) {
        private += size(variable.ty).unwrap_or(u64::MAX >> 16);
    }
    if private > PRIVATE_BYTES_MAX {
        return exceeded(format!(
            "{entry}: {private} bytes of variables of each thread's own, and there are {PRIVATE_BYTES_MAX}: \
             use a buffer"
        ));
    }
    check_values(&module, &info, entry)?;
    if shared > u64::from(shared_bytes_max) {
        return invalid(format!(
            "{entry}: {shared} bytes of var<workgroup>, and a block of this device has {shared_bytes_max}"
        ));
    }
    storage.sort_unstable();
    let in_order = storage.iter().zip(0..).all(|((at, _), expected)| *at == expected);
    let after = storage.len() as u32;
    if !in_order || uniform.is_some_and(|(at, _)| at != after) {
        return invalid(format!(
            "{entry}: the bindings that it uses are {:?} for buffers and {:?} for scalars; they are from 0 on \
             without gaps, scalars last",
            storage.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
            uniform.map(|(at, _)| at)
        ));
    }
    let block = point.workgroup_size;
    let scalars = uniform.map(|(_, room)| room);
    let bindings = storage.into_iter().map(|(_, shape)| shape).collect();
    Ok(Reflection { module, bindings, scalars, block })
}

/// LIMIT_EXCEEDED for a value that is too large to be one: compilers write such out, element by element.
fn check_values(module: &naga::Module, info: &naga::valid::ModuleInfo, entry: &str) -> Result<()> {
    let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle]));
    let points = module.entry_points.iter().enumerate();
    let points = points.map(|(index, point)| (&point.function, info.get_entry_point(index)));
    let largest = functions.chain(points).flat_map(|(function, info)| {
        let size = |handle: naga::Handle<naga::Expression>| {
            info[handle].ty.inner_with(&module.types).try_size(module.to_ctx())
        };
        function.expressions.iter().map(move |(handle, _)| size(handle).map_or(0, u64::from))
    });
    let constants = module.global_expressions.iter().map(|(_, expression)| match expression {
        naga::Expression::ZeroValue(ty) | naga::Expression::Compose { ty, .. } => {
            module.types[*ty].inner.try_size(module.to_ctx()).map_or(u64::MAX, u64::from)
        }
        _ => 0,
    });
    match largest.chain(constants).max() {
        Some(bytes) if bytes > PRIVATE_BYTES_MAX => exceeded(format!(
            "{entry}: a value of {bytes} bytes, and there are at most {PRIVATE_BYTES_MAX}: take its elements \
             one by one, from a buffer"
        )),
        _ => Ok(()),
    }
}

fn slot(variable: &naga::GlobalVariable, name: &str, entry: &str) -> Result<u32> {
    match &variable.binding {
        Some(binding) if binding.group == 0 => Ok(binding.binding),
        _ => invalid(format!("{entry}: {name} is not in @group(0), where everything is")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(source: &str) -> Option<Code> {
        let outcome = check_depth(source).and_then(|()| reflect(source, "main", 16 << 10));
        outcome.err().map(|error| error.code())
    }

    #[test]
    fn what_a_source_takes_is_read_from_it() {
        let source = "
            struct S { a: f32, n: u32 }
            @group(0) @binding(1) var<storage, read_write> out: array<f32>;
            @group(0) @binding(0) var<storage, read> input: array<f32>;
            @group(0) @binding(2) var<uniform> s: S;
            @group(0) @binding(0) var<storage, read_write> of_another: array<f32>;
            @compute @workgroup_size(8, 2) fn main(@builtin(global_invocation_id) id: vec3u) {
                if id.x < s.n { out[id.x] = s.a * input[id.x]; }
            }
            @compute @workgroup_size(1) fn other() { of_another[0] = 1.0; }";
        let shape = |writes| BindingShape { writes, bytes_min: 4 };
        let found = reflect(source, "main", 16 << 10).expect("it is right");
        assert_eq!(
            (found.bindings, found.scalars, found.block),
            (vec![shape(false), shape(true)], Some(ScalarRoom { bytes: 8, alignment: 4 }), [8, 2, 1])
        );
        let found = reflect(source, "other", 16 << 10).expect("it is right");
        assert_eq!((found.bindings, found.scalars), (vec![shape(true)], None));
    }

    #[test]
    fn a_comment_hides_nothing() {
        let sum = "+1".repeat(STATEMENT_OPERATORS_MAX);
        assert_eq!(code(&format!("const a = 1{}", sum.replace("+1", "+1/*;*/"))), Some(Code::LimitExceeded));
        assert_eq!(code(&format!("const a = 1{}", sum.replace("+1", "+1//;\n"))), Some(Code::LimitExceeded));
        assert_eq!(code(&format!("//\u{2028}const a = 1{sum}")), Some(Code::LimitExceeded));
        assert_eq!(code("const a = array\u{200e}<i32, 1000000000>();"), Some(Code::LimitExceeded));
        assert_eq!(without_comments("a/*b/*c*/;d*/e//;\nf"), "a e\nf");
    }

    #[test]
    fn many_elses_are_refused() {
        let chain = "else if a < 1 { } ".repeat(ELSES_MAX + 1);
        assert_eq!(code(&format!("fn f(a: i32) {{ if a < 0 {{ }} {chain} }}")), Some(Code::LimitExceeded));
    }

    #[test]
    fn what_fits_no_device_is_refused() {
        let kernel = |variables: &str, body: &str| {
            format!("{variables} @compute @workgroup_size(1) fn main() {{ {body} }}")
        };
        let big = kernel("var<private> a: array<u32, 1000000>;", "a[0] = 1u;");
        assert_eq!(code(&big), Some(Code::LimitExceeded));
        let big = kernel("", "var a: array<u32, 1000000>; a[0] = 1u;");
        assert_eq!(code(&big), Some(Code::LimitExceeded));
        let big = kernel("var<workgroup> a: array<u32, 1000000>;", "a[0] = 1u;");
        assert_eq!(code(&big), Some(Code::InvalidArgument));
        let gap = kernel("@group(0) @binding(1) var<storage, read_write> a: array<u32>;", "a[0] = 1u;");
        assert_eq!(code(&gap), Some(Code::InvalidArgument));
        let group = kernel("@group(1) @binding(0) var<storage, read_write> a: array<u32>;", "a[0] = 1u;");
        assert_eq!(code(&group), Some(Code::InvalidArgument));
        let texture = kernel("@group(0) @binding(0) var a: texture_2d<f32>;", "_ = textureDimensions(a);");
        assert_eq!(code(&texture), Some(Code::Unsupported));
        assert_eq!(code("@fragment fn main() {}"), Some(Code::InvalidArgument));
        assert_eq!(code("garbage"), Some(Code::CompileError));
    }
}
