//! Who may ask for what.
//!
//! Each method is of a [`Verb`], and for some: [`RULES`] has all of them, and [`layer`] walks it before a
//! service sees a request. On this machine's own sockets and ports whoever can connect is the operator, unless
//! a token is required. With TLS a certificate says who asks. Who shows a token is what that says, whatever the
//! connection.

mod audited;
pub(crate) mod layer;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use engine_access::{Gate, Principal, Scope, Verb};
use engine_core::{Error, ErrorCode};
use engine_proto::status_from_error;
use engine_tls::{Name, Peer};
use tokio::time::Instant;
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::check_protocol;
use crate::backend::JobKey;
use crate::connection::Caller;

use audited::Subject;
pub use rules::{RULES, Rule};

/// The metadata that has a token: `Bearer TOKEN`.
pub(crate) const TOKEN_KEY: &str = "authorization";
const BEARER: &str = "Bearer ";
/// What a ticket is for.
const ATTACH: &str = "Clients.Attach";
/// The metadata in which the head tells a node for whom it asks.
pub(crate) const SCOPE_KEY: &str = "engine-scope";

/// For whom a method is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Whoever shows a certificate of the cluster, or a token: clients, and the head that passes on what they
    /// ask.
    Cluster,
    /// The head and other nodes.
    HeadAndNodes,
    /// Nodes.
    Nodes,
    /// Also who shows no certificate: the service itself looks at what is shown instead.
    Anybody,
    /// The same, and on this machine where everybody has to show a token: who comes to get one.
    Newcomers,
}

impl For {
    fn check(self, peer: Peer) -> Result<(), Error> {
        let name = match peer {
            Peer::Local => return Ok(()),
            Peer::Unproven if self.is_for_strangers() => return Ok(()),
            Peer::Unproven => {
                return Err(Error::new(
                    ErrorCode::Unauthenticated,
                    "the connection shows no certificate of this cluster, and no token: a client needs credentials \
                     (--credentials FILE) or a token ($ENGINE_TOKEN), a node has to join with a join token (--join-token)",
                ));
            }
            Peer::Proven(name) => name,
        };
        let may = match self {
            Self::Cluster | Self::Anybody | Self::Newcomers => true,
            Self::HeadAndNodes => matches!(name, Name::Head | Name::Node(_)),
            Self::Nodes => matches!(name, Name::Node(_)),
        };
        match may {
            true => Ok(()),
            false => Err(self.refuses(format_args!("the certificate is that of {name}"))),
        }
    }

    /// Whether who shows nothing may ask.
    pub(crate) fn is_for_strangers(self) -> bool {
        matches!(self, Self::Anybody | Self::Newcomers)
    }

    fn refuses(self, what: std::fmt::Arguments<'_>) -> Error {
        let message = format!("{what}, and this request is for others: {}", self.whom());
        Error::new(ErrorCode::PermissionDenied, message)
    }

    fn whom(self) -> &'static str {
        match self {
            Self::Cluster | Self::Anybody => "whoever is of the cluster",
            Self::Newcomers => "who has no token yet",
            Self::HeadAndNodes => "the head and nodes",
            Self::Nodes => "nodes",
        }
    }
}

/// What a request shows of who makes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shows<'a> {
    pub(crate) peer: Peer,
    pub(crate) token: Option<&'a str>,
    pub(crate) scope: Option<&'a str>,
}

/// Who asks for a method.
///
/// # Errors
/// When it shows nothing that is good, or too little to ask for it at all.
pub(crate) fn principal(gate: &Gate, rule: &Rule, shows: Shows<'_>) -> Result<Principal, Error> {
    Ok(match shows.token {
        Some(text) => gate.judge(text)?,
        None => {
            rule.whom.check(shows.peer)?;
            if shows.peer == Peer::Local && gate.is_token_required() && rule.whom != For::Newcomers {
                return Err(Error::new(
                    ErrorCode::Unauthenticated,
                    "this engine wants a token of everybody (--require-token): show one in $ENGINE_TOKEN or by \
                     --token-file FILE",
                ));
            }
            Principal::operator()
        }
    })
}

