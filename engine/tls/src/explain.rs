//! What went wrong with a connection, in words that say what to do.

use std::io;
use std::net::SocketAddr;

use rustls::{AlertDescription, CertificateError};

use crate::revoked::REVOKED;

/// What a connection without TLS is told by a port that wants it, after where that is.
pub const SPEAKS_TLS: &str = "speaks TLS";

/// What a port answers to whoever does not speak TLS: the alert `protocol_version`.
pub(crate) const TLS_ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 70];

pub(crate) fn speaks_tls() -> io::Error {
    let said = format!(
        "what listens there {SPEAKS_TLS}: a client needs the cluster's credentials (--credentials FILE, which \
         the head has written to tls/credentials.pem in its folder), an agent a join token (--join-token)"
    );
    io::Error::new(io::ErrorKind::InvalidData, said)
}

/// The error of a handshake, or of what was read first after it.
pub(crate) fn explained(error: io::Error) -> io::Error {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                io::Error::new(io::ErrorKind::UnexpectedEof, "the other side closed the connection")
            }
            _ => error,
        };
    };
    io::Error::new(io::ErrorKind::InvalidData, said_of(tls))
}

pub(crate) fn said_of(error: &rustls::Error) -> String {
    use AlertDescription as Alert;
    match error {
        rustls::Error::InvalidMessage(_) => {
            "what listens there does not speak TLS: leave credentials and join token away, or start the head with --tls"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(what) => said_of_certificate(what),
        rustls::Error::AlertReceived(
            alert @ (Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::CertificateUnknown
            | Alert::DecryptError
            | Alert::AccessDenied),
        ) => format!(
            "the other side does not accept this certificate, which is of another cluster ({alert:?}): use the \
             credentials, or a join token, of its head"
        ),
        rustls::Error::AlertReceived(Alert::CertificateExpired) => {
            "this side's certificate has expired: a client needs the new credentials that the head wrote at its start, \
             an agent a new join token; look at both clocks too"
                .to_owned()
        }
        rustls::Error::AlertReceived(Alert::CertificateRevoked) => {
            format!("{REVOKED}: it has left the cluster, and joins again with a new join token alone")
        }
        rustls::Error::AlertReceived(Alert::CertificateRequired) => {
            "the other side wants a certificate, and none was shown: use the credentials, or a join token, of its head"
                .to_owned()
        }
        other => format!("the TLS handshake failed: {other}"),
    }
}

fn said_of_certificate(error: &CertificateError) -> String {
    use CertificateError::*;
    match error {
        UnknownIssuer | BadSignature => {
            "what listens there is of another cluster: its certificate is not of the authority that these credentials, or \
             this join token, name; use those of its head"
                .to_owned()
        }
        Expired | ExpiredContext { .. } => {
            "the certificate shown has expired: look at both clocks, and start its owner again".to_owned()
        }
        NotValidYet | NotValidYetContext { .. } => {
            "the certificate shown is not valid yet: the clocks of the two machines differ by more than \
             clock_skew_max, 5 min"
                .to_owned()
        }
        Revoked => "what listens there is a node whose certificate was revoked: it has left the cluster".to_owned(),
        NotValidForName | NotValidForNameContext { .. } => {
            "somebody else of the cluster listens there than the one that is meant".to_owned()
        }
        other => format!("the certificate shown cannot be used: {other}"),
    }
}

/// With where it happened.
pub(crate) fn at(address: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{address}: {error}"))
}
