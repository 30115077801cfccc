//! The address of a feed: `wss://host[:port][/path]`, checked before anything is sent.

use std::fmt;

use rustls_pki_types::ServerName;
use sealfeed_wire::PATH;
use tokio_tungstenite::tungstenite::http::Uri;

/// Port of an address that names none.
const PORT: u16 = 9443;

/// Why a text is no address of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not a URL at all.
    #[error("the address is not a URL")]
    Malformed,
    /// Another scheme than `wss`; there is no plaintext.
    #[error("the address does not begin with wss://")]
    Scheme,
    /// No host, or one that cannot stand in a certificate.
    #[error("the address names no host that a certificate could name")]
    Host,
    /// User names and passwords have no place in it.
    #[error("the address contains a user name")]
    UserInfo,
}

/// A checked address. The port is 9443 and the path `/v1/feed` unless the text says otherwise.
#[derive(Clone, PartialEq, Eq)]
pub struct FeedUrl {
    host: String,
    port: u16,
    path: String,
    server_name: ServerName<'static>,
}

impl FeedUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// [`UrlError`] for another scheme, a user name, no host or a host that is neither a DNS name nor an IP address.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let uri: Uri = text.trim().parse().map_err(|_| UrlError::Malformed)?;
        if uri.scheme_str() != Some("wss") {
            return Err(UrlError::Scheme);
        }
        let authority = uri.authority().ok_or(UrlError::Host)?;
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let server_name = ServerName::try_from(host.clone()).map_err(|_| UrlError::Host)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path == "/" { PATH } else { path };
        Ok(Self { host, port: authority.port_u16().unwrap_or(PORT), path: path.to_owned(), server_name })
    }

    /// DNS name or IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Path and query of the upgrade request.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The name that the server's certificate must carry.
    #[must_use]
    pub const fn server_name(&self) -> &ServerName<'static> {
        &self.server_name
    }

    /// `host:port`, with brackets around an IPv6 address.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for FeedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "wss://{}{}", self.authority(), self.path)
    }
}

impl fmt::Debug for FeedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FeedUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<String, UrlError> {
        FeedUrl::parse(text).map(|url| url.to_string())
    }

    #[test]
    fn port_and_path_have_defaults() {
        assert_eq!(check("wss://feed.example").unwrap(), "wss://feed.example:9443/v1/feed");
        assert_eq!(check("wss://feed.example:1/").unwrap(), "wss://feed.example:1/v1/feed");
        assert_eq!(check("wss://127.0.0.1:1/x?y=1").unwrap(), "wss://127.0.0.1:1/x?y=1");
        assert_eq!(check("wss://[::1]:9443/v1/feed").unwrap(), "wss://[::1]:9443/v1/feed");
    }

    #[test]
    fn anything_but_wss_is_refused() {
        for plain in ["ws://localhost/", "https://localhost/", "http://localhost/"] {
            assert_eq!(check(plain), Err(UrlError::Scheme), "{plain}");
        }
        assert_eq!(check("wss://me:secret@localhost/"), Err(UrlError::UserInfo));
        for bad in ["", "localhost:9443", "wss://", "wss://host_with space/"] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
