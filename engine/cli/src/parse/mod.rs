//! Values of arguments.

mod cpus;
mod directory;
mod filter;
mod kind;
mod pair;
mod since;
mod size;

pub(crate) use cpus::{Cpus, cpus};
pub(crate) use directory::{DirectoryArg, directory};
pub(crate) use filter::filter;
pub(crate) use kind::{ManyKind, OneKind};
pub(crate) use pair::{Pair, env, pair, quantity_pair};
pub(crate) use since::since;
pub(crate) use size::size;
