//! From text to values, and every kind of mistake.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::alerts::keys::{ALERT_KEYS, RECEIVER_KEYS};
use super::interpolation::Interpolation;
use super::keys::{HTTP_KEYS, KEYS, LOG_KEYS, METRICS_KEYS, OTEL_KEYS};
use super::schema::Kind;
use super::spanned::{self, Table, Value};
use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, "/etc/app/aint-queue.toml")
}

fn channel(text: &str) -> Channel {
    parse(text).unwrap().channels.remove("default").unwrap()
}

/// Everything that is wrong with `text`, without the file's name.
fn wrong(text: &str) -> Vec<String> {
    match parse(text) {
        Err(ConfigError::Invalid(problems)) => problems
            .iter()
            .map(|p| p.to_string().trim_start_matches("/etc/app/aint-queue.toml:").to_owned())
            .collect(),
        other => panic!("expected mistakes, got {other:?}"),
    }
}

fn warnings(text: &str) -> Vec<String> {
    let warnings = parse(text).unwrap().warnings;
    warnings.iter().map(|w| format!("{}:{}: {} {}", w.line, w.column, w.key, w.message)).collect()
}

#[test]
fn empty_channel_has_every_default() {
    let channel = channel("[channels.default]");
    assert_eq!(channel.driver, Driver::Sqlite { path: PathBuf::from("/etc/app/aint-queue.db"), named: true });
    assert_eq!((channel.memory_limit, channel.max_attempts), (96, 3));
    assert_eq!(channel.stop_wait, Duration::from_secs(30));
    assert_eq!(channel.timeout_grace, Duration::from_millis(300));
    assert_eq!(channel.backoff.kind, BackoffKind::Exponential);
    assert_eq!(channel.worker.mode, Mode::Process);
    assert_eq!(channel.worker.plan, Plan::PROCESS);
    assert_eq!(channel.worker.handler, Handler::Registered);
    assert_eq!(channel.worker.max_execute, Some(Duration::from_secs(10)));
    assert!(channel.snapshot.handlers.is_empty());
}

#[test]
fn defaults_of_the_key_table_raise_no_warning() {
    for mode in ["process", "process-pool", "coroutine"] {
        let text = format!("[channels.default.worker]\ntype = \"{mode}\"");
        assert!(warnings(&text).is_empty(), "{mode}");
    }
}

#[test]
fn mode_becomes_a_plan() {
    let plan = |worker: &str| channel(&format!("[channels.default.worker]\n{worker}")).worker.plan;
    assert_eq!(plan("type = \"process-pool\""), Plan::process_pool(5, 50, 0));
    assert_eq!(
        plan("type = \"process-pool\"\nworker_number = 3\nmax_handle_number = 7"),
        Plan::process_pool(3, 50, 7)
    );
    assert_eq!(plan("type = \"process-pool\"\ndynamic_mode = false"), Plan::process_pool(5, 50, 0));
    assert_eq!(plan("type = \"coroutine\"\nmax_coroutine = 10"), Plan::coroutine(10, 0));
    assert_eq!(plan("command = [\"true\"]"), Plan { spare: 0, ..Plan::PROCESS });
    let exec = "type = \"process-pool\"\ncommand = [\"true\"]\nprotocol = \"exec\"";
    assert_eq!(plan(exec), Plan::process_pool(5, 50, 1));
}

#[test]
fn sizing_rules_are_in_bytes_and_durations() {
    let worker =
        |keys: &str| channel(&format!("[channels.default.worker]\ntype = \"process-pool\"\n{keys}")).worker;
    let usual = worker("");
    assert_eq!(usual.scaling, Scaling::default());
    let limit = Some(96 << 20);
    assert_eq!(usual.recycling, Recycling { memory_limit: limit, ..Recycling::default() });
    let all = worker(
        "dynamic_mode = false\ntarget_wait_seconds = 2\ncapacity = 3\ncool_down_seconds = 0\nflex_interval = 0.5\npool_memory_limit = 1000\nmemory_hard_limit = 200\nmax_life_seconds = 60\nmin_worker_number = 1",
    );
    let scaling = Scaling {
        dynamic: false,
        flex_interval: Duration::from_millis(500),
        target_wait: Duration::from_secs(2),
        capacity: 3,
        cool_down: Duration::ZERO,
        memory_limit: Some(1000 << 20),
    };
    assert_eq!(all.scaling, scaling);
    let max_life = Some(Duration::from_secs(60));
    assert_eq!(
        all.recycling,
        Recycling { max_life, memory_limit: limit, memory_hard_limit: Some(200 << 20) }
    );
    assert_eq!(worker("min_worker_number = 0").plan, Plan::process_pool(0, 50, 0));
}

#[test]
fn written_size_moves_the_default_of_the_other() {
    let plan = |worker: &str| {
        let plan =
            channel(&format!("[channels.default.worker]\ntype = \"process-pool\"\n{worker}")).worker.plan;
        (plan.min, plan.max)
    };
    assert_eq!(plan("min_worker_number = 80"), (80, 80));
    assert_eq!(plan("max_worker_number = 2"), (2, 2));
}

