//! Access to the server: passwords, permissions, versions, policies.

use std::time::Duration;

use aint_queue::config::{self, Secret};
use aint_queue::store::{Store, StoreError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{connect, send};
use crate::fixture::{Master, done, job};
use crate::support::redis::{Server, at, free_port};

const PASSWORD: &str = "correct horse";

/// The refusal's message, checked to contain no secret.
fn refusal<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> String {
    let Err(error @ StoreError::Refused { .. }) = outcome else { panic!("{outcome:?}") };
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("horse"), "{text}");
    }
    assert!(error.to_string().contains("redis://127.0.0.1:"), "{error}");
    error.to_string()
}

#[tokio::test]
async fn closed_port_is_unavailable_and_named() {
    let port = free_port();
    let error = connect(&at(port)).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    let nowhere = config::Redis { host: "no.such.host.invalid".into(), ..at(6379) };
    let error = connect(&nowhere).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Unavailable { place, .. } if place.contains("no.such.host")),
        "{error:?}"
    );
}

#[tokio::test]
async fn silent_server_is_unavailable_in_time() {
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = at(deaf.local_addr().unwrap().port());
    config.read_write_timeout = Duration::from_millis(200);
    let begin = tokio::time::Instant::now();
    let error = connect(&config).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn wrong_password_is_refused_with_remedy() {
    let server = Server::start_with(&["--requirepass", PASSWORD]);
    let with = |password: Option<&str>, username: Option<&str>| config::Redis {
        password: password.map(Secret::new),
        username: username.map(Into::into),
        ..server.config()
    };
    assert!(refusal(connect(&with(None, None)).await).contains("set `password`"));
    assert!(
        refusal(connect(&with(Some("wrong horse"), None)).await).contains("check `username` and `password`")
    );
    assert!(refusal(connect(&with(Some(PASSWORD), Some("nobody"))).await).contains("`username`"));
    let store = connect(&with(Some(PASSWORD), None)).await.unwrap();
    assert!(!format!("{store:?}").contains("horse"));
    store.push(&[job("a")]).await.unwrap();

    let open = Server::start();
    let needless = config::Redis { password: Some(Secret::new(PASSWORD)), ..open.config() };
    assert!(refusal(connect(&needless).await).contains("remove `password`"));
}

#[tokio::test]
async fn changed_password_is_refused_at_reconnect() {
    let server = Server::start_with(&["--requirepass", PASSWORD]);
    let config = config::Redis { password: Some(Secret::new(PASSWORD)), ..server.config() };
    let store = connect(&config).await.unwrap();
    let mut admin =
        redis::Client::open(format!("redis://127.0.0.1:{}/", config.port)).unwrap().get_connection().unwrap();
    redis::cmd("AUTH").arg(PASSWORD).exec(&mut admin).unwrap();
    redis::cmd("CONFIG").arg(&["SET", "requirepass", "another horse"]).exec(&mut admin).unwrap();
    redis::cmd("CLIENT").arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"]).exec(&mut admin).unwrap();
    // The call meets the cut connection, or the driver has noticed it already.
    let outcome = match store.status().await {
        Err(StoreError::Unavailable { .. }) => store.status().await,
        other => other,
    };
    assert!(refusal(outcome).contains("`password`"));
}

#[tokio::test]
async fn user_without_permission_is_refused() {
    let server = Server::start();
    send(&server, &["ACL", "SETUSER", "reader", "on", ">correct horse", "~*", "+@all", "-evalsha"]);
    send(&server, &["ACL", "SETUSER", "other", "on", ">correct horse", "~other:*", "+@all"]);
    for user in ["reader", "other"] {
        let config = config::Redis {
            username: Some(user.into()),
            password: Some(Secret::new(PASSWORD)),
            ..server.config()
        };
        assert!(refusal(connect(&config).await).contains("grant it"), "{user}");
    }
}

#[tokio::test]
async fn user_without_config_access_can_work() {
    let server = Server::start();
    send(
        &server,
        &[
            "ACL",
            "SETUSER",
            "worker",
            "on",
            ">correct horse",
            "~aint-queue:*",
            "+@all",
            "-@dangerous",
            "-@admin",
        ],
    );
    let config = config::Redis {
        username: Some("worker".into()),
        password: Some(Secret::new(PASSWORD)),
        ..server.config()
    };
    let store = std::sync::Arc::new(connect(&config).await.unwrap());
    assert_eq!(store.durability().await.unwrap(), "unknown");
    let store: std::sync::Arc<dyn Store> = store;
    store.push(&[job("a")]).await.unwrap();
    let mut master = Master::join(&store).await;
    let leased = master.lease(1).await;
    assert_eq!(master.settle(&[done(&leased[0])]).await, []);
}

#[tokio::test]
async fn evicting_policy_is_refused_unless_accepted() {
    let server = Server::start();
    for policy in ["allkeys-lru", "volatile-ttl"] {
        send(&server, &["CONFIG", "SET", "maxmemory-policy", policy]);
        let said = refusal(connect(&server.config()).await);
        assert!(
            said.contains(policy) && said.contains("noeviction") && said.contains("allow_eviction"),
            "{said}"
        );
        let accepted = config::Redis { allow_eviction: true, ..server.config() };
        connect(&accepted).await.unwrap();
    }
}

#[tokio::test]
async fn each_database_is_a_separate_store() {
    let server = Server::start();
    let second = config::Redis { database: 2, ..server.config() };
    let (zero, two) = (connect(&server.config()).await.unwrap(), connect(&second).await.unwrap());
    two.push(&[job("a")]).await.unwrap();
    assert_eq!((zero.status().await.unwrap().waiting, two.status().await.unwrap().waiting), (0, 1));
    let none = config::Redis { database: 99, ..server.config() };
    assert!(refusal(connect(&none).await).contains("`database`"));
}

#[tokio::test]
async fn outdated_server_is_refused() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let old = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let info = "# Server\r\nredis_version:5.0.14\r\n";
        let reply = format!("${}\r\n{info}\r\n", info.len());
        let mut buffer = [0; 1024];
        while let Ok(1..) = client.read(&mut buffer).await {
            client.write_all(reply.as_bytes()).await.unwrap();
        }
    });
    let said = refusal(connect(&at(port)).await);
    assert!(said.contains("version 5.0") && said.contains("6.2"), "{said}");
    old.abort();
}

#[tokio::test]
async fn durability_follows_server_settings() {
    let server = Server::start();
    let store = connect(&server.config()).await.unwrap();
    for (settings, word) in [
        ([("appendonly", "no"), ("save", "")].as_slice(), "memory"),
        (&[("save", "3600 1")], "rdb"),
        (&[("appendonly", "yes"), ("appendfsync", "everysec")], "everysec"),
        (&[("appendfsync", "always")], "fsync"),
        (&[("appendfsync", "no")], "os"),
    ] {
        for (name, value) in settings {
            send(&server, &["CONFIG", "SET", name, value]);
        }
        assert_eq!(store.durability().await.unwrap(), word);
    }
}
