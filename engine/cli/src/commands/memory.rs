//! `engine memory`: what objects take, and who holds them.

use std::fmt::Write;

use clap::Args;
use engine_client::messages::{self as v1, Kind, view::View};
use engine_core::resources::bytes;
use serde_json::json;

use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::output::table::table;
use crate::output::{self, Format, json};

const EXAMPLES: &str = "\
Examples:
  engine memory                        the largest objects, and why they are still there
  engine memory -n 1000 --format json

An object lives as long as something holds it: a HANDLE in a guest, an ARGUMENT of a task that has not
ended, the CONSTRUCTOR's argument of an actor, another object's VALUE, or a STREAM that is not read.";

/// Show what objects take in memory and on disk, and who holds them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Memory {
    /// At most so many objects, the largest first; at most 10000
    #[arg(short = 'n', long, default_value_t = 20)]
    limit: u32,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Memory, target: Target) -> Result<(), Failure> {
    let client = connect::running(target).await?;
    let counters = client.status().await?.counters.unwrap_or_default();
    let listed = client.list(Kind::Object, Vec::new(), args.limit).await?;
    match args.format {
        Format::Table => {
            let objects = listed.items.iter().filter_map(|item| match item.view.as_ref()? {
                View::Object(object) => Some(object),
                _ => None,
            });
            output::print(&render(&counters, objects))
        }
        Format::Json => {
            let objects: Vec<_> = listed.items.iter().map(json::view).collect();
            output::print_json(&json!({
                "store_used_bytes": counters.store_used_bytes,
                "store_total_bytes": counters.store_total_bytes,
                "spilled_bytes": counters.spilled_bytes,
                "total": listed.total,
                "objects": objects,
            }))
        }
    }
}

fn render<'a>(counters: &v1::NodeCounters, objects: impl Iterator<Item = &'a v1::ObjectView>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{} objects; {} of {} in memory, {} on disk only\n",
        counters.objects,
        bytes(counters.store_used_bytes),
        bytes(counters.store_total_bytes),
        bytes(counters.spilled_bytes),
    );
    let rows: Vec<Vec<String>> = objects.map(row).collect();
    text.push_str(&table(&["object", "size", "place", "pins", "holders", "held by"], &rows));
    text
}

fn row(object: &v1::ObjectView) -> Vec<String> {
    let held_by: Vec<String> = object.held_by.iter().take(3).map(held_by).collect();
    let more = object.holders.saturating_sub(held_by.len() as u64);
    let mut held_by = held_by.join(", ");
    if more > 0 {
        let _ = write!(held_by, " and {more} more");
    }
    vec![
        object.object_id.clone(),
        object.size_bytes.map(bytes).unwrap_or_default(),
        object.place.clone(),
        if object.pins > 0 { object.pins.to_string() } else { String::new() },
        object.holders.to_string(),
        held_by,
    ]
}

fn held_by(holder: &v1::ObjectHolder) -> String {
    match holder.function.as_str() {
        "" => format!("{} {}", holder.kind, holder.id),
        function => format!("{} of {function} {}", holder.kind, holder.id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_shown_with_who_holds_it() {
        let holder = |kind: &str, id: &str, function: &str| v1::ObjectHolder {
            kind: kind.to_owned(),
            id: id.to_owned(),
            function: function.to_owned(),
        };
        let object = v1::ObjectView {
            object_id: "obj-1".into(),
            size_bytes: Some(3 << 20),
            place: "SPILLED".into(),
            holders: 5,
            held_by: vec![holder("HANDLE", "task-1", "main"), holder("VALUE", "obj-2", "")],
            ..Default::default()
        };
        let counters = v1::NodeCounters { objects: 1, spilled_bytes: 3 << 20, ..Default::default() };
        let text = render(&counters, [&object].into_iter());
        assert!(text.starts_with("1 objects; 0 bytes of 0 bytes in memory, 3 MiB on disk only"), "{text}");
        assert!(text.contains("HANDLE of main task-1, VALUE obj-2 and 3 more"), "{text}");
    }
}
