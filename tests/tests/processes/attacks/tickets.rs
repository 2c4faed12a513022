//! Kind 7, in a cluster: tickets, certificates and tokens shown where they are not for.

use std::net::SocketAddr;

use engine_client::messages as v1;
use engine_client::messages::client_message::{Attach, Message};
use engine_proto::methods::METHODS;
use engine_proto::{error_from_status, version};
use engine_tls::{Expected, Fingerprint, Identity};
use futures::{StreamExt, stream};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tower::service_fn;

use super::client_lines::{bits, job_of_client, stamped};
use super::runtime;
use super::tls::authority;
use crate::tenants::{Secure, Tenant, tenant};

/// What is shown at the beginning of a connection.
#[derive(Clone)]
enum Shows {
    Certificate(Identity),
    Nothing(Fingerprint),
}

async fn channel(at: SocketAddr, shows: Shows) -> Channel {
    let connect = move |_| {
        let shows = shows.clone();
        async move {
            let io = match &shows {
                Shows::Certificate(own) => engine_tls::connect(at, Some(own), Expected::Server).await?,
                Shows::Nothing(of) => engine_tls::connect_unproven(at, *of, Expected::Server).await?,
            };
            Ok::<_, std::io::Error>(TokioIo::new(io))
        }
    };
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(service_fn(connect)).await.expect("it is connected")
}

fn bearer<T>(secret: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(version::PROTOCOL_KEY, version::PROTOCOL.into());
    request.metadata_mut().insert("authorization", format!("Bearer {secret}").parse().expect("text"));
    request
}

fn code(status: &Status) -> String {
    error_from_status(status)
        .map_or_else(|| status.code().to_string(), |error| error.code().as_str().to_owned())
}

/// Where the client of a job is, and the ticket for it.
async fn located(head: &Channel, who: &Tenant<'_>, job: &str) -> Result<v1::LocateClientResponse, Status> {
    let request = v1::LocateClientRequest { job_id: job.to_owned() };
    let mut clients = v1::clients_client::ClientsClient::new(head.clone());
    clients.locate(stamped(&who.token, request)).await.map(tonic::Response::into_inner)
}

/// Attaches itself to a node as the client of a job; what went wrong.
async fn attached(node: &Channel, ticket: &str, job: &str) -> Result<(), Status> {
    let attach = Attach { job: Some(bits(job)), key: vec![9; 16] };
    let first = v1::ClientMessage { message: Some(Message::Attach(attach)), ..v1::ClientMessage::default() };
    let said = stream::iter([first]).chain(stream::pending());
    let mut clients = v1::clients_client::ClientsClient::new(node.clone());
    let mut replies = clients.attach(bearer(ticket, said)).await?.into_inner();
    replies.message().await.map(drop)
}

