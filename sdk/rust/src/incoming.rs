//! The arguments of a call that is being served.
use crate::bindings::engine::compute::types as wit;
use crate::code::ErrorCode;
use crate::codec::{self, Value};
use crate::failure::Failure;
use crate::varargs::Varargs;
use std::vec;

/// The arguments of a call that is being served, decoded one by one.
pub struct Incoming {
    function: String,
    values: vec::IntoIter<wit::Value>,
    taken: usize,
}

impl Incoming {
    pub(crate) fn new(function: String, values: Vec<wit::Value>) -> Self {
        Incoming { function, values: values.into_iter(), taken: 0 }
    }

    /// Fails unless there are exactly these parameters, each written `name: type`.
    ///
    /// # Errors
    /// The failure that the caller is to see.
    pub fn expect(&self, parameters: &[&str]) -> Result<(), Failure> {
        if self.values.len() == parameters.len() {
            return Ok(());
        }
        let message = format!(
            "`{}` takes {} arguments ({}) and was called with {}",
            self.function,
            parameters.len(),
            parameters.join(", "),
            self.values.len()
        );
        Err(Failure::coded(ErrorCode::InvalidArgument, message))
    }

    /// Fails unless there are at least these parameters; the last one takes what is left.
    ///
    /// # Errors
    /// The failure that the caller is to see.
    pub fn expect_at_least(&self, parameters: &[&str], varargs: &str) -> Result<(), Failure> {
        if self.values.len() >= parameters.len() {
            return Ok(());
        }
        let mut all = parameters.to_vec();
        all.push(varargs);
        let message = format!(
            "`{}` takes at least {} arguments ({}) and was called with {}",
            self.function,
            parameters.len(),
            all.join(", "),
            self.values.len()
        );
        Err(Failure::coded(ErrorCode::InvalidArgument, message))
    }

    /// Decodes all arguments that are left.
    ///
    /// # Errors
    /// The failure that the caller is to see.
    pub fn rest<T: Value>(&mut self, parameter: &str) -> Result<Varargs<T>, Failure> {
        let mut rest = Vec::with_capacity(self.values.len());
        while self.values.len() > 0 {
            rest.push(self.next(parameter)?);
        }
        Ok(Varargs(rest))
    }

    /// Decodes the next argument.
    ///
    /// # Errors
    /// The failure that the caller is to see.
    pub fn next<T: Value>(&mut self, parameter: &str) -> Result<T, Failure> {
        self.taken += 1;
        let decoded = match self.values.next() {
            Some(value) => codec::decode(value),
            None => Err("it is missing".to_owned()),
        };
        decoded.map_err(|cause| {
            let Incoming { function, taken, .. } = self;
            let message = format!("argument {taken} of `{function}` ({parameter}): {cause}");
            Failure::coded(ErrorCode::InvalidArgument, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incoming(values: Vec<wit::Value>) -> Incoming {
        Incoming::new("square".into(), values)
    }

    #[test]
    fn a_wrong_argument_is_named_by_function_position_and_expectation() {
        let text = codec::encode(&"four".to_owned()).unwrap().into_owned_wire();
        let failure = incoming(vec![text]).next::<u64>("x: u64").unwrap_err();
        assert_eq!(failure.kind(), "INVALID_ARGUMENT");
        assert_eq!(failure.message(), "argument 1 of `square` (x: u64): expected u64, found text");
    }

    #[test]
    fn what_is_left_is_taken_in_order() {
        let value = |number: u64| codec::encode(&number).unwrap().into_owned_wire();
        let mut called = incoming((1..5).map(value).collect());
        called.expect_at_least(&["x: u64"], "more: Varargs<u64>").unwrap();
        assert_eq!(called.next::<u64>("x: u64").unwrap(), 1);
        assert_eq!(called.rest::<u64>("more: Varargs<u64>").unwrap().0, [2, 3, 4]);
        assert!(called.rest::<u64>("more: Varargs<u64>").unwrap().0.is_empty());
        let failure = incoming(Vec::new()).expect_at_least(&["x: u64"], "more: Varargs<u64>").unwrap_err();
        assert_eq!(
            failure.message(),
            "`square` takes at least 1 arguments (x: u64, more: Varargs<u64>) and was called with 0"
        );
    }

    #[test]
    fn a_wrong_count_is_named_with_the_parameters() {
        let failure = incoming(Vec::new()).expect(&["x: u64"]).unwrap_err();
        assert_eq!(failure.message(), "`square` takes 1 arguments (x: u64) and was called with 0");
    }
}
