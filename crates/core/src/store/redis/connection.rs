//! The connection to the server: opened on first use, abandoned after any error on it.
//!
//! Every connect and every call has a deadline. No call is sent twice: the caller decides how to treat an unknown outcome.
//! A connection with an error is closed, and the next call opens a new one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, Value};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::errors::{CallError, ErrorClass};
use crate::config;
use crate::mutex::lock;
use crate::store::StoreError;

/// Address and credentials of the server.
#[derive(Debug)]
pub(super) struct ServerAddress {
    config: config::Redis,
    /// The server for messages, without credentials.
    pub(super) place: String,
    /// Whether the server supports script flags; `None` to derive it from the version.
    flags: Option<bool>,
}

impl ServerAddress {
    pub(super) fn new(config: &config::Redis, flags: Option<bool>) -> Self {
        let host = if config.host.contains(':') { format!("[{}]", config.host) } else { config.host.clone() };
        let place = format!("redis://{host}:{}/{}", config.port, config.database);
        Self { config: config.clone(), place, flags }
    }

    /// The deadline of one call.
    pub(super) fn deadline(&self) -> Duration {
        self.config.read_write_timeout
    }
}

/// Opens connections; one at a time, shared by all calls.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) target: Arc<ServerAddress>,
    current: Mutex<Option<Arc<Connection>>>,
    /// Held while a connection opens, so that concurrent callers open one only.
    opening: tokio::sync::Mutex<()>,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    client: MultiplexedConnection,
    /// The task that moves the bytes; ends when the server closes the connection.
    driver: JoinHandle<()>,
    left: AtomicBool,
    /// Time of the connect; unbroken since.
    pub(super) opened: Instant,
    /// The server's version, if it tells.
    pub(super) version: Option<Version>,
    /// Whether the server supports script flags.
    pub(super) flags: bool,
}

/// Major and minor version of a server.
pub(super) type Version = (u32, u32);

impl Connector {
    pub(super) fn new(target: Arc<ServerAddress>) -> Self {
        Self { target, current: Mutex::default(), opening: tokio::sync::Mutex::default() }
    }

    /// Returns the open connection, or opens one.
    pub(super) async fn connection(&self, doing: &'static str) -> Result<Arc<Connection>, StoreError> {
        if let Some(connection) = self.usable() {
            return Ok(connection);
        }
        let deadline = self.target.deadline();
        let opened = timeout(deadline, async {
            let _alone = self.opening.lock().await;
            if let Some(connection) = self.usable() {
                return Ok(connection);
            }
            let connection = Arc::new(Connection::open(&self.target).await?);
            *lock(&self.current) = Some(Arc::clone(&connection));
            Ok(connection)
        });
        let opened = opened.await.unwrap_or(Err(CallError::NoAnswer(deadline)));
        opened.map_err(|error| error.into_store(&self.target.place, doing))
    }

    /// Sends one command and waits for its reply, at most for the deadline plus `extra`.
    pub(super) async fn send(
        &self,
        connection: &Connection,
        cmd: &Cmd,
        extra: Duration,
    ) -> Result<Value, CallError> {
        let limit = self.target.deadline() + extra;
        let answer = match timeout(limit, connection.client.clone().send_packed_command(cmd)).await {
            Ok(answer) => sorted(answer),
            Err(_) => Err(CallError::NoAnswer(limit)),
        };
        if let Err(error) = &answer
            && error.class() == ErrorClass::Reconnect
        {
            self.leave(connection);
        }
        answer
    }

    /// Abandons a connection; concurrent calls on it fail too.
    fn leave(&self, connection: &Connection) {
        connection.left.store(true, Ordering::Relaxed);
        connection.driver.abort();
        let mut current = lock(&self.current);
        if current.as_deref().is_some_and(|current| std::ptr::eq(current, connection)) {
            *current = None;
        }
    }

    fn usable(&self) -> Option<Arc<Connection>> {
        let current = lock(&self.current);
        // Detects a connection that the server closed while idle, before anything is sent on it.
        current
            .clone()
            .filter(|connection| !connection.left.load(Ordering::Relaxed) && !connection.driver.is_finished())
    }
}

