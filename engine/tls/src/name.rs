//! Who somebody is, as a certificate says it.

use std::fmt;

use engine_core::NodeId;
use rustls::pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;

/// Names below `internal` are nobody's on the public net.
const DOMAIN: &str = ".engine.internal";

/// Who a certificate names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Name {
    /// The head of the cluster.
    Head,
    /// One node: one incarnation of it.
    Node(NodeId),
    /// Whoever gives the cluster work.
    Client,
}

impl Name {
    /// The name in the certificate: `node-0123….engine.internal`.
    pub(crate) fn dns(self) -> String {
        match self {
            Self::Head => format!("head{DOMAIN}"),
            Self::Node(id) => format!("{id}{DOMAIN}"),
            Self::Client => format!("client{DOMAIN}"),
        }
    }

    pub(crate) fn server_name(self) -> Result<ServerName<'static>, rustls::Error> {
        ServerName::try_from(self.dns()).map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn parse(dns: &str) -> Option<Self> {
        match dns.strip_suffix(DOMAIN)? {
            "head" => Some(Self::Head),
            "client" => Some(Self::Client),
            node => node.parse().ok().map(Self::Node),
        }
    }

    /// Whom a certificate names; none when it names nobody of a cluster, or more than one. Whether the
    /// certificate is to be believed is another matter.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let certificate = EndEntityCert::try_from(certificate).ok()?;
        let mut names = certificate.valid_dns_names();
        let name = Self::parse(names.next()?)?;
        names.next().is_none().then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("the head"),
            Self::Node(id) => id.fmt(f),
            Self::Client => f.write_str("a client"),
        }
    }
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// Somebody on this machine, on a socket or port that needs no certificate.
    Local,
    /// Somebody who has shown no certificate.
    Unproven,
    /// Whom a certificate of the cluster names.
    Proven(Name),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for name in [Name::Head, Name::Client, Name::Node(NodeId::from_bits(7, 9 << 32))] {
            assert_eq!(Name::parse(&name.dns()), Some(name));
            assert!(name.server_name().is_ok(), "{name}");
        }
        for other in ["head", "head.example.org", "node-1.engine.internal", ".engine.internal"] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }
}
