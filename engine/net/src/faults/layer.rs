//! Faults in gRPC methods, at whoever serves them.

use std::task::{Context, Poll};

use engine_proto::methods::METHODS;
use futures::future::{BoxFuture, Either};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tower::Layer;

use super::{Faults, Loss};

/// Makes the faults that there are in the methods that are served behind it.
#[derive(Clone, Copy)]
pub(crate) struct FaultLayer(pub(crate) Option<&'static Faults>);

impl<S> Layer<S> for FaultLayer {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty { inner, faults: self.0 }
    }
}

/// A service with faults.
#[derive(Clone)]
pub(crate) struct Faulty<S> {
    inner: S,
    faults: Option<&'static Faults>,
}

impl<S> Service<http::Request<Body>> for Faulty<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, BoxFuture<'static, Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let Some(faults) = self.faults else { return Either::Left(self.inner.call(request)) };
        let method = METHODS.iter().find(|method| method.path == request.uri().path());
        let Some(method) = method else { return Either::Left(self.inner.call(request)) };
        let fate = faults.fate(method.name);
        // The one that was asked whether it is ready, not its clone.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        Either::Right(Box::pin(async move {
            let lost = |what: &str| Ok(Status::unavailable(format!("a fault of a test: {what}")).into_http());
            match fate.delayed().await {
                Some(Loss::Request) => lost("the request is lost"),
                // Of replies that come as a stream each message has its own fate.
                Some(Loss::Reply) if !method.is_streamed => {
                    inner.call(request).await?;
                    lost("the reply is lost")
                }
                _ => inner.call(request).await,
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::faults::parse;

    /// The gRPC status of one call, and how often it was served.
    async fn called(faults: &str, path: &str) -> (Option<String>, u32) {
        let served = Arc::new(AtomicU32::new(0));
        let counted = served.clone();
        let inner = tower::service_fn(move |_: http::Request<Body>| {
            counted.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, Infallible>(http::Response::new(Body::empty())) }
        });
        let faults: &'static Faults = Box::leak(Box::new(parse::faults(faults).expect("well formed")));
        let request = http::Request::builder().uri(path).body(Body::empty()).expect("a path");
        let answer = FaultLayer(Some(faults)).layer(inner).call(request).await.expect("an answer");
        let status = answer.headers().get("grpc-status").map(|text| text.to_str().expect("text").to_owned());
        (status, served.load(Ordering::Relaxed))
    }

    #[tokio::test]
    async fn a_lost_request_is_not_served_and_a_lost_reply_is() {
        let unavailable = Some("14".to_owned());
        let start = "/engine.v1.Peer/Start";
        assert_eq!(called("Peer.Start=request:1", start).await, (unavailable.clone(), 0));
        assert_eq!(called("Peer.Start=reply:1", start).await, (unavailable, 1));
        assert_eq!(called("Peer.Start=delay:1:1ms", start).await, (None, 1));
        assert_eq!(called("Peer.Grants=request:1", start).await, (None, 1), "another method");
        assert_eq!(called("Jobs.Watch=reply:1", "/engine.v1.Jobs/Watch").await, (None, 1), "it is a stream");
    }
}
