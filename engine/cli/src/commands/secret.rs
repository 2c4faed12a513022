//! `engine secret`: values that jobs are given by name.

use std::io::Read;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use engine_proto::limits::SECRET_BYTES_MAX;
use serde_json::json;

use crate::connect::{self, Target};
use crate::failure::Failure;
use crate::output::table::table;
use crate::output::{self, Format, time};

const EXAMPLES: &str = "\
Examples:
  engine secret set db-password < password.txt
  printf %s \"$VALUE\" | engine secret set db-password
  engine secret list
  engine submit report.wasm --secret DB_PASSWORD=db-password
  engine secret delete db-password

The value comes on standard input, and never stands in an argument; one line break at its end is not part of it.
Nobody is told it again: jobs of the tenant find it in their environment. docs/secrets.md has the whole.";

/// Keep values that jobs are given by name and nobody is told
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Secret {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Give a secret the value that comes on standard input
    Set(Named),
    /// List the names of secrets
    List(Listed),
    /// Forget a secret
    Delete(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// Letters, digits, _, - and .
    #[arg(value_name = "NAME")]
    name: String,
    /// Of which tenant; default: that of who asks
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
}

#[derive(Debug, Args)]
struct Listed {
    /// Of which tenant; default: that of who asks
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) async fn run(args: Secret, target: Target) -> Result<(), Failure> {
    match args.verb {
        Verb::Set(args) => {
            let value = value(std::io::stdin())?;
            let client = connect::running(target).await?;
            client.set_secret(args.tenant.as_deref(), &args.name, value).await?;
            eprintln!("the secret {} has its value: engine submit … --secret {}", args.name, args.name);
            Ok(())
        }
        Verb::List(args) => list(&args, target).await,
        Verb::Delete(args) => {
            let client = connect::running(target).await?;
            Ok(client.delete_secret(args.tenant.as_deref(), &args.name).await?)
        }
    }
}

/// What comes there, but for one line break at its end.
fn value(from: impl Read) -> Result<String, Failure> {
    let mut text = String::new();
    // So that what is too long is refused with its limit.
    let read = from.take(SECRET_BYTES_MAX as u64 + 3).read_to_string(&mut text);
    read.map_err(|error| Failure::Usage(format!("the value cannot be read from standard input: {error}")))?;
    let end =
        text.strip_suffix('\n').map_or(text.len(), |rest| rest.strip_suffix('\r').unwrap_or(rest).len());
    text.truncate(end);
    Ok(text)
}

async fn list(args: &Listed, target: Target) -> Result<(), Failure> {
    let secrets = connect::running(target).await?.secrets_listed(args.tenant.as_deref()).await?;
    match args.format {
        Format::Json => {
            let item = |secret: &engine_client::messages::SecretView| json!({ "name": secret.name, "set_time": time::rfc3339(secret.set_time.as_ref()) });
            output::print_json(&json!({ "items": secrets.iter().map(item).collect::<Vec<_>>() }))
        }
        Format::Table => {
            let now = SystemTime::now();
            let row = |secret: &engine_client::messages::SecretView| {
                vec![secret.name.clone(), time::ago(secret.set_time.as_ref(), now)]
            };
            output::print(&table(&["name", "set"], &secrets.iter().map(row).collect::<Vec<_>>()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_before_its_last_line_break() {
        for (text, found) in
            [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("\n", ""), ("", "")]
        {
            assert_eq!(value(text.as_bytes()).unwrap(), found);
        }
        assert!(value(&b"\xff"[..]).is_err());
        assert_eq!(value("x".repeat(SECRET_BYTES_MAX + 9).as_bytes()).unwrap().len(), SECRET_BYTES_MAX + 3);
    }
}
