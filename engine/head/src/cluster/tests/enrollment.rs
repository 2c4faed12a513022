//! Who gets a certificate.

use std::time::Duration;

use engine_core::NodeId;
use engine_net::cluster::EnrollmentBackend;
use engine_tls::{Authority, KeyRequest, Name, Peer};

use super::*;
use crate::cluster::Enrollment;

const HOUR: Duration = Duration::from_secs(3_600);

fn enrollment(folder: &Path) -> Enrollment {
    Enrollment { head: start(folder), authority: Authority::open_or_make(&folder.join("tls")).unwrap() }
}

fn request(token: &str, node: &str) -> v1::EnrollRequest {
    v1::EnrollRequest {
        join_token: token.to_owned(),
        node_id: node.to_owned(),
        signing_request: KeyRequest::new().unwrap().signing_request().to_vec(),
    }
}

#[tokio::test]
async fn a_good_token_or_a_certificate_of_before_is_what_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let enrollment = enrollment(folder.path());
    let token = enrollment.authority.new_token(HOUR).unwrap().to_string();
    let (one, two) = (NodeId::from_bits(1, 1 << 32), NodeId::from_bits(2, 2 << 32));
    let asks = |peer, token: &str, node: NodeId| enrollment.enroll(peer, request(token, &node.to_string()));
    let answer = asks(Peer::Unproven, &token, one).unwrap();
    assert_eq!(answer.authority, enrollment.authority.certificate());
    assert_eq!(answer.lifetime_seconds, 7 * 24 * 3_600);
    asks(Peer::Proven(Name::Node(one)), "", one).unwrap();
    asks(Peer::Proven(Name::Node(one)), "", two).unwrap();

    let code = |answer: Result<v1::EnrollResponse, Error>| answer.unwrap_err().code();
    for wrong in ["", "nonsense", &token.replace("ejt1", "ejt9")] {
        assert_eq!(code(asks(Peer::Unproven, wrong, one)), ErrorCode::Unauthenticated, "{wrong}");
    }
    let other = tempfile::tempdir().unwrap();
    let foreign = Authority::open_or_make(&other.path().join("tls")).unwrap().new_token(HOUR).unwrap();
    assert_eq!(code(asks(Peer::Unproven, &foreign.to_string(), one)), ErrorCode::Unauthenticated);
    for name in [Name::Client, Name::Head] {
        assert_eq!(code(asks(Peer::Proven(name), &token, one)), ErrorCode::PermissionDenied, "{name}");
    }
    assert_eq!(
        code(enrollment.enroll(Peer::Unproven, request(&token, "node-1"))),
        ErrorCode::InvalidArgument
    );
    let unsigned = v1::EnrollRequest { signing_request: vec![1, 2, 3], ..request(&token, &one.to_string()) };
    assert_eq!(code(enrollment.enroll(Peer::Unproven, unsigned)), ErrorCode::InvalidArgument);
    std::fs::write(folder.path().join("tls/join-tokens"), "nonsense").unwrap();
    assert_eq!(code(asks(Peer::Unproven, &token, one)), ErrorCode::Internal);
    enrollment.head.close();
}

#[tokio::test]
async fn a_members_certificate_is_given_to_that_member_alone() {
    let folder = tempfile::tempdir().unwrap();
    let enrollment = enrollment(folder.path());
    let member = TestNode::start(1).await;
    let _line = member.join(&enrollment.head).await.unwrap();
    let token = enrollment.authority.new_token(HOUR).unwrap().to_string();
    let asks = |peer, token: &str| enrollment.enroll(peer, request(token, &member.id.to_string()));
    let other = Peer::Proven(Name::Node(NodeId::from_bits(9, 9 << 32)));
    for (peer, token) in [(Peer::Unproven, token.as_str()), (other, "")] {
        let error = asks(peer, token).unwrap_err();
        assert_eq!(error.code(), ErrorCode::PermissionDenied);
        assert!(error.message().contains(&member.id.to_string()), "{error}");
    }
    asks(Peer::Proven(Name::Node(member.id)), "").unwrap();
    enrollment.head.close();
}
