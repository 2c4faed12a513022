//! Which engine a command talks to.

use std::path::PathBuf;

use engine_client::{Address, Client};

use crate::embedded::{Embedded, EngineArgs, start_embedded};
use crate::failure::Failure;

/// The engine that was named, else the one of this user on this machine. Not reached: exit status 3.
pub(crate) async fn running(address: Option<Address>) -> Result<Client, Failure> {
    match named(address)? {
        Some(address) => Ok(Client::connect(address).await?),
        None => Ok(Client::connect(Address::local()).await?),
    }
}

/// The engine that was named, else the one on this machine if there is any, else one of our own,
/// which is also what sizing one asks for.
pub(crate) async fn running_or_embedded(
    address: Option<Address>,
    engine: &EngineArgs,
) -> Result<(Client, Option<Embedded>), Failure> {
    if engine.is_wanted() {
        if address.is_some() {
            return Err(Failure::Usage(
                "--address names an engine that is running, --embedded and --engine-… an own one: use one of them"
                    .to_owned(),
            ));
        }
        return own(engine).await;
    }
    if let Some(address) = named(address)? {
        return Ok((Client::connect(address).await?, None));
    }
    match Client::connect(Address::local()).await {
        Ok(client) => Ok((client, None)),
        Err(error) if error.is_unreachable() => own(engine).await,
        Err(error) => Err(error.into()),
    }
}

async fn own(engine: &EngineArgs) -> Result<(Client, Option<Embedded>), Failure> {
    let embedded = start_embedded(engine).await?;
    let client = Client::connect(embedded.address()).await?;
    Ok((client, Some(embedded)))
}

fn named(address: Option<Address>) -> Result<Option<Address>, Failure> {
    match address {
        Some(address) => Ok(Some(address)),
        None => Ok(Address::from_env().map_err(|error| Failure::Usage(format!("$ENGINE_ADDRESS: {error}")))?),
    }
}

/// The engine that was named, by TLS when there are credentials. One that was not named needs none.
pub(crate) fn with_credentials(
    address: Option<Address>,
    credentials: Option<PathBuf>,
) -> Result<Option<Address>, Failure> {
    match credentials.filter(|path| !path.as_os_str().is_empty()) {
        Some(credentials) => Ok(named(address)?.map(|address| address.with_credentials(credentials))),
        None => Ok(address),
    }
}
