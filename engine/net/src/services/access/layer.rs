//! Looks at who makes a request, before any service sees it, and has the audit log tell of it.

use std::sync::Arc;
use std::task::{Context, Poll};

use engine_access::{Gate, Principal};
use engine_audit::AuditLog;
use engine_core::{Error, ErrorCode};
use engine_proto::methods::METHODS;
use engine_proto::status_from_error;
use engine_tls::Peer;
use futures::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tower::Layer;

use super::audited::Audited;
use super::{Asker, BEARER, RULES, Rule, SCOPE_KEY, Shows, TOKEN_KEY, check, principal};
use crate::connection::Caller;

/// Lets through what its rule lets through, and says to the services who asks.
#[derive(Clone)]
pub(crate) struct AccessLayer {
    pub(crate) gate: Arc<Gate>,
    /// None: none is kept.
    pub(crate) audit: Option<Arc<AuditLog>>,
}

impl<S> Layer<S> for AccessLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, access: self.clone() }
    }
}

/// A service that is asked only by who may.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    inner: S,
    access: AccessLayer,
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let (asks, audited) = self.access.look(&request);
        let asks = asks.map(|mut asker| {
            // Nobody needs the secret from here on.
            request.headers_mut().remove(TOKEN_KEY);
            if let Some(audited) = &audited {
                asker.subject = audited.subject();
            }
            request.extensions_mut().insert(asker);
        });
        let refusal = |error: &Error| status_from_error(error).into_http();
        if let (Ok(()), Some(Err(error))) = (&asks, audited.as_ref().map(Audited::check)) {
            if let Some(audited) = audited {
                audited.refused(&error);
            }
            return Box::pin(std::future::ready(Ok(refusal(&error))));
        }
        // The one that was asked whether it is ready, not its clone.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Box::pin(async move {
            let response = match asks {
                Ok(()) => inner.call(request).await?,
                Err(error) => refusal(&error),
            };
            if let Some(audited) = audited {
                audited.answered(response.headers()).await;
            }
            Ok(response)
        })
    }
}

impl AccessLayer {
    /// Who makes a request, when it may, and what the audit log is to tell of it.
    fn look(&self, request: &http::Request<Body>) -> (Result<Asker, Error>, Option<Audited>) {
        let path = request.uri().path();
        let method = METHODS.iter().find(|method| method.path == path).map(|method| method.name);
        let rule = method.and_then(|name| RULES.iter().find(|rule| rule.method == name));
        let shows = shown(request);
        let who = match (rule, &shows) {
            (None, _) => Err(unknown(path)),
            (_, Err(error)) => Err(error.clone()),
            (Some(rule), Ok(shows)) => principal(&self.gate, rule, *shows),
        };
        let audited = self.audit.clone().map(|log| {
            let from = request.extensions().get::<Caller>().map(|caller| caller.from.to_string());
            let shows = shows.as_ref().ok().copied();
            let method = rule.map_or(path, |rule| rule.method);
            Audited::new(log, rule, method, from.unwrap_or_default(), who.as_ref().ok(), shows)
        });
        let asks = who.and_then(|principal| match (rule, shows) {
            (Some(rule), Ok(shows)) => let_in(rule, check(rule, principal, shows)?, request),
            (_, Err(error)) => Err(error),
            (None, _) => Err(unknown(path)),
        });
        (asks.map(|principal| Asker::new(principal, self.gate.clone())), audited)
    }
}

/// A connection on which somebody who may asks for something stays.
fn let_in(rule: &Rule, principal: Principal, request: &http::Request<Body>) -> Result<Principal, Error> {
    // What anybody may ask lets nobody in.
    if let Some(caller) = request.extensions().get::<Caller>()
        && !rule.whom.is_for_strangers()
    {
        caller.admission.let_in(principal.scope.tenant.as_ref())?;
    }
    Ok(principal)
}

fn unknown(path: &str) -> Error {
    let path: String = path.chars().take(100).collect();
    Error::new(ErrorCode::Unsupported, format!("this engine has no method {path:?}"))
}

/// What a request shows of who makes it.
fn shown(request: &http::Request<Body>) -> Result<Shows<'_>, Error> {
    let malformed = || {
        Error::new(
            ErrorCode::Unauthenticated,
            format!("the metadata {TOKEN_KEY} is not {BEARER:?} and a token"),
        )
    };
    let mut tokens = request.headers().get_all(TOKEN_KEY).iter();
    let token = tokens.next().map(|value| {
        let text = value.to_str().ok().and_then(|text| text.strip_prefix(BEARER));
        // Of two nobody could say which one counts.
        text.filter(|_| tokens.next().is_none()).ok_or_else(malformed)
    });
    // What is no text is no scope.
    let scope = request.headers().get(SCOPE_KEY).map(|value| value.to_str().unwrap_or("-"));
    let peer = request.extensions().get::<Caller>().map_or(Peer::Unproven, |caller| caller.peer);
    Ok(Shows { peer, token: token.transpose()?, scope })
}
