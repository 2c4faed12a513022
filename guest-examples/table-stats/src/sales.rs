//! A table of sales, and what they come to by region.
use engine::arrow::Table;
use engine::arrow::array::types::{Int64Type, UInt8Type};
use engine::arrow::array::{
    Array, ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray, UInt8Array, cast::AsArray,
};
use engine::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

const REGIONS: [&str; 5] = ["north", "east", "south", "west", "abroad"];
const BATCH_ROWS: u64 = 1 << 18;

/// What is known of the sales of one region.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stats {
    /// Sales with a price.
    pub(crate) count: u64,
    /// Sales without.
    unpriced: u64,
    cents: i64,
    lowest: Option<i64>,
    highest: Option<i64>,
}

/// By the region's name.
pub(crate) type Groups = BTreeMap<String, Stats>;

impl Stats {
    pub(crate) fn new(count: u64, unpriced: u64, cents: i64, lowest: i64, highest: i64) -> Self {
        Stats { count, unpriced, cents, lowest: Some(lowest), highest: Some(highest) }
    }

    fn add(&mut self, cents: Option<i64>) {
        let Some(cents) = cents else {
            self.unpriced += 1;
            return;
        };
        self.count += 1;
        self.cents += cents;
        self.lowest = Some(self.lowest.map_or(cents, |lowest| lowest.min(cents)));
        self.highest = self.highest.max(Some(cents));
    }

    fn merge(&mut self, other: &Stats) {
        self.count += other.count;
        self.unpriced += other.unpriced;
        self.cents += other.cents;
        self.lowest = self.lowest.into_iter().chain(other.lowest).min();
        self.highest = self.highest.max(other.highest);
    }

    pub(crate) fn mean(&self) -> f64 {
        self.cents as f64 / self.count as f64
    }
}

pub(crate) fn merge(groups: &mut Groups, more: Groups) {
    for (region, stats) in more {
        groups.entry(region).or_default().merge(&stats);
    }
}

/// The statistics of every `parts`-th batch, from number `part` on. The columns are read where they lie.
#[engine::task]
pub(crate) fn stats(sales: Table, part: usize, parts: usize) -> Result<Groups> {
    let mut groups = Groups::new();
    for batch in sales.batches().iter().skip(part).step_by(parts) {
        let regions =
            batch.column_by_name("region").and_then(|column| column.as_dictionary_opt::<UInt8Type>());
        let regions = regions.context("a column `region` of names")?;
        let names = regions.values().as_string_opt::<i32>().context("names that are text")?;
        let prices = batch.column_by_name("cents").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let prices = prices.context("a column `cents` of whole numbers")?;

        let mut by_key = vec![Stats::default(); names.len()];
        for (key, cents) in regions.keys().values().iter().zip(prices) {
            by_key[usize::from(*key)].add(cents);
        }
        let named = names.iter().flatten().map(str::to_owned).zip(by_key);
        merge(&mut groups, named.filter(|(_, stats)| *stats != Stats::default()).collect());
    }
    Ok(groups)
}

/// So many sales, always the same ones; each ninth has no price.
pub(crate) fn table(rows: u64) -> Result<Table> {
    let names: ArrayRef = Arc::new(StringArray::from(REGIONS.to_vec()));
    let batch = |begin: u64| {
        let numbers = begin..rows.min(begin + BATCH_ROWS);
        let keys =
            UInt8Array::from_iter_values(numbers.clone().map(|n| (mix(n) % REGIONS.len() as u64) as u8));
        let cents: Int64Array =
            numbers.map(|n| (n % 9 != 8).then(|| (mix(n) >> 16) as i64 % 100_000)).collect();
        let regions = DictionaryArray::try_new(keys, Arc::clone(&names))?;
        RecordBatch::try_from_iter_with_nullable([
            ("region", Arc::new(regions) as ArrayRef, false),
            ("cents", Arc::new(cents), true),
        ])
    };
    let batches: Vec<RecordBatch> =
        (0..rows.max(1)).step_by(BATCH_ROWS as usize).map(batch).collect::<Result<_, _>>()?;
    let schema = batches[0].schema();
    Table::new(schema, batches)
}

/// A number that looks random (the SplitMix64 generator's output function).
fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (n ^ (n >> 31)) >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_to_the_whole() {
        let table = table(3 * BATCH_ROWS + 10).unwrap();
        assert_eq!((table.num_rows(), table.batches().len()), (3 * BATCH_ROWS as usize + 10, 4));
        let whole = stats(table.clone(), 0, 1).unwrap();
        let mut merged = Groups::new();
        for part in 0..5 {
            merge(&mut merged, stats(table.clone(), part, 5).unwrap());
        }
        assert_eq!(merged, whole);
        assert_eq!(
            whole.values().map(|stats| stats.count + stats.unpriced).sum::<u64>(),
            3 * BATCH_ROWS + 10
        );
    }

    #[test]
    fn a_table_without_rows_has_no_groups() {
        assert_eq!(stats(table(0).unwrap(), 0, 1).unwrap(), Groups::new());
    }
}
