//! Components without the SDK: `--invoke` with WAVE in and out.

use engine_tests::{Outcome, Up, guest};

fn invoke(up: &Up, expression: &str) -> Outcome {
    up.submit_file(&guest("plain-component"), &["--invoke", expression]).run()
}

#[test]
fn wave_goes_in_and_comes_out() {
    let mut up = Up::start();
    for (expression, result) in [
        ("add(1, 2)", "3"),
        ("add(2147483647, 1)", "-2147483648"),
        ("add( -1 ,\n 1 )", "0"),
        (r#"greet("Ada")"#, r#""Hello, Ada!""#),
        (r#"greet("naïve \"quotes\" \u{1F600}")"#, r#""Hello, naïve \"quotes\" 😀!""#),
        ("centroid([{x: 0, y: 1}, {x: 4, y: 3}])", "some({x: 2, y: 2})"),
        ("centroid([])", "none"),
        ("calculate(divide, 7, 2)", "ok(3)"),
        ("calculate(divide, 1, 0)", r#"err("1 cannot be divided by 0")"#),
        ("calculate(multiply, 9223372036854775807, 2)", r#"err("the result does not fit into 64 bits")"#),
    ] {
        let outcome = invoke(&up, expression).exits(0);
        assert_eq!(outcome.stdout.trim_end(), result, "{outcome}");
    }
    up.still_serves();
    up.wait_until_idle();
}

#[test]
fn the_result_is_in_the_job_as_json_too() {
    let up = Up::start();
    let plain = guest("plain-component");
    let options = ["--invoke", "add(40, 2)", "--format", "json", "--submission-id", "sum"];
    let job = up.submit_file(&plain, &options).run().exits(0).json();
    assert_eq!(
        (&job["state"], &job["result"], &job["entry"]),
        (&"SUCCEEDED".into(), &"42".into(), &"add(40, 2)".into())
    );
    assert_eq!(up.json(&["job", "status", "sum"])["result"], "42");
}

#[test]
fn calls_that_do_not_fit_say_what_the_function_takes() {
    let mut up = Up::start();
    for (expression, said) in [
        ("add(1)", &["INVALID_ARGUMENT", "add: func(a: s32, b: s32) -> s32"][..]),
        ("add(1, 2, 3)", &["INVALID_ARGUMENT", "add: func(a: s32, b: s32) -> s32"]),
        (r#"add("one", 2)"#, &["INVALID_ARGUMENT", "add: func(a: s32, b: s32) -> s32"]),
        ("add(2147483648, 0)", &["INVALID_ARGUMENT", "s32"]),
        ("add(1,", &["INVALID_ARGUMENT"]),
        ("add", &["INVALID_ARGUMENT"]),
        ("", &["INVALID_ARGUMENT"]),
        ("calculate(modulo, 1, 2)", &["INVALID_ARGUMENT", "calculate"]),
        ("centroid([{x: 0}])", &["INVALID_ARGUMENT", "centroid"]),
        ("subtract(1, 2)", &["NOT_FOUND", "no function `subtract`", "calculate"]),
    ] {
        let outcome = invoke(&up, expression);
        assert!(outcome.status == 1 || outcome.status == 2, "{outcome}");
        outcome.says(said);
    }
    up.still_serves();
    up.wait_until_idle();
}

// contract: O4, J1
/// Values go from the SDK's MessagePack into the types of the WIT, and back.
#[test]
fn a_program_spawns_functions_of_a_plain_component_that_its_job_brings_along() {
    let mut up = Up::start();
    let with = format!("plain={}", guest("plain-component").display());
    let run = |arguments: &[&str]| {
        up.place().submit_with("selftest", &["--with", &with], arguments).run().exits(0).last_json()
    };
    assert_eq!(run(&["plain"])["value"], 42);
    assert_eq!(run(&["plain", "plain", "add", "2147483647", "1"])["value"], i32::MIN);
    let error = run(&["plain", "plain", "add", "2147483648", "0"]);
    assert_eq!(error["code"], "INVALID_ARGUMENT");
    assert!(error["message"].as_str().unwrap().contains("add: func(a: s32, b: s32) -> s32"), "{error}");
    let error = run(&["plain", "plain", "greet"]);
    assert_eq!(error["code"], "INVALID_ARGUMENT", "{error}");
    let error = run(&["plain", "plain", "subtract"]);
    assert_eq!(error["code"], "NOT_FOUND");
    assert!(error["message"].as_str().unwrap().contains("subtract"), "{error}");
    let missing = up.place().submit_with("selftest", &["--with", &with], &["plain", "nowhere"]).run();
    missing.exits(1).says(&["NOT_FOUND", "nowhere", "--with"]);
    up.still_serves();
    up.wait_until_idle();
}

#[test]
fn a_program_with_the_sdk_has_no_functions_to_invoke() {
    let mut up = Up::start();
    let outcome = up.submit_file(&guest("selftest"), &["--invoke", "add(1, 2)"]).run();
    assert!(outcome.status == 1 || outcome.status == 2, "{outcome}");
    up.still_serves();
}
