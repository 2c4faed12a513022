//! Sources and sizes that mean no good: each is refused by name, and the session goes on.

use engine_gpu::{BackendKind, Code, DType, KernelSource, Session};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::{code, every, judged};

fn source<'a>(session: &Session, text: &'a str) -> KernelSource<'a> {
    match session.description().backend {
        BackendKind::Cuda => KernelSource::CudaC(text),
        _ => KernelSource::Wgsl(text),
    }
}

fn is_well(session: &Session) {
    let buffer = session.allocate(DType::U32, 4).expect("there is room");
    session.stream().fill(&buffer, 0, 4, 3_u32).expect("it is a buffer");
    assert_eq!(crate::values_of::<u32>(session, &buffer), [3; 4]);
}

#[test]
fn garbage_is_no_kernel_and_the_compilers_text_says_why() {
    for session in judged() {
        let error = session.compile(source(&session, "this is no kernel"), "main").expect_err("it is none");
        assert_eq!(error.code(), Code::CompileError);
        assert!(error.message().contains("this"), "{error}");
        is_well(&session);
    }
}

#[test]
fn an_entry_point_that_is_not_there_is_named() {
    for session in judged() {
        let text = match session.description().backend {
            BackendKind::Cuda => "extern \"C\" __global__ void here() {}",
            _ => "@compute @workgroup_size(1) fn here() {}",
        };
        let error = session.compile(source(&session, text), "there").expect_err("it is not there");
        assert_eq!(error.code(), Code::InvalidArgument);
        for name in ["", "a b", "a;b", "\0", &"a".repeat(300)] {
            assert_eq!(code(session.compile(source(&session, text), name)), Code::InvalidArgument);
        }
    }
}

/// WGSL that takes compilers deep, or far.
fn deep() -> Vec<(&'static str, String)> {
    let main = "@compute @workgroup_size(1) fn main()";
    let nested = |open: &str, close: &str, times: usize| {
        format!("{main} {{ var a = 1; a = {}1{}; }}", open.repeat(times), close.repeat(times))
    };
    let many = |count: usize, each: &dyn Fn(usize) -> String| (0..count).map(each).collect::<String>();
    vec![
        ("brackets", nested("(", ")", 50_000)),
        ("a few brackets", nested("(", ")", 1_000)),
        ("minus signs", nested("- ", "", 50_000)),
        ("a long sum", nested("1+", "", 60_000)),
        ("a sum that is just allowed", nested("1+", "", 4_000)),
        ("a sum of a variable", nested("a+", "", 4_000)),
        ("blocks", format!("{main} {{ {} {} }}", "{".repeat(20_000), "}".repeat(20_000))),
        ("loops", format!("{main} {{ {} {} }}", "loop {".repeat(500), "break; }".repeat(500))),
        (
            "a chain of elses",
            format!("{main} {{ var a = 1; if a < 1 {{ }} {} }}", "else if a < 1 { } ".repeat(1_000)),
        ),
        ("types in types", format!("var<private> a: {}u32{};", "array<".repeat(5_000), ",2>".repeat(5_000))),
        (
            "a chain of types",
            format!(
                "{} struct S1000 {{ a: u32 }} var<private> v: S0; {main} {{ _ = v.a; }}",
                many(1_000, &|i| format!("struct S{i} {{ a: S{} }}\n", i + 1))
            ),
        ),
        (
            "a chain of constants",
            format!(
                "{} const c4000 = 1; {main} {{ _ = c0; }}",
                many(4_000, &|i| format!("const c{i} = c{};\n", i + 1))
            ),
        ),
        (
            "a chain of functions",
            format!(
                "{} fn f500() -> u32 {{ return 1u; }} {main} {{ _ = f0(); }}",
                many(500, &|i| format!("fn f{i}() -> u32 {{ return f{}(); }}\n", i + 1))
            ),
        ),
        ("a function of itself", format!("fn f() -> u32 {{ return f(); }} {main} {{ _ = f(); }}")),
        ("a type of itself", format!("struct S {{ a: S }} var<private> v: S; {main} {{ _ = v.a; }}")),
        (
            "a workgroup beyond all bounds",
            "@compute @workgroup_size(4294967295, 4294967295) fn main() {}".into(),
        ),
        ("an empty workgroup", "@compute @workgroup_size(0) fn main() {}".into()),
        ("comments", format!("{} {main} {{}}", "/*".repeat(60_000))),
        ("zeros", "\0".repeat(1_000)),
    ]
}

