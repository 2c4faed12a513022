//! Every method, asked by everybody of a served engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use engine_access::{Gate, Grant, Narrowing, ROLES, Role, Scope, Verb, Verbs};
use engine_audit::AuditLog;
use engine_core::{ComponentId, Error, ErrorCode, JobId, NodeId, TaskId};
use engine_proto::filter::Filters;
use engine_proto::methods::{METHODS, Method};
use engine_proto::{error_from_status, v1, version};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::backend::{Backend, JobKey, LogsQuery, Replies, StateKey, WatchQuery};
use crate::services::access::{For, RULES, TOKEN_KEY};
use crate::{Server, ServerError, Services, UnixSocket};

/// An engine in which there is nothing.
struct Nothing;

fn not_here<T>() -> Result<T, Error> {
    Err(Error::new(ErrorCode::NotFound, "there is nothing"))
}

#[async_trait]
impl Backend for Nothing {
    fn node_id(&self) -> NodeId {
        NodeId::from_bits(1, 0)
    }

    async fn missing(&self, _: &Scope, _: Vec<ComponentId>) -> Result<Vec<ComponentId>, Error> {
        not_here()
    }

    async fn upload(
        &self,
        _: &Scope,
        _: ComponentId,
        _: Bytes,
        _: &[u8],
    ) -> Result<v1::ComponentInfo, Error> {
        not_here()
    }

    async fn submit(&self, _: &Scope, _: v1::JobSpec) -> Result<v1::JobView, Error> {
        not_here()
    }

    async fn get_job(&self, _: &Scope, _: JobKey) -> Result<v1::JobView, Error> {
        not_here()
    }

    async fn list_jobs(&self, _: &Scope, _: usize) -> Result<v1::ListJobsResponse, Error> {
        not_here()
    }

    async fn stop_job(&self, _: &Scope, _: JobKey) -> Result<v1::JobView, Error> {
        not_here()
    }

    async fn delete_job(&self, _: &Scope, _: JobKey) -> Result<(), Error> {
        not_here()
    }

    async fn watch_job(&self, _: &Scope, _: JobKey, _: WatchQuery) -> Result<Replies<v1::JobEvent>, Error> {
        not_here()
    }

    async fn logs(&self, _: &Scope, _: JobKey, _: LogsQuery) -> Result<Replies<v1::LogBatch>, Error> {
        not_here()
    }

    async fn list(&self, _: &Scope, _: v1::Kind, _: Filters, _: usize) -> Result<v1::ListResponse, Error> {
        not_here()
    }

    async fn get(&self, _: &Scope, _: StateKey) -> Result<v1::View, Error> {
        not_here()
    }

    async fn status(&self, _: &Scope) -> Result<v1::StatusResponse, Error> {
        not_here()
    }

    async fn locate_client(&self, _: &Scope, _: JobId) -> Result<v1::LocateClientResponse, Error> {
        not_here()
    }

    async fn explain(&self, _: &Scope, _: TaskId) -> Result<v1::Explanation, Error> {
        not_here()
    }
}

pub(super) struct Served {
    pub(super) gate: Arc<Gate>,
    channel: Channel,
    pub(super) folder: tempfile::TempDir,
    /// Its end stops the engine.
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), ServerError>>,
}

async fn open(path: &Path) -> Channel {
    let path: PathBuf = path.to_owned();
    let connect = move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    };
    Endpoint::from_static("http://localhost").connect_with_connector(service_fn(connect)).await.unwrap()
}

async fn served(gate: Gate) -> Served {
    served_with(gate, |_| None).await
}

/// With the audit log that there is for its folder.
pub(super) async fn served_with(gate: Gate, audit: impl FnOnce(&Path) -> Option<AuditLog>) -> Served {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/engine.sock");
    let socket = UnixSocket::bind(&path).unwrap();
    let gate = Arc::new(gate);
    let audit = audit(folder.path()).map(Arc::new);
    let services = Services::new(Arc::new(Nothing), gate.clone()).tokens(None, None).audit(audit);
    let (stop, stopped) = oneshot::channel::<()>();
    let ended =
        tokio::spawn(async { Server::new().unix(socket).run(services, async { drop(stopped.await) }).await });
    Served { channel: open(&path).await, gate, folder, stop, ended }
}

impl Served {
    /// Ends the engine, and gives its folder.
    pub(super) async fn stopped(self) -> tempfile::TempDir {
        let Self { channel, folder, stop, ended, .. } = self;
        drop((channel, stop));
        ended.await.unwrap().unwrap();
        folder
    }

