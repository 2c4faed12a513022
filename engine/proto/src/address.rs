//! Where an engine is reached.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The environment variable that names an engine.
pub const ADDRESS_VARIABLE: &str = "ENGINE_ADDRESS";

/// The environment variable that names the file with a client's credentials.
pub const CREDENTIALS_VARIABLE: &str = "ENGINE_CREDENTIALS";

/// Where an engine is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system: `unix:/run/user/1000/engine/engine.sock`, or just the path.
    Unix(PathBuf),
    /// A port of this machine: `127.0.0.1:7420`, with or without `http://`.
    Tcp(SocketAddr),
    /// A port with TLS, on any machine: `https://192.0.2.1:7420`.
    Tls {
        /// The port.
        at: SocketAddr,
        /// What the client shows there: a file that the head has written.
        credentials: Option<PathBuf>,
    },
}

impl Address {
    /// The one that $ENGINE_ADDRESS names, if it is set and not empty.
    pub fn from_env() -> Result<Option<Self>, ParseAddressError> {
        match std::env::var_os(ADDRESS_VARIABLE) {
            None => Ok(None),
            Some(text) if text.is_empty() => Ok(None),
            Some(text) => match text.into_string() {
                Ok(text) => text.parse().map(Some),
                Err(text) => Err(ParseAddressError { text: text.to_string_lossy().into_owned() }),
            },
        }
    }

    /// The same port, by TLS with these credentials. A socket in the file system needs none.
    pub fn with_credentials(self, credentials: PathBuf) -> Self {
        match self {
            Self::Unix(_) => self,
            Self::Tcp(at) | Self::Tls { at, .. } => Self::Tls { at, credentials: Some(credentials) },
        }
    }

    /// The same with the credentials that $ENGINE_CREDENTIALS names, if it is set and not empty.
    pub fn with_credentials_from_env(self) -> Self {
        match std::env::var_os(CREDENTIALS_VARIABLE) {
            Some(path) if !path.is_empty() => self.with_credentials(path.into()),
            _ => self,
        }
    }

    /// Where an engine of this user listens on this machine when nothing else is said:
    /// `$XDG_RUNTIME_DIR/engine/engine.sock`, else `/tmp/engine-UID/engine.sock`.
    pub fn local() -> Self {
        let uid = rustix::process::getuid().as_raw();
        Self::Unix(local_socket(std::env::var_os("XDG_RUNTIME_DIR"), uid))
    }

    /// $ENGINE_ADDRESS, else [`Self::local`].
    pub fn default_here() -> Result<Self, ParseAddressError> {
        Ok(Self::from_env()?.unwrap_or_else(Self::local))
    }
}

fn local_socket(runtime_dir: Option<OsString>, uid: u32) -> PathBuf {
    let directory = match runtime_dir {
        // The XDG specification has relative paths ignored.
        Some(dir) if Path::new(&dir).is_absolute() => PathBuf::from(dir).join("engine"),
        _ => PathBuf::from(format!("/tmp/engine-{uid}")),
    };
    directory.join("engine.sock")
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // After `unix:` two slashes would read as a URL's.
            Address::Unix(path) if path.as_os_str().as_encoded_bytes().starts_with(b"//") => {
                write!(f, "unix://{}", path.display())
            }
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Tcp(address) => write!(f, "http://{address}"),
            Address::Tls { at, .. } => write!(f, "https://{at}"),
        }
    }
}

/// A text that names no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address: expected unix:/PATH/TO/SOCKET or IP:PORT")]
pub struct ParseAddressError {
    text: String,
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
        if path.starts_with('/') {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let (host, has_tls) = match text.strip_prefix("https://") {
            Some(host) => (host, true),
            None => (text.strip_prefix("http://").unwrap_or(text), false),
        };
        let host = host.trim_end_matches('/');
        let host = match host.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None => host.to_owned(),
        };
        let at: SocketAddr = host.parse().map_err(|_| ParseAddressError { text: text.to_owned() })?;
        Ok(if has_tls { Self::Tls { at, credentials: None } } else { Self::Tcp(at) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_from_their_text() {
        for text in [
            "unix:/run/engine.sock",
            "unix:////run/engine.sock",
            "http://127.0.0.1:7420",
            "http://[::1]:7420",
            "https://192.0.2.1:7420",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("/run/e.sock".parse(), Ok(Address::Unix("/run/e.sock".into())));
        assert_eq!("unix:///run/e.sock".parse(), Ok(Address::Unix("/run/e.sock".into())));
        assert_eq!("localhost:80".parse(), Ok(Address::Tcp(([127, 0, 0, 1], 80).into())));
    }

    #[test]
    fn what_is_not_an_address_is_refused_with_what_is() {
        for text in ["", "unix:relative", "127.0.0.1", "https://", "example.org:80"] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("unix:/PATH"), "{error}");
        }
    }

    #[test]
    fn credentials_make_a_port_one_with_tls() {
        let path = PathBuf::from("/c.pem");
        let with = |text: &str| text.parse::<Address>().unwrap().with_credentials(path.clone());
        let at = ([127, 0, 0, 1], 80).into();
        assert_eq!(with("127.0.0.1:80"), Address::Tls { at, credentials: Some(path.clone()) });
        assert_eq!(with("https://127.0.0.1:80"), with("127.0.0.1:80"));
        assert_eq!(with("/run/e.sock"), Address::Unix("/run/e.sock".into()));
    }

    #[test]
    fn the_local_socket_lies_in_a_directory_of_the_user() {
        assert_eq!(local_socket(Some("/run/user/7".into()), 7), Path::new("/run/user/7/engine/engine.sock"));
        assert_eq!(local_socket(None, 7), Path::new("/tmp/engine-7/engine.sock"));
        assert_eq!(local_socket(Some("relative".into()), 7), Path::new("/tmp/engine-7/engine.sock"));
    }
}