/// What who asks is for this method, when it may ask for it.
///
/// # Errors
/// PERMISSION_DENIED when it may not.
pub(crate) fn check(rule: &Rule, principal: Principal, shows: Shows<'_>) -> Result<Principal, Error> {
    if shows.token.is_some() && rule.whom != For::Cluster {
        return Err(rule.whom.refuses(format_args!("a token was shown")));
    }
    if let Some(verb) = rule.verb {
        principal.check(verb)?;
    }
    if principal.scope.job.is_some() && rule.verb.is_some() && rule.method != ATTACH {
        return Err(Error::new(
            ErrorCode::PermissionDenied,
            format!("a ticket is for {ATTACH}, and this is {}", rule.method),
        ));
    }
    match shows.scope {
        None => Ok(principal),
        // Who may all asks for somebody who sees less.
        Some(text) if principal.scope.is_all() => {
            let scope = Scope::from_text(text).ok_or_else(|| {
                Error::invalid_argument(format!("the metadata {SCOPE_KEY} is not TENANT/NAMESPACE"))
            })?;
            Ok(Principal { scope, ..principal })
        }
        Some(_) => Err(Error::new(
            ErrorCode::PermissionDenied,
            format!("the metadata {SCOPE_KEY} is for who sees all, and the token does not"),
        )),
    }
}

/// Who asks, and whether it is still who it was.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) principal: Principal,
    pub(crate) gate: Arc<Gate>,
    subject: Subject,
    /// When that is next looked at, while a stream goes to it.
    look_at: Instant,
}

/// Between two looks at whether who follows a stream may still.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Asker {
    pub(crate) fn new(principal: Principal, gate: Arc<Gate>) -> Self {
        Self { principal, gate, subject: Subject::default(), look_at: Instant::now() }
    }

    /// Says for the audit log what the request is done to: `job_id`, and which. What is empty is not said.
    pub(crate) fn about(&self, what: &'static str, which: impl ToString) {
        self.subject.add(what, which.to_string());
    }

    /// The same of a job, as the request names it.
    pub(crate) fn about_job(&self, key: &JobKey) {
        match key {
            JobKey::Id(id) => self.about("job_id", id),
            JobKey::Submission(text) => self.about("submission_id", text),
        }
    }

    /// Resolves once its token is good no more, with why. Cancelled and asked again it goes on.
    pub(crate) async fn no_more(&mut self) -> Error {
        if self.principal.token.is_none() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep_until(self.look_at).await;
            if let Err(error) = self.gate.check(&self.principal) {
                return error;
            }
            self.look_at = Instant::now() + LOOK_AGAIN;
        }
    }

    /// What it sees.
    pub(crate) fn scope(&self) -> &Scope {
        &self.principal.scope
    }

    /// Whether it may do this too.
    pub(crate) fn check(&self, verb: Verb) -> Result<(), Error> {
        self.principal.check(verb)
    }
}

/// Who makes a request. One that did not come by the layer is nobody's.
pub(crate) fn asker<T>(request: &Request<T>) -> Result<Asker, Error> {
    let asker = request.extensions().get::<Asker>().cloned();
    asker.ok_or_else(|| Error::internal("nobody has looked at who makes this request"))
}

/// Checks a request before its service sees it: the protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checked;

impl Interceptor for Checked {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        asker(&request).map_err(|error| status_from_error(&error))?;
        check_protocol(request)
    }
}

/// Who is at the other end of a request's connection. One that did not come over a connection is nobody's.
pub(crate) fn caller<T>(request: &Request<T>) -> Peer {
    request.extensions().get::<Caller>().map_or(Peer::Unproven, |caller| caller.peer)
}

#[cfg(test)]
mod tests {
    mod audit;
    mod walk;

    use super::*;
    use engine_access::{Grant, ROLES, Role};
    use engine_core::NodeId;

    fn rule(whom: For, verb: Option<Verb>) -> Rule {
        Rule { method: "Test.Method", whom, verb, is_change: true }
    }

    fn check(gate: &Gate, rule: &Rule, shows: Shows<'_>) -> Result<Principal, Error> {
        super::check(rule, principal(gate, rule, shows)?, shows)
    }

