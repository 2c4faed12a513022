//! A running engine that this process attaches itself to.

use std::path::PathBuf;
use std::time::Duration;

use engine_client::{AccessToken, Address, Client, Session, session, token_from_env};
use engine_core::{Error, ErrorCode};
use engine_proto::address::CREDENTIALS_VARIABLE;
use engine_proto::convert::digest;
use engine_proto::v1;

use crate::session::Part;

/// Which engine, and how.
pub(crate) struct Elsewhere {
    /// None: the one that $ENGINE_ADDRESS names, else this machine's.
    pub(crate) address: Option<String>,
    /// The file with credentials; none: the one that $ENGINE_CREDENTIALS names, if it does.
    pub(crate) credentials: Option<PathBuf>,
    /// A token; none: the one that $ENGINE_TOKEN has, if it does.
    pub(crate) token: Option<String>,
    /// How long other connections are tried when one breaks.
    pub(crate) reconnect_max: Duration,
}

impl Elsewhere {
    /// Starts a job whose root is this process; and where the engine is. What it knows of the components is
    /// not sent again.
    ///
    /// # Errors
    /// NOT_FOUND when nobody listens there, UNAUTHENTICATED when it wants credentials or a token, UNSUPPORTED when it is
    /// of another version; what is wrong with `spec`.
    pub(crate) async fn attach(
        self,
        components: Vec<Part<Vec<u8>>>,
        mut spec: v1::JobSpec,
    ) -> Result<(Session, String), Error> {
        let credentials = self.credentials.clone().or_else(credentials_from_env);
        let client = self.connect(credentials.clone()).await?;
        for Part { name, component: bytes, on_demand } in components {
            let sent = match on_demand {
                true => client.upload_on_demand(bytes).await,
                false => client.upload(bytes).await,
            };
            let id = sent.map_err(engine_client::Error::into_engine)?;
            spec.components.push(v1::JobComponent {
                name,
                digest: digest(id),
                on_demand,
                ..v1::JobComponent::default()
            });
        }
        let options = session::Options { reconnect_max: self.reconnect_max, credentials };
        let session = Session::start(&client, spec, options).await;
        let session = session.map_err(engine_client::Error::into_engine)?;
        Ok((session, client.address().to_string()))
    }

    async fn connect(&self, credentials: Option<PathBuf>) -> Result<Client, Error> {
        let address = match &self.address {
            Some(text) => text.parse(),
            None => Address::default_here(),
        };
        let address = address.map_err(|error| Error::invalid_argument(error.to_string()))?;
        let address = match credentials {
            Some(credentials) => address.with_credentials(credentials),
            None => address,
        };
        let token = match &self.token {
            Some(text) => {
                let token = text.parse::<AccessToken>();
                Some(token.map_err(|error| Error::invalid_argument(format!("token: {error}")))?)
            }
            None => token_from_env().map_err(engine_client::Error::into_engine)?,
        };
        Client::connect_as(address, token).await.map_err(unreached)
    }
}

fn credentials_from_env() -> Option<PathBuf> {
    std::env::var_os(CREDENTIALS_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn unreached(error: engine_client::Error) -> Error {
    let said = error.to_string();
    match error {
        engine_client::Error::Engine(error) => error,
        engine_client::Error::Unreachable { address: Address::Tls { credentials: None, .. }, .. } => {
            Error::new(ErrorCode::Unauthenticated, said)
        }
        _ => Error::new(ErrorCode::NotFound, said),
    }
}
