//! A mail server on loopback that takes mail, refuses it, or breaks off.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The behaviour of the server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes every mail.
    Takes,
    /// Refuses addressees for good.
    Refuses,
    /// Refuses addressees for now.
    Later,
    /// Closes the connection within the mail.
    BreaksOff,
    /// Takes the mail and never confirms it.
    Stalls,
    /// Says nothing after the connection.
    Silent,
}

/// A running server.
pub struct SmtpSink {
    port: u16,
    mails: Arc<Mutex<Vec<String>>>,
}

impl SmtpSink {
    pub fn start(behaviour: Behaviour) -> Self {
        Self::start_with(behaviour, None)
    }

    /// The same with TLS from the first byte, if a configuration is given.
    pub fn start_with(behaviour: Behaviour, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        Self::start_in(move |stream, taken| match &tls {
            None => converse(stream, behaviour, taken),
            Some(tls) => {
                let session = rustls::ServerConnection::new(Arc::clone(tls)).unwrap();
                converse(rustls::StreamOwned::new(session, stream), behaviour, taken)
            }
        })
    }

    /// A server that takes mail after STARTTLS only.
    pub fn start_with_starttls(tls: Arc<rustls::ServerConfig>) -> Self {
        Self::start_in(move |stream, taken| {
            let mut io = BufReader::new(stream);
            io.get_mut().write_all(b"220 sink ESMTP\r\n")?;
            while let Some(line) = next_line(&mut io)? {
                match line.split(' ').next().unwrap_or_default().to_ascii_uppercase().as_str() {
                    "EHLO" => io.get_mut().write_all(b"250-sink\r\n250 STARTTLS\r\n")?,
                    "STARTTLS" => {
                        io.get_mut().write_all(b"220 go on\r\n")?;
                        let session = rustls::ServerConnection::new(Arc::clone(&tls)).unwrap();
                        let secure = rustls::StreamOwned::new(session, io.into_inner());
                        return dialogue(BufReader::new(secure), Behaviour::Takes, taken);
                    }
                    _ => io.get_mut().write_all(b"530 5.7.0 STARTTLS first\r\n")?,
                }
            }
            Ok(())
        })
    }

    fn start_in(
        converse: impl Fn(TcpStream, &Mutex<Vec<String>>) -> std::io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mails = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&mails);
        std::thread::spawn(move || {
            let converse = Arc::new(converse);
            for stream in listener.incoming().flatten() {
                let (taken, converse) = (Arc::clone(&taken), Arc::clone(&converse));
                // A client that goes away ends its conversation.
                std::thread::spawn(move || converse(stream, &taken));
            }
        });
        Self { port, mails }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap().clone()
    }
}

fn converse(
    stream: impl Read + Write,
    behaviour: Behaviour,
    taken: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut io = BufReader::new(stream);
    if behaviour == Behaviour::Silent {
        next_line(&mut io)?;
        return Ok(());
    }
    io.get_mut().write_all(b"220 sink ESMTP\r\n")?;
    dialogue(io, behaviour, taken)
}

/// The conversation after the greeting.
fn dialogue(
    mut io: BufReader<impl Read + Write>,
    behaviour: Behaviour,
    taken: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    while let Some(line) = next_line(&mut io)? {
        let out = io.get_mut();
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match (verb.as_str(), behaviour) {
            ("EHLO", _) => out.write_all(b"250-sink\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN\r\n")?,
            ("AUTH", _) => out.write_all(b"235 ok\r\n")?,
            ("RCPT", Behaviour::Refuses) => out.write_all(b"550 5.1.1 no such user\r\n")?,
            ("RCPT", Behaviour::Later) => out.write_all(b"451 4.7.1 greylisted, try again later\r\n")?,
            ("DATA", Behaviour::BreaksOff) => {
                out.write_all(b"354 go on\r\n")?;
                next_line(&mut io)?;
                return Ok(());
            }
            ("DATA", _) => {
                out.write_all(b"354 go on\r\n")?;
                let mut mail = String::new();
                while let Some(line) = next_line(&mut io)? {
                    if line == "." {
                        break;
                    }
                    mail.push_str(&line);
                    mail.push('\n');
                }
                if behaviour == Behaviour::Stalls {
                    // The client ends the wait.
                    next_line(&mut io)?;
                    return Ok(());
                }
                taken.lock().unwrap().push(mail);
                io.get_mut().write_all(b"250 taken\r\n")?;
            }
            ("QUIT", _) => {
                out.write_all(b"221 bye\r\n")?;
                return Ok(());
            }
            _ => out.write_all(b"250 ok\r\n")?,
        }
    }
    Ok(())
}

/// The next line without its end; `None` at the end of the conversation.
fn next_line(io: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    Ok((io.read_line(&mut line)? > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
}