#[test]
fn protocol_of_a_command_follows_the_mode() {
    let handler = |worker: &str| channel(&format!("[channels.default.worker]\n{worker}")).worker.handler;
    let command = vec!["php".to_owned(), "worker.php".to_owned()];
    let php = "command = [\"php\", \"worker.php\"]\n";
    assert_eq!(handler(php), Handler::Exec { command: command.clone().into() });
    assert_eq!(
        handler(&format!("{php}type = \"process-pool\"")),
        Handler::Wire { command: command.clone().into() }
    );
    assert_eq!(
        handler(&format!("{php}type = \"coroutine\"")),
        Handler::Wire { command: command.clone().into() }
    );
    assert_eq!(handler(&format!("{php}protocol = \"wire\"")), Handler::Wire { command: command.into() });
    let beside_the_file =
        Handler::Exec { command: vec!["/etc/app/run.sh".to_owned(), "a/b".to_owned()].into() };
    assert_eq!(handler("command = [\"./run.sh\", \"a/b\"]"), beside_the_file);
}

#[test]
fn tables_inherit_by_key_and_arrays_replace() {
    let text = r#"
        [defaults]
        max_attempts = 9
        [defaults.worker]
        memory_limit = 200
        command = ["a", "b"]
        env = { A = "1", B = "2" }
        [defaults.job_snapshot]
        handler = [ { type = "log" } ]
        [channels.default.worker]
        command = ["c"]
        env = { B = "3" }
        [channels.default.job_snapshot]
        handler = []
        [channels.other]
    "#;
    let config = parse(text).unwrap();
    let (default, other) = (&config.channels["default"], &config.channels["other"]);
    assert_eq!((default.max_attempts, default.worker.recycling.memory_limit), (9, Some(200 << 20)));
    assert_eq!(default.worker.handler, Handler::Exec { command: vec!["c".to_owned()].into() });
    let env: Vec<_> = default.worker.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(env, ["A=1", "B=3"]);
    assert!(default.snapshot.handlers.is_empty());
    assert_eq!(other.snapshot.handlers[0].receiver.kind, alerts::ReceiverKind::Log);
}

#[test]
fn store_changes_with_one_line_and_keeps_its_connection() {
    let text = |kind: &str| {
        format!(
            "[defaults.driver]\ntype = \"{kind}\"\npath = \"q.db\"\n\
             connection = {{ host = \"r\", port = 7000 }}\n[channels.default]"
        )
    };
    assert_eq!(
        channel(&text("sqlite")).driver,
        Driver::Sqlite { path: PathBuf::from("/etc/app/q.db"), named: true }
    );
    assert_eq!(channel(&text("sync")).driver, Driver::Sync);
    let Driver::Redis(redis) = channel(&text("redis")).driver else { panic!("redis was chosen") };
    assert_eq!((redis.host.as_str(), redis.port), ("r", 7000));
    assert_eq!(redis.read_write_timeout, Duration::from_secs(3));
}

#[test]
fn prefix_of_redis_keys_has_no_special_characters() {
    let text = |prefix: &str| {
        format!("[defaults.driver]\ntype = \"redis\"\nprefix = \"{prefix}\"\n[channels.default]")
    };
    let Driver::Redis(redis) = channel(&text("shop:eu-1/")).driver else { panic!("redis was chosen") };
    assert_eq!(redis.prefix, "shop:eu-1/");
    assert_eq!(Driver::Redis(redis).to_string(), "redis at 127.0.0.1:6379, database 0, prefix shop:eu-1/");
    for refused in ["{shop}", "a}", "a b", "*", "a?", "[x]", "é", &"x".repeat(65)] {
        assert!(wrong(&text(refused))[0].contains("is no prefix of a key"), "{refused}");
    }
}

#[test]
fn driver_of_another_type_inherits_nothing() {
    let text = r#"
        [defaults.driver]
        type = "sqlite"
        connection = { host = "inherited" }
        [channels.default.driver]
        type = "redis"
        connection = { port = 7000 }
    "#;
    let Driver::Redis(redis) = channel(text).driver else { panic!("redis was chosen") };
    assert_eq!((redis.host.as_str(), redis.port), ("127.0.0.1", 7000));
    let same = text.replace("\"sqlite\"", "\"redis\"");
    let Driver::Redis(redis) = channel(&same).driver else { panic!("redis was chosen") };
    assert_eq!((redis.host.as_str(), redis.port), ("inherited", 7000));
}

