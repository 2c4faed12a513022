use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::*;
use crate::{
    Authority, Callers, Expected, Identity, Io, KeyRequest, Line, Name, Peer, Wire, connect, connect_to_join,
};

/// Connects, and says something in both directions; who each is to the other.
async fn talk(server: &Identity, callers: Callers, client: &Identity, who: Expected) -> Peer {
    let port = Port::new().await;
    let at = port.at;
    let (accepted, connected) = tokio::join!(port.accept(server, callers), connect(at, Some(client), who));
    let ((mut there, peer), mut here) = (accepted.unwrap(), connected.unwrap());
    for is_there in [false, true] {
        let (from, to) = if is_there { (&mut there, &mut here) } else { (&mut here, &mut there) };
        let said = vec![7; 100_000];
        let mut heard = vec![0; said.len()];
        let say = async {
            from.write_all(&said).await.unwrap();
            from.flush().await.unwrap();
        };
        let (_, read) = tokio::join!(say, to.read_exact(&mut heard));
        read.unwrap();
        assert_eq!(heard, said);
    }
    peer
}

#[tokio::test]
async fn everybody_of_a_cluster_knows_whom_it_speaks_with() {
    let cluster = Cluster::new();
    let (head, client) = (cluster.head(), cluster.client());
    let (one, two) = (cluster.node(1), cluster.node(2));
    assert_eq!((one.name(), head.name(), client.name()), (Name::Node(node(1)), Name::Head, Name::Client));
    let by = |name| Peer::Proven(name);
    assert_eq!(talk(&head, Callers::Joining, &one, Expected::Head).await, by(Name::Node(node(1))));
    assert_eq!(talk(&one, Callers::Proven, &head, Expected::Node(node(1))).await, by(Name::Head));
    assert_eq!(talk(&two, Callers::Proven, &one, Expected::Node(node(2))).await, by(Name::Node(node(1))));
    assert_eq!(talk(&two, Callers::Proven, &client, Expected::Server).await, by(Name::Client));
    assert_eq!(talk(&head, Callers::Joining, &client, Expected::Server).await, by(Name::Client));
}

#[tokio::test]
async fn who_wants_to_join_knows_the_head_and_is_unproven() {
    let cluster = Cluster::new();
    let token = cluster.authority.new_token(HOUR).unwrap();
    let port = Port::new().await;
    let at = port.at;
    let head = cluster.head();
    let (accepted, connected) =
        tokio::join!(port.accept(&head, Callers::Joining), connect_to_join(at, &token));
    connected.unwrap();
    assert_eq!(accepted.unwrap().1, Peer::Unproven);
    assert!(cluster.authority.check_token(&token).is_ok());
}

