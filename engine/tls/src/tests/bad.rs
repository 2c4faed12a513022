use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::*;
use crate::limits::SIGNING_REQUEST_BYTES_MAX;
use crate::{
    Authority, Callers, Expected, Identity, Io, KeyRequest, Peer, SPEAKS_TLS, TlsError, Wire, connect,
    connect_to_join,
};

/// What each end says when they do not come together.
async fn apart(
    server: &Identity,
    callers: Callers,
    connecting: impl AsyncFn(std::net::SocketAddr) -> io::Result<Io>,
) -> (String, String) {
    let port = Port::new().await;
    let at = port.at;
    let here = async {
        let mut io = connecting(at).await?;
        // A server that does not believe this side says so with the first thing that is read.
        io.read_u8().await
    };
    let (there, here) = tokio::join!(port.accept(server, callers), here);
    (there.err().map(|error| error.to_string()).unwrap_or_default(), here.unwrap_err().to_string())
}

#[tokio::test]
async fn who_is_of_another_cluster_is_told_so() {
    let (ours, theirs) = (Cluster::new(), Cluster::new());
    let (head, stranger) = (ours.head(), theirs.client());
    let connecting = async |at| connect(at, Some(&stranger), Expected::Server).await;
    let (_, said) = apart(&head, Callers::Joining, connecting).await;
    assert!(said.contains("of another cluster"), "{said}");
    let token = theirs.authority.new_token(HOUR).unwrap();
    let (_, said) = apart(&head, Callers::Joining, async |at| connect_to_join(at, &token).await).await;
    assert!(said.contains("of another cluster") && said.contains("join token"), "{said}");
}

/// One that believes our servers, and shows what another authority made.
fn impostor(ours: &Cluster, theirs: &Cluster) -> Identity {
    let held = theirs.authority.held(crate::Name::Client, HOUR).unwrap();
    let authority = ours.authority.certificate().to_vec().into();
    Identity::fixed(crate::Name::Client, authority, held).unwrap()
}

#[tokio::test]
async fn a_certificate_of_another_cluster_is_refused() {
    let (ours, theirs) = (Cluster::new(), Cluster::new());
    let stranger = impostor(&ours, &theirs);
    for (server, callers) in [(ours.head(), Callers::Joining), (ours.node(1), Callers::Proven)] {
        let connecting = async |at| connect(at, Some(&stranger), Expected::Server).await;
        let (there, here) = apart(&server, callers, connecting).await;
        assert!(!there.is_empty() && here.contains("does not accept this certificate"), "{there}: {here}");
    }
}

#[tokio::test]
async fn without_a_certificate_only_joining_is_possible() {
    let cluster = Cluster::new();
    let token = cluster.authority.new_token(HOUR).unwrap();
    // A node's port asks for one; here a node's certificate is shown where the head's is expected too.
    let (_, here) =
        apart(&cluster.node(1), Callers::Proven, async |at| connect_to_join(at, &token).await).await;
    assert!(here.contains("somebody else of the cluster"), "{here}");
    // The head's, served as a node's port is: who shows nothing is not let in.
    let (there, here) =
        apart(&cluster.head(), Callers::Proven, async |at| connect_to_join(at, &token).await).await;
    assert!(there.contains("sent no certificates"), "{there}");
    assert!(here.contains("wants a certificate"), "{here}");
}

#[tokio::test]
async fn who_answers_has_to_be_whom_is_meant() {
    let cluster = Cluster::new();
    let (head, one, client) = (cluster.head(), cluster.node(1), cluster.client());
    for (server, who) in
        [(&one, Expected::Node(node(2))), (&one, Expected::Head), (&head, Expected::Node(node(1)))]
    {
        let connecting = async |at| connect(at, Some(&client), who).await;
        let (_, said) = apart(server, Callers::Joining, connecting).await;
        assert!(said.contains("somebody else of the cluster"), "{who:?}: {said}");
    }
    // A client's credentials are no server's.
    let connecting = async |at| connect(at, Some(&head), Expected::Server).await;
    let (_, said) = apart(&client, Callers::Joining, connecting).await;
    assert!(!said.is_empty());
}

#[tokio::test]
async fn a_plaintext_client_is_told_that_the_port_speaks_tls() {
    let cluster = Cluster::new();
    let head = cluster.head();
    let connecting = async |at| {
        let mut io = connect(at, None, Expected::Server).await?;
        io.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        Ok(io)
    };
    let (there, here) = apart(&head, Callers::Joining, connecting).await;
    assert!(there.contains("does not speak TLS"), "{there}");
    assert!(here.contains(SPEAKS_TLS) && here.contains("--credentials"), "{here}");
}

