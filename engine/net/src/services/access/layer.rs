//! Looks at who makes a request, before any service sees it.

use std::sync::Arc;
use std::task::{Context, Poll};

use engine_access::Gate;
use engine_core::{Error, ErrorCode};
use engine_proto::methods::METHODS;
use engine_proto::status_from_error;
use engine_tls::Peer;
use futures::future::Either;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tower::Layer;

use super::{Asker, BEARER, For, RULES, SCOPE_KEY, Shows, TOKEN_KEY, check};
use crate::connection::Caller;

/// Lets through what its rule lets through, and says to the services who asks.
#[derive(Clone)]
pub(crate) struct AccessLayer(pub(crate) Arc<Gate>);

impl<S> Layer<S> for AccessLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, gate: self.0.clone() }
    }
}

/// A service that is asked only by who may.
#[derive(Clone)]
pub(crate) struct Guarded<S> {
    inner: S,
    gate: Arc<Gate>,
}

impl<S> Service<http::Request<Body>> for Guarded<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, std::future::Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        match asks(&self.gate, &request) {
            Ok(asker) => {
                // Nobody needs the secret from here on.
                request.headers_mut().remove(TOKEN_KEY);
                request.extensions_mut().insert(asker);
                Either::Left(self.inner.call(request))
            }
            Err(error) => Either::Right(std::future::ready(Ok(status_from_error(&error).into_http()))),
        }
    }
}

fn asks(gate: &Arc<Gate>, request: &http::Request<Body>) -> Result<Asker, Error> {
    let path = request.uri().path();
    let method = METHODS.iter().find(|method| method.path == path).map(|method| method.name);
    let rule = method.and_then(|name| RULES.iter().find(|rule| rule.method == name)).ok_or_else(|| {
        let path: String = path.chars().take(100).collect();
        Error::new(ErrorCode::Unsupported, format!("this engine has no method {path:?}"))
    })?;
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
    let caller = request.extensions().get::<Caller>();
    let peer = caller.map_or(Peer::Unproven, |caller| caller.peer);
    let shows = Shows { peer, token: token.transpose()?, scope };
    let principal = check(gate, rule, shows)?;
    // What anybody may ask lets nobody in.
    if let Some(caller) = caller
        && rule.whom != For::Anybody
    {
        caller.admission.let_in(principal.scope.tenant.as_ref())?;
    }
    Ok(Asker::new(principal, gate.clone()))
}