    fn shows(peer: Peer, token: Option<&str>) -> Shows<'_> {
        Shows { peer, token, scope: None }
    }

    fn token(gate: &Gate, tenant: &str, role: Role) -> String {
        let scope = Scope { tenant: Some(tenant.parse().unwrap()), ..Scope::ALL };
        gate.issue(&Grant { scope, verbs: role.verbs(), lifetime: Duration::from_secs(60) }).unwrap().text
    }

    #[test]
    fn each_method_is_for_some() {
        let node = Peer::Proven(Name::Node(NodeId::from_bits(1, 0)));
        let all = [Peer::Local, Peer::Unproven, Peer::Proven(Name::Client), Peer::Proven(Name::Head), node];
        let may = |whom: For| all.map(|peer| whom.check(peer).is_ok());
        assert_eq!(may(For::Cluster), [true, false, true, true, true]);
        assert_eq!(may(For::HeadAndNodes), [true, false, false, true, true]);
        assert_eq!(may(For::Nodes), [true, false, false, false, true]);
        assert_eq!(may(For::Anybody), [true; 5]);
        assert_eq!(may(For::Newcomers), [true; 5]);
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let error = For::Cluster.check(Peer::Unproven).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unauthenticated);
        assert!(
            error.message().contains("--credentials") && error.message().contains("ENGINE_TOKEN"),
            "{error}"
        );
        let error = For::Nodes.check(Peer::Proven(Name::Client)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::PermissionDenied);
        assert!(asker(&Request::new(())).is_err());
    }

    #[test]
    fn a_token_narrows_whatever_the_connection() {
        let gate = Gate::in_memory();
        let viewer = token(&gate, "a", Role::Viewer);
        let node = Peer::Proven(Name::Node(NodeId::from_bits(1, 0)));
        for peer in [Peer::Local, Peer::Unproven, Peer::Proven(Name::Client), Peer::Proven(Name::Head), node]
        {
            let shows = shows(peer, Some(&viewer));
            let asks = check(&gate, &rule(For::Cluster, Some(Verb::View)), shows).unwrap();
            assert_eq!(asks.scope.tenant.map(|tenant| tenant.to_string()).as_deref(), Some("a"));
            let code = |whom, verb| check(&gate, &rule(whom, verb), shows).unwrap_err().code();
            assert_eq!(code(For::Cluster, Some(Verb::Submit)), ErrorCode::PermissionDenied);
            for whom in [For::Nodes, For::HeadAndNodes, For::Anybody, For::Newcomers] {
                assert_eq!(code(whom, None), ErrorCode::PermissionDenied);
            }
            let scoped = Shows { scope: Some("b/"), ..shows };
            let error = check(&gate, &rule(For::Cluster, None), scoped).unwrap_err();
            assert_eq!(error.code(), ErrorCode::PermissionDenied);
        }
        let bad = check(&gate, &rule(For::Cluster, None), shows(Peer::Local, Some("x")));
        assert_eq!(bad.unwrap_err().code(), ErrorCode::Unauthenticated);
    }

    #[test]
    fn who_sees_all_may_ask_for_who_sees_less() {
        let gate = Gate::in_memory();
        let asks = |scope| {
            let shows = Shows { peer: Peer::Proven(Name::Head), token: None, scope: Some(scope) };
            check(&gate, &rule(For::Cluster, Some(Verb::View)), shows)
        };
        assert_eq!(asks("a/6e").unwrap().scope.namespace.as_deref(), Some("n"));
        assert_eq!(asks("nonsense").unwrap_err().code(), ErrorCode::InvalidArgument);
    }

    #[test]
    fn a_ticket_attaches_a_client_and_nothing_else() {
        let (head, node) = (Gate::in_memory(), Gate::for_tickets());
        node.learn(&head.public_key());
        let shown = head.judge(&token(&head, "a", Role::Submitter)).unwrap();
        let ticket = head.ticket(&shown, engine_core::JobId::from_bits(1, 0)).unwrap();
        for rule in RULES.iter().filter(|rule| rule.whom == For::Cluster) {
            let may = check(&node, rule, shows(Peer::Unproven, Some(&ticket)));
            let is_let_in = ["Clients.Attach", "Handshake.Hello"].contains(&rule.method);
            assert_eq!(
                may.map_err(|error| error.code()).err(),
                (!is_let_in).then_some(ErrorCode::PermissionDenied)
            );
        }
    }

    #[test]
    fn a_token_can_be_required_here_too() {
        let gate = Gate::in_memory().require_token();
        for whom in [For::Cluster, For::HeadAndNodes, For::Nodes, For::Anybody] {
            let error = check(&gate, &rule(whom, None), shows(Peer::Local, None)).unwrap_err();
            assert_eq!(error.code(), ErrorCode::Unauthenticated);
        }
        check(&gate, &rule(For::Newcomers, None), shows(Peer::Local, None)).unwrap();
        for (role, ..) in ROLES.iter().skip(1) {
            let token = token(&gate, "a", *role);
            check(&gate, &rule(For::Cluster, Some(Verb::View)), shows(Peer::Local, Some(&token))).unwrap();
        }
        check(&gate, &rule(For::Cluster, None), shows(Peer::Proven(Name::Client), None)).unwrap();
    }
}
