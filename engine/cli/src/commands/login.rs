//! `engine login`: gets a token for an ID token, and keeps it where the other commands find it.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use engine_client::messages::{LoginRequest, LoginResponse};
use engine_client::{AccessToken, Address, Fingerprint};
use engine_core::TenantName;

use crate::connect::{Target, named};
use crate::embedded;
use crate::failure::Failure;
use crate::output::time;

/// Bytes of a file with an ID token that are read.
const ID_TOKEN_FILE_BYTES_MAX: u64 = 64 << 10;
/// Bytes of a file with a token that are read.
const TOKEN_FILE_BYTES_MAX: u64 = 16 << 10;

const EXAMPLES: &str = "\
Examples:
  get-id-token | engine login --id-token -
  engine login --address 192.0.2.1:7420 --authority 6e34… --id-token id-token.jwt
  engine login --id-token id-token.jwt --tenant team-7
  engine login --forget

An ID token is what an issuer of OpenID Connect gives a person or a workload: a JWT, for the audience that the
engine's operator has chosen (engine up --oidc, engine head --oidc). The engine's own token for it is kept in a
file of mode 600 below $ENGINE_STATE_DIR, $XDG_STATE_HOME/engine or ~/.local/state/engine, and shown by every
command to that address that shows neither --token-file, $ENGINE_TOKEN nor --credentials. docs/login.md has the
whole.";

/// Log in with an ID token
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Login {
    /// A file with the ID token, - for standard input
    #[arg(long, value_name = "FILE", required_unless_present = "forget")]
    id_token: Option<PathBuf>,
    /// Of which tenant, where rules of several fit
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantName>,
    /// By what a cluster with TLS is known: the fingerprint that its head prints
    #[arg(long, value_name = "FINGERPRINT")]
    authority: Option<Fingerprint>,
    /// Write the token to standard output, and keep nothing
    #[arg(long)]
    print: bool,
    /// Forget the token that is kept
    #[arg(long, conflicts_with_all = ["id_token", "tenant", "authority", "print"])]
    forget: bool,
}

pub(crate) async fn run(args: Login, target: Target) -> Result<(), Failure> {
    let address = named(target.address)?.unwrap_or_else(Address::local);
    let Some(id_token) = &args.id_token else { return forget(&address) };
    let request = LoginRequest {
        id_token: id_token_in(id_token)?,
        tenant: args.tenant.map(|tenant| tenant.to_string()).unwrap_or_default(),
    };
    let LoginResponse { token, subject, tenant } =
        engine_client::login(address.clone(), args.authority, request).await?;
    let token = token.ok_or_else(|| Failure::Other("the engine gives no token".to_owned()))?;
    if args.print {
        println!("{}", token.token);
        return Ok(());
    }
    let path = path(&address).ok_or_else(|| {
        Failure::Usage("there is no folder for the token, as $HOME is not set: use --print".to_owned())
    })?;
    let failed = |error: engine_private::Error| Failure::Other(error.to_string());
    engine_private::folder(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    engine_private::write(&path, format!("{}\n", token.token).as_bytes()).map_err(failed)?;
    let whose = if tenant.is_empty() { "an operator".to_owned() } else { format!("of tenant {tenant}") };
    let until = time::rfc3339(token.expires.as_ref());
    let until = until.map(|until| format!(", until {until}")).unwrap_or_default();
    eprintln!("{subject} is logged in at {address}: {whose}{until}");
    Ok(())
}

/// What a file has, without the line break at its end. It is not looked at here.
fn id_token_in(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().take(ID_TOKEN_FILE_BYTES_MAX).read_to_string(&mut text),
        _ => std::fs::File::open(path)
            .and_then(|file| file.take(ID_TOKEN_FILE_BYTES_MAX).read_to_string(&mut text)),
    };
    let at = path.display();
    read.map_err(|error| Failure::Usage(format!("--id-token {at}: it cannot be read: {error}")))?;
    match text.trim() {
        "" => Err(Failure::Usage(format!("--id-token {at}: there is nothing in it"))),
        text => Ok(text.to_owned()),
    }
}

fn forget(address: &Address) -> Result<(), Failure> {
    let path = path(address);
    match path.map(std::fs::remove_file) {
        Some(Ok(())) => eprintln!("the token for {address} is forgotten"),
        Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Failure::Other(format!("the token for {address} cannot be removed: {error}")));
        }
        _ => eprintln!("there is no token for {address}"),
    }
    Ok(())
}

/// The token that was kept for an engine; none: there is none.
pub(crate) fn kept(address: &Address) -> Result<Option<AccessToken>, Failure> {
    let Some(path) = path(address) else { return Ok(None) };
    let wrong = |why: String| Failure::Usage(format!("{why}; engine login --forget removes it"));
    let text =
        engine_private::read_text(&path, TOKEN_FILE_BYTES_MAX).map_err(|error| wrong(error.to_string()))?;
    let token = text.map(|text| text.parse()).transpose();
    token.map_err(|error| wrong(format!("{}: {error}", path.display())))
}

/// Where the token for an engine is kept.
fn path(address: &Address) -> Option<PathBuf> {
    // With TLS or without, it is one engine that listens there.
    let name = match address {
        Address::Tcp(at) | Address::Tls { at, .. } => at.to_string(),
        Address::Unix(path) => path.to_string_lossy().into_owned(),
    };
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
    let name: String = name.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    Some(embedded::state_dir()?.join("logins").join(name))
}
