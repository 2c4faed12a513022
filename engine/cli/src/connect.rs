//! Which engine a command talks to, and as whom.

use std::io::Read;
use std::path::{Path, PathBuf};

use engine_client::{AccessToken, Address, Client, token_from_env};

use crate::commands::login;
use crate::embedded::{Embedded, EngineArgs, start_embedded};
use crate::failure::Failure;

/// Bytes of a file with a token that are read.
const TOKEN_FILE_BYTES_MAX: u64 = 16 << 10;

/// Which engine, and as whom.
#[derive(Debug, Default)]
pub(crate) struct Target {
    /// None: the one of this user on this machine.
    pub(crate) address: Option<Address>,
    /// What is shown there; none: a certificate, or nothing.
    pub(crate) token: Option<AccessToken>,
    /// Whether a token that `engine login` has kept may be shown where nothing else is.
    may_be_kept: bool,
}

impl Target {
    /// What an engine is given that is to run, which shows nothing to others.
    pub(crate) fn of_engine(address: Option<Address>) -> Self {
        Self { address, token: None, may_be_kept: false }
    }

    /// The engine that was named, by TLS when there are credentials, and the token that was.
    pub(crate) fn new(
        address: Option<Address>,
        credentials: Option<PathBuf>,
        token_file: Option<&Path>,
    ) -> Result<Self, Failure> {
        let credentials = credentials.filter(|path| !path.as_os_str().is_empty());
        let may_be_kept = credentials.is_none();
        let address = match credentials {
            Some(credentials) => named(address)?.map(|address| address.with_credentials(credentials)),
            None => address,
        };
        Ok(Self { address, token: token(token_file)?, may_be_kept })
    }

    /// What is shown at this address: the token that was named, else the one that `engine login` has kept for it.
    fn token_at(&self, address: &Address) -> Result<Option<AccessToken>, Failure> {
        match &self.token {
            None if self.may_be_kept => login::kept(address),
            token => Ok(token.clone()),
        }
    }
}

/// The token that a file has, `-` for standard input, else the one in $ENGINE_TOKEN.
pub(crate) fn token(file: Option<&Path>) -> Result<Option<AccessToken>, Failure> {
    let Some(path) = file else { return Ok(token_from_env()?) };
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text),
        _ => std::fs::File::open(path)
            .and_then(|file| file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text)),
    };
    let at = path.display();
    read.map_err(|error| Failure::Usage(format!("--token-file {at}: it cannot be read: {error}")))?;
    text.parse().map(Some).map_err(|error| Failure::Usage(format!("--token-file {at}: {error}")))
}

/// The engine that was named, else the one of this user on this machine. Not reached: exit status 3.
pub(crate) async fn running(target: Target) -> Result<Client, Failure> {
    let address = named(target.address.clone())?.unwrap_or_else(Address::local);
    let token = target.token_at(&address)?;
    Ok(Client::connect_as(address, token).await?)
}

/// The engine that was named, else the one on this machine if there is any, else one of our own,
/// which is also what sizing one asks for.
pub(crate) async fn running_or_embedded(
    target: Target,
    engine: &EngineArgs,
) -> Result<(Client, Option<Embedded>), Failure> {
    if engine.is_wanted() {
        if target.address.is_some() {
            return Err(Failure::Usage(
                "--address names an engine that is running, --embedded and --engine-… an own one: use one of them"
                    .to_owned(),
            ));
        }
        return own(engine).await;
    }
    if let Some(address) = named(target.address.clone())? {
        let token = target.token_at(&address)?;
        return Ok((Client::connect_as(address, token).await?, None));
    }
    // Who has named a token means the engine that made it.
    let is_own_enough = target.token.is_none();
    match Client::connect_as(Address::local(), target.token_at(&Address::local())?).await {
        Ok(client) => Ok((client, None)),
        Err(error) if error.is_unreachable() && is_own_enough => own(engine).await,
        Err(error) => Err(error.into()),
    }
}

async fn own(engine: &EngineArgs) -> Result<(Client, Option<Embedded>), Failure> {
    let embedded = start_embedded(engine).await?;
    let client = Client::connect(embedded.address()).await?;
    Ok((client, Some(embedded)))
}

pub(crate) fn named(address: Option<Address>) -> Result<Option<Address>, Failure> {
    match address {
        Some(address) => Ok(Some(address)),
        None => Ok(Address::from_env().map_err(|error| Failure::Usage(format!("$ENGINE_ADDRESS: {error}")))?),
    }
}
