//! Tables and tensors that tasks share.

use std::collections::BTreeMap;

use engine_tests::Up;
use serde_json::{Value, json};

const REGIONS: [&str; 5] = ["north", "east", "south", "west", "abroad"];

// contract: O4
/// The table is of several batches and of more than is copied, and so is the matrix.
#[test]
fn table_stats_agrees_with_a_computation_of_our_own() {
    let up = Up::start();
    let outcome = up.place().submit("table-stats", &["600000", "3"]).run().exits(0);
    let result = outcome.last_json();
    assert_eq!((&result["rows"], &result["tasks"]), (&json!(600_000), &json!(3)));
    assert_eq!(result["regions"], regions(600_000), "{outcome}");

    // Row i of the matrix is (31 i + 17 j) mod 101, the vector j mod 7.
    let row = |i: u64| (0..300).map(|j| (31 * i + 17 * j) % 101 * (j % 7)).sum::<u64>();
    let product: Vec<u64> = (0..2000).map(row).collect();
    let product_result = &result["product"];
    assert_eq!(product_result["rows"], 2000);
    assert_eq!(product_result["sum"].as_f64(), Some(product.iter().sum::<u64>() as f64));
    assert_eq!(product_result["largest"].as_f64(), product.iter().max().map(|largest| *largest as f64));
    // What the host reckons, with arrays that never enter a sandbox.
    let native = &result["native"];
    assert_eq!(native["regions"], result["regions"], "{outcome}");
    assert_eq!(native["product"], json!([product_result["sum"], product_result["largest"]]));
    assert_eq!(native["doubled"], json!([0, 2, 4, 6, 8]));
    up.wait_until_idle();

    let same = up.place().submit("table-stats", &["600000", "1"]).run().exits(0).last_json();
    assert_eq!((&same["regions"], &same["product"]), (&result["regions"], product_result));
    up.place().submit("table-stats", &["many"]).run().exits(1).says(&["ROWS"]);
}

/// What the sales come to, by region.
fn regions(rows: u64) -> Value {
    let mut prices: BTreeMap<&str, Vec<Option<u64>>> = BTreeMap::new();
    for number in 0..rows {
        let mut random = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        random = (random ^ (random >> 31)) >> 1;
        let price = (number % 9 != 8).then_some((random >> 16) % 100_000);
        prices.entry(REGIONS[(random % 5) as usize]).or_default().push(price);
    }
    let stats = prices.into_iter().map(|(region, prices)| {
        let known = || prices.iter().flatten();
        let stats = json!({
            "count": known().count(),
            "unpriced": prices.len() - known().count(),
            "cents": known().sum::<u64>(),
            "lowest": known().min(),
            "highest": known().max(),
        });
        (region.to_owned(), stats)
    });
    Value::Object(stats.collect())
}
