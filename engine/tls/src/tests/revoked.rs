//! What nodes that have left can still do with their certificates: nothing.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Cluster, Port, node};
use crate::limits::REVOKED_CERTIFICATES_MAX;
use crate::{Callers, Expected, Identity, Io, REVOKED, connect};

/// Both ends of a connection to a port, or why there is none: the server's word, and the client's.
async fn meet(
    server: &Identity,
    callers: Callers,
    client: &Identity,
    who: Expected,
) -> Result<(Io, Io), [String; 2]> {
    let port = Port::new().await;
    let at = port.at;
    let (there, here) = tokio::join!(port.accept(server, callers), connect(at, Some(client), who));
    match (there, here) {
        (Ok((there, _)), Ok(here)) => Ok((there, here)),
        (there, here) => {
            let there = there.map(drop).unwrap_err().to_string();
            // The refusal of a client's certificate comes with the first bytes.
            let said = match here {
                Err(error) => error.to_string(),
                Ok(mut here) => here.read_u8().await.unwrap_err().to_string(),
            };
            Err([there, said])
        }
    }
}

#[tokio::test]
async fn who_has_left_is_refused_whoever_calls() {
    let cluster = Cluster::new();
    let (head, gone, stays) = (cluster.head(), cluster.node(1), cluster.node(2));
    meet(&head, Callers::Joining, &gone, Expected::Head).await.unwrap();
    for identity in [&head, &stays] {
        identity.revoke(node(1));
        assert!(identity.is_revoked(node(1)) && !identity.is_revoked(node(2)));
    }
    for (server, callers, who) in
        [(&head, Callers::Joining, Expected::Head), (&stays, Callers::Proven, Expected::Node(node(2)))]
    {
        let [there, here] = meet(server, callers, &gone, who).await.unwrap_err();
        assert!(there.contains("Revoked"), "{there}");
        assert!(here.contains(REVOKED), "{here}");
    }
    // And when it is called.
    let port = Port::new().await;
    let at = port.at;
    let call = connect(at, Some(&stays), Expected::Node(node(1)));
    let (_, here) = tokio::join!(port.accept(&gone, Callers::Proven), call);
    assert!(here.unwrap_err().to_string().contains("was revoked"));
    // Another one of the same cluster is not touched.
    meet(&head, Callers::Joining, &stays, Expected::Head).await.unwrap();
    meet(&stays, Callers::Proven, &head, Expected::Node(node(2))).await.unwrap();
}

#[tokio::test]
async fn what_is_open_is_closed_after_its_farewell() {
    let cluster = Cluster::new();
    let (head, gone) = (cluster.head(), cluster.node(1));
    for (after, is_closed) in [(Duration::from_secs(3600), false), (Duration::ZERO, true)] {
        let head = if is_closed { head.clone() } else { cluster.head() };
        let (mut there, mut here) = meet(&head, Callers::Joining, &gone, Expected::Head).await.unwrap();
        here.write_all(b"a").await.unwrap();
        here.flush().await.unwrap();
        assert_eq!(there.read_u8().await.unwrap(), b'a');
        head.revoke_after(node(1), after);
        here.write_all(b"b").await.unwrap();
        here.flush().await.unwrap();
        let heard = there.read_u8().await;
        assert_eq!(heard.is_err(), is_closed, "{heard:?}");
    }
}

#[test]
fn the_list_is_bounded_and_the_oldest_goes_first() {
    let head = Cluster::new().head();
    for n in 1..=REVOKED_CERTIFICATES_MAX as u64 + 1 {
        head.revoke(node(n));
        head.revoke(node(n));
    }
    assert!(!head.is_revoked(node(1)) && head.is_revoked(node(2)));
    assert!(head.is_revoked(node(REVOKED_CERTIFICATES_MAX as u64 + 1)));
}