#[test]
fn deep_sources_are_compiled_or_refused_and_nothing_breaks() {
    for session in judged().iter().filter(|session| session.description().backend == BackendKind::Wgpu) {
        for (what, text) in deep() {
            assert!(text.len() <= session.limits().kernel_source_bytes_max, "{what}");
            if let Err(error) = session.compile(KernelSource::Wgsl(&text), "main") {
                let expected = [Code::CompileError, Code::LimitExceeded, Code::InvalidArgument];
                assert!(expected.contains(&error.code()), "{what}: {error}");
            }
            is_well(session);
        }
    }
}

/// WGSL whose constants and values a compiler would write out, element by element.
const HUGE: [&str; 7] = [
    "const a = array<i32, 100000000>(); const b = a[5]; @compute @workgroup_size(1) fn main() { _ = b; }",
    "const a = array<i32, 100000000>();
     @group(0) @binding(0) var<storage, read_write> o: array<i32>;
     @compute @workgroup_size(1) fn main() { o[0] = a[o[1]]; }",
    "alias T = array<array<array<i32, 1000>, 1000>, 100>;
     const a = T();
     @group(0) @binding(0) var<storage, read_write> o: array<i32>;
     @compute @workgroup_size(1) fn main() { o[0] = a[1][o[1]][2]; }",
    "const b = array<vec4<i32>, 1000000>(); const c = b[1]; @compute @workgroup_size(1) fn main() { _ = c; }",
    "@group(0) @binding(0) var<storage, read_write> o: array<array<i32, 1000000>>;
     @compute @workgroup_size(1) fn main() { o[0] = o[1]; }",
    "@group(0) @binding(0) var<storage, read_write> o: array<array<i32, 1000000>>;
     @compute @workgroup_size(1) fn main() { let x = o[0]; o[1] = x; }",
    "struct S { a: array<i32, 10000000> }
     fn f(s: S) -> i32 { return s.a[3]; }
     @group(0) @binding(0) var<storage, read_write> o: array<i32>;
     @compute @workgroup_size(1) fn main() { o[0] = f(S()); }",
];

#[test]
fn values_that_fill_the_machine_are_refused() {
    for session in judged().iter().filter(|session| session.description().backend == BackendKind::Wgpu) {
        for text in HUGE {
            assert_eq!(
                code(session.compile(KernelSource::Wgsl(text), "main")),
                Code::LimitExceeded,
                "{text}"
            );
        }
        is_well(session);
    }
}

#[test]
fn random_text_never_breaks_the_compiler() {
    let words = proptest::sample::select(vec![
        "fn",
        "main",
        "(",
        ")",
        "{",
        "}",
        "@compute",
        "@workgroup_size(1)",
        "var",
        "<",
        ">",
        "storage",
        "array",
        "u32",
        "f32",
        ";",
        ":",
        ",",
        "=",
        "+",
        "-",
        "1",
        "0x",
        "1e999f",
        "a",
        "[",
        "]",
        "if",
        "else",
        "loop",
        "->",
        "return",
        "@group(0)",
        "@binding(0)",
        "let",
        "const",
        "struct",
        "/*",
        "*/",
        "//",
        "ü",
        "&",
        "override",
    ]);
    for session in judged() {
        let texts = proptest::collection::vec(words.clone(), 0..60).prop_map(|words| words.join(" "));
        let mut runner =
            TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&texts, |text| {
            if let Err(error) = session.compile(source(&session, &text), "main") {
                prop_assert!(error.code() != Code::Internal && error.code() != Code::DeviceLost, "{}", error);
            }
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("on {session:?}: {error}"));
        is_well(&session);
    }
}

#[test]
fn sizes_that_no_device_has_are_refused() {
    for session in every() {
        let bytes = session.description().limits.buffer_bytes_max;
        for count in [bytes + 1, bytes * 2, u64::MAX, u64::MAX / 4, u64::MAX / 8 + 1] {
            assert_eq!(code(session.allocate(DType::F32, count)), Code::LimitExceeded, "{count}");
        }
        assert_eq!(code(session.allocate(DType::F32, 0)), Code::InvalidArgument);
        if session.description().backend == BackendKind::Wgpu {
            assert_eq!(code(session.allocate(DType::F64, 1)), Code::Unsupported);
            assert_eq!(code(session.allocate(DType::I64, 1)), Code::Unsupported);
        }
        is_well(&session);
    }
}