// contract: I1
#[test]
fn a_ticket_is_for_its_job_its_node_and_nothing_else() {
    let cluster = Secure::start(&[]);
    let [red, blue] = ["red", "blue"].map(|name| {
        let made = tenant(&cluster.place, None, name, "submitter");
        Tenant { place: &cluster.place, address: Some(&cluster.at), token: made.token }
    });
    let of = authority(&red);
    let head_at: SocketAddr = cluster.at.parse().expect("an address");
    runtime().block_on(async {
        let head = channel(head_at, Shows::Nothing(of)).await;
        let jobs = [job_of_client(&red).await, job_of_client(&red).await, job_of_client(&blue).await];
        let mut found = Vec::new();
        for (job, who) in jobs.iter().zip([&red, &red, &blue]) {
            found.push(located(&head, who, job).await.expect("it is its own"));
        }
        // Of another tenant's job, as of none, nothing is said.
        let hidden = located(&head, &red, &jobs[2]).await.expect_err("it is blue's");
        let never = crate::tenants::never(&jobs[2]);
        let missing = located(&head, &red, &never).await.expect_err("there is none");
        assert_eq!(hidden.message().replace(&jobs[2], &never), missing.message());

        let mut nodes = Vec::new();
        for found in &found {
            nodes.push(channel(found.address.parse().expect("an address"), Shows::Nothing(of)).await);
        }
        // Another job's, on whatever node, of the same tenant or not; a token; and changed ones.
        for node in &nodes {
            for (ticket, job) in [(0, 1), (1, 0), (0, 2), (2, 0), (2, 1), (1, 2)] {
                let refused =
                    attached(node, &found[ticket].ticket, &jobs[job]).await.expect_err("of another job");
                assert_eq!(code(&refused), "NOT_FOUND", "{refused:?}");
            }
            let secret =
                stamped(&red.token, ()).metadata().get("authorization").expect("it is there").clone();
            let secret = secret.to_str().expect("text").trim_start_matches("Bearer ").to_owned();
            let refused = attached(node, &secret, &jobs[0]).await.expect_err("a token is for the head");
            assert_eq!(code(&refused), "UNAUTHENTICATED", "{refused:?}");
            let good = &found[0].ticket;
            for at in (0..good.len()).step_by(11) {
                let mut changed = good.clone().into_bytes();
                changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
                let changed = String::from_utf8(changed).expect("text");
                let refused = attached(node, &changed, &jobs[0]).await.expect_err("it was changed");
                assert_eq!(code(&refused), "UNAUTHENTICATED", "{refused:?}");
            }
        }
        // The head takes no tickets, whatever is asked for.
        let list = v1::ListJobsRequest::default();
        let mut at_head = v1::jobs_client::JobsClient::new(head.clone());
        let refused = at_head.list(bearer(&found[0].ticket, list)).await.expect_err("it is a ticket");
        assert_eq!(code(&refused), "UNAUTHENTICATED", "{refused:?}");
        // And a node takes them for nothing else.
        let mut at_node = v1::jobs_client::JobsClient::new(nodes[0].clone());
        let refused = at_node.list(bearer(&found[0].ticket, list)).await.expect_err("it is a ticket");
        assert_eq!(code(&refused), "PERMISSION_DENIED", "{refused:?}");
        // It is good for what it is for: once, as its key then says who comes back.
        let own = nodes.iter().zip(&found).next().expect("the first");
        attached(own.0, &own.1.ticket, &jobs[0]).await.expect("it is its own");
        for (who, job) in [(&red, &jobs[0]), (&red, &jobs[1]), (&blue, &jobs[2])] {
            who.engine(&["job", "stop", job]).exits(0);
        }
    });
    assert_eq!(blue.attacks("honest", &[json!(50)])["right"], 50);
}

/// What nodes and the head ask of one another, asked by an operator's certificate, by tokens and by nobody.
#[test]
fn nobody_but_nodes_and_the_head_is_taken_for_one() {
    let cluster = Secure::start(&[]);
    let red = tenant(&cluster.place, None, "red", "tenant-admin");
    let operator = cluster.place.engine(["token", "create", "--role", "operator"]).run().exits(0);
    let operator = operator.stdout.trim().to_owned();
    let of = authority(&red);
    let credentials =
        Identity::from_credentials(&cluster.folder().join("credentials.pem")).expect("credentials");
    let said = cluster.nodes[0].stderr_so_far();
    let (_, at) = said.split_once("listening on ").expect("it says where");
    let node_at: SocketAddr = at.split_whitespace().next().expect("one").parse().expect("an address");
    let head_at: SocketAddr = cluster.at.parse().expect("an address");
    let of_nodes = ["Cluster.Join", "Cluster.Component", "Peer.Grants", "Peer.Progress", "Peer.Start"];
    runtime().block_on(async {
        for at in [head_at, node_at] {
            for (shows, token) in [
                (Shows::Certificate(credentials.clone()), None),
                (Shows::Certificate(credentials.clone()), Some(&operator)),
                (Shows::Nothing(of), Some(&operator)),
                (Shows::Nothing(of), Some(&red.token)),
                (Shows::Nothing(of), None),
            ] {
                let channel = channel(at, shows).await;
                for method in METHODS.iter().filter(|method| of_nodes.contains(&method.name)) {
                    let mut grpc = tonic::client::Grpc::new(channel.clone());
                    grpc.ready().await.expect("it is connected");
                    let mut request = match token {
                        Some(token) => stamped(token, stream::iter([()])),
                        None => Request::new(stream::iter([()])),
                    };
                    request.metadata_mut().insert(version::PROTOCOL_KEY, version::PROTOCOL.into());
                    let path = tonic::codegen::http::uri::PathAndQuery::from_static(method.path);
                    let codec = tonic_prost::ProstCodec::<(), ()>::default();
                    let refused = match grpc.streaming(request, path, codec).await {
                        Err(refused) => refused,
                        Ok(answer) => answer.into_inner().message().await.expect_err("it is refused"),
                    };
                    let codes = ["PERMISSION_DENIED", "UNAUTHENTICATED", "UNSUPPORTED"];
                    assert!(codes.contains(&code(&refused).as_str()), "{}: {refused:?}", method.name);
                }
            }
        }
    });
    let nodes = cluster.place.engine(["list", "nodes", "--format", "json"]).run().exits(0).json();
    assert_eq!(nodes["total"], 2, "{nodes}");
}
