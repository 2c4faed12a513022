//! `engine tenant usage`: what tenants use now, and what they have consumed since a time.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};
use engine_client::messages::{UsageRecord, UsageRequest};
use engine_core::resources::bytes;
use engine_core::usage::{Exported, UsageKind};
use engine_proto::convert::{std_duration, timestamp, usage_amounts_from};
use serde_json::{Map, Value, json};

use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::output;
use crate::output::table::table;
use crate::output::time::rfc3339;
use crate::parse::since;

use super::show;

#[derive(Debug, Args)]
pub(super) struct Usage {
    /// This tenant alone
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// What was consumed since then, by periods of a minute: a time as in 2026-11-24T03:00:00Z, or how long ago:
    /// 24h, 7d. Without it: what is used now
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<SystemTime>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write it there instead of to standard output
    #[arg(long, value_name = "FILE", requires = "since")]
    output: Option<PathBuf>,
}

/// How usage is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    #[value(alias = "text")]
    Table,
    /// For programs
    Json,
    /// For spreadsheets; with --since
    Csv,
}

pub(super) async fn run(args: &Usage, target: Target) -> Result<(), Failure> {
    let name = args.name.as_deref();
    let Some(since) = args.since else {
        let format = match args.format {
            Format::Table => output::Format::Table,
            Format::Json => output::Format::Json,
            Format::Csv => {
                return Err(Failure::Usage(
                    "--format csv is for what was consumed: say since when, as in --since 24h".to_owned(),
                ));
            }
        };
        return show::usage(name, format, target).await;
    };
    let records = read(name, since, target).await?;
    let json = || json!({ "items": records.iter().map(described).collect::<Vec<_>>() });
    let text = match (args.format, &args.output) {
        (Format::Table, _) => table(&columns(), &records.iter().map(row).collect::<Vec<_>>()),
        (Format::Json, None) => return output::print_json(&json()),
        (Format::Json, Some(_)) => format!("{:#}\n", json()),
        (Format::Csv, _) => csv(&records)?,
    };
    match &args.output {
        Some(path) => std::fs::write(path, text)
            .map_err(|error| Failure::Usage(format!("--output {}: {error}", path.display()))),
        None => output::print(&text),
    }
}

async fn read(name: Option<&str>, since: SystemTime, target: Target) -> Result<Vec<UsageRecord>, Failure> {
    let client = connect::running(target).await?;
    let tenant = name.unwrap_or_default().to_owned();
    let mut request = UsageRequest { tenant, since: Some(timestamp(since)), after: None };
    let mut records = Vec::new();
    loop {
        let page = client.usage_read(request.clone()).await?;
        records.extend(page.records);
        match page.next {
            Some(next) => request.after = Some(next),
            None => return Ok(records),
        }
    }
}

fn length(record: &UsageRecord) -> Duration {
    record.length.as_ref().and_then(std_duration).unwrap_or_default()
}

fn amounts(record: &UsageRecord) -> [(UsageKind, Exported); UsageKind::COUNT] {
    let used = usage_amounts_from(record.used.unwrap_or_default());
    UsageKind::ALL.map(|kind| (kind, kind.exported(used[kind])))
}

fn columns() -> Vec<&'static str> {
    let kinds = UsageKind::ALL.map(|kind| match kind {
        UsageKind::CpuHeldNs => "cpu held",
        UsageKind::CpuUsedNs => "cpu used",
        UsageKind::MemoryMibMs => "memory",
        UsageKind::ObjectMibMs => "objects",
        UsageKind::TasksFinished => "finished",
        UsageKind::TasksFailed => "failed",
        UsageKind::Refused => "refused",
        UsageKind::LogBytes => "logs",
    });
    ["tenant", "start", "length"].into_iter().chain(kinds).collect()
}