#[test]
fn nearer_of_url_and_connection_wins() {
    let text = r#"
        [defaults.driver]
        type = "redis"
        url = "redis://far:1"
        [channels.default.driver]
        connection = { host = "near" }
        [channels.b.driver]
        connection = { read_write_timeout = 1 }
    "#;
    let config = parse(text).unwrap();
    let redis = |name: &str| match &config.channels[name].driver {
        Driver::Redis(redis) => redis.clone(),
        Driver::Sqlite { .. } | Driver::Sync => panic!("redis was chosen"),
    };
    assert_eq!((redis("default").host.as_str(), redis("default").port), ("near", 6379));
    assert_eq!((redis("b").host.as_str(), redis("b").port), ("far", 1));
    assert_eq!(redis("b").read_write_timeout, Duration::from_secs(1));
    let both =
        "[channels.default.driver]\ntype = \"redis\"\nurl = \"redis://a\"\nconnection = { host = \"b\" }";
    assert_eq!(
        wrong(both),
        [
            "4:16: channels.default.driver.connection.host contradicts url, which says the same: keep one of the two"
        ]
    );
}

#[test]
fn numbers_and_flags_come_from_the_environment() {
    let env = |name: &str| match name {
        "PORT" => Some("7001".to_owned()),
        "PASSWORD" => Some("hunter2".to_owned()),
        _ => None,
    };
    let text = r#"
        [channels.default.driver]
        type = "redis"
        connection = { port = "${PORT}", password = "${PASSWORD}" }
    "#;
    let config = load::parse(text, Path::new("f.toml"), &env).unwrap();
    let Driver::Redis(redis) = &config.channels["default"].driver else { panic!("redis was chosen") };
    assert_eq!((redis.port, redis.password.as_ref().unwrap().reveal()), (7001, "hunter2"));
    assert!(!config.to_toml().contains("hunter2"));
    assert!(!config.to_json().to_string().contains("hunter2"));
    assert!(!format!("{config:?}").contains("hunter2"));

    let misplaced = text.replace("${PORT}", "${PASSWORD}");
    let error = load::parse(&misplaced, Path::new("f.toml"), &env).unwrap_err().to_string();
    assert!(error.contains("port has a value of another type in the environment"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn all_errors_are_reported_with_place_and_remedy() {
    let text = r#"
[defaults]
max_attempts = 0
[channels.default]
memory_limit = "96"
wroker = 1
sleep_seconds = 1
[channels."a b".worker]
type = "procces-pool"
min_worker_number = 9
max_worker_number = 3
env = { "A=B" = "x", AINT_QUEUE_X = "y", C = 1 }
[chanels.x]
"#;
    let expected = [
        "3:16: defaults.max_attempts is 0: write a whole number, 1 to 10000, such as 3",
        "5:16: channels.default.memory_limit is a string: write a whole number, 16 to 1048576 MiB, such as 96",
        "6:1: channels.default.wroker is not a known key: did you mean worker?",
        "7:1: channels.default.sleep_seconds is not a known key: it belongs in [channels.default.worker]",
        "8:11: channels.\"a b\" cannot be a channel's name: use 1 to 64 of the characters A-Z a-z 0-9 _ . : -",
        "9:8: channels.\"a b\".worker.type = \"procces-pool\" is not one of its values: did you mean \"process-pool\"?",
        "12:9: channels.\"a b\".worker.env.\"A=B\" cannot be a variable's name: use a name without \"=\" and NUL",
        "12:22: channels.\"a b\".worker.env.AINT_QUEUE_X is reserved: choose another name: AINT_QUEUE_ is reserved for variables that the master sets",
        "12:46: channels.\"a b\".worker.env.C is an integer: write a string in quotes",
        "13:2: chanels is not a known key: did you mean channels?",
    ];
    assert_eq!(wrong(text), expected);
}

#[test]
fn contradictions_name_both_keys() {
    let one = |text: &str| {
        let mut all = wrong(text);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    };
    let sizes = "[defaults.worker]\nmin_worker_number = 9\n[channels.default.worker]\ntype = \"process-pool\"\nmax_worker_number = 3\n[channels.b.worker]\ntype = \"process-pool\"";
    assert_eq!(
        one(sizes),
        "2:21: defaults.worker.min_worker_number = 9 contradicts channels.default.worker.max_worker_number = 3: lower the one or raise the other"
    );
    let exec = "[channels.default.worker]\ntype = \"coroutine\"\ncommand = [\"x\"]\nprotocol = \"exec\"";
    assert!(one(exec).contains("contradicts type = \"coroutine\""));
    assert!(
        one("[channels.default.worker]\nprotocol = \"exec\"").contains("has no meaning without a command")
    );
    assert!(one("[channels.default.backoff]\nbase = 10\nmax = 1").contains("base = 10 is above max = 1"));
    let worker = |keys: &str| one(&format!("[channels.default.worker]\ntype = \"process-pool\"\n{keys}"));
    let never = worker("dynamic_mode = false\nmin_worker_number = 0");
    assert!(never.contains("= 0 contradicts dynamic_mode = false: no worker would ever run"), "{never}");
    assert!(worker("memory_hard_limit = 50").contains("= 50 contradicts memory_limit = 96 of one worker"));
    assert!(worker("pool_memory_limit = 50").contains("= 50 contradicts memory_limit = 96 of one worker"));
    let twice = "[channels.default.worker]\nworker_number = 1\nmin_worker_number = 1";
    assert!(one(twice).contains("is another name of min_worker_number"));
}

#[test]
fn keys_of_later_versions_are_refused() {
    let later = [
        "[channels.default.driver]\nsentinel = [\"x\"]",
        "[channels.default.driver]\nurl = \"rediss://:pw@x\"",
    ];
    for text in later {
        let all = wrong(&format!("{text}\n[channels.other]"));
        assert!(all.iter().all(|m| m.contains("not available in this version")), "{text}: {all:?}");
        assert!(!all.iter().any(|m| m.contains("pw")), "{all:?}");
    }
}

#[test]
fn http_listener_needs_an_address() {
    let http = |text: &str| parse(&format!("[http]\n{text}\n[channels.default]")).unwrap().http;
    assert_eq!(http(""), None);
    assert_eq!(parse("[channels.default]").unwrap().http, None);
    let plain = http("listen = \"127.0.0.1:9465\"").unwrap();
    assert_eq!((plain.max_body, plain.max_connections), (5 << 20, 256));
    assert_eq!((plain.timeout, plain.token, plain.hosts.len()), (Duration::from_secs(10), None, 0));
    let open = "listen = \"0.0.0.0:80\"\ntoken = \"0123456789abcdef\"\nhosts = [\"Queue.Internal\"]";
    let open = http(open).unwrap();
    assert_eq!(
        (open.hosts[0].as_str(), open.token.unwrap().reveal()),
        ("queue.internal", "0123456789abcdef")
    );
}

#[test]
fn http_listener_errors_have_a_remedy() {
    let first = |text: &str| wrong(&format!("[http]\n{text}\n[channels.default]")).remove(0);
    let open = first("listen = \"0.0.0.0:9465\"");
    assert_eq!(
        open,
        "2:10: http.listen = \"0.0.0.0:9465\" lets every host on the network push jobs: add token = \"${NAME}\", \
         which is taken from the environment, or listen on 127.0.0.1"
    );
    assert!(first("listen = \"[::]:1\"").contains("lets every host"));
    assert!(first("listen = \"localhost:9465\"").contains("write an IP address with a port"));
    assert!(first("listen = 9465").contains("is an integer"));
    assert!(first("lisen = \"127.0.0.1:1\"").contains("did you mean listen?"));
    assert!(first("port = 1").contains("remove it, or use one of listen, token"));
    assert!(first("token = \"\"").contains("is empty"));
    assert!(first("token = \"a b\"").contains("cannot be sent in a header"));
    assert!(first("hosts = [\"http://x\"]").contains("http.hosts[0] is no name of a host"));
    assert!(first("hosts = [1]").contains("http.hosts[0] is an integer"));
    assert!(first("max_body_bytes = 1").contains("write a whole number, 1024 to 67108864 bytes"));
    assert!(wrong("http = 1\n[channels.default]")[0].contains("http is an integer: write a table"));
    let empty = "[http]\nlisten = \"0.0.0.0:1\"\ntoken = \"\"\n[channels.default]";
    assert_eq!(wrong(empty).len(), 1, "the token that is wrong is not missing as well");
    assert_eq!(wrong(&empty.replace("\"\"", "\"${NO_SUCH_VARIABLE}\"")).len(), 1);
}

#[test]
fn redis_settings_of_other_products_are_understood() {
    let connection = "connection = { database = \"3\", read_write_timeout = 0 }";
    let config = parse(&format!("[channels.default.driver]\ntype = \"redis\"\n{connection}")).unwrap();
    let Driver::Redis(redis) = &config.channels["default"].driver else { panic!("a redis driver") };
    assert_eq!((redis.database, redis.read_write_timeout), (3, Duration::from_secs(3)));
    let wrong = |text: &str| wrong(&format!("[channels.default.driver]\n{text}")).remove(0);
    for connector in ["redis", "predis", "phpredis", "think\\\\queue\\\\connector\\\\Redis"] {
        for line in ["connector = \"_\"", "connection = { connector = \"_\", database = \"0\" }"] {
            let line = line.replace('_', connector);
            let config = parse(&format!("[channels.default.driver]\ntype = \"redis\"\n{line}")).unwrap();
            assert!(config.warnings.is_empty(), "{line}: {:?}", config.warnings);
        }
    }
    assert!(wrong("connector = \"redis\"").contains("add type = \"redis\" to driver"));
    assert!(wrong("type = \"redis\"\nconnector = \"sync\"").contains("contradicts driver.type = \"redis\""));
    let contradiction = wrong("type = \"sqlite\"\nconnection = { connector = \"predis\" }");
    assert!(contradiction.contains("driver.connection.connector") && contradiction.contains("contradicts"));
    assert!(wrong("type = \"redis\"\nconnector = \"database\"").contains("is no connector of a store"));
    assert!(wrong("type = \"redis\"\nconnection = { connector = 1 }").contains("is an integer"));
    assert!(wrong("connection = { database = \"main\" }").contains("write a whole number"));
    assert!(wrong("connection = { read_write_timeout = 0.01 }").contains("at least 0.05"));
}

#[test]
fn log_file_is_relative_to_the_configuration() {
    let log = |text: &str| parse(&format!("[log]\n{text}\n[channels.default]")).unwrap().log;
    assert_eq!(log(""), None);
    let file = log("file = \"logs/queue.log\"").unwrap();
    assert!(file.file.is_absolute() && file.file.ends_with("logs/queue.log"));
    assert_eq!((file.max_bytes, file.keep), (100 << 20, 5));
    assert!(warnings("[log]\nkeep = 2\n[channels.default]")[0].contains("log.keep has no effect"));
    assert!(wrong("[log]\nfiel = \"x\"\n[channels.default]")[0].contains("did you mean file?"));
}

#[test]
fn suspicious_http_listener_is_a_warning() {
    let one = |text: &str| warnings(&format!("[http]\n{text}\n[channels.default]")).remove(0);
    assert!(one("token = \"0123456789abcdef\"").contains("without listen there is no HTTP listener"));
    assert!(one("listen = \"127.0.0.1:1\"\ntoken = \"short\"").contains("may be guessed"));
}

#[test]
fn token_is_never_shown() {
    let text = "[http]\nlisten = \"127.0.0.1:1\"\ntoken = \"correct-horse-battery\"\n[channels.default]";
    let config = parse(text).unwrap();
    for shown in [config.to_toml(), config.to_json().to_string(), format!("{config:?}")] {
        assert!(!shown.contains("horse"), "{shown}");
        assert!(shown.contains("127.0.0.1:1"), "{shown}");
    }
}

#[test]
fn names_of_the_predecessor_are_translated() {
    assert!(
        wrong("[channels.default.consumer]\nsleep_seconds = 1")[0].contains("the table is called worker")
    );
    assert!(wrong("[channels.default.driver]\nclass = \"x\"")[0].contains("the key is called type"));
}

#[test]
fn wrong_type_is_named_at_any_key() {
    let first = |text: &str| wrong(text).remove(0);
    assert!(first("channels = 1").contains("channels is an integer: write a table"));
    assert!(first("[channels]\ndefault = \"x\"").contains("channels.default is a string: write a table"));
    assert!(first("[channels.default]\nworker = []").contains("worker is an array: write a table"));
    assert!(first("").contains("no channel is declared: add a table [channels.default]"));
    assert!(first("[channels]").contains("declares no channel"));
    assert!(first("[channels.default.worker]\ncommand = \"php x\"").contains("as an array of strings"));
    assert!(first("[channels.default.worker]\ncommand = []").contains("command is empty"));
    assert!(first("[channels.default.worker]\ncommand = [\"a\", 1]").contains("command[1] is an integer"));
    assert!(first("[channels.default]\nmax_attempts = 99999999999999999999").contains("too large"));
    assert!(first("[channels.default]\nstop_wait_seconds = nan").contains("is NaN"));
    assert!(first("[channels.default]\nmax_attempts = 2026-01-01").contains("is a date"));
    let handler = |item: &str| first(&format!("[channels.default.job_snapshot]\nhandler = [{item}]"));
    assert!(handler("1").contains("handler[0] is an integer"));
    assert!(handler("{}").contains("has no type"));
    assert!(handler("{ type = \"command\" }").contains("has no command"));
    assert!(
        handler("{ type = \"log\", command = [\"x\"] }")
            .contains("has no meaning for a receiver of type \"log\"")
    );
    assert!(handler("{ type = \"log\", wen = 1 }").contains("not a known key"));
}

#[test]
fn command_shows_secrets_as_written() {
    let text = "[channels.default]\njob_snapshot.handler = [ { type = \"command\", command = [\"alert\", \"${PASSWORD}\"] } ]\n\
                [channels.default.worker]\ncommand = [\"./${DIR}/run\", \"--key=${PASSWORD}\", \"plain\"]";
    let env = |name: &str| Some(if name == "DIR" { "hunter2-dir" } else { "hunter2" }.to_owned());
    let config = load::parse(text, Path::new("/srv/f.toml"), &env).unwrap();
    let command = config.channels["default"].worker.handler.command().unwrap();
    assert_eq!(command.argv(), ["/srv/hunter2-dir/run", "--key=hunter2", "plain"]);
    for shown in [config.to_toml(), config.to_json().to_string(), format!("{config:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("--key=${PASSWORD}") && shown.contains("./${DIR}/run"), "{shown}");
    }
}

#[test]
fn workers_are_denied_the_variables_of_the_file_by_default() {
    let env = |name: &str| (name == "PASSWORD").then(|| "hunter2".to_owned());
    let rule = |worker: &str| {
        let text = format!("[http]\ntoken = \"${{PASSWORD}}\"\n[channels.default.worker]\n{worker}");
        let config = load::parse(&text, Path::new("f.toml"), &env).unwrap();
        let rule = config.channels["default"].worker.passed_env.clone();
        (
            ["PASSWORD", "APP_ENV", "PATH", "CREDENTIALS_DIRECTORY"].map(|name| rule.passes(name.as_bytes())),
            config.to_toml(),
        )
    };
    assert_eq!(rule("").0, [false, true, true, false]);
    assert!(!rule("").1.contains("inherit_env"));
    for (written, passed) in [
        ("true", [true, true, true, true]),
        ("false", [false, false, true, false]),
        ("[\"APP_*\"]", [false, true, true, false]),
        ("[\"PASSWORD\"]", [true, false, true, false]),
        ("[\"CREDENTIALS_*\"]", [false, false, true, true]),
    ] {
        let line = format!("inherit_env = {written}");
        let (found, toml) = rule(&line);
        assert_eq!(found, passed, "{line}");
        assert!(toml.contains(&line), "{toml}");
    }
    let mistake =
        |value: &str| wrong(&format!("[channels.default.worker]\ninherit_env = {value}"))[0].clone();
    assert!(mistake("[\"A*B\"]").contains("inherit_env[0] is no name of a variable"));
    assert!(mistake("7").contains("is an integer: write true, false or names"));
}

#[test]
fn may_push_names_declared_channels() {
    let text = |names: &str| format!("[channels.mail]\n[channels.default.worker]\nmay_push = {names}");
    assert!(Config::parse(&text("[\"mail\", \"default\"]"), "f.toml").is_ok());
    assert!(Config::parse(&text("[]"), "f.toml").is_ok());
    let mistake = |names: &str| wrong(&text(names))[0].clone();
    assert!(
        mistake("[\"mial\"]")
            .contains("may_push[0] = \"mial\" is not a declared channel: did you mean \"mail\"?")
    );
    assert!(mistake("[\"a b\"]").contains("cannot be a channel's name"));
}

#[test]
fn clear_text_password_to_another_host_is_a_warning() {
    let warned = |driver: &str| {
        !warnings(&format!("[channels.default.driver]\ntype = \"redis\"\n{driver}")).is_empty()
    };
    for (driver, expected) in [
        ("url = \"redis://:hunter2@redis.example\"", true),
        ("connection = { host = \"10.0.0.7\", password = \"hunter2\" }", true),
        ("connection = { host = \"10.0.0.7\", password = \"hunter2\" }\nallow_cleartext = true", false),
        ("url = \"redis://redis.example\"", false),
        ("url = \"redis://:hunter2@localhost\"", false),
        ("url = \"redis://:hunter2@[::1]\"", false),
        ("connection = { password = \"hunter2\" }", false),
    ] {
        assert_eq!(warned(driver), expected, "{driver}");
    }
    let text = "[channels.default.driver]\ntype = \"redis\"\nurl = \"redis://:hunter2@redis.example\"";
    assert!(!warnings(text)[0].contains("hunter2"));
}

#[test]
fn sync_refuses_what_a_push_cannot_do() {
    let mistake = |worker: &str| {
        wrong(&format!(
            "[channels.default]\ndriver = {{ type = \"sync\" }}\n[channels.default.worker]\n{worker}"
        ))[0]
            .clone()
    };
    assert!(mistake("user = \"root\"").contains("worker.user contradicts driver.type = \"sync\""));
    assert!(mistake("group = \"root\"").contains("worker.group contradicts"));
    assert!(
        mistake("command = [\"php\"]")
            .contains("worker.command cannot run jobs of driver.type = \"sync\" yet")
    );
    assert!(
        parse("[channels.default]\ndriver = { type = \"sync\" }\n[channels.default.worker]\nnice = 3")
            .is_ok()
    );
}

#[test]
fn unusual_values_are_warnings() {
    let long_jobs =
        "[channels.default]\nstop_wait_seconds = 5\n[channels.default.worker]\nmax_execute_seconds = 60";
    assert_eq!(
        warnings(long_jobs),
        [
            "2:1: channels.default.stop_wait_seconds lets jobs be interrupted: a stop waits 5 seconds, jobs may run up to 60 seconds"
        ]
    );
    let endless = "[defaults.worker]\nmax_execute_seconds = 0\n[channels.a]\n[channels.b]";
    assert_eq!(warnings(endless).len(), 1);
    let idle = "[channels.default.worker]\nmax_coroutine = 5";
    assert!(warnings(idle)[0].contains("has no effect in worker.type = \"process\""));
    let shared = "[defaults.worker]\nmax_coroutine = 5\n[channels.default]";
    assert!(warnings(shared).is_empty());
    let forgotten = "[channels.default.driver]\nconnection = { host = \"r\" }";
    assert!(warnings(forgotten)[0].contains("without a type the driver is sqlite"));
}

#[test]
fn undeclared_channel_lists_the_declared_ones() {
    let config = parse("[channels.b]\n[channels.a]").unwrap();
    let error = config.channel("c").unwrap_err().to_string();
    assert_eq!(error, "channel \"c\" is not declared in \"/etc/app/aint-queue.toml\"; declared are: a, b");
    let error = Config::built_in(Path::new("/srv")).channel("c").unwrap_err().to_string();
    assert!(error.contains("built-in") && error.ends_with("declared are: default"), "{error}");
}

#[test]
fn shown_config_parses_again() {
    let text = r#"
        [channels."a.b".worker]
        type = "process-pool"
        command = ["./run \"x\""]
        [channels."a.b".job_snapshot]
        handler = [ { type = "command", command = ["x"] }, { type = "log" } ]
        [channels.redis.driver]
        type = "redis"
        connection = { username = "ann" }
        [channels.redis]
        stop_wait_seconds = 0.5
        [channels.redis.worker]
        type = "coroutine"
        [http]
        listen = "[::1]:9465"
        hosts = ["queue.internal"]
        timeout_seconds = 2.5
    "#;
    let shown = parse(text).unwrap().to_toml();
    let again = parse(&shown).unwrap_or_else(|e| panic!("{e}\n{shown}"));
    assert_eq!(again.to_toml(), shown);
    assert_eq!(again.to_json()["channels"]["a.b"]["worker"]["type"], "process-pool");
    assert_eq!(again.to_json()["channels"]["redis"]["driver"]["connection"]["username"], "ann");
}

fn repository(file: &str) -> String {
    std::fs::read_to_string(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(file)).unwrap()
}

#[test]
fn reference_file_has_three_modes_and_only_defaults() {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("config/aint-queue.toml");
    let config = Config::load(&path).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let modes: Vec<_> = config.channels.iter().map(|(name, c)| (name.as_str(), c.worker.mode)).collect();
    let expected = [("default", Mode::ProcessPool), ("mail", Mode::Coroutine), ("reports", Mode::Process)];
    assert_eq!(modes, expected);

    for (name, channel) in &config.channels {
        let bare = format!("[channels.{name}.worker]\ntype = \"{}\"", channel.worker.mode.as_str());
        let bare = Config::parse(&bare, &path).unwrap();
        assert_eq!(format!("{:?}", bare.channels[name]), format!("{channel:?}"));
    }
}

/// The reference file with its unset keys set: a line that begins with "#" and no space is such a key.
fn reference_with_everything() -> Table {
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest.to_owned(),
        // The array of tables cannot stand beside the empty array it replaces.
        _ if line.starts_with("handler = []") || line.starts_with("rule = []") => String::new(),
        _ => line.to_owned(),
    };
    let text: Vec<_> = repository("config/aint-queue.toml").lines().map(uncommented).collect();
    let text = text.join("\n");
    let mut problems = error::Problems::new(Path::new("reference"), &text);
    let everything = Interpolation::new(&|_| Some("x".to_owned()), Path::new("/"));
    let tree = spanned::parse(&text, &everything, &mut problems);
    tree.unwrap_or_else(|| panic!("{:?}", problems.into_vec()))
}

#[test]
fn every_key_is_in_the_reference_file_with_its_default() {
    let root = reference_with_everything();
    let tables = [
        ("defaults", KEYS),
        ("http", HTTP_KEYS),
        ("metrics", METRICS_KEYS),
        ("otel", OTEL_KEYS),
        ("log", LOG_KEYS),
        ("alerts", ALERT_KEYS),
    ];
    let keys = tables.iter().flat_map(|(name, keys)| keys.iter().map(|key| (key, &root[*name].value)));
    for (key, top) in keys {
        let mut table = &root;
        let mut value = top;
        for name in key.path.split('.') {
            if let Value::Table(inner) = value {
                table = inner;
            }
            let node = table.get(name.trim_end_matches("[]"));
            value = &node.unwrap_or_else(|| panic!("{} is not in the reference file", key.path)).value;
            if let (true, Value::Array(items)) = (name.ends_with("[]"), value) {
                value = &items[0].value;
            }
        }
        let shown = match value {
            Value::Integer(n) => n.to_string(),
            Value::Number(n) => n.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::Text(text) => format!("\"{text}\""),
            _ => continue,
        };
        let is_literal = matches!(key.kind, Kind::Integer(..) | Kind::Number(..) | Kind::Flag | Kind::Text);
        if is_literal && !key.default.is_empty() {
            assert_eq!(shown, key.default, "{}", key.path);
        }
    }
}

#[test]
fn every_key_of_a_receiver_is_in_the_reference_file() {
    let root = reference_with_everything();
    let table = |value: &Value| value.as_table().unwrap().clone();
    let receivers = table(&table(&root["alerts"].value)["receivers"].value);
    for key in RECEIVER_KEYS {
        let has = |receiver: &spanned::Node| table(&receiver.value).contains_key(key.path);
        assert!(receivers.values().any(has), "{} is not in the reference file", key.path);
    }
}

#[test]
fn documented_key_table_matches_the_loader() {
    let table = key_table();
    let docs = repository("docs/configuration.md");
    assert!(docs.contains(&table), "docs/configuration.md must hold this table:\n{table}");
}

proptest::proptest! {
    /// A damaged file is accepted or refused with places in it, and never more than that happens.
    #[test]
    fn loader_never_panics(
        from in 0usize..8000, length in 0usize..200, with in "[\\PC\\n\"'=\\[\\]{}.#$0-9a-z_]{0,40}"
    ) {
        let mut text = repository("config/aint-queue.toml");
        let start = text.floor_char_boundary(from.min(text.len()));
        let end = text.floor_char_boundary((start + length).min(text.len()));
        text.replace_range(start..end, &with);
        if let Err(ConfigError::Invalid(problems)) = parse(&text) {
            let lines = text.lines().count().max(1) + 1;
            proptest::prop_assert!(problems.iter().all(|p| (1..=lines).contains(&p.line)));
        }
    }
}

#[test]
fn keys_without_effect_are_warned_of() {
    let warned = |text: &str| {
        let config = parse(text).unwrap();
        config
            .warnings
            .iter()
            .map(|warning| format!("{} {}", warning.key, warning.message))
            .collect::<Vec<_>>()
    };
    for (text, key, when) in [
        ("[channels.a.backoff]\ndelays = [1]\nkind = \"fixed\"", "channels.a.backoff.kind", "beside delays"),
        ("[channels.a.backoff]\ndelays = [1]\nbase = 2", "channels.a.backoff.base", "beside delays"),
        (
            "[defaults.backoff]\ndelays = [1]\nmax = 9\n[channels.a]\n[channels.b]",
            "defaults.backoff.max",
            "beside delays",
        ),
        (
            "[defaults.backoff]\ndelays = [1]\n[channels.a.backoff]\nmax = 9",
            "channels.a.backoff.max",
            "beside delays",
        ),
        (
            "[channels.a.worker]\ndemo_jobs = true\ncommand = [\"sh\"]",
            "channels.a.worker.demo_jobs",
            "beside command",
        ),
        (
            "[channels.a.worker]\ntype = \"process-pool\"\nprotocol = \"exec\"\ncommand = [\"sh\"]\nmax_handle_number = 9",
            "channels.a.worker.max_handle_number",
            "with protocol = \"exec\"",
        ),
        (
            "[channels.a.worker]\ntype = \"process-pool\"\ndynamic_mode = false\ncapacity = 9",
            "channels.a.worker.capacity",
            "with dynamic_mode = false",
        ),
        (
            "[channels.a.job_log]\nlevel = \"off\"\nlines_per_second = 9",
            "channels.a.job_log.lines_per_second",
            "\"off\"",
        ),
        ("[log]\nfile = \"q.log\"\nmax_bytes = 0\nkeep = 3\n[channels.a]", "log.keep", "max_bytes = 0"),
        (
            "[metrics]\nhosts = [\"x\"]\n[http]\nlisten = \"127.0.0.1:1\"\n[channels.a]",
            "metrics.hosts",
            "without metrics.listen",
        ),
        ("[metrics]\ntoken = \"0123456789abcdef\"\n[channels.a]", "metrics.token", "no listener for metrics"),
    ] {
        let found = warned(text);
        let is_found = matches!(found.as_slice(), [one] if one.starts_with(&format!("{key} has no effect")) && one.contains(when));
        assert!(is_found, "{text}: {found:?}");
    }
    for text in [
        "[defaults.backoff]\nkind = \"fixed\"\n[channels.a.backoff]\ndelays = [1]\n[channels.b]",
        "[defaults.worker]\ndemo_jobs = true\n[channels.a.worker]\ncommand = [\"sh\"]\n[channels.b]",
        "[channels.a.backoff]\nkind = \"fixed\"\nbase = 2",
        "[channels.a.worker]\ndemo_jobs = false\ncommand = [\"sh\"]",
    ] {
        assert_eq!(warned(text), [] as [String; 0], "{text}");
    }
}

#[test]
fn traces_are_set_up_by_their_table() {
    let otel =
        |text: &str| parse(&format!("{text}\n[channels.a]")).map(|config| (config.otel, config.warnings));
    assert_eq!(otel("").unwrap().0, None);
    let (set, warnings) =
        otel("[otel]\nendpoint = \"http://127.0.0.1:4318\"\nparent = \"link\"\nsample_ratio = 0.25").unwrap();
    let set = set.unwrap();
    assert_eq!((set.enabled, set.endpoint.as_deref()), (true, Some("http://127.0.0.1:4318")));
    assert_eq!((set.parent, set.sample_ratio, set.turns), (RunParent::Link, Some(0.25), false));
    // A program without the feature says that it sends nothing, and how it would.
    let warned: Vec<_> =
        warnings.iter().map(|warning| (warning.message.as_str(), warning.remedy.as_str())).collect();
    match cfg!(feature = "otel") || !cfg!(feature = "server") {
        true => assert_eq!(warned, []),
        false => assert!(
            matches!(&warned[..], [(message, remedy)] if message.contains("without traces") && remedy.contains("--features otel")),
            "{warned:?}"
        ),
    }
    assert_eq!(otel("[otel]\nenabled = false").unwrap().1, []);
    let refused =
        otel("[otel]\nendpoint = \"127.0.0.1:4317\"\nparent = \"sibling\"").unwrap_err().to_string();
    assert!(refused.contains("OTLP/HTTP") && refused.contains("parent"), "{refused}");
}
