//! A collector: a server for OTLP over HTTP that decodes the spans it gets, and answers or not.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::fixture::until;

/// A span as the collector got it.
#[derive(Clone, Debug, Default)]
pub struct CollectedSpan {
    pub service: String,
    pub trace: String,
    pub id: String,
    /// Empty for the first span of a trace.
    pub parent: String,
    pub name: String,
    /// The number of the kind in OTLP: 3 for clients, 4 for pushes, 5 for runs.
    pub kind: u64,
    pub begin: u64,
    pub end: u64,
    pub attributes: BTreeMap<String, String>,
    /// The spans it links to, with the attributes of the links.
    pub links: Vec<(String, BTreeMap<String, String>)>,
    pub has_error: bool,
}

impl CollectedSpan {
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

/// The running server; its thread ends with the test.
pub struct Collector {
    port: u16,
    spans: Arc<Mutex<Vec<CollectedSpan>>>,
}

impl Collector {
    /// A collector that takes everything.
    pub fn start() -> Self {
        Self::with(|stream, spans| {
            if let Some(body) = request(&stream) {
                spans.lock().unwrap().extend(spans_of(&body));
                let _ = (&stream).write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                );
            }
        })
    }

    /// A collector that reads requests and never answers.
    pub fn stuck() -> Self {
        Self::with(|stream, _| {
            request(&stream);
            // The client gives the connection up.
            let _ = (&stream).read(&mut [0]);
        })
    }

    fn with(serve: impl Fn(TcpStream, &Mutex<Vec<CollectedSpan>>) + Copy + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let spans = Arc::<Mutex<Vec<CollectedSpan>>>::default();
        let seen = Arc::clone(&spans);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let seen = Arc::clone(&seen);
                thread::spawn(move || serve(stream, &seen));
            }
        });
        Self { port, spans }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn spans(&self) -> Vec<CollectedSpan> {
        self.spans.lock().unwrap().clone()
    }

    /// Waits until so many spans have this name; returns them in the order of their begin.
    pub fn named(&self, name: &str, number: usize) -> Vec<CollectedSpan> {
        until(&format!("{number} spans {name}"), || {
            let mut found: Vec<_> = self.spans().into_iter().filter(|span| span.name == name).collect();
            found.sort_by_key(|span| span.begin);
            (found.len() >= number).then_some(found)
        })
    }
}

/// The body of a request to the path of traces.
fn request(stream: &TcpStream) -> Option<Vec<u8>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    let mut length = 0;
    reader.read_line(&mut line).ok()?;
    assert!(line.starts_with("POST /v1/traces "), "{line}");
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

/// A field of a protobuf message.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) => panic!("not a message"),
        }
    }

    fn number(&self) -> u64 {
        match self {
            Self::Number(number) => *number,
            Self::Bytes(_) => panic!("not a number"),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap()
    }

    fn hex(&self) -> String {
        self.bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            break;
        }
    }
    number
}

/// The fields of a message with their numbers.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let mut take = |length: usize| {
            let (taken, rest) = bytes.split_at(length);
            bytes = rest;
            taken
        };
        let field = match key & 7 {
            1 => Field::Number(u64::from_le_bytes(take(8).try_into().unwrap())),
            5 => Field::Number(u32::from_le_bytes(take(4).try_into().unwrap()).into()),
            0 => Field::Number(varint(&mut bytes)),
            2 => {
                let length = usize::try_from(varint(&mut bytes)).unwrap();
                let (taken, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(taken)
            }
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, field));
    }
    fields
}

fn children(bytes: &[u8], number: u64) -> impl Iterator<Item = &[u8]> {
    fields(bytes).into_iter().filter(move |(found, _)| *found == number).map(|(_, field)| field.bytes())
}

/// The attribute in a `KeyValue` message.
fn attribute(bytes: &[u8]) -> (String, String) {
    let (mut name, mut value) = (String::new(), String::new());
    for (number, field) in fields(bytes) {
        match number {
            1 => name = field.text(),
            2 => {
                value = match fields(field.bytes()).pop() {
                    Some((1, text)) => text.text(),
                    Some((_, other)) => other.number().to_string(),
                    None => String::new(),
                }
            }
            _ => {}
        }
    }
    (name, value)
}

/// The spans of an `ExportTraceServiceRequest`.
fn spans_of(body: &[u8]) -> Vec<CollectedSpan> {
    let mut spans = Vec::new();
    for of_resource in children(body, 1) {
        let resource = children(of_resource, 1)
            .flat_map(|resource| children(resource, 1).map(attribute).collect::<Vec<_>>());
        let resource: BTreeMap<_, _> = resource.collect();
        for scope in children(of_resource, 2) {
            spans.extend(
                children(scope, 2)
                    .map(|bytes| CollectedSpan { service: resource["service.name"].clone(), ..span(bytes) }),
            );
        }
    }
    spans
}

fn span(bytes: &[u8]) -> CollectedSpan {
    let mut span = CollectedSpan::default();
    for (number, field) in fields(bytes) {
        match number {
            1 => span.trace = field.hex(),
            2 => span.id = field.hex(),
            4 => span.parent = field.hex(),
            5 => span.name = field.text(),
            6 => span.kind = field.number(),
            7 => span.begin = field.number(),
            8 => span.end = field.number(),
            9 => span.attributes.extend([attribute(field.bytes())]),
            13 => {
                let id = fields(field.bytes())
                    .into_iter()
                    .find(|(number, _)| *number == 2)
                    .map(|(_, id)| id.hex());
                span.links.push((id.unwrap(), children(field.bytes(), 4).map(attribute).collect()));
            }
            15 => {
                span.has_error =
                    fields(field.bytes()).iter().any(|(number, code)| *number == 3 && code.number() == 2)
            }
            _ => {}
        }
    }
    span
}
