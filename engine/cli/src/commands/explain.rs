//! `engine explain`: why a task is not running.

use clap::Args;
use engine_client::messages::Explanation;

use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::output::{self, Format, json, table::table};

const EXAMPLES: &str = "\
Examples:
  engine explain task-0123456789abcdef01234567";

/// Say why a task is not running, or what became of it
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Explain {
    /// The task's id
    task: String,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Explain, target: Target) -> Result<(), Failure> {
    let found = connect::running(target).await?.explain(args.task).await?;
    match args.format {
        Format::Table => output::print(&render(&found)),
        Format::Json => output::print_json(&json::explanation(&found)),
    }
}

fn render(found: &Explanation) -> String {
    let mut text = format!("{}\n", found.summary);
    if !found.lacks.is_empty() {
        let rows: Vec<_> = found
            .lacks
            .iter()
            .map(|lack| [&lack.node_id, &lack.resource, &lack.wanted, &lack.available, &lack.total])
            .map(|row| row.map(String::clone).to_vec())
            .collect();
        text.push('\n');
        text.push_str(&table(&["node", "resource", "wanted", "free", "total"], &rows));
    }
    if !found.missing_arguments.is_empty() {
        text.push_str("\nwaits for:\n");
        text.extend(found.missing_arguments.iter().map(|object| format!("  {object}\n")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_client::messages::Lack;

    #[test]
    fn the_answer_comes_first_and_its_numbers_below() {
        let found = Explanation {
            summary: "it wants 4 cpus".into(),
            lacks: vec![Lack {
                node_id: "node-1".into(),
                resource: "cpus".into(),
                wanted: "4".into(),
                available: "1".into(),
                total: "2".into(),
            }],
            missing_arguments: vec!["obj-1".into()],
            task: None,
        };
        let expected = "\
it wants 4 cpus

NODE    RESOURCE  WANTED  FREE  TOTAL
node-1  cpus      4       1     2

waits for:
  obj-1
";
        assert_eq!(render(&found), expected);
    }
}
