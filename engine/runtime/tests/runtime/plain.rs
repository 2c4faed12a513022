//! Components with exports of their own.

use engine_core::options::Returns;
use engine_core::work::Entry;
use engine_core::{Codec, Error, ErrorCode};

use crate::{Bench, bytes, guests, value};

fn calculator() -> Vec<u8> {
    let wit = "package docs:calc@0.1.0;
        interface ops { double: func(x: u32) -> u32; }
        world guest {
            export add: func(a: u32, b: u32) -> u32;
            export echo: func(text: string) -> string;
            export divide: func(a: s32, b: s32) -> result<s32, string>;
            export nothing: func();
            export ops;
        }";
    let core = r#"(module
      (memory (export "memory") 1)
      (global $heap (mut i32) (i32.const 4096))
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.set $heap (i32.add (global.get $heap) (local.get 3)))
        (i32.sub (global.get $heap) (local.get 3)))
      (data (i32.const 16) "divided by zero")
      (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
      (func (export "echo") (param i32 i32) (result i32)
        (i32.store (i32.const 512) (local.get 0)) (i32.store (i32.const 516) (local.get 1)) i32.const 512)
      (func (export "divide") (param i32 i32) (result i32)
        (if (i32.eqz (local.get 1)) (then
          (i32.store (i32.const 512) (i32.const 1)) (i32.store (i32.const 516) (i32.const 16)) (i32.store (i32.const 520) (i32.const 15))
          (return (i32.const 512))))
        (i32.store (i32.const 512) (i32.const 0)) (i32.store (i32.const 516) (i32.div_s (local.get 0) (local.get 1))) i32.const 512)
      (func (export "nothing"))
      (func (export "docs:calc/ops@0.1.0#double") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
    )"#;
    guests::plain(wit, core)
}

fn invoke(bench: &Bench, text: &str) -> Result<String, Error> {
    let component = bench.load(&calculator());
    let mut call = bench.call(Entry::Invoke(text.into()));
    call.returns = Returns::Fixed(1);
    let (report, _) = bench.end(bench.of(component, call));
    report.result.clone()?;
    Ok(String::from_utf8(bytes(&report).remove(0)).unwrap())
}

