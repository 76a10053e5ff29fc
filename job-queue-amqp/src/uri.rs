//! Where the broker is: read from a URI or from parts.

use std::fmt;

use job_core::{Error, Result};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};

/// What CAF's settings and the protocol call the default.
const DEFAULT_USER: &str = "guest";
const DEFAULT_VIRTUAL_HOST: &str = "/";

/// A broker's address and the credentials for it. `Debug` shows neither of the latter.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    tls: bool,
    host: String,
    port: u16,
    user: String,
    password: String,
    virtual_host: String,
}

impl Endpoint {
    /// Reads `amqp[s]://[user[:password]@]host[:port][/[virtual-host]]`. Errors never repeat the text, which holds a
    /// password.
    pub(crate) fn from_uri(uri: &str) -> Result<Self> {
        let (scheme, rest) = uri.split_once("://").ok_or_else(|| wrong("it has no `://`"))?;
        if let Some(at) = rest.find(['?', '#']) {
            return Err(wrong(if rest[at..].starts_with('?') {
                "a query is not supported"
            } else {
                "a fragment is not supported; write `#` as %23"
            }));
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user_info, address) = match authority.rsplit_once('@') {
            Some((user_info, address)) => (Some(user_info), address),
            None => (None, authority),
        };
        let (user, password) = match user_info {
            Some(info) => info.split_once(':').unwrap_or((info, "")),
            None => (DEFAULT_USER, DEFAULT_USER),
        };
        let (host, port) = split_port(address)?;
        let mut endpoint = Self::from_parts(
            scheme,
            &percent_decode(host)?,
            port,
            percent_decode(user)?,
            percent_decode(password)?,
        )?;
        if !path.is_empty() {
            endpoint.virtual_host = percent_decode(path)?;
        }
        Ok(endpoint)
    }

    /// On the default virtual host; the port defaults to the protocol's.
    pub(crate) fn from_parts(
        protocol: &str,
        host: &str,
        port: Option<u16>,
        user: String,
        password: String,
    ) -> Result<Self> {
        let tls = match protocol.to_ascii_lowercase().as_str() {
            "amqp" => false,
            "amqps" => true,
            _ => return Err(wrong("the protocol must be amqp or amqps")),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(wrong("the host is missing"));
        }
        if port == Some(0) {
            return Err(wrong("the port must be 1 to 65535"));
        }
        Ok(Self {
            tls,
            host: host.to_owned(),
            port: port.unwrap_or(if tls { 5671 } else { 5672 }),
            user,
            password,
            virtual_host: DEFAULT_VIRTUAL_HOST.to_owned(),
        })
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.tls
    }

    /// The same for lapin, whose own parser takes an IPv6 address for `localhost`.
    pub(crate) fn to_lapin(&self, heartbeat_seconds: u16) -> AMQPUri {
        AMQPUri {
            scheme: if self.tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            authority: AMQPAuthority {
                userinfo: AMQPUserInfo { username: self.user.clone(), password: self.password.clone() },
                host: self.host.clone(),
                port: self.port,
            },
            vhost: self.virtual_host.clone(),
            query: AMQPQueryString { heartbeat: Some(heartbeat_seconds), ..AMQPQueryString::default() },
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "amqps" } else { "amqp" };
        write!(f, "{scheme}://{}:{} virtual host {:?}", self.host, self.port, self.virtual_host)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn wrong(what: &str) -> Error {
    Error::invalid(format!(
        "the broker's address is wrong: {what}; expected amqp[s]://user:password@host:port/virtual-host"
    ))
}

fn split_port(address: &str) -> Result<(&str, Option<u16>)> {
    let (host, port) = match address.find(']') {
        Some(end) => (&address[..=end], address[end + 1..].strip_prefix(':')),
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let port = match port {
        None | Some("") => None,
        Some(port) => Some(port.parse().map_err(|_| wrong("the port must be 1 to 65535"))?),
    };
    Ok((host, port))
}

fn percent_decode(text: &str) -> Result<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(wrong("a `%` needs two hexadecimal digits after it"));
        };
        decoded.push((high * 16 + low) as u8);
    }
    String::from_utf8(decoded).map_err(|_| wrong("an escaped part is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(uri: &str) -> (bool, String, u16, String, String, String) {
        let endpoint = Endpoint::from_uri(uri).unwrap();
        (endpoint.tls, endpoint.host, endpoint.port, endpoint.user, endpoint.password, endpoint.virtual_host)
    }

    #[test]
    fn uris_are_read() {
        let expected = |tls, host: &str, port, user: &str, password: &str, virtual_host: &str| {
            (tls, host.into(), port, user.into(), password.into(), virtual_host.into())
        };
        for (uri, parts_expected) in [
            ("amqp://h", expected(false, "h", 5672, "guest", "guest", "/")),
            ("amqp://h/", expected(false, "h", 5672, "guest", "guest", "/")),
            ("amqps://u:p@h:1/v", expected(true, "h", 1, "u", "p", "v")),
            ("AMQPS://u:p@h", expected(true, "h", 5671, "u", "p", "/")),
            ("amqp://u@h:", expected(false, "h", 5672, "u", "", "/")),
            ("amqp://u:p:q@h/%2f", expected(false, "h", 5672, "u", "p:q", "/")),
            ("amqp://u:p@q@h/a/b", expected(false, "h", 5672, "u", "p@q", "a/b")),
            ("amqp://a%40b:%C3%A9%25@h//", expected(false, "h", 5672, "a@b", "é%", "/")),
            ("amqp://[::1]:7/v", expected(false, "::1", 7, "guest", "guest", "v")),
            ("amqp://u:p@[fe80::1]", expected(false, "fe80::1", 5672, "u", "p", "/")),
        ] {
            assert_eq!(parts(uri), parts_expected, "{uri}");
        }
    }

    #[test]
    fn wrong_uris_are_refused_without_being_repeated() {
        for uri in [
            "",
            "h:5672",
            "http://u:secret@h",
            "amqp://",
            "amqp://u:secret@",
            "amqp://u:secret@:5672",
            "amqp://u:secret@h:port",
            "amqp://u:secret@h:0",
            "amqp://u:secret@h:65536",
            "amqp://u:secret%2@h",
            "amqp://u:secret%zz@h",
            "amqp://u:secret%ff@h",
            "amqp://u:secret@h/v?heartbeat=1",
            "amqp://u:secret#@h",
        ] {
            let error = Endpoint::from_uri(uri).unwrap_err();
            assert!(!format!("{error:?} {error}").contains("secret"), "{error:?}");
            assert!(!error.is_transient());
        }
    }

    #[test]
    fn parts_are_what_a_uri_says() {
        let parts = Endpoint::from_parts("amqps", "h", Some(5), "u".into(), "p/@:%".into()).unwrap();
        assert_eq!(parts, Endpoint::from_uri("amqps://u:p%2F%40%3A%25@h:5").unwrap());
        assert!(Endpoint::from_parts("http", "h", None, "u".into(), "p".into()).is_err());
    }
}
