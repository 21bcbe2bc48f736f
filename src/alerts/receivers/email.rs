//! Mail over SMTP.

use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MessageBuilder, MultiPart, SinglePart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::extension::ClientId;

use super::super::notification::{AlertStatus, NEWS_AGE, Notification};
use super::super::text::{SnapshotText, Text, escape};
use super::request::{SendFailure, excerpt};
use super::{message_key, snapshot};
use crate::config::alerts::{Language, SmtpServer, SmtpTls};
use crate::snapshot::Snapshot;
use crate::webhook::connector::{AddressRule, resolve};

/// The message about a notification.
pub(super) fn message(
    from: &str,
    to: &[String],
    notification: &Notification,
    language: Language,
) -> Result<Message, String> {
    let text = Text::of(notification, language);
    let (builder, domain) = envelope(from, to)?;
    let id = message_id(notification, &domain);
    let mut builder = builder.subject(&text.title).message_id(Some(id.clone()));
    let thread = thread_id(notification, &domain);
    if id != thread {
        builder = builder.in_reply_to(thread.clone()).references(thread);
    }
    finished(builder, text.plain(), html(&text))
}

/// The message of a snapshot.
pub(super) fn snapshot_message(
    from: &str,
    to: &[String],
    snapshot: &Snapshot,
    language: Language,
) -> Result<Message, String> {
    let text = SnapshotText::of(snapshot, language);
    let (builder, domain) = envelope(from, to)?;
    let id = format!("<{}@{domain}>", snapshot::id(snapshot));
    let mut body = format!("<h2 style=\"font-family:sans-serif\">{}</h2>\n", escape::html(&text.title));
    table(&text.values, &mut body);
    finished(builder.subject(&text.title).message_id(Some(id)), text.plain(), body)
}

/// The begin of a message, and the domain of its sender.
fn envelope(from: &str, to: &[String]) -> Result<(MessageBuilder, String), String> {
    let address = |text: &str| {
        text.parse::<Mailbox>()
            .map_err(|error| format!("\"{}\" is no mail address: {error}", text.escape_debug()))
    };
    let sender = address(from)?;
    let domain = sender.email.domain().to_owned();
    let mut builder = Message::builder().from(sender);
    for addressee in to {
        builder = builder.to(address(addressee)?);
    }
    Ok((builder, domain))
}

fn finished(builder: MessageBuilder, plain: String, html: String) -> Result<Message, String> {
    // Answering machines do not answer such mail.
    let automatic =
        HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    builder
        .raw_header(automatic)
        .multipart(
            MultiPart::alternative()
                .singlepart(SinglePart::builder().header(ContentType::TEXT_PLAIN).body(plain))
                .singlepart(SinglePart::builder().header(ContentType::TEXT_HTML).body(html)),
        )
        .map_err(|error| error.to_string())
}

/// The id of a message. The first one about an alert has the id that all later ones refer to.
fn message_id(notification: &Notification, domain: &str) -> String {
    match notification.alerts.as_slice() {
        [only] if only.status == AlertStatus::Firing && notification.at.since(only.started_at) < NEWS_AGE => {
            thread_id(notification, domain)
        }
        _ => format!("<{}@{domain}>", message_key(notification)),
    }
}

/// The id that the messages about an alert refer to.
fn thread_id(notification: &Notification, domain: &str) -> String {
    let first = notification.alerts.first();
    let thread =
        first.map_or_else(String::new, |alert| format!("{}.{}", alert.fingerprint, alert.started_at.0));
    format!("<{thread}@{domain}>")
}

fn html(text: &Text) -> String {
    let colour = if text.severity.is_some() { "#c00000" } else { "#2e8540" };
    let mut body =
        format!("<h2 style=\"color:{colour};font-family:sans-serif\">{}</h2>\n", escape::html(&text.title));
    for alert in &text.alerts {
        body.push_str(&format!(
            "<p><b>{}</b><br>{}</p>\n",
            escape::html(&alert.heading),
            escape::html(&alert.summary)
        ));
        table(&alert.facts, &mut body);
        if let Some(url) = &alert.runbook {
            let url = escape::html(url);
            body.push_str(&format!("<p><a href=\"{url}\">{url}</a></p>\n"));
        }
    }
    if !text.more.is_empty() {
        body.push_str(&format!("<p>{}</p>\n", escape::html(&text.more)));
    }
    let commands: Vec<_> = text.commands.iter().map(|command| escape::html(command)).collect();
    body.push_str(&format!("<p>{}:</p>\n<pre>{}</pre>\n", text.commands_label, commands.join("\n")));
    if let Some((label, url)) = &text.link {
        body.push_str(&format!("<p><a href=\"{}\">{label}</a></p>\n", escape::html(url)));
    }
    body
}

fn table(rows: &[(String, String)], body: &mut String) {
    body.push_str("<table>\n");
    for (label, value) in rows {
        let (label, value) = (escape::html(label), escape::html(value));
        body.push_str(&format!("<tr><td>{label}</td><td>{value}</td></tr>\n"));
    }
    body.push_str("</table>\n");
}

