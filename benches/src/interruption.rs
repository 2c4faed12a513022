//! What it costs that a guest can be interrupted: epoch checks and fuel on small real kernels.

use std::time::Instant;

use anyhow::{Result, anyhow};
use wasmtime::{Config, Engine, Instance, Module, Store};

use crate::Plan;
use crate::report::{Report, median};

/// Sums, sieves and multiplies: loops of a few instructions, where a check weighs most.
const KERNELS: &str = r#"(module
  (memory 2)
  (func (export "sum") (param $n i32) (result i32) (local $i i32) (local $s i32)
    (loop $next
      (local.set $s (i32.add (local.get $s) (i32.mul (local.get $i) (local.get $i))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $s))
  (func (export "sieve") (param $n i32) (result i32) (local $i i32) (local $j i32) (local $found i32)
    (memory.fill (i32.const 0) (i32.const 0) (local.get $n))
    (local.set $i (i32.const 2))
    (loop $next
      (if (i32.eqz (i32.load8_u (local.get $i)))
        (then
          (local.set $found (i32.add (local.get $found) (i32.const 1)))
          (local.set $j (i32.mul (local.get $i) (i32.const 2)))
          (block $done (loop $mark
            (br_if $done (i32.ge_u (local.get $j) (local.get $n)))
            (i32.store8 (local.get $j) (i32.const 1))
            (local.set $j (i32.add (local.get $j) (local.get $i)))
            (br $mark)))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $found))
  (func $fib (export "fib") (param $n i32) (result i32)
    (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
      (then (local.get $n))
      (else (i32.add (call $fib (i32.sub (local.get $n) (i32.const 1)))
                     (call $fib (i32.sub (local.get $n) (i32.const 2))))))))"#;

pub(crate) fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    for (kernel, argument, repeats) in [("sum", 100_000_000, 1), ("sieve", 100_000, 200), ("fib", 34, 1)] {
        let repeats = (repeats / plan.scale).max(1);
        let plain = seconds(kernel, argument, repeats, plan.runs, |_| {})?;
        let epoch = seconds(kernel, argument, repeats, plan.runs, |config| {
            config.epoch_interruption(true);
        })?;
        let fuel = seconds(kernel, argument, repeats, plan.runs, |config| {
            config.consume_fuel(true);
        })?;
        report.row(
            &format!("interruption, kernel `{kernel}`"),
            format!("epoch checks {:.2}, fuel {:.2} times", epoch / plain, fuel / plain),
            format!("without either: {:.1} ms", plain * 1e3),
            "-",
        );
    }
    Ok(())
}

fn seconds(kernel: &str, argument: i32, repeats: u64, runs: usize, set: impl Fn(&mut Config)) -> Result<f64> {
    measure(kernel, argument, repeats, runs, set).map_err(|error| anyhow!("{error:?}"))
}

fn measure(
    kernel: &str,
    argument: i32,
    repeats: u64,
    runs: usize,
    set: impl Fn(&mut Config),
) -> wasmtime::Result<f64> {
    let mut config = Config::new();
    set(&mut config);
    let engine = Engine::new(&config)?;
    let module = Module::new(&engine, wat::parse_str(KERNELS)?)?;
    let mut figures = Vec::new();
    for _ in 0..runs {
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1 << 40);
        // Refused where fuel is off, which is as it should be.
        let _ = store.set_fuel(u64::MAX);
        let instance = Instance::new(&mut store, &module, &[])?;
        let kernel = instance.get_typed_func::<i32, i32>(&mut store, kernel)?;
        let start = Instant::now();
        for _ in 0..repeats {
            kernel.call(&mut store, argument)?;
        }
        figures.push(start.elapsed().as_secs_f64());
    }
    Ok(median(figures))
}
