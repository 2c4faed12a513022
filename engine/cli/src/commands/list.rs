//! `engine list`: what there is.

mod follow;

use std::time::SystemTime;

use clap::Args;
use engine_client::messages::{Filter, Kind, ListResponse};
use serde_json::json;

use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::output::{self, Format, json, rows};
use crate::parse::{ManyKind, filter};

const EXAMPLES: &str = "\
Examples:
  engine list tasks
  engine list tasks --filter state=PENDING_PLACEMENT --filter function=count
  engine list actors --filter state!=DEAD --limit 1000
  engine list nodes --format json
  engine list events --filter severity!=INFO
  engine list events --follow                  what happens from now on too, the newest last";

/// List jobs, tasks, actors, objects, nodes, placement groups or events
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
    /// Of events: go on with those that happen from now on, the newest last, until Ctrl-C
    #[arg(long)]
    follow: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: List, target: Target) -> Result<(), Failure> {
    let kind = Kind::from(args.kind);
    let client = connect::running(target).await?;
    if args.follow {
        if kind != Kind::Event {
            return Err(Failure::Usage("--follow is for events only: `engine list events --follow`".into()));
        }
        return follow::events(&client, args.filters, args.limit, args.format).await;
    }
    let listed = client.list(kind, args.filters, args.limit).await?;
    match args.format {
        Format::Table => {
            output::print(&rows::listing(kind, &listed.items, SystemTime::now()))?;
            for note in left_out(&listed).into_iter().chain(forgotten(&listed)) {
                eprintln!("{note}");
            }
            Ok(())
        }
        Format::Json => {
            let items: Vec<_> = listed.items.iter().map(json::view).collect();
            let mut answer = json!({ "items": items, "total": listed.total });
            if kind == Kind::Event {
                answer["forgotten"] = json!(listed.forgotten);
            }
            output::print_json(&answer)
        }
    }
}

fn left_out(listed: &ListResponse) -> Option<String> {
    let shown = listed.items.len() as u64;
    (listed.total > shown)
        .then(|| format!("{shown} of {} are shown: ask for more with --limit", listed.total))
}

fn forgotten(listed: &ListResponse) -> Option<String> {
    let count = listed.forgotten;
    (count > 0).then(|| format!("{count} older events are not kept any more (events_max)"))
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
        let listed = ListResponse { items: Vec::new(), total: 7, forgotten: 0 };
        assert_eq!(left_out(&listed).unwrap(), "0 of 7 are shown: ask for more with --limit");
        assert_eq!(left_out(&ListResponse::default()), None);
        assert_eq!(forgotten(&listed), None);
        let listed = ListResponse { forgotten: 3, ..listed };
        assert!(forgotten(&listed).unwrap().starts_with("3 older events"));
    }
}
