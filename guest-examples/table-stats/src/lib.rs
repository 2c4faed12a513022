//! Statistics of a table by group, and the product of a matrix and a vector: each is put once, and
//! several tasks read their part of it in place.
//!
//! `engine submit table_stats.wasm -- [ROWS] [TASKS]`

mod native;
mod product;
mod sales;

use engine::array::{Array, Dtype};
use engine::prelude::*;
use sales::Groups;
use serde_json::json;

#[engine::main]
fn main(args: Vec<String>) -> Result<()> {
    let rows: u64 = args.first().map_or(Ok(5_000_000), |text| text.parse()).context("ROWS")?;
    let tasks: usize = args.get(1).map_or(Ok(8), |text| text.parse()).context("TASKS")?;
    engine::ensure!(tasks >= 1, "TASKS must be at least 1");

    let table = sales::table(rows)?;
    println!("{table:?}");
    let sales = engine::put(&table)?;
    drop(table);
    // The whole table is in each task's memory, though none copies it.
    let memory = (32 << 20) + 10 * rows;
    let parts = (0..tasks)
        .map(|part| sales::stats::options().memory(memory).spawn(&sales, part, tasks))
        .collect::<Result<Vec<_>>>()?;
    let mut groups = Groups::new();
    for part in engine::get_all(&parts)? {
        sales::merge(&mut groups, part);
    }
    for (region, stats) in &groups {
        println!("{region:>8}: {:>9} sold, on average for {:.2}", stats.count, stats.mean() / 100.0);
    }

    // By the host, in a task of little memory: the names are copied out of their dictionary.
    let native = native::stats::options().memory((32 << 20) + 20 * rows).spawn(vec![sales])?.get()?;

    let (product, native_product) = product::in_bands(tasks)?;
    let doubled = native::doubled::spawn(Array::sequence(Dtype::I64, 0, 5, 1)?)?.get()?.to_vec::<i64>()?;
    println!(
        "{}",
        json!({
            "rows": rows, "tasks": tasks, "regions": groups, "product": product,
            "native": { "regions": native, "product": native_product, "doubled": doubled },
        })
    );
    Ok(())
}
