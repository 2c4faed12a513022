//! With TLS: only nodes of the cluster are given anything, each by its own name.

use std::sync::Arc;

use engine_core::NodeId;
use engine_tls::Identity;

use super::support::*;
use crate::bulk::{BulkClient, BulkServer};
use crate::testing::TestCluster;

const SIZE: usize = (5 << 20) + 7;

fn other() -> NodeId {
    asker()
}

fn served(identity: Option<Identity>) -> BulkServer {
    let source = Arc::new(Objects::default().with(1, pattern(SIZE)));
    BulkServer::bind(LOOPBACK.parse().unwrap(), node(), source, identity).unwrap()
}

#[test]
fn bytes_arrive_and_connections_are_used_again() {
    let cluster = TestCluster::new();
    let server = served(Some(cluster.node(node())));
    let client = BulkClient::new(other(), Some(cluster.node(other())));
    for _ in 0..3 {
        assert!(fetch(&client, server.address(), 1).unwrap() == pattern(SIZE));
        assert_eq!(client.idle_connections(), 1);
    }
    let part = client.read(server.address(), node(), object(1), 1_000_000, 2_500_000).unwrap();
    assert!(part == pattern(SIZE)[1_000_000..3_500_000]);
}

#[test]
fn a_transfer_that_is_cut_goes_on_and_a_flipped_bit_is_found() {
    let cluster = TestCluster::new();
    let server = served(Some(cluster.node(node())));
    let client = BulkClient::new(other(), Some(cluster.node(other())));
    for fault in [Fault::Cut(100), Fault::Cut(3_000_000), Fault::Flip(2_000_000)] {
        let network = Network::to(server.address(), move |n| if n == 0 { fault } else { Fault::None });
        assert!(fetch(&client, network.address, 1).unwrap() == pattern(SIZE));
        assert_eq!(network.accepted(), 2);
    }
}

#[test]
fn who_is_no_node_of_the_cluster_gets_nothing() {
    let (ours, theirs) = (TestCluster::new(), TestCluster::new());
    let server = served(Some(ours.node(node())));
    let lost = |identity: Option<Identity>, why: &str| {
        assert_lost(&fetch(&BulkClient::new(other(), identity), server.address(), 1).unwrap_err(), 1, why);
    };
    lost(Some(ours.head()), "does not believe that this is a node");
    lost(Some(theirs.node(other())), "of another cluster");
    lost(None, "it broke 4 times");
}

#[test]
fn a_holder_has_to_be_whom_is_meant() {
    let cluster = TestCluster::new();
    let client = BulkClient::new(other(), Some(cluster.node(other())));
    let impostor = served(Some(cluster.node(other())));
    assert_lost(&fetch(&client, impostor.address(), 1).unwrap_err(), 1, "somebody else of the cluster");
    let plain = served(None);
    let error = fetch(&client, plain.address(), 1).unwrap_err();
    assert_eq!(error.code(), engine_core::ErrorCode::ObjectLost, "{error}");
}

#[test]
fn a_node_asks_in_its_own_name() {
    let cluster = TestCluster::new();
    let server = served(Some(cluster.node(node())));
    let client = BulkClient::new(NodeId::from_bits(8, 8), Some(cluster.node(other())));
    let error = fetch(&client, server.address(), 1).unwrap_err();
    assert_eq!(error.code(), engine_core::ErrorCode::InvalidArgument, "{error}");
    assert_eq!(client.idle_connections(), 1, "it hears so, and may ask for something else");
}
