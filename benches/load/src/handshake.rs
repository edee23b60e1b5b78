//! The opening handshake (RFC 6455 section 4), both roles, for a peer that is trusted to do it right.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crate::report;
use crate::sha1::{base64, sha1};

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Any 16 bytes do: the answer to the key is not checked, the peer is one of our benches.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODw==";

/// The `Sec-WebSocket-Accept` that answers `key` (RFC 6455 section 4.2.2).
fn accept_value(key: &str) -> String {
    base64(&sha1(format!("{key}{GUID}").as_bytes()))
}

/// Listens on a free port, prints it, and answers the handshake of the first client, with `extensions` as agreed on.
///
/// Returns the connection and the bytes that came behind the request.
pub(crate) fn accept_one(extensions: Option<&str>) -> io::Result<(TcpStream, Vec<u8>)> {
    let (listener, port) = listen()?;
    report::line(&format!("{{\"port\":{port}}}"));
    accept(&listener, extensions)
}

/// Listens on a free port.
pub(crate) fn listen() -> io::Result<(TcpListener, u16)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

/// Answers the handshake of the next client.
pub(crate) fn accept(listener: &TcpListener, extensions: Option<&str>) -> io::Result<(TcpStream, Vec<u8>)> {
    let (mut stream, _) = listener.accept()?;
    // Not every system leaves it to each socket.
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let (request, rest) = read_head(&mut stream)?;
    let key = header(&request, "sec-websocket-key")
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "request without a key"))?;
    // In one write, so that the client is woken once.
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n{}\r\n",
        accept_value(key),
        extensions.map_or(String::new(), |extensions| format!("Sec-WebSocket-Extensions: {extensions}\r\n"))
    );
    stream.write_all(response.as_bytes())?;
    Ok((stream, rest))
}

/// What a client asks for in its handshake.
#[derive(Clone, Copy, Default)]
pub(crate) struct Offer<'a> {
    /// Path and query; the root where there is none.
    pub(crate) path: Option<&'a str>,
    /// A server that agrees to none of these is an error.
    pub(crate) extensions: Option<&'a str>,
    /// A server may agree to it or not.
    pub(crate) subprotocol: Option<&'a str>,
}

/// A connection of ours to a server under test.
pub(crate) struct Connected {
    pub(crate) stream: TcpStream,
    /// Bytes that came behind the response.
    pub(crate) rest: Vec<u8>,
    /// Whether the server agreed to the subprotocol.
    pub(crate) has_subprotocol: bool,
}

/// Connects to a server on this machine and does the handshake.
pub(crate) fn connect(port: u16, offer: Offer<'_>) -> io::Result<Connected> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    let Offer { path, extensions, subprotocol } = offer;
    let path = path.unwrap_or("/");
    let line = |name: &str, value: Option<&str>| value.map_or(String::new(), |value| format!("{name}: {value}\r\n"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{}{}\r\n",
        line("Sec-WebSocket-Extensions", extensions),
        line("Sec-WebSocket-Protocol", subprotocol)
    );
    stream.write_all(request.as_bytes())?;
    let (response, rest) = read_head(&mut stream)?;
    if !response.starts_with("HTTP/1.1 101") {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("no upgrade: {response}")));
    }
    if extensions.is_some() && header(&response, "sec-websocket-extensions").is_none() {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("no extension: {response}")));
    }
    let has_subprotocol = header(&response, "sec-websocket-protocol").is_some();
    Ok(Connected { stream, rest, has_subprotocol })
}

fn read_head(stream: &mut TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&chunk[..read]);
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::accept_value;

    #[test]
    fn accept_value_of_the_rfc_6455_example() {
        assert_eq!(accept_value("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