impl Connection {
    async fn open(target: &ServerAddress) -> Result<Self, CallError> {
        let config = &target.config;
        let stream =
            TcpStream::connect((config.host.as_str(), config.port)).await.map_err(CallError::Connect)?;
        stream.set_nodelay(true).map_err(CallError::Connect)?;
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        // The client's time-outs are off: deadlines differ from call to call and are applied by the caller.
        let settings = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let (client, driver) = MultiplexedConnection::new_with_config(&info, stream, settings)
            .await
            .map_err(CallError::from_client)?;
        let mut connection = Self {
            client,
            driver: tokio::spawn(driver),
            left: AtomicBool::new(false),
            opened: Instant::now(),
            version: None,
            flags: false,
        };
        connection.enter(config).await?;
        connection.version = connection.info("server", "redis_version").await?.as_deref().and_then(version);
        connection.flags =
            target.flags.unwrap_or(connection.version.is_some_and(|version| version >= (7, 0)));
        Ok(connection)
    }

    /// Authenticates and selects the database.
    async fn enter(&self, config: &config::Redis) -> Result<(), CallError> {
        if let Some(password) = &config.password {
            let mut auth = redis::cmd("AUTH");
            if let Some(user) = &config.username {
                auth.arg(user);
            }
            self.ask(auth.arg(password.reveal())).await?;
        }
        if config.database != 0 {
            self.ask(redis::cmd("SELECT").arg(config.database)).await?;
        }
        Ok(())
    }

    /// A field of a section of `INFO`; `None` when the server refuses.
    async fn info(&self, section: &str, field: &str) -> Result<Option<String>, CallError> {
        match self.ask(redis::cmd("INFO").arg(section)).await {
            Ok(Value::BulkString(text)) => Ok(info_field(&String::from_utf8_lossy(&text), field)),
            Err(error) if !is_forbidden(&error) => Err(error),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    async fn ask(&self, cmd: &Cmd) -> Result<Value, CallError> {
        sorted(self.client.clone().send_packed_command(cmd).await)
    }
}

/// Turns errors that the client returns as values into errors; no reply of our scripts contains one.
fn sorted(answer: redis::RedisResult<Value>) -> Result<Value, CallError> {
    match answer {
        Ok(Value::ServerError(error)) => Err(CallError::from_client(error.into())),
        Ok(value) => Ok(value),
        Err(error) => Err(CallError::from_client(error)),
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Closes the socket even while a call on it is pending.
        self.driver.abort();
    }
}

/// Whether the server's ACL forbids this command only.
pub(super) fn is_forbidden(error: &CallError) -> bool {
    matches!(error, CallError::ServerError(error) if error.is("NOPERM") || error.contains("unknown command"))
}

/// A field of the text returned by `INFO`.
pub(super) fn info_field(info: &str, field: &str) -> Option<String> {
    let value = |line: &str| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned());
    info.lines().find_map(value)
}

fn version(text: &str) -> Option<Version> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn server_name_omits_secrets() {
        let config = config::Redis {
            host: "::1".into(),
            port: 7000,
            database: 3,
            username: Some("worker".into()),
            password: Some(Secret::new("hunter2")),
            read_write_timeout: Duration::from_secs(1),
            allow_eviction: false,
            prefix: String::new(),
        };
        let target = ServerAddress::new(&config, None);
        assert_eq!(target.place, "redis://[::1]:7000/3");
        assert!(!format!("{target:?}").contains("hunter2"));
    }

    #[test]
    fn versions_and_fields_are_read_from_info() {
        let info = "# Server\r\nredis_version:7.0.15\r\nredis_version_x:1\r\nuptime_in_seconds:42\r\n";
        assert_eq!(info_field(info, "redis_version").as_deref(), Some("7.0.15"));
        assert_eq!(info_field(info, "uptime_in_seconds").as_deref(), Some("42"));
        assert_eq!(info_field(info, "absent"), None);
        assert_eq!(version("7.0.15"), Some((7, 0)));
        assert_eq!(version("6.2"), Some((6, 2)));
        assert_eq!(version("unknown"), None);
    }
}
