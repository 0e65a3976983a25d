//! Where to listen.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// A TCP address or the path of a Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `127.0.0.1:18000`; port 0 takes any free port.
    Tcp(SocketAddr),
    /// `unix:/run/chancery.sock`
    Unix(PathBuf),
}

impl Listen {
    /// Whether only this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

/// Why a text is not a place to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// `unix:` with nothing behind it.
    #[error("`unix:` needs a path, as in `unix:/run/chancery.sock`")]
    EmptyPath,
    /// Neither an address nor a path.
    #[error("`{0}` is not an IP address with a port, as in `127.0.0.1:18000`, nor `unix:PATH`")]
    NotAnAddress(String),
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some("") => Err(ListenError::EmptyPath),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| ListenError::NotAnAddress(text.to_owned())),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_paths_read_back_as_they_are_shown() {
        for text in ["127.0.0.1:18000", "[::1]:0", "unix:/run/chancery.sock"] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), text);
        }
        assert_eq!("unix:".parse::<Listen>(), Err(ListenError::EmptyPath));
        assert!("localhost:18000".parse::<Listen>().unwrap_err().to_string().contains("localhost:18000"));
    }
}
