//! An engine that accepts connections and says nothing.

use engine_client::{Client, Error};
use tokio::net::TcpListener;

/// Time passes when nothing else happens.
#[tokio::test(start_paused = true)]
async fn an_engine_that_does_not_answer_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let error = Client::connect(address).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("it has not answered for 30s"), "{error}");
    drop(listener);
}