    /// What the engine says to an empty request.
    pub(super) async fn asked(&self, method: &Method, token: Option<&str>) -> Option<ErrorCode> {
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        grpc.ready().await.unwrap();
        let mut request = tonic::Request::new(());
        let metadata = request.metadata_mut();
        metadata.insert(version::PROTOCOL_KEY, version::PROTOCOL.into());
        if let Some(token) = token {
            metadata.insert(TOKEN_KEY, format!("Bearer {token}").parse().unwrap());
        }
        let path = PathAndQuery::from_static(method.path);
        let answer = grpc.unary(request, path, ProstCodec::<(), ()>::default()).await;
        answer
            .err()
            .map(|status| error_from_status(&status).map_or(ErrorCode::Internal, |error| error.code()))
    }

    pub(super) fn token(&self, role: Role) -> String {
        let tenant = (role != Role::Operator).then(|| "a".parse().unwrap());
        let scope = Scope { tenant, ..Scope::ALL };
        let grant = Grant { scope, verbs: role.verbs(), lifetime: Duration::from_secs(600) };
        self.gate.issue(&grant).unwrap().text
    }

    /// What all methods say that refuse who asks, of those that clients may ask for.
    async fn walked(&self, token: Option<&str>, may: impl Fn(Option<Verb>) -> bool, refused: ErrorCode) {
        for method in METHODS {
            let rule = RULES.iter().find(|rule| rule.method == method.name).unwrap();
            let said = self.asked(method, token).await;
            match rule.whom {
                For::Cluster if may(rule.verb) => {
                    let denials = [ErrorCode::PermissionDenied, ErrorCode::Unauthenticated];
                    let is_let_in = said.is_none_or(|code| !denials.contains(&code));
                    assert!(is_let_in, "{}: {said:?}", method.name);
                }
                For::Cluster => assert_eq!(said, Some(refused), "{}", method.name),
                // Who shows nothing, or what is not good, is told why it gets no token.
                For::Newcomers if token.is_none() => assert_eq!(said, Some(ErrorCode::Unauthenticated)),
                // On this machine's own socket nobody shows a certificate: what is served there is for clients.
                _ if token.is_none() && refused != ErrorCode::Unauthenticated => {}
                _ => assert_eq!(said, Some(refused), "{}", method.name),
            }
        }
    }
}

#[tokio::test]
async fn each_role_may_what_the_table_says() {
    let served = served(Gate::in_memory()).await;
    for (role, _, verbs) in ROLES {
        let token = served.token(*role);
        let may = |verb: Option<Verb>| verb.is_none_or(|verb| verbs.has(verb));
        served.walked(Some(&token), may, ErrorCode::PermissionDenied).await;
    }
    let all = |_: Option<Verb>| true;
    served.walked(None, all, ErrorCode::PermissionDenied).await;
}

#[tokio::test]
async fn who_shows_what_is_not_good_may_nothing() {
    let served = served(Gate::in_memory().require_token()).await;
    let nothing = |_: Option<Verb>| false;
    served.walked(None, nothing, ErrorCode::Unauthenticated).await;
    served.walked(Some("x"), nothing, ErrorCode::Unauthenticated).await;
    let token = served.token(Role::Operator);
    let cut = &token[..token.len() - 8];
    served.walked(Some(cut), nothing, ErrorCode::Unauthenticated).await;
    let by = Narrowing { verbs: Some(Verbs::of(&[Verb::Stop])), ..Narrowing::default() };
    let stops = engine_access::narrow(&token, &by, std::time::SystemTime::now()).unwrap();
    let may = |verb: Option<Verb>| verb.is_none_or(|verb| verb == Verb::Stop);
    served.walked(Some(&stops), may, ErrorCode::PermissionDenied).await;
    let id = *served.gate.judge(&stops).unwrap().token_id().unwrap();
    served.gate.revoke(id, &Scope::ALL).unwrap();
    served.walked(Some(&stops), nothing, ErrorCode::Unauthenticated).await;
}

#[tokio::test]
async fn a_method_that_is_in_no_table_is_refused() {
    let served = served(Gate::in_memory()).await;
    let method = Method { name: "Jobs.Guess", path: "/engine.v1.Jobs/Guess", is_streamed: false };
    assert_eq!(served.asked(&method, None).await, Some(ErrorCode::Unsupported));
}
