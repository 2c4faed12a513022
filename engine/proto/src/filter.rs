//! Conditions on the fields of what is listed.

use engine_core::Error;

use crate::fields::{Fields, keys, kind_name};
use crate::limits::FILTERS_MAX;
use crate::v1::{self, Kind};

/// Checked conditions, all of which have to hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filters(Vec<v1::Filter>);

impl Filters {
    /// Checks that the fields are ones that the kind has; INVALID_ARGUMENT names them otherwise.
    pub fn new(kind: Kind, filters: Vec<v1::Filter>) -> Result<Self, Error> {
        if filters.len() > FILTERS_MAX {
            return Err(Error::invalid_argument(format!(
                "{} filters were given, at most {FILTERS_MAX} are allowed",
                filters.len()
            )));
        }
        let known = keys(kind);
        for filter in &filters {
            if !known.contains(&filter.key.as_str()) {
                let key: String = filter.key.chars().take(80).collect();
                return Err(Error::invalid_argument(format!(
                    "{} have no field {key:?} to filter by: use one of {}",
                    kind_name(kind),
                    known.join(", ")
                )));
            }
        }
        Ok(Self(filters))
    }

    /// The conditions as they are asked of another node.
    pub fn to_messages(&self) -> Vec<v1::Filter> {
        self.0.clone()
    }

    /// Whether there is no condition.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value that a field is required to have, if a condition says so; lets a backend look up
    /// instead of going through everything.
    pub fn required(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|filter| filter.key == key && !filter.negated).map(|filter| filter.value.as_str())
    }

    /// Whether all conditions hold. Upper and lower case are the same.
    pub fn matches<V: Fields>(&self, view: &V) -> bool {
        self.0.iter().all(|filter| {
            let field = view.field(&filter.key).unwrap_or_default();
            field.eq_ignore_ascii_case(&filter.value) != filter.negated
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(key: &str, value: &str, negated: bool) -> v1::Filter {
        v1::Filter { key: key.into(), value: value.into(), negated }
    }

    #[test]
    fn all_conditions_have_to_hold() {
        let task = v1::TaskView {
            task_id: "task-1".into(),
            function: "count".into(),
            state: v1::TaskState::Running.into(),
            ..Default::default()
        };
        let matches =
            |filters: &[v1::Filter]| Filters::new(Kind::Task, filters.to_vec()).unwrap().matches(&task);
        assert!(matches(&[]));
        assert!(matches(&[filter("state", "running", false), filter("function", "count", false)]));
        assert!(!matches(&[filter("state", "running", false), filter("function", "count", true)]));
        assert!(matches(&[filter("state", "FAILED", true)]));
    }

    #[test]
    fn an_unknown_field_is_refused_with_those_there_are() {
        let error = Filters::new(Kind::Object, vec![filter("colour", "red", false)]).unwrap_err();
        assert!(error.message().contains("\"colour\""), "{error}");
        assert!(error.message().contains("holders"), "{error}");
        assert!(Filters::new(Kind::Object, vec![filter("id", "x", false); FILTERS_MAX + 1]).is_err());
    }
}
