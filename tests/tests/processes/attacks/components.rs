//! Kind 8: components that are written to do harm.

use engine_tests::{Outcome, Up};
use serde_json::json;

use super::floods::resident_bytes;
use super::{component, two, unharmed};
use crate::tenants::Tenant;

/// A component of one core module, whose export `go` is called. `parts`: what is in the module.
fn of_core(parts: &str) -> String {
    format!(
        r#"(component
            (core module $m {parts})
            (core instance $i (instantiate $m))
            (func (export "go") (result u32) (canon lift (core func $i "go"))))"#
    )
}

fn invoked(who: &Tenant<'_>, text: &str, options: &[&str]) -> Outcome {
    let file = component(who.place, "hostile.wasm", text);
    let words = ["submit", file.to_str().expect("text"), "--invoke", "go()"];
    who.engine(&words.into_iter().chain(options.iter().copied()).collect::<Vec<_>>())
}

const CALL_ITSELF: &str = r#"(func $go (export "go") (result i32) (call $go))"#;

/// Every way to trap that the machine knows, each told by its name.
#[test]
fn each_trap_is_told_by_its_name() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    for (parts, said) in [
        (r#"(func (export "go") (result i32) unreachable)"#, "unreachable"),
        (r#"(func (export "go") (result i32) (i32.div_u (i32.const 1) (i32.const 0)))"#, "divide by zero"),
        (
            r#"(func (export "go") (result i32) (i32.div_s (i32.const 0x80000000) (i32.const -1)))"#,
            "overflow",
        ),
        (r#"(func (export "go") (result i32) (i32.trunc_f32_s (f32.const nan)))"#, "conversion"),
        (r#"(memory 1) (func (export "go") (result i32) (i32.load (i32.const 65533)))"#, "out of bounds"),
        (r#"(memory 0) (func (export "go") (result i32) (i32.load8_u (i32.const 0)))"#, "out of bounds"),
        (
            r#"(memory 1) (func (export "go") (result i32) (i32.load offset=4294967295 (i32.const -1)))"#,
            "out of bounds",
        ),
        (
            r#"(memory 1) (func (export "go") (result i32)
            (memory.fill (i32.const 60000) (i32.const 7) (i32.const 60000)) (i32.const 0))"#,
            "out of bounds",
        ),
        (
            r#"(table 1 funcref) (type $f (func (result i32)))
            (func (export "go") (result i32) (call_indirect (type $f) (i32.const 1)))"#,
            "table",
        ),
        (
            r#"(table 1 funcref) (type $f (func (result i32)))
            (func (export "go") (result i32) (call_indirect (type $f) (i32.const 0)))"#,
            "uninitialized",
        ),
        (
            r#"(table funcref (elem $g)) (type $f (func (result i32))) (func $g (param i64))
            (func (export "go") (result i32) (call_indirect (type $f) (i32.const 0)))"#,
            "indirect call type mismatch",
        ),
        (CALL_ITSELF, "stack"),
    ] {
        let outcome = invoked(&red, &of_core(parts), &[]).exits(1).says(&["TRAPPED"]);
        assert!(outcome.stderr.contains(said), "{said:?} of {parts}\n{outcome}");
    }
    assert_eq!(blue.attacks("honest", &[json!(100)])["right"], 100);
    unharmed(up);
}

/// What begins before there is anything to call: it is stopped like anything else.
#[test]
fn what_runs_as_it_starts_is_bounded_like_a_call() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    let go = r#"(func (export "go") (result i32) (i32.const 1))"#;
    let endless = of_core(&format!("(func $begin (loop $l (br $l))) (start $begin) {go}"));
    invoked(&red, &endless, &["--deadline", "300ms"]).exits(1).says(&["DEADLINE_EXCEEDED"]);
    let traps = of_core(&format!("(func $begin unreachable) (start $begin) {go}"));
    invoked(&red, &traps, &[]).exits(1).says(&["TRAPPED"]);
    let deep = of_core(&format!("(func $begin (call $begin)) (start $begin) {go}"));
    invoked(&red, &deep, &[]).exits(1).says(&["TRAPPED", "stack"]);
    let segment = of_core(&format!("(memory 1) (data (i32.const 65536) \"x\") {go}"));
    invoked(&red, &segment, &[]).exits(1).says(&["TRAPPED"]);
    // Memory that grows as it starts counts as any other.
    let grows = of_core(&format!(
        "(memory 1) (func $begin (loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))) \
         (start $begin) {go}"
    ));
    invoked(&red, &grows, &[]).exits(0);
    let large = of_core(&format!("(memory 60000) {go}"));
    invoked(&red, &large, &[]).exits(1).says(&["OUT_OF_MEMORY"]);
    assert_eq!(blue.attacks("honest", &[json!(100)])["right"], 100);
    unharmed(up);
}

/// Fresh tables and memories of a core module are empty, though the last one filled them.
#[test]
fn tables_and_memories_are_empty_at_first() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    // Grows both to where they end, counts what is there already, and fills both.
    let text = of_core(
        r#"(memory 2) (table $t 10 funcref) (elem declare func $f) (func $f)
        (func (export "go") (result i32) (local $at i32) (local $end i32) (local $found i32)
            (drop (memory.grow (i32.const 100)))
            (drop (table.grow $t (ref.null func) (i32.const 20000)))
            (local.set $end (i32.mul (memory.size) (i32.const 65536)))
            (loop $bytes
                (local.set $found (i32.add (local.get $found) (i64.ne (i64.load (local.get $at)) (i64.const 0))))
                (i64.store (local.get $at) (i64.const 0x5ec2e75ec2e75ec2))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $bytes (i32.lt_u (local.get $at) (local.get $end))))
            (local.set $at (i32.const 0))
            (loop $entries
                (local.set $found (i32.add (local.get $found)
                    (i32.eqz (ref.is_null (table.get $t (local.get $at))))))
                (table.set $t (local.get $at) (ref.func $f))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $entries (i32.lt_u (local.get $at) (table.size $t))))
            (local.get $found))"#,
    );
    for turn in 0..8 {
        let who = if turn % 2 == 0 { &blue } else { &red };
        let found = invoked(who, &text, &[]).exits(0);
        assert_eq!(found.stdout.trim(), "0", "{found}");
    }
    unharmed(up);
}

