//! `engine head`: the head of a cluster.

mod security;
mod token;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use engine_access::Gate;
use engine_audit::AuditLog;
use engine_client::Address;
use engine_core::head::{Limits, UsageLimits};
use engine_head::cluster::{ClusterBackend, ClusterHead, ClusterService, Enrollment, Options};
use engine_net::{Server, Services, TcpSocket};
use engine_oidc::Oidc;
use engine_tls::Fingerprint;

use crate::commands::audit::AuditArgs;
use crate::commands::gate;
use crate::commands::oidc::OidcArgs;
use crate::commands::up::{address_or_default, bind, prefix, signals};
use crate::embedded;
use crate::failure::Failure;

use security::HeadSecurity;

const EXAMPLES: &str = "\
Examples:
  engine head
  engine head --listen 127.0.0.1:7420
  engine head --data-dir /var/lib/engine
  engine agent --head 127.0.0.1:7420        … a node that joins it, on the same machine
  engine head --listen 0.0.0.0:7420         for nodes and clients on other machines, by TLS
  engine head token --ttl 1h                … another join token for them

Clients are served on --address, else $ENGINE_ADDRESS, else $XDG_RUNTIME_DIR/engine/engine.sock, else
/tmp/engine-UID/engine.sock; nodes and clients on --listen. The head runs no guest itself. Ctrl-C or
SIGTERM stops it; its nodes go on, and come back to a head that listens there again.

Beyond this machine everything goes by TLS: the head makes a certificate authority of its own on its first
start, keeps it in tls/ in its folder, and prints the command by which a node joins. Clients elsewhere show
tls/credentials.pem of that folder (--credentials), or a token (engine token create). Whoever has the folder is
the cluster.

What it must not forget (jobs, names, placement groups, which nodes live and which are dead, and
components) is on disk before anybody is told of it: in --data-dir, else in a folder for its --listen
address below $ENGINE_STATE_DIR, $XDG_STATE_HOME/engine or ~/.local/state/engine. So it may be killed at
any time and comes back with it. When it cannot write it ends, with the reason. A folder is for one
head. The audit log (engine audit) is in audit/ there. With port 0, where no head can come back, and
--in-memory nothing is kept.";

/// Run the head of a cluster, in the foreground
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct HeadArgs {
    /// Where nodes join. Beyond this machine it speaks TLS
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7420", global = true)]
    listen: SocketAddr,
    /// Where it keeps what it must not forget; default: a folder for --listen, see below
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Keep nothing: a head that comes back knows what its nodes tell it
    #[arg(long, conflicts_with = "data_dir")]
    in_memory: bool,
    /// Speak TLS on ports of this machine too
    #[arg(long)]
    tls: bool,
    /// How long the join token that it prints is valid, at most 30 days
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "24h")]
    join_token_ttl: Duration,
    /// Let nobody in without a token or credentials, on this machine neither; with --tls. The operator's
    /// token is written to the folder with its certificates
    #[arg(long)]
    require_token: bool,
    /// What one record of what tenants consume is about: 1s to 1h
    #[arg(long, value_name = "TIME", value_parser = usage_period, default_value = "1m")]
    usage_period: Duration,
    /// How long these records are kept
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "31d")]
    usage_kept: Duration,
    #[command(flatten)]
    oidc: OidcArgs,
    #[command(flatten)]
    audit: AuditArgs,
    #[command(subcommand)]
    command: Option<HeadCommand>,
}

#[derive(Debug, Subcommand)]
enum HeadCommand {
    Token(token::TokenArgs),
}

/// Reads the length of a period.
fn usage_period(text: &str) -> Result<Duration, String> {
    let period = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match (Duration::from_secs(1)..=Duration::from_secs(3_600)).contains(&period) {
        true => Ok(period),
        false => Err("expected 1s to 1h".to_owned()),
    }
}

impl HeadArgs {
    /// The folder of its memory.
    fn memory_dir(&self) -> Result<Option<PathBuf>, Failure> {
        if self.in_memory {
            return Ok(None);
        }
        if let Some(named) = &self.data_dir {
            return Ok(Some(named.clone()));
        }
        if self.listen.port() == 0 {
            return Ok(None);
        }
        let Some(state) = embedded::state_dir() else {
            return Err(Failure::Usage(
                "there is no folder for what the head must not forget, as $HOME is not set: name one with --data-dir, or say --in-memory".to_owned(),
            ));
        };
        // A folder's name on every system: of an IPv6 address too.
        let name: String = self.listen.to_string().replace(['[', ']'], "").replace(':', "_");
        Ok(Some(state.join("heads").join(name)))
    }

    /// What it shows, when it speaks TLS.
    fn security(
        &self,
        address: &Address,
        memory_dir: Option<&PathBuf>,
    ) -> Result<Option<HeadSecurity>, Failure> {
        let clients = match address {
            Address::Tcp(at) => Some(*at),
            Address::Unix(_) | Address::Tls { .. } => None,
        };
        let is_beyond = |at: &SocketAddr| !at.ip().is_loopback();
        match self.tls || is_beyond(&self.listen) || clients.as_ref().is_some_and(is_beyond) {
            true => HeadSecurity::of(memory_dir).map(Some),
            false => Ok(None),
        }
    }
}

