//! `engine audit`: lines of the log, for people and programs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use engine_audit::{Line, Who};
use engine_client::messages::{ReadAuditRequest, ReadAuditResponse};
use engine_proto::convert::timestamp;

use super::{Audit, Format};
use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::output;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How long an engine may be away meanwhile.
const ENGINE_AWAY_MAX: Duration = Duration::from_secs(60);

const COLUMNS: [&str; 12] = [
    "number",
    "time",
    "method",
    "verb",
    "outcome",
    "who",
    "certificate",
    "token_id",
    "tenant",
    "namespace",
    "from",
    "on",
];

pub(super) async fn run(args: Audit, target: Target) -> Result<(), Failure> {
    let client = connect::running(target).await?;
    let tenant = args.tenant.unwrap_or_default();
    let mut request = ReadAuditRequest { from: 0, since: args.since.map(timestamp), tenant };
    if args.format == Format::Csv {
        output::print(&csv(&COLUMNS.map(str::to_owned))?)?;
    }
    let mut heard = Instant::now();
    loop {
        let page: ReadAuditResponse = match client.read_audit(request.clone()).await {
            Ok(page) => page,
            Err(error) if args.follow && error.is_unreachable() && heard.elapsed() < ENGINE_AWAY_MAX => {
                tokio::time::sleep(LOOK_INTERVAL).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        heard = Instant::now();
        request.from = page.next;
        for line in &page.lines {
            output::print(&shown(line, args.format)?)?;
        }
        match (page.is_end, args.follow) {
            (false, _) => {}
            (true, false) => return Ok(()),
            (true, true) => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}

fn shown(text: &str, format: Format) -> Result<String, Failure> {
    if format == Format::Json {
        return Ok(text.to_owned());
    }
    let line: Line = serde_json::from_str(text).map_err(|error| {
        Failure::Other(format!("the engine has sent a line that is none ({error}): {text}"))
    })?;
    match format {
        Format::Csv => csv(&cells(&line)),
        Format::Text | Format::Json => Ok(sentence(&line)),
    }
}

fn cells(line: &Line) -> [String; COLUMNS.len()] {
    let entry = &line.entry;
    let some = |text: &Option<String>| text.clone().unwrap_or_default();
    [
        line.number.to_string(),
        humantime::format_rfc3339_millis(entry.time).to_string(),
        entry.method.clone(),
        some(&entry.verb),
        entry.outcome.clone(),
        who(entry.who).to_owned(),
        some(&entry.certificate),
        some(&entry.token_id),
        some(&entry.tenant),
        some(&entry.namespace),
        entry.from.clone(),
        on(&entry.on),
    ]
}

fn who(who: Who) -> &'static str {
    match who {
        Who::Operator => "operator",
        Who::Certificate => "certificate",
        Who::Token => "token",
        Who::Nobody => "nobody",
    }
}

fn on(subject: &BTreeMap<String, String>) -> String {
    subject.iter().map(|(what, which)| format!("{what}={which}")).collect::<Vec<_>>().join(" ")
}

/// `2026-… OK Jobs.Submit by token tok-… of tenant red, from uid=0 pid=7: job_id=job-…`
fn sentence(line: &Line) -> String {
    let entry = &line.entry;
    let time = humantime::format_rfc3339_millis(entry.time);
    let mut text = format!("{time} {} {} by {}", entry.outcome, entry.method, who(entry.who));
    for named in [&entry.certificate, &entry.token_id].into_iter().flatten() {
        text.push_str(&format!(" {named}"));
    }
    for (what, named) in [("tenant", &entry.tenant), ("namespace", &entry.namespace)] {
        if let Some(named) = named {
            text.push_str(&format!(" of {what} {named}"));
        }
    }
    text.push_str(&format!(", from {}", entry.from));
    if !entry.on.is_empty() {
        text.push_str(&format!(": {}", on(&entry.on)));
    }
    // Of names that people give; a terminal obeys some.
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

fn csv(cells: &[String; COLUMNS.len()]) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Other(format!("cannot write CSV: {error}"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells).map_err(|error| failed(&error))?;
    let bytes = writer.into_inner().map_err(|error| failed(&error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"number":7,"time":"2026-11-24T03:00:00.125Z","method":"Jobs.Submit","verb":"submit","outcome":"OK","who":"token","token_id":"tok-1","tenant":"red","from":"uid=0 pid=7","on":{"job_id":"job-1","name":"a, \"b\"\n"},"previous":"00"}"#;

    #[test]
    fn a_line_is_a_sentence_or_a_row_or_itself() {
        assert_eq!(shown(LINE, Format::Json).unwrap(), LINE);
        let text = "2026-11-24T03:00:00.125Z OK Jobs.Submit by token tok-1 of tenant red, from uid=0 pid=7: \
                    job_id=job-1 name=a, \"b\"\u{fffd}";
        assert_eq!(shown(LINE, Format::Text).unwrap(), text);
        let row = "7,2026-11-24T03:00:00.125Z,Jobs.Submit,submit,OK,token,,tok-1,red,,uid=0 pid=7,\
                   \"job_id=job-1 name=a, \"\"b\"\"\n\"\n";
        assert_eq!(shown(LINE, Format::Csv).unwrap(), row);
        assert!(shown("x", Format::Csv).is_err());
    }
}