/// Components that are large in what they declare: refused, or run, within bounds and without harm.
#[test]
fn bombs_are_refused_or_run_within_bounds() {
    let up = Up::start();
    let [red, blue] = two(up.place());
    let go = r#"(func (export "go") (result i32) (i32.const 1))"#;
    let before = resident_bytes(up.process_id());
    let instances = (0..5_000).map(|_| "(core instance (instantiate $m))").collect::<String>();
    let nested = (0..90).fold("(core module)".to_owned(), |inner, _| format!("(component {inner})"));
    let deeper = (0..200).fold(String::new(), |inner, _| format!("(component {inner})"));
    let doubled: String = (1..40).map(|n| format!("(type $t{n} (tuple $t{} $t{}))", n - 1, n - 1)).collect();
    let functions: String = (0..20_000).map(|n| format!("(func (export \"f{n}\"))")).collect();
    let locals: String = (0..1_000).map(|_| format!("(func {})", "(local i64)".repeat(200))).collect();
    let blocks = format!("(func {} {})", "block ".repeat(40_000), "end ".repeat(40_000));
    let branches = format!(
        "(func (param i32) {} (br_table {} (local.get 0)) {})",
        "block ".repeat(500),
        (0..500).map(|n| format!("{n} ")).collect::<String>(),
        "end ".repeat(500)
    );
    let exported = |parts: &str| of_core(&format!("{parts} {go}"));
    for (what, text) in [
        ("instances", format!("(component (core module $m) {instances})")),
        (
            "memories",
            format!(
                "(component (core module $m (memory 1)) {})",
                "(core instance (instantiate $m))".repeat(50)
            ),
        ),
        ("components in one another", format!("(component {nested})")),
        ("more of them", format!("(component {deeper})")),
        (
            "types that double",
            format!(
                "(component (type $t0 (tuple u8 u8)) {doubled} (import \"x\" (func (param \"p\" $t39))))"
            ),
        ),
        ("functions", exported(&functions)),
        ("locals", exported(&locals)),
        ("blocks", exported(&blocks)),
        ("branches", exported(&branches.repeat(20))),
        ("a table without end", exported("(table 10000000 funcref)")),
        ("names", exported(&format!("(func (export \"{}\"))", "n".repeat(90_000)))),
    ] {
        // What the assembler of the test refuses would be refused by the engine too.
        let Ok(bytes) = wat::parse_str(&text) else { continue };
        let file = red.place.file("bomb.wasm", bytes);
        let outcome = red.engine(&["submit", file.to_str().expect("text"), "--invoke", "go()"]);
        let is_named =
            ["INVALID_COMPONENT", "LIMIT_EXCEEDED", "OUT_OF_MEMORY", "NOT_FOUND", "INVALID_ARGUMENT"]
                .iter()
                .any(|code| outcome.stderr.contains(code));
        assert!(outcome.status == 0 || is_named, "{what}: {outcome}");
        assert_eq!(blue.attacks("honest", &[json!(10)])["right"], 10, "{what}");
    }
    let grown = resident_bytes(up.process_id()).saturating_sub(before);
    assert!(grown < 1 << 30, "the engine took {grown} bytes");
    unharmed(up);
}
