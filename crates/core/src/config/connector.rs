//! `connector`, by which queues in PHP name the kind of store or the client library. It decides nothing here: it is checked, so
//! that a copied configuration means the store that it says.

use super::error::Diagnostics;
use super::typed::TypedTable;

const OF_DRIVER: &str = "driver.connector";
const OF_CONNECTION: &str = "driver.connection.connector";

/// Reports a connector that is unknown, or that is one of another store than `driver_type`.
pub(super) fn check(read: &TypedTable<'_>, driver_type: &str, diagnostics: &mut Diagnostics<'_>) {
    for key in [OF_DRIVER, OF_CONNECTION] {
        let (Some(node), Some(name)) = (read.node(key), read.text(key)) else { continue };
        let (message, remedy) = match type_of(name) {
            Some(meant) if meant == driver_type => continue,
            Some(meant) if read.node("driver.type").is_none() => (
                format!("means a store of type \"{meant}\", but without a type the driver is {driver_type}"),
                format!("add type = \"{meant}\" to driver, or remove connector"),
            ),
            Some(meant) => (
                format!("contradicts driver.type = \"{driver_type}\": it means a store of type \"{meant}\""),
                format!("write type = \"{meant}\", or remove connector"),
            ),
            None => (
                "is no connector of a store of this version".to_owned(),
                "remove it, or write \"redis\", \"predis\" or \"phpredis\" beside driver.type = \"redis\""
                    .to_owned(),
            ),
        };
        diagnostics.problems.of_value(node, message, remedy);
    }
}

/// The `driver.type` that a connector means, which may be a class, as in `think\queue\connector\Redis` and `Predis\Client`.
fn type_of(connector: &str) -> Option<&'static str> {
    connector.rsplit('\\').find_map(|part| match part.to_ascii_lowercase().as_str() {
        "redis" | "predis" | "phpredis" | "credis" | "valkey" | "redisqueue" => Some("redis"),
        "sqlite" | "sqlite3" => Some("sqlite"),
        "sync" => Some("sync"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_php_queues_mean_a_driver_type() {
        for redis in
            ["redis", "Redis", "predis", "phpredis", "think\\queue\\connector\\Redis", "Predis\\Client"]
        {
            assert_eq!(type_of(redis), Some("redis"), "{redis}");
        }
        assert_eq!((type_of("Sync"), type_of("sqlite")), (Some("sync"), Some("sqlite")));
        for unknown in ["", "database", "Topthink", "beanstalkd", "App\\Queue"] {
            assert_eq!(type_of(unknown), None, "{unknown}");
        }
    }
}
