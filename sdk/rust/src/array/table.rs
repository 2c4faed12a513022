//! Named columns, and what takes several of them.
use super::{Array, Reduction, made, wit};
use crate::code::ErrorCode;
use crate::error::{Error, Result};
use crate::object::ObjectRef;
use std::fmt;

/// Named columns of the same length, in the host's memory: arrays of one dimension.
#[derive(Clone)]
pub struct Table {
    columns: Vec<(String, Array)>,
}

impl Table {
    /// A table of these columns; what does not go together is refused where it is [`put`](Self::put).
    pub fn new(columns: impl IntoIterator<Item = (impl Into<String>, Array)>) -> Self {
        Table { columns: columns.into_iter().map(|(name, array)| (name.into(), array)).collect() }
    }

    /// The table of an object that is an Arrow stream, or these columns of it, read where they lie. Waits
    /// for it.
    ///
    /// # Errors
    /// The failure of the task that was to make it; INVALID_ARGUMENT when it is something else, or a
    /// column is of a type that arrays do not have.
    pub fn from_ref<T>(object: &ObjectRef<T>, columns: Option<&[&str]>) -> Result<Self> {
        let wanted: Option<Vec<String>> =
            columns.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let read = wit::read_table(object.wire(), wanted.as_deref(), None).map_err(Error::from_wire)?;
        Ok(Table { columns: read.into_iter().map(|(name, array)| (name, Array::of_wire(array))).collect() })
    }

    /// Makes an object of it: an Arrow stream, which every language reads (`engine::arrow::Table` too).
    ///
    /// # Errors
    /// INVALID_ARGUMENT when columns have not the same length, STORE_FULL, OUT_OF_DISK, LIMIT_EXCEEDED.
    pub fn put<T>(&self) -> Result<ObjectRef<T>> {
        let columns: Vec<(String, &wit::Array)> =
            self.columns.iter().map(|(name, array)| (name.clone(), array.wire())).collect();
        wit::write_table(&columns).map(ObjectRef::from_wire).map_err(Error::from_wire)
    }

    /// The columns, in order.
    pub fn columns(&self) -> &[(String, Array)] {
        &self.columns
    }

    /// The column of this name.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when there is none.
    pub fn column(&self, name: &str) -> Result<&Array> {
        let found = self.columns.iter().find(|(own, _)| own == name);
        found.map(|(_, array)| array).ok_or_else(|| {
            let names: Vec<&str> = self.columns.iter().map(|(name, _)| name.as_str()).collect();
            Error::coded(
                ErrorCode::InvalidArgument,
                format!("the table has no column `{name}`; it has {names:?}"),
            )
        })
    }

    /// The rows where the mask is true.
    ///
    /// # Errors
    /// As every operation: see [the module](crate::array).
    pub fn filter(&self, mask: &Array) -> Result<Self> {
        self.each(|column| column.filter(mask))
    }

    /// The rows of these numbers.
    ///
    /// # Errors
    /// As every operation.
    pub fn take(&self, indices: &Array) -> Result<Self> {
        self.each(|column| column.take(indices))
    }

    /// The rows in the order of the first of these columns, of equal ones in that of the second, and so on;
    /// with each, whether it falls.
    ///
    /// # Errors
    /// As every operation.
    pub fn sort_by(&self, columns: &[(&str, bool)]) -> Result<Self> {
        let keys = columns.iter().map(|(name, descending)| Ok((self.column(name)?, *descending)));
        self.take(&argsort(&keys.collect::<Result<Vec<_>>>()?)?)
    }

    fn each(&self, make: impl Fn(&Array) -> Result<Array>) -> Result<Self> {
        let made = self.columns.iter().map(|(name, array)| Ok((name.clone(), make(array)?)));
        Ok(Table { columns: made.collect::<Result<_>>()? })
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.columns.iter().map(|(name, array)| (name, array))).finish()
    }
}

/// What [`group_by`] gives: a row for each group.
#[derive(Clone, Debug)]
pub struct Grouped {
    /// The keys of each group, in the order of the columns.
    pub keys: Vec<Array>,
    /// What became of its values.
    pub aggregates: Vec<Array>,
}

/// Puts rows of equal keys together and reduces the values of each group. Groups come in the order in
/// which their keys come first.
///
/// # Errors
/// As every operation: see [the module](crate::array).
pub fn group_by(keys: &[&Array], aggregates: &[(&Array, Reduction)]) -> Result<Grouped> {
    let keys: Vec<&wit::Array> = keys.iter().map(|array| array.wire()).collect();
    let asked: Vec<(&wit::Array, Reduction)> =
        aggregates.iter().map(|(array, reduction)| (array.wire(), *reduction)).collect();
    let made = wit::group_by(&keys, &asked).map_err(Error::from_wire)?;
    let arrays = |arrays: Vec<wit::Array>| arrays.into_iter().map(Array::of_wire).collect();
    Ok(Grouped { keys: arrays(made.keys), aggregates: arrays(made.aggregates) })
}

/// Where the rows are in the order of the first column, of equal ones in that of the second, and so on;
/// with each column, whether it falls.
///
/// # Errors
/// As every operation.
pub fn argsort(columns: &[(&Array, bool)]) -> Result<Array> {
    let columns: Vec<(&wit::Array, bool)> =
        columns.iter().map(|(array, falls)| (array.wire(), *falls)).collect();
    made(wit::Array::argsort(&columns))
}