fn row(record: &UsageRecord) -> Vec<String> {
    let start = rfc3339(record.start.as_ref()).unwrap_or_default();
    let goes_on = if record.is_open { " so far" } else { "" };
    let length = format!("{}{goes_on}", humantime::format_duration(length(record)));
    let cells = amounts(record).map(|(kind, amount)| match (kind, amount) {
        (_, Exported::Seconds(seconds)) => format!("{seconds:.1}s"),
        (UsageKind::MemoryMibMs | UsageKind::ObjectMibMs, Exported::Whole(byte_seconds)) => {
            format!("{} s", bytes(u64::try_from(byte_seconds).unwrap_or(u64::MAX)))
        }
        (UsageKind::LogBytes, Exported::Whole(count)) => bytes(u64::try_from(count).unwrap_or(u64::MAX)),
        (_, Exported::Whole(count)) => count.to_string(),
    });
    [record.tenant.clone(), start, length].into_iter().chain(cells).collect()
}

fn described(record: &UsageRecord) -> Value {
    let mut fields = Map::new();
    fields.insert("tenant".to_owned(), json!(record.tenant));
    fields.insert("start".to_owned(), json!(rfc3339(record.start.as_ref())));
    fields.insert("seconds".to_owned(), json!(length(record).as_secs_f64()));
    fields.insert("is_open".to_owned(), json!(record.is_open));
    for (kind, amount) in amounts(record) {
        let amount = match amount {
            Exported::Seconds(seconds) => json!(seconds),
            Exported::Whole(count) => u64::try_from(count).map_or(json!(count as f64), |count| json!(count)),
        };
        fields.insert(kind.name().to_owned(), amount);
    }
    Value::Object(fields)
}

fn csv(records: &[UsageRecord]) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Other(format!("cannot write CSV: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = ["tenant", "start", "seconds", "is_open"].into_iter();
    let header = header.chain(UsageKind::ALL.map(UsageKind::name));
    writer.write_record(header).map_err(|error| failed(&error))?;
    for record in records {
        let start = rfc3339(record.start.as_ref()).unwrap_or_default();
        let seconds = length(record).as_secs_f64().to_string();
        let cells = amounts(record).map(|(_, amount)| match amount {
            Exported::Seconds(seconds) => seconds.to_string(),
            Exported::Whole(count) => count.to_string(),
        });
        let first = [record.tenant.clone(), start, seconds, record.is_open.to_string()];
        writer.write_record(first.into_iter().chain(cells)).map_err(|error| failed(&error))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use clap::Parser;
    use engine_client::messages::UsageAmounts;
    use engine_proto::convert::duration;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn a_record_is_a_row_and_an_object() {
        let used = UsageAmounts {
            cpu_held_ns: 1_500_000_000,
            memory_mib_ms: 512 * 1_000,
            tasks_finished: 7,
            log_bytes: 2_048,
            ..UsageAmounts::default()
        };
        let record = UsageRecord {
            tenant: "red".to_owned(),
            start: Some(timestamp(UNIX_EPOCH + Duration::from_secs(1_795_489_200))),
            length: Some(duration(Duration::from_secs(60))),
            used: Some(used),
            is_open: true,
        };
        let expected = "tenant,start,seconds,is_open,cpu_held_seconds,cpu_used_seconds,memory_byte_seconds,\
                        object_byte_seconds,tasks_finished,tasks_failed,refused,log_bytes\n\
                        red,2026-11-24T03:00:00.000Z,60,true,1.5,0,536870912,0,7,0,0,2048\n";
        assert_eq!(csv(std::slice::from_ref(&record)).unwrap(), expected);
        assert_eq!(described(&record)["memory_byte_seconds"], json!(512 << 20));
        assert_eq!(described(&record)["cpu_held_seconds"], json!(1.5));
        let row = row(&record);
        assert_eq!(row.len(), columns().len());
        assert_eq!(row[2..6], ["1m so far", "1.5s", "0.0s", "512 MiB s"]);
    }

    #[test]
    fn what_is_written_to_a_file_is_history() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("engine tenant usage red --since 24h --format csv --output red.csv").is_ok());
        assert!(parse("engine tenant usage red --output red.csv").is_err());
        assert!(parse("engine tenant usage --since yesterday").is_err());
    }
}