/// Sends a message. The caller limits the time.
pub(super) async fn send(server: &SmtpServer, message: &Message) -> Result<(), SendFailure> {
    let place = format!("{}:{}", server.host, server.port);
    let rule = if server.allow_private { AddressRule::Harmless } else { AddressRule::Public };
    let addresses = resolve(&server.host, server.port, rule);
    let addresses = addresses
        .await
        .map_err(|why| SendFailure::passing(format!("could not connect to {place}: {why}")))?;
    let name = ClientId::Domain(
        nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok())
            .unwrap_or_else(|| "localhost".to_owned()),
    );
    let tls = match server.tls {
        SmtpTls::Off => None,
        SmtpTls::Wrapped | SmtpTls::StartTls => Some(tls(server).map_err(SendFailure::last)?),
    };
    let failed = |error: SmtpError| failure(&error, &place, server);
    let at_once = tls.clone().filter(|_| server.tls == SmtpTls::Wrapped);
    let connecting = AsyncSmtpConnection::connect_tokio1(
        addresses.as_slice(),
        Some(CONNECT_TIMEOUT),
        &name,
        at_once,
        None,
    );
    let mut connection = connecting.await.map_err(failed)?;
    if let (SmtpTls::StartTls, Some(tls)) = (server.tls, tls) {
        if !connection.can_starttls() {
            connection.abort().await;
            return Err(SendFailure::last(format!(
                "{place} offers no STARTTLS: use smtps://, or smtp://…?tls=none for a relay on this machine"
            )));
        }
        connection.starttls(tls, &name).await.map_err(failed)?;
    }
    if let (Some(user), Some(password)) = (&server.username, &server.password) {
        let credentials = Credentials::new(user.clone(), password.reveal().to_owned());
        connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await.map_err(failed)?;
    }
    connection.send(message.envelope(), &message.formatted()).await.map_err(failed)?;
    // The server has the message; its answer to the farewell changes nothing.
    let _ = connection.quit().await;
    Ok(())
}

/// Time for one connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

fn tls(server: &SmtpServer) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(server.host.clone());
    if let Some(file) = &server.ca_file {
        let unusable =
            |why: &dyn std::fmt::Display| format!("ca_file \"{}\" is unusable: {why}", file.display());
        let pem = std::fs::read(file).map_err(|error| unusable(&error))?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| unusable(&error))?;
        builder = builder.certificate_store(CertificateStore::None).add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(|error| error.to_string())
}

/// A refusal of the server by its code, other failures as ones that may pass; a wrong certificate does not.
fn failure(error: &SmtpError, place: &str, server: &SmtpServer) -> SendFailure {
    let mut said = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !said.contains(&text) {
            said.push_str(": ");
            said.push_str(&text);
        }
        cause = inner.source();
    }
    if let Some(password) = &server.password {
        said = said.replace(password.reveal(), "[hidden]");
    }
    let message = format!("{place} did not take the mail: {}", excerpt(&said));
    let is_certificate = said.contains("certificate");
    if error.is_permanent() || is_certificate {
        SendFailure::last(message)
    } else {
        SendFailure::passing(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::alerts::sample::{notification, resolved};

    fn sent(n: &Notification) -> String {
        let to = ["ops@example.com".to_owned(), "Ops <team@example.com>".to_owned()];
        let message = message("Queue <queue@example.com>", &to, n, Language::English).unwrap();
        String::from_utf8(message.formatted()).unwrap()
    }

    #[test]
    fn end_answers_the_first_message_of_its_alert() {
        let mut first = notification();
        first.at = first.alerts[0].started_at;
        let id = "<0123456789abcdef.1699999280000000@example.com>";
        assert!(sent(&first).contains(&format!("Message-ID: {id}\r\n")), "{}", sent(&first));
        assert!(sent(&first).contains("Auto-Submitted: auto-generated\r\n"));
        assert!(!sent(&first).contains("In-Reply-To"));
        let end = sent(&resolved());
        assert!(
            end.contains(&format!("In-Reply-To: {id}\r\n")) && end.contains(&format!("References: {id}\r\n")),
            "{end}"
        );
        let id_of = |n: &Notification| message_id(n, "example.com");
        assert_eq!(id_of(&resolved()), id_of(&Notification { at: crate::job::Timestamp(7), ..resolved() }));
        assert_ne!(id_of(&notification()), id_of(&resolved()));
    }

    #[test]
    fn texts_of_rules_make_no_header_and_no_markup() {
        let mut hostile = notification();
        hostile.alerts[0].rule = "x\r\nBcc: all@example.com".into();
        hostile.alerts[0].summary = Some("<script>alert(1)</script>".into());
        let mail = sent(&hostile);
        assert!(!mail.contains("\r\nBcc:"), "{mail}");
        assert!(!mail.split("text/html").nth(1).unwrap().contains("<script>"));
    }
}
