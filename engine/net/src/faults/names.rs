//! What can be faulty, by name: gRPC methods as `Service.Method`, messages of lines as `Oneof.Message`,
//! calls of disks as `Disk.Call`.

use engine_proto::methods::METHODS;
use engine_proto::v1::{
    GroupMessage, GroupNotice, HeadMessage, NodeMessage, NodeRequest, PeerMessage, group_message,
    group_notice, head_message, node_message, node_request, peer_message,
};

use super::disk::DISK_CALLS;

/// A packet of another node, whatever is in it.
pub(super) const PACKET: &str = "PeerFrame.Packet";
/// A request for the bytes of an object.
pub(crate) const BULK_REQUEST: &str = "Bulk.Request";
/// A piece of the bytes of an object.
pub(crate) const BULK_CHUNK: &str = "Bulk.Chunk";

/// The messages of a oneof, and the name of each.
macro_rules! messages {
    ($list:ident, $name:ident: $($path:ident)::+ as $prefix:literal, $($variant:ident)*) => {
        const $list: &[&str] = &[$(concat!($prefix, ".", stringify!($variant))),*];

        fn $name(message: &$($path)::+) -> &'static str {
            use $($path)::+ as M;
            match message {
                $(M::$variant(..) => concat!($prefix, ".", stringify!($variant)),)*
            }
        }
    };
}

messages!(NODE_MESSAGES, node_message: node_message::Message as "NodeMessage", Join Load Request Group WantsLoads
    Standstill Ledger);
messages!(NODE_REQUESTS, node_request: node_request::Request as "NodeRequest",
    ClaimName ReleaseName LookupName JobEnded LookupGroup RunGone Drain Leave);
messages!(HEAD_MESSAGES, head_message: head_message::Message as "HeadMessage",
    Welcome Joined Dead Loads Reply Group EndRun Draining Left BreakDeadlock Tenant);
messages!(GROUP_MESSAGES, group_message: group_message::Message as "GroupMessage",
    Create Remove Watch Prepared Refused Report);
messages!(GROUP_NOTICES, group_notice: group_notice::Notice as "GroupNotice",
    Prepare Commit Return Denied News Vacate);
messages!(PEER_MESSAGES, peer_message: peer_message::Message as "PeerMessage",
    Run Refused HasRoom Ended Emitted Read Call CancelCall KillActor Cancel Borrow Borrowed Received Release
    Want Outcome Missing Drop JobHere EndJob JobGone SweepJob EndIncarnation IncarnationEnded EndScope Keeps
    WhatIsHeld Held LessIsHeld Preempted);

/// All names.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    let methods = METHODS.iter().map(|method| method.name);
    let lists = [
        NODE_MESSAGES,
        NODE_REQUESTS,
        HEAD_MESSAGES,
        GROUP_MESSAGES,
        GROUP_NOTICES,
        PEER_MESSAGES,
        DISK_CALLS,
    ];
    let others = [PACKET, BULK_REQUEST, BULK_CHUNK];
    methods.chain(lists.into_iter().flatten().copied()).chain(others)
}

/// What a node says to the head: of a request or a message of groups, which.
pub(super) fn of_node(message: &NodeMessage) -> Option<&'static str> {
    match message.message.as_ref()? {
        node_message::Message::Request(NodeRequest { request: Some(request), .. }) => {
            Some(node_request(request))
        }
        node_message::Message::Group(GroupMessage { message: Some(message) }) => Some(group_message(message)),
        message => Some(node_message(message)),
    }
}

/// What the head says to a node.
pub(super) fn of_head(message: &HeadMessage) -> Option<&'static str> {
    match message.message.as_ref()? {
        head_message::Message::Group(GroupNotice { notice: Some(notice) }) => Some(group_notice(notice)),
        message => Some(head_message(message)),
    }
}

/// What a node says to another.
pub(super) fn of_peer(message: &PeerMessage) -> Option<&'static str> {
    Some(peer_message(message.message.as_ref()?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use engine_proto::v1;

    use super::*;

    #[test]
    fn every_name_is_one_of_its_own_and_messages_have_theirs() {
        let names: Vec<&str> = all().collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        let request = node_request::Request::RunGone(v1::JobRun::default());
        let request = NodeRequest { id: 1, request: Some(request) };
        let message = NodeMessage { message: Some(node_message::Message::Request(request)) };
        assert_eq!(of_node(&message), Some("NodeRequest.RunGone"));
        let join = NodeMessage { message: Some(node_message::Message::Join(v1::Join::default())) };
        assert_eq!(of_node(&join), Some("NodeMessage.Join"));
        let notice = GroupNotice { notice: Some(group_notice::Notice::News(v1::GroupNews::default())) };
        let message = HeadMessage { message: Some(head_message::Message::Group(notice)) };
        assert_eq!(of_head(&message), Some("GroupNotice.News"));
        for name in ["NodeRequest.RunGone", "NodeMessage.Join", "GroupNotice.News", "Jobs.Watch"] {
            assert!(names.contains(&name), "{names:?}");
        }
    }
}
