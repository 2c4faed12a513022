//! What a head with TLS shows, and tells of it.

use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use engine_net::Security;
use engine_tls::{Authority, Callers, Identity, TlsError};

use crate::failure::Failure;

/// What a head with TLS has.
pub(crate) struct HeadSecurity {
    pub(crate) authority: Arc<Authority>,
    pub(crate) identity: Identity,
}

/// Where the authority of a head is whose memory is there.
pub(super) fn folder(memory_dir: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    memory_dir.map(|folder| folder.join("tls")).ok_or_else(|| {
        Failure::Usage(
            "a head with TLS needs a folder for its certificate authority: name one with --data-dir, and leave \
             --in-memory away"
                .to_owned(),
        )
    })
}

pub(super) fn failed(error: TlsError) -> Failure {
    match error {
        TlsError::Ttl { .. } | TlsError::NoAuthority { .. } => Failure::Usage(error.to_string()),
        error => Failure::Other(error.to_string()),
    }
}

impl HeadSecurity {
    /// That of a head whose memory is there; makes the authority at its first start.
    pub(super) fn of(memory_dir: Option<&PathBuf>) -> Result<Self, Failure> {
        let authority = Authority::open_or_make(&folder(memory_dir)?).map_err(failed)?;
        let identity = authority.head_identity().map_err(failed)?;
        Ok(Self { authority, identity })
    }

    /// How its ports know who speaks.
    pub(crate) fn port(&self) -> Security {
        Security { identity: self.identity.clone(), callers: Callers::Joining }
    }

    /// Makes a join token and credentials, and tells how they are used.
    pub(super) fn tell(&self, at: SocketAddr, ttl: Duration) -> Result<(), Failure> {
        let token = self.authority.new_token(ttl).map_err(failed)?;
        let at = reachable(at);
        let command = format!("engine agent --head {at} --join-token {token}");
        let kept = self.authority.keep_join_command(&command).map_err(failed)?;
        let credentials = self.authority.write_credentials().map_err(failed)?;
        eprintln!("it speaks TLS; the fingerprint of its authority: {}", self.authority.fingerprint());
        eprintln!("nodes join with:    {command}");
        eprintln!("  for {}; it stands in {} too", humantime::format_duration(ttl), kept.display());
        eprintln!("clients elsewhere:  engine --address {at} --credentials {} …", shown(&credentials));
        Ok(())
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// An address that others may reach this machine at, for one that means all of its addresses: the one
/// that it would speak to the world from. Nothing is sent.
fn reachable(at: SocketAddr) -> String {
    if !at.ip().is_unspecified() {
        return at.to_string();
    }
    let (here, world) =
        if at.is_ipv4() { ("0.0.0.0:0", "192.0.2.1:9") } else { ("[::]:0", "[2001:db8::1]:9") };
    let own = UdpSocket::bind(here).and_then(|socket| {
        socket.connect(world)?;
        socket.local_addr()
    });
    match own {
        Ok(own) => SocketAddr::new(own.ip(), at.port()).to_string(),
        Err(_) => format!("ADDRESS_OF_THIS_MACHINE:{}", at.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_one_machine_is_told_as_it_is() {
        let at: SocketAddr = "192.0.2.7:7420".parse().unwrap();
        assert_eq!(reachable(at), "192.0.2.7:7420");
        let all = reachable("0.0.0.0:7420".parse().unwrap());
        assert!(all.ends_with(":7420") && !all.starts_with("0.0.0.0"), "{all}");
    }

    #[test]
    fn a_head_without_a_folder_has_no_authority() {
        assert!(matches!(folder(None), Err(Failure::Usage(text)) if text.contains("--data-dir")));
    }
}