/// A head that is served.
pub(crate) struct RunningHead {
    pub(crate) head: Arc<ClusterHead>,
    /// Where nodes join.
    pub(crate) at: SocketAddr,
    server: Server,
    gate: Arc<Gate>,
    audit: Option<Arc<AuditLog>>,
    login: Option<Arc<Oidc>>,
    authority: Option<Fingerprint>,
    enrollment: Option<Arc<Enrollment>>,
}

impl RunningHead {
    /// Starts a head that listens there too.
    pub(crate) async fn start(
        server: Server,
        gate: Arc<Gate>,
        listen: SocketAddr,
        memory_dir: Option<PathBuf>,
        security: Option<&HeadSecurity>,
        usage: UsageLimits,
    ) -> Result<Self, Failure> {
        let socket = TcpSocket::bind(listen, security.map(HeadSecurity::port)).await;
        let socket = socket.map_err(|error| Failure::Usage(error.to_string()))?;
        let at = socket.address();
        let identity = security.map(|security| security.identity.clone());
        let ticket_key = gate.public_key();
        let options = Options {
            data_dir: embedded::data_dir(),
            memory_dir,
            identity,
            ticket_key,
            limits: Limits { usage, ..Limits::default() },
            ..Options::default()
        };
        let key = engine_agent::random_key().map_err(|error| Failure::Client(error.into()))?;
        let head = ClusterHead::start(key, &options).map_err(|error| Failure::Other(error.to_string()))?;
        let enrollment = security
            .map(|security| Enrollment { head: head.clone(), authority: security.authority.clone() })
            .map(Arc::new);
        let authority = security.map(|security| security.authority.fingerprint());
        Ok(Self {
            head,
            at,
            server: server.tcp(socket),
            gate,
            audit: None,
            login: None,
            authority,
            enrollment,
        })
    }

    /// With the log that tells of what is asked of it; none: there is no log.
    pub(crate) fn audited(self, audit: Option<Arc<AuditLog>>) -> Self {
        Self { audit, ..self }
    }

    /// With people who log in; none: nobody does.
    pub(crate) fn with_logins(self, login: Option<Arc<Oidc>>) -> Self {
        Self { login, ..self }
    }

    /// Serves it until `shutdown` resolves, or it cannot remember anything more.
    pub(crate) async fn serve(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Failure> {
        let mut services = Services::new(Arc::new(ClusterBackend(self.head.clone())), self.gate)
            .tokens(self.authority, self.login)
            .audit(self.audit.clone())
            .cluster(Arc::new(ClusterService(self.head.clone())));
        if let Some(enrollment) = self.enrollment {
            services = services.enrollment(enrollment);
        }
        let served = tokio::select! {
            served = self.server.run(services, shutdown) => {
                served.map_err(|error| Failure::Other(error.to_string()))
            }
            // At once: a refusal in between would be taken for the head's last word.
            error = self.head.failed() => Err(Failure::Other(error.message().to_owned())),
        };
        if let Some(audit) = self.audit {
            audit.close().await;
        }
        self.head.close();
        served
    }
}

pub(crate) async fn run(args: HeadArgs, address: Option<Address>) -> Result<(), Failure> {
    let memory_dir = args.memory_dir()?;
    if let Some(HeadCommand::Token(token)) = &args.command {
        return token::run(token, memory_dir.as_ref());
    }
    let mut interrupts = signals()?;
    let address = address_or_default(address)?;
    let security = args.security(&address, memory_dir.as_ref())?;
    if args.require_token && security.is_none() {
        return Err(Failure::Usage(
            "--require-token: without TLS the head cannot tell its nodes from others: say --tls too"
                .to_owned(),
        ));
    }
    let authority = security.as_ref().map(|security| security.authority.fingerprint());
    let folder = memory_dir.as_ref().map(|folder| folder.join("tls"));
    let gate = gate::gate(folder.as_deref(), args.require_token, authority)?;
    let (server, address) = bind(address, security.as_ref().map(HeadSecurity::port)).await?;
    let usage = UsageLimits {
        usage_period: args.usage_period,
        usage_kept: args.usage_kept,
        ..UsageLimits::default()
    };
    let security_of = security.as_ref();
    let head = RunningHead::start(server, gate, args.listen, memory_dir.clone(), security_of, usage).await?;
    // After the head has its folder for itself: whoever starts a second one is told of that.
    let head = head.audited(args.audit.open(memory_dir.as_deref())?).with_logins(args.oidc.open()?);
    eprintln!("engine {} is running as the head of a cluster", env!("CARGO_PKG_VERSION"));
    match memory_dir {
        Some(folder) => eprintln!("it remembers in:    {}", folder.display()),
        None => eprintln!("it remembers nothing when it stops (see --data-dir)"),
    }
    match security {
        Some(security) => security.tell(head.at, args.join_token_ttl)?,
        None => eprintln!("nodes join with:    engine agent --head {}", head.at),
    }
    eprintln!("give it work with:  {}engine submit MODULE.wasm", prefix(&address));
    eprintln!("stop it with Ctrl-C");
    eprintln!("listening on {address}");
    let served = head.serve(async { interrupts.next().await }).await;
    eprintln!("stopped");
    served
}
