//! A client that sends exact bytes, and a fixture whose master has a listener.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;

use serde_json::Value;

use crate::fixture::{Fixture, Master, SQLITE, WAIT_DEADLINE, until};

/// A served channel and one without a master.
pub const CHANNELS: &str = "[channels.default.worker]\ntype = \"coroutine\"\n[channels.idle]\n";

/// A fixture with a master that serves `default` and listens on a free port.
pub struct HttpFixture {
    pub fixture: Fixture,
    pub master: Master,
    pub address: SocketAddr,
}

impl HttpFixture {
    /// With further keys in `[http]`.
    pub fn with(http: &str) -> Self {
        Self::on(SQLITE, http)
    }

    /// With another store.
    pub fn on(driver: &str, http: &str) -> Self {
        let fixture = Fixture::new(driver, &format!("{CHANNELS}[http]\nlisten = \"127.0.0.1:0\"\n{http}\n"));
        Self::listening(fixture)
    }

    /// With a configuration of its own.
    pub fn of(config: &str) -> Self {
        Self::listening(Fixture::new(SQLITE, config))
    }

    fn listening(fixture: Fixture) -> Self {
        let master = fixture.listen(&[]);
        let address = address(&master);
        Self { fixture, master, address }
    }

    pub fn send(&self, request: &Request) -> HttpResponse {
        request.send(self.address)
    }

    /// Pushes a body to a channel.
    pub fn push(&self, channel: &str, body: &str) -> HttpResponse {
        self.send(&Request::push(channel, body))
    }
}

impl Deref for HttpFixture {
    type Target = Fixture;

    fn deref(&self) -> &Fixture {
        &self.fixture
    }
}

/// The address of a master's listener, from its log.
pub fn address(master: &Master) -> SocketAddr {
    address_in(master, "http listening")
}

/// The address in the line of the log with this message.
pub fn address_in(master: &Master, message: &str) -> SocketAddr {
    until("the address of the listener", || {
        let log = master.log();
        let line = log.lines().find(|line| line.contains(&format!("\"{message}\"")))?;
        let line: Value = serde_json::from_str(line).ok()?;
        line.pointer("/fields/address").or_else(|| line.get("address"))?.as_str()?.parse().ok()
    })
}

/// A request under construction.
#[derive(Clone)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &'static str, path: &str, body: &str) -> Self {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![header("Host", "127.0.0.1"), header("Content-Type", "application/json")];
        Self { method, path: path.to_owned(), headers, body: body.as_bytes().to_vec() }
    }

    pub fn push(channel: &str, body: &str) -> Self {
        Self::new("POST", &format!("/channels/{channel}/jobs"), body)
    }

    /// Sets a header; an empty value removes it.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        if !value.is_empty() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// The head, with the length of the body unless the request sets it.
    pub fn head(&self) -> String {
        let mut head = format!("{} {} HTTP/1.1\r\nConnection: close\r\n", self.method, self.path);
        let framed =
            |name: &str| matches!(&*name.to_ascii_lowercase(), "content-length" | "transfer-encoding");
        if !self.headers.iter().any(|(name, _)| framed(name)) {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head + "\r\n"
    }

    /// Sends the request and reads the response.
    pub fn send(&self, address: SocketAddr) -> HttpResponse {
        self.try_send(address).unwrap_or_else(|error| panic!("no response: {error}"))
    }

    /// As above, when the listener may be gone.
    pub fn try_send(&self, address: SocketAddr) -> std::io::Result<HttpResponse> {
        let mut stream = connect(address)?;
        stream.write_all(self.head().as_bytes())?;
        stream.write_all(&self.body)?;
        HttpResponse::read(&mut stream)
    }
}

/// A connection with time limits.
pub fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(WAIT_DEADLINE))?;
    stream.set_write_timeout(Some(WAIT_DEADLINE))?;
    Ok(stream)
}

/// A response.
#[derive(Debug)]
pub struct HttpResponse {
    pub status: u16,
    head: String,
    pub text: String,
}

impl HttpResponse {
    /// Reads up to the end of the connection.
    pub fn read(stream: &mut TcpStream) -> std::io::Result<Self> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes)?;
        let text = String::from_utf8(bytes).unwrap();
        // A request with `Expect` gets an interim response first.
        let text = text.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n");
        let (head, body) = text.split_once("\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
        let status = head[9..12].parse().unwrap();
        Ok(Self { status, head: head.to_owned(), text: body.to_owned() })
    }

    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The error text of a response with this status.
    #[track_caller]
    pub fn refused(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        self.json()["error"].as_str().unwrap_or_else(|| panic!("no error in {self:?}")).to_owned()
    }
}
