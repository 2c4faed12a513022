//! Groups of equal keys, and what becomes of the values of each.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow_array::Int64Array;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::error::Result;
use crate::pieces::{finished, ranges};
use crate::reduce::{Reduction, Slots, accumulate};
use crate::rows::{Keys, length};
use crate::select::take;
use crate::work::{Grant, Work};
use crate::{Array, DType};

/// What [`group_by`] gives: all of the same length, a row for each group.
#[derive(Debug, Clone)]
pub struct Grouped {
    /// The keys of each group, in the order of the columns.
    pub keys: Vec<Array>,
    /// What became of its values.
    pub aggregates: Vec<Array>,
}

/// Puts rows of equal keys together and reduces the values of each group. Groups come in the order in
/// which their keys come first; what is missing is a key like any other.
///
/// # Errors
/// When columns have not one dimension and the same length, and as [`crate::reduce`].
pub async fn group_by(
    work: &mut Work,
    keys: &[&Array],
    aggregates: &[(&Array, Reduction)],
) -> Result<Grouped> {
    let columns: Vec<&Array> =
        keys.iter().copied().chain(aggregates.iter().map(|(array, _)| *array)).collect();
    let rows = length("group_by", if keys.is_empty() { keys } else { &columns })?;
    let groups = Groups::new(work, keys, rows).await?;
    let count = groups.firsts.len();
    let grant = work.take(DType::I64.room(count), "groups")?;
    let firsts = finished(Arc::new(Int64Array::from(groups.firsts)), &[count], grant)?;
    let mut made = Grouped { keys: Vec::new(), aggregates: Vec::new() };
    for key in keys {
        made.keys.push(take(work, key, &firsts).await?);
    }
    let slots = Slots::Groups(&groups.of_rows);
    for (array, reduction) in aggregates {
        made.aggregates.push(accumulate(work, *reduction, array, &slots, &[count]).await?);
    }
    Ok(made)
}

/// Which group each row is of.
struct Groups {
    of_rows: Vec<u32>,
    /// The first row of each.
    firsts: Vec<i64>,
    _grant: Grant,
}

/// The keys that were seen, end to end.
#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    hashes: Vec<u64>,
}

impl Seen {
    fn key(&self, group: u32) -> &[u8] {
        let group = group as usize;
        let begin = group.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[begin..self.ends[group]]
    }

    /// Bytes that it and its table take.
    fn size(&self) -> u64 {
        (self.bytes.len() + self.ends.len() * 40) as u64
    }
}

impl Groups {
    async fn new(work: &mut Work, columns: &[&Array], rows: usize) -> Result<Self> {
        let rising: Vec<(&Array, bool)> = columns.iter().map(|column| (*column, false)).collect();
        let keys = Keys::new(&rising)?;
        let hasher = DefaultHashBuilder::default();
        let mut grant = work.take(rows as u64 * 4, "groups")?;
        let (mut table, mut seen) = (HashTable::<u32>::new(), Seen::default());
        let (mut of_rows, mut firsts) = (Vec::with_capacity(rows), Vec::new());
        let mut taken = 0;
        for range in ranges(rows) {
            let (begin, rows) = (range.start, keys.of(columns, range)?);
            for (at, row) in rows.iter().enumerate() {
                let key = row.data();
                let hash = hasher.hash_one(key);
                let group = match table.find(hash, |group| seen.key(*group) == key) {
                    Some(group) => *group,
                    None => {
                        let group = seen.ends.len() as u32;
                        seen.bytes.extend_from_slice(key);
                        seen.ends.push(seen.bytes.len());
                        seen.hashes.push(hash);
                        firsts.push((begin + at) as i64);
                        table.insert_unique(hash, group, |group| seen.hashes[*group as usize]);
                        group
                    }
                };
                of_rows.push(group);
            }
            grant.grow(seen.size() - taken, "groups")?;
            taken = seen.size();
            work.pause().await;
        }
        grant.shrink_to(of_rows.len() as u64 * 4 + firsts.len() as u64 * 8);
        Ok(Self { of_rows, firsts, _grant: grant })
    }
}