#[test]
fn exports_are_called_with_wave_text() {
    let bench = Bench::new();
    for (text, result) in [
        ("add(1, 2)", "3"),
        (r#"echo("a \"word\"")"#, r#""a \"word\"""#),
        ("divide(7, 2)", "ok(3)"),
        ("divide(7, 0)", r#"err("divided by zero")"#),
        ("nothing()", ""),
        ("double(21)", "42"),
        ("ops#double(21)", "42"),
        ("docs:calc/ops@0.1.0#double(21)", "42"),
    ] {
        assert_eq!(invoke(&bench, text).unwrap_or_else(|error| panic!("{text}: {error}")), result, "{text}");
    }
}

#[test]
fn a_wrong_call_is_told_what_there_is() {
    let bench = Bench::new();
    for (text, code, what) in [
        ("sub(1, 2)", ErrorCode::NotFound, "add: func(a: u32, b: u32) -> u32"),
        ("add(1)", ErrorCode::InvalidArgument, "func(a: u32, b: u32) -> u32"),
        ("add(1, 2, 3)", ErrorCode::InvalidArgument, "func(a: u32, b: u32) -> u32"),
        ("add(1, \"x\")", ErrorCode::InvalidArgument, "at `\"x\"`"),
        ("add(1, -2)", ErrorCode::InvalidArgument, "at `-2`"),
        ("add", ErrorCode::InvalidArgument, "parentheses"),
        ("add(1, 2", ErrorCode::InvalidArgument, "wrong"),
    ] {
        let error = invoke(&bench, text).unwrap_err();
        assert_eq!(error.code(), code, "{text}: {error}");
        assert!(error.message().contains(what), "{text}: {error}");
    }
}

#[test]
fn exports_are_spawned_with_messagepack() {
    let bench = Bench::new();
    let component = bench.load(&calculator());
    let run = |name: &str, arguments: &[rmpv::Value]| {
        let mut call = bench.run(name);
        call.returns = Returns::Fixed(1);
        for argument in arguments {
            let mut bytes = Vec::new();
            rmpv::encode::write_value(&mut bytes, argument).unwrap();
            call.arguments.push(value(Codec::Msgpack, &bytes));
        }
        let (report, _) = bench.end(bench.of(component, call));
        report.result.clone().map(|values| {
            assert_eq!(values[0].codec, Codec::Msgpack);
            rmpv::decode::read_value(&mut bytes(&report)[0].as_slice()).unwrap()
        })
    };
    assert_eq!(run("add", &[1.into(), 2.into()]).unwrap(), 3.into());
    assert_eq!(run("echo", &["hi".into()]).unwrap(), "hi".into());
    assert_eq!(run("nothing", &[]).unwrap(), rmpv::Value::Nil);
    let divided = run("divide", &[7.into(), 0.into()]).unwrap();
    assert_eq!(divided, rmpv::Value::Map(vec![("err".into(), "divided by zero".into())]));
    let error = run("add", &[1.into(), "two".into()]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert!(error.message().contains("argument `b`") && error.message().contains("u32"), "{error}");
    let error = run("add", &[1.into()]).unwrap_err();
    assert!(error.message().contains("1 arguments were given and 2 are expected"), "{error}");
}

#[test]
fn a_component_without_main_says_what_can_be_invoked() {
    let bench = Bench::new();
    let component = bench.load(&calculator());
    let (report, _) = bench.end(bench.of(component, bench.call(Entry::Main([].into()))));
    let error = report.result.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidComponent);
    assert!(error.message().contains("--invoke") && error.message().contains("divide"), "{error}");
}

fn command(body: &str) -> Vec<u8> {
    let wit = format!(
        "package test:guest;\n{}\nworld guest {{
            import wasi:cli/environment@0.2.0; import wasi:cli/exit@0.2.0; import wasi:cli/stdout@0.2.0;
            import wasi:cli/stderr@0.2.0; export wasi:cli/run@0.2.0;
        }}",
        guests::WASI
    );
    let core = format!(
        r#"(module
      {}
      (import "wasi:cli/environment@0.2.0" "get-arguments" (func $arguments (param i32)))
      (import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))
      (memory (export "memory") 1)
      (global $heap (mut i32) (i32.const 8192))
      (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (global.set $heap (i32.add (global.get $heap) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8))))
        (i32.sub (global.get $heap) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8))))
      {}
      (func (export "wasi:cli/run@0.2.0#run") (result i32) {body})
    )"#,
        guests::WRITES,
        guests::WRITERS
    );
    guests::plain(&wit, &core)
}

#[test]
fn an_ordinary_command_runs_with_the_jobs_arguments() {
    let bench = Bench::new();
    // Says its second argument: the first is its own name.
    let component = bench.load(&command(
        "(call $arguments (i32.const 64))
        (call $say (i32.load offset=8 (i32.load (i32.const 64))) (i32.load offset=12 (i32.load (i32.const 64))))
        i32.const 0",
    ));
    let arguments = ["hello".to_owned()];
    let (report, _) = bench.end(bench.of(component, bench.call(Entry::Main(arguments.into()))));
    assert_eq!(bytes(&report).len(), 1);
    assert_eq!(bench.host.lines(), ["hello"]);
}

#[test]
fn the_exit_of_a_command_is_the_calls_result() {
    let bench = Bench::new();
    for (body, fails) in [
        ("(call $exit (i32.const 0)) unreachable", false),
        ("(call $exit (i32.const 1)) unreachable", true),
        ("i32.const 1", true),
    ] {
        let component = bench.load(&command(body));
        let (report, _) = bench.end(bench.of(component, bench.call(Entry::Main([].into()))));
        match report.result {
            Ok(_) => assert!(!fails, "{body}"),
            Err(error) => {
                assert!(fails, "{body}: {error}");
                assert_eq!((error.code(), error.kind()), (ErrorCode::TaskFailed, Some("exit")));
            }
        }
    }
}

#[test]
fn an_sdks_function_can_be_invoked_too() {
    let bench = Bench::new();
    // Returns the bytes of its first argument.
    let body =
        "(call $one (i32.load offset=4 (local.get $arguments)) (i32.load offset=8 (local.get $arguments)))";
    let component = bench.load(&guests::program("", "", body));
    let mut call = bench.call(Entry::Invoke("f(\"x\", 2)".into()));
    call.returns = Returns::Fixed(1);
    let (report, _) = bench.end(bench.of(component, call));
    assert_eq!(bytes(&report), [b"\xa1x"]);
}