#[tokio::test]
async fn a_tls_client_is_told_that_the_port_speaks_none() {
    let cluster = Cluster::new();
    let client = cluster.client();
    let port = Port::new().await;
    let at = port.at;
    let serve = async {
        let mut stream = port.tcp().await;
        // As HTTP/2 begins.
        stream.write_all(&[0, 0, 6, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await);
    };
    let (error, ()) = tokio::join!(connect(at, Some(&client), Expected::Server), serve);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let cluster = Cluster::new();
    // The clock of a test stands: what was valid until just before it was made.
    let mut params = rcgen::CertificateParams::new(vec![crate::Name::Client.dns()]).unwrap();
    params.not_before = (std::time::SystemTime::now() - 2 * HOUR).into();
    params.not_after = (std::time::SystemTime::now() - HOUR).into();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let expired = cluster.authority.with_params(crate::Name::Client, params).unwrap();
    let connecting = async |at| connect(at, Some(&expired), Expected::Server).await;
    let (there, here) = apart(&cluster.head(), Callers::Joining, connecting).await;
    assert!(there.contains("xpired"), "{there}");
    assert!(here.contains("has expired"), "{here}");
}

#[tokio::test]
async fn garbage_brings_no_server_down() {
    let cluster = Cluster::new();
    let head = cluster.head();
    for first in [&[22, 3, 1, 0, 5, 1, 2, 3, 4, 5][..], &[22; 300], b"GET / HTTP/1.1\r\n\r\n", &[0; 40]] {
        let port = Port::new().await;
        let at = port.at;
        let say = async {
            let mut stream = TcpStream::connect(at).await.unwrap();
            stream.write_all(first).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut rest = Vec::new();
            drop(stream.read_to_end(&mut rest).await);
        };
        let (accepted, ()) = tokio::join!(port.accept(&head, Callers::Joining), say);
        assert!(accepted.is_err(), "{first:?}");
    }
}

#[test]
fn a_wire_is_for_nodes_of_the_cluster() {
    let (ours, theirs) = (Cluster::new(), Cluster::new());
    let answer = |client: Option<Identity>, meant: u64| {
        let server = ours.node(2);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let there = thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            Wire::accepted(Arc::new(socket), Some(&server)).map(|(_, peer)| peer)
        });
        let socket = Arc::new(std::net::TcpStream::connect(at).unwrap());
        let here = Wire::to_node(socket, client.as_ref(), node(meant)).and_then(|mut wire| {
            io::Write::write_all(&mut wire, b"hello")?;
            io::Read::read_exact(&mut wire, &mut [0; 5])
        });
        (there.join().unwrap(), here)
    };
    assert!(matches!(answer(Some(ours.client()), 2).0, Ok(Peer::Proven(crate::Name::Client))));
    let (there, here) = answer(Some(ours.node(1)), 3);
    let here = here.unwrap_err().to_string();
    assert!(there.is_err() && here.contains("somebody else"), "{here}");
    let (there, here) = answer(Some(theirs.node(1)), 2);
    let here = here.unwrap_err().to_string();
    assert!(there.is_err() && here.contains("another cluster"), "{here}");
    let (there, here) = answer(Some(impostor(&ours, &theirs)), 2);
    let here = here.unwrap_err().to_string();
    assert!(there.is_err() && here.contains("does not accept"), "{here}");
    let (there, _) = answer(None, 2);
    assert!(there.unwrap_err().to_string().contains("does not speak TLS"));
}

#[test]
fn an_authority_answers_no_nonsense() {
    let cluster = Cluster::new();
    let good = KeyRequest::new().unwrap();
    let mut forged = good.signing_request().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let large = vec![0; SIGNING_REQUEST_BYTES_MAX + 1];
    for bad in [&forged[..], &[], b"nonsense", &large] {
        let error = cluster.authority.issue(node(1), bad).unwrap_err();
        assert!(matches!(error, TlsError::Certificate(_)), "{error}");
    }
    // The certificate of another key, node or authority.
    let token = cluster.authority.new_token(HOUR).unwrap();
    let issued = cluster.authority.issue(node(1), good.signing_request()).unwrap();
    let ours = cluster.authority.certificate();
    let joined = |key: KeyRequest, n, authority: &[u8], certificate: &[u8]| {
        key.joined(node(n), &token, authority, certificate, HOUR).unwrap_err()
    };
    let other_key = KeyRequest::new().unwrap();
    joined(other_key, 1, ours, &issued.certificate);
    let other = Cluster::new();
    let error = joined(KeyRequest::new().unwrap(), 1, other.authority.certificate(), &issued.certificate);
    assert!(error.to_string().contains("another authority"), "{error}");
    joined(KeyRequest::new().unwrap(), 1, ours, b"nonsense");
    joined(good, 2, ours, &issued.certificate);
}

#[test]
fn a_folder_without_an_authority_or_with_a_damaged_one_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("tls");
    let Err(error) = Authority::open(&folder) else { panic!("there is none") };
    assert!(matches!(error, TlsError::NoAuthority { .. }), "{error}");
    Authority::open_or_make(&folder).unwrap();
    let path = folder.join("ca.pem");
    let good = std::fs::read_to_string(&path).unwrap();
    let (certificate, key) = good.split_at(good.find("-----BEGIN PRIVATE").unwrap());
    for bad in ["", "nonsense", certificate, key] {
        engine_private::write(&path, bad.as_bytes()).unwrap();
        let Err(error) = Authority::open_or_make(&folder) else { panic!("{bad:?} is none") };
        assert!(matches!(error, TlsError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("ca.pem"), "{error}");
    }
}

#[test]
fn credentials_that_are_none_are_named() {
    let cluster = Cluster::new();
    let path = cluster.authority.write_credentials().unwrap();
    let good = std::fs::read_to_string(&path).unwrap();
    let other_key =
        Cluster::new().authority.write_credentials().map(std::fs::read_to_string).unwrap().unwrap();
    let key_of = |text: &str| text[text.find("-----BEGIN PRIVATE").unwrap()..].to_owned();
    let mixed = good.replace(&key_of(&good), &key_of(&other_key));
    for bad in ["", "nonsense", &key_of(&good), &good.replace(&key_of(&good), ""), &mixed] {
        engine_private::write(&path, bad.as_bytes()).unwrap();
        let error = Identity::from_credentials(&path).unwrap_err();
        assert!(error.to_string().contains("tls/credentials.pem"), "{error}");
    }
    let error = Identity::from_credentials(&cluster.folder.path().join("none")).unwrap_err();
    assert!(error.to_string().contains("there is no such file"), "{error}");
}