#[tokio::test]
async fn an_authority_is_kept_and_what_it_signed_stays_good() {
    let cluster = Cluster::new();
    let (node_before, client_before) = (cluster.node(1), cluster.client());
    let token = cluster.authority.new_token(HOUR).unwrap();
    let again = Authority::open(&cluster.folder.path().join("tls")).unwrap();
    assert_eq!(again.fingerprint(), cluster.authority.fingerprint());
    assert!(again.check_token(&token).is_ok());
    let head = again.head_identity().unwrap();
    talk(&head, Callers::Joining, &node_before, Expected::Head).await;
    talk(&head, Callers::Joining, &client_before, Expected::Server).await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_from_then_on() {
    let cluster = Cluster::new();
    let identity = cluster.node(1);
    let before = identity.renew_at();
    let key = KeyRequest::new().unwrap();
    let issued = cluster.authority.issue(node(1), key.signing_request()).unwrap();
    key.renews(&identity, &issued.certificate, issued.lifetime * 2).unwrap();
    assert!(identity.renew_at() > before + issued.lifetime / 2);
    talk(&cluster.head(), Callers::Joining, &identity, Expected::Head).await;
    talk(&identity, Callers::Proven, &cluster.head(), Expected::Node(node(1))).await;
    // One that names another node is not taken.
    let key = KeyRequest::new().unwrap();
    let issued = cluster.authority.issue(node(2), key.signing_request()).unwrap();
    let error = key.renews(&identity, &issued.certificate, issued.lifetime).unwrap_err();
    assert!(error.to_string().contains(&node(1).to_string()), "{error}");
}

#[tokio::test]
async fn the_heads_certificate_renews_itself_when_it_is_used() {
    let cluster = Cluster::new();
    let authority = cluster.authority.clone();
    let short = authority.held(Name::Head, std::time::Duration::ZERO).unwrap();
    let renew = move || authority.held(Name::Head, HOUR);
    let certificate = cluster.authority.certificate().to_vec().into();
    let head = Identity::renewing(Name::Head, certificate, short, Box::new(renew)).unwrap();
    assert!(head.renew_at() <= std::time::Instant::now());
    talk(&head, Callers::Joining, &cluster.node(1), Expected::Head).await;
    assert!(head.renew_at() > std::time::Instant::now());
}

/// A line of a node to another, and where it comes out.
async fn line(is_secure: bool) -> (Line, Io) {
    let cluster = Cluster::new();
    let (one, two) = (cluster.node(1), cluster.node(2));
    let port = Port::new().await;
    let at = port.at;
    if is_secure {
        let (there, here) = tokio::join!(
            port.accept(&two, Callers::Proven),
            connect(at, Some(&one), Expected::Node(node(2)))
        );
        (Line::new(here.unwrap()), there.unwrap().0)
    } else {
        let (there, here) = tokio::join!(port.tcp(), connect(at, None, Expected::Node(node(2))));
        (Line::new(here.unwrap()), Io::plain(there))
    }
}

#[tokio::test]
async fn a_line_brings_everything_without_waiting() {
    for is_secure in [false, true] {
        let (mut line, mut there) = line(is_secure).await;
        let stream = line.stream();
        let bytes: Vec<u8> = (0..20_000_000_u32).map(|n| (n / 7) as u8).collect();
        let say = async {
            let (mut left, mut blocked) = (&bytes[..], 0);
            loop {
                let written = match left.is_empty() {
                    true => line.try_flush().map(|()| 0),
                    false => line.try_write(left),
                };
                match written {
                    Ok(_) if left.is_empty() => return blocked,
                    Ok(count) => left = &left[count..],
                    Err(error) => {
                        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
                        blocked += 1;
                        stream.writable().await.unwrap();
                    }
                }
            }
        };
        let mut heard = vec![0; bytes.len()];
        let (blocked, read) = tokio::join!(say, there.read_exact(&mut heard));
        read.unwrap();
        assert!(heard == bytes, "{is_secure}");
        assert!(blocked > 0, "it was more than a connection takes at once");
        assert!(!line.has_ended(), "{is_secure}");
        there.shutdown().await.unwrap();
        stream.readable().await.unwrap();
        assert!(line.has_ended(), "{is_secure}");
    }
}

#[tokio::test]
async fn a_line_goes_on_when_tls_speaks_for_itself() {
    let (mut line, there) = line(true).await;
    let (stream, session) = there.into_parts();
    let mut session = session.unwrap();
    session.refresh_traffic_keys().unwrap();
    while session.wants_write() {
        stream.writable().await.unwrap();
        let mut bytes = Vec::new();
        session.write_tls(&mut bytes).unwrap();
        assert_eq!(stream.try_write(&bytes).unwrap(), bytes.len());
    }
    line.stream().readable().await.unwrap();
    assert!(!line.has_ended());
    assert_eq!(line.try_write(b"still there").unwrap(), 11);
}

#[test]
fn a_wire_carries_bytes_with_tls_and_without() {
    let cluster = Cluster::new();
    for is_secure in [false, true] {
        let (one, two) = (cluster.node(1), cluster.node(2));
        let (one, two) = (is_secure.then_some(one), is_secure.then_some(two));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let (mut wire, peer) = Wire::accepted(Arc::new(socket), two.as_ref()).unwrap();
            let mut bytes = vec![0; 3_000_000];
            wire.read_exact(&mut bytes).unwrap();
            wire.write_all(&bytes).unwrap();
            wire.flush().unwrap();
            peer
        });
        let socket = Arc::new(std::net::TcpStream::connect(at).unwrap());
        let mut wire = Wire::to_node(socket, one.as_ref(), node(2)).unwrap();
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 5) as u8).collect();
        wire.write_all(&bytes).unwrap();
        wire.flush().unwrap();
        let mut again = vec![0; bytes.len()];
        wire.read_exact(&mut again).unwrap();
        assert!(again == bytes, "{is_secure}");
        let peer = server.join().unwrap();
        assert_eq!(peer, if is_secure { Peer::Proven(Name::Node(node(1))) } else { Peer::Local });
    }
}
