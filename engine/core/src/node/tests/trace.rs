//! What happened in a simulation, for whoever looks at a seed that fails.

use std::cell::RefCell;
use std::rc::Rc;

use crate::time::Time;

/// What happened, in order; clones write into the same.
#[derive(Clone, Default)]
pub struct Trace(Rc<RefCell<Vec<String>>>);

impl Trace {
    pub fn note(&self, now: Time, what: &str) {
        self.0.borrow_mut().push(format!("{now}: {what}"));
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.borrow().clone()
    }
}
