//! `engine list`: what there is.

use std::time::SystemTime;

use clap::Args;
use engine_client::Address;
use engine_client::messages::{Filter, Kind, ListResponse};
use serde_json::json;

use crate::connect;
use crate::failure::Failure;
use crate::output::{self, Format, json, rows};
use crate::parse::{ManyKind, filter};

const EXAMPLES: &str = "\
Examples:
  engine list tasks
  engine list tasks --filter state=PENDING_PLACEMENT --filter function=count
  engine list actors --filter state!=DEAD --limit 1000
  engine list nodes --format json";

/// List jobs, tasks, actors, objects, nodes or placement groups
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct List {
    #[arg(value_enum)]
    kind: ManyKind,
    /// Only those whose field is VALUE; repeat it for more conditions. FIELD!=VALUE for the others
    #[arg(short, long = "filter", value_name = "FIELD=VALUE", value_parser = filter)]
    filters: Vec<Filter>,
    /// At most so many, the newest first; at most 10000
    #[arg(short = 'n', long, default_value_t = 100)]
    limit: u32,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: List, address: Option<Address>) -> Result<(), Failure> {
    let kind = Kind::from(args.kind);
    let client = connect::running(address).await?;
    let listed = client.list(kind, args.filters, args.limit).await?;
    match args.format {
        Format::Table => {
            output::print(&rows::listing(kind, &listed.items, SystemTime::now()))?;
            if let Some(note) = left_out(&listed) {
                eprintln!("{note}");
            }
            Ok(())
        }
        Format::Json => {
            let items: Vec<_> = listed.items.iter().map(json::view).collect();
            output::print_json(&json!({ "items": items, "total": listed.total }))
        }
    }
}

fn left_out(listed: &ListResponse) -> Option<String> {
    let shown = listed.items.len() as u64;
    (listed.total > shown)
        .then(|| format!("{shown} of {} are shown: ask for more with --limit", listed.total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    #[test]
    fn conditions_add_up() {
        let line =
            ["engine", "list", "tasks", "-f", "state=RUNNING", "--filter", "function!=main", "-n", "5"];
        let Command::List(list) = Cli::try_parse_from(line).unwrap().command else { panic!("not list") };
        assert_eq!((list.kind, list.limit, list.filters.len()), (ManyKind::Tasks, 5, 2));
        assert!(list.filters[1].negated);
        assert!(Cli::try_parse_from(["engine", "list", "wishes"]).is_err());
        assert!(Cli::try_parse_from(["engine", "list", "tasks", "-f", "state"]).is_err());
    }

    #[test]
    fn what_is_left_out_is_told() {
        let listed = ListResponse { items: Vec::new(), total: 7 };
        assert_eq!(left_out(&listed).unwrap(), "0 of 7 are shown: ask for more with --limit");
        assert_eq!(left_out(&ListResponse::default()), None);
    }
}
