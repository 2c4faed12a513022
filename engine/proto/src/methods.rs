//! The gRPC methods of `proto/`, as a table.

/// A method of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// As people write it: `Peer.Start`.
    pub name: &'static str,
    /// As requests name it: `/engine.v1.Peer/Start`.
    pub path: &'static str,
    /// Whether its replies come as a stream.
    pub is_streamed: bool,
}

/// All methods.
pub const METHODS: &[Method] = include!(concat!(env!("OUT_DIR"), "/methods.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_is_in_the_table() {
        let method = |name| METHODS.iter().find(|method| method.name == name).copied();
        let watch = Method { name: "Jobs.Watch", path: "/engine.v1.Jobs/Watch", is_streamed: true };
        assert_eq!(method("Jobs.Watch"), Some(watch));
        assert!(method("Peer.Start").is_some_and(|method| !method.is_streamed));
        for service in ["Cluster", "Components", "Enrollment", "Handshake", "Jobs", "Nodes", "Peer", "State"]
        {
            assert!(METHODS.iter().any(|method| method.name.starts_with(service)), "{service}");
        }
    }
}
