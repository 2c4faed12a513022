//! `cargo xtask tidy`: the house rules, each a function over the repository's files.

mod allowed;
mod contract;
mod decisions;
mod errors;
mod layers;
mod origins;
mod purity;
mod sizes;
mod spawns;
mod tree;
mod unsafety;

use anyhow::{Result, bail};
use tree::Tree;

/// Something that a rule does not allow, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    /// Relative to the root.
    path: String,
    /// From 1; 0 when the whole file is meant.
    line: usize,
    what: String,
}

impl Violation {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.into(), line, what: what.into() }
    }
}

type Rule = fn(&Tree) -> Vec<Violation>;

const RULES: [(&str, Rule); 8] = [
    ("layers", layers::check),
    ("purity of core", purity::check),
    ("unsafe", unsafety::check),
    ("decisions outside core", decisions::check),
    ("anonymous background work", spawns::check),
    ("contract", contract::check),
    ("error pages", errors::check),
    ("sizes", sizes::check),
];

/// Checks every rule, prints each violation, and fails if there was any.
pub(crate) fn run() -> Result<()> {
    let root = crate::workspace::root();
    let tree = Tree::read(root)?;
    let mut found = 0;
    let mut report = |rule: &str, mut violations: Vec<Violation>| {
        violations.sort();
        for violation in violations {
            println!("{}:{}: {rule}: {}", violation.path, violation.line, violation.what);
            found += 1;
        }
    };
    for (name, rule) in RULES {
        report(name, rule(&tree));
    }
    report("origins", origins::check(&tree, &origins::own_paths(root)));
    report("stale exceptions", allowed::stale(&tree));
    if found > 0 {
        bail!("{found} violations of the house rules");
    }
    println!("{} files keep {} house rules", tree.files.len(), RULES.len() + 2);
    Ok(())
}
