//! Plain components: exports with WIT types of their own, called by WAVE text or with MessagePack
//! values, and commands (`wasi:cli/run`).

mod call;
mod convert;
mod expression;
mod types;

use std::sync::Arc;

pub(crate) use call::enter;
pub(crate) use expression::untyped_call;
pub(crate) use types::signature;

/// What a command sees as its arguments: a name for itself, then the job's.
pub(crate) fn command_arguments(arguments: &[String]) -> Arc<[String]> {
    std::iter::once("main".to_owned()).chain(arguments.iter().cloned()).collect()
}
