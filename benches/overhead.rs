//! Measures what watching costs: jobs per second with scrapes, rules, hanging receivers, open pages, or traces against the same
//! without. Run with `cargo bench --bench overhead` on an idle machine; needs a redis-server and taskset in
//! PATH, and two processors.
//!
//! ```text
//! cargo bench --bench overhead -- [--only NAME]... [--pairs N] [--program PATH]
//! ```
//!
//! Two figures are compared: the rate, and the processor time per job of master, workers and Redis. The machine is saturated, so
//! processor time is what bounds the rate, and it depends less on the scheduler.
//!
//! Redis has one processor and the master with its workers another, so that the scheduler has nothing to choose.
//!
//! Each comparison measures its two states in turn, in pairs that follow each other within seconds: the speed of a machine drifts,
//! the ratio of a pair does not. Each measurement has a master of its own, so that nothing of one state is left in the other.
//! `--program` adds a comparison with another build of the program, such as one with the feature `otel` whose traces are off.

#![expect(unreachable_pub, reason = "a bench has no public interface")]
#![expect(clippy::unwrap_used, reason = "an error ends the bench")]

#[allow(dead_code, reason = "tests use the rest")]
#[path = "../tests/support/fixture.rs"]
mod fixture;
#[allow(dead_code, reason = "tests use the rest")]
#[path = "../tests/support/redis.rs"]
mod redis;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use aint_queue::job::{NewJob, Payload};
use aint_queue::store::redis::RedisStore;
use aint_queue::store::{MAX_BATCH, Store};
use fixture::Fixture;

/// Pairs of measurements of a comparison, each state first in every other pair.
const PAIRS: usize = 40;
/// Time of one measurement.
const MEASURED: Duration = Duration::from_secs(2);
/// Time after the start of a master in which it reaches its speed.
const SETTLING: Duration = Duration::from_secs(1);
/// Waiting jobs before a measurement: more than a master runs in its time.
const BACKLOG: u64 = 600_000;
/// The unit of processor times in /proc on Linux.
const MICROS_PER_TICK: u64 = 10_000;
/// Lowest median ratio that the product promises.
const PROMISED: f64 = 0.99;
const CHANNEL: &str = "load";

/// Two states of one program, or of two.
struct Comparison {
    name: &'static str,
    question: &'static str,
    without: State,
    with: State,
}

/// The figures of one measurement.
#[derive(Clone, Copy, Default)]
struct Measured {
    /// Jobs per second.
    rate: f64,
    /// Processor time per job, in microseconds.
    micros: f64,
}

/// How a master is set up, and who watches it.
#[derive(Clone, Default)]
struct State {
    /// Keys of the channel.
    channel: String,
    /// Tables beside the channel.
    tables: String,
    watchers: Watchers,
    /// The program; the one of this build by default.
    program: Option<PathBuf>,
}

#[derive(Clone, Copy, Default)]
enum Watchers {
    #[default]
    None,
    /// A scrape each second.
    Scraper,
    /// So many open pages of the channel.
    Pages(usize),
}

fn main() {
    let mut only = Vec::new();
    let mut pairs = PAIRS;
    let mut program = None;
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        match arg.as_str() {
            "--only" => only.push(value()),
            "--pairs" => pairs = value().parse().expect("--pairs needs a number"),
            "--program" => program = Some(PathBuf::from(value())),
            // Cargo passes it to each bench.
            "--bench" => {}
            _ => panic!("unknown argument {arg}"),
        }
    }
    assert!(pairs > 0, "--pairs needs a number above 0");
    let port = free_port();
    let chosen: Vec<_> = comparisons(port, silent_server(), program)
        .into_iter()
        .filter(|c| only.is_empty() || only.iter().any(|name| name == c.name))
        .collect();
    assert!(!chosen.is_empty(), "no comparison is called {only:?}");

    let bench = Bench::new(port);
    println!("no-op jobs, coroutine mode, Redis; {pairs} pairs of {} s each", MEASURED.as_secs());
    let mut slower = Vec::new();
    for comparison in chosen {
        if !bench.shows(&comparison, pairs) {
            slower.push(comparison.name);
        }
    }
    assert!(slower.is_empty(), "below {PROMISED}: {slower:?}");
}

fn comparisons(port: u16, silent: u16, program: Option<PathBuf>) -> Vec<Comparison> {
    let http = format!("[http]\nlisten = \"127.0.0.1:{port}\"\n[http.dashboard]\nenabled = true\n");
    let listener = |watchers| State { tables: http.clone(), watchers, ..State::default() };
    let rules = State { channel: rules(), tables: alerts(""), ..State::default() };
    let mut all = vec![
        Comparison {
            name: "scrapes",
            question: "a scrape each second",
            without: listener(Watchers::None),
            with: listener(Watchers::Scraper),
        },
        Comparison {
            name: "rules",
            question: "twelve built-in and ten more rules with a receiver",
            without: State::default(),
            with: rules.clone(),
        },
        Comparison {
            name: "hanging",
            question: "handlers and receivers that hang, beside rules that fire each second",
            without: rules,
            with: State {
                channel: hanging_handlers(silent),
                tables: alerts(&hanging_receivers(silent)),
                ..State::default()
            },
        },
        Comparison {
            name: "pages",
            question: "64 open pages",
            without: listener(Watchers::None),
            with: listener(Watchers::Pages(64)),
        },
        Comparison {
            name: "more-pages",
            question: "64 open pages in place of one",
            without: listener(Watchers::Pages(1)),
            with: listener(Watchers::Pages(64)),
        },
    ];
    if let Some(program) = program {
        all.push(Comparison {
            name: "program",
            question: "the other program",
            without: State::default(),
            with: State { program: Some(program), ..State::default() },
        });
    }
    all
}

/// Ten rules that are evaluated and never fire.
fn rules() -> String {
    let rule = |n| {
        format!("{{ name = \"own-{n}\", when = \"jobs.waiting > 1000000{n} and wait.p99 > 10m\", for = 60 }}")
    };
    format!("alerts.rule = [{}]\n", (0..10).map(rule).collect::<Vec<_>>().join(", "))
}

fn alerts(receivers: &str) -> String {
    format!(
        "[alerts]\ngroup_wait = 0\ngroup_interval = 1\n[alerts.receivers]\nlog = {{ type = \"log\" }}\n{receivers}"
    )
}

/// Receivers that never answer.
fn hanging_receivers(silent: u16) -> String {
    format!(
        "hook = {{ type = \"webhook\", url = \"http://127.0.0.1:{silent}/x\" }}\n\
         mail = {{ type = \"email\", to = [\"a@example.com\"], from = \"b@example.com\", smtp = \"smtp://127.0.0.1:{silent}?tls=none\" }}\n\
         program = {{ type = \"command\", command = [\"sleep\", \"1000\"] }}\n"
    )
}

/// Handlers of snapshots that never end, a snapshot each second, and a rule that always fires.
fn hanging_handlers(silent: u16) -> String {
    format!(
        "job_snapshot = {{ interval = 1, handler = [{{ type = \"webhook\", url = \"http://127.0.0.1:{silent}/x\" }}, \
         {{ type = \"command\", command = [\"sleep\", \"1000\"] }}, \
         {{ type = \"email\", to = [\"a@example.com\"], from = \"b@example.com\", smtp = \"smtp://127.0.0.1:{silent}?tls=none\" }}] }}\n\
         alerts.rule = [{{ name = \"always\", when = \"workers.max > 0\", resend = 1 }}]\n"
    )
}

/// A server that accepts connections and never says anything; returns its port.
fn silent_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        // Open connections stay open until the end of the bench.
        let _open: Vec<_> = listener.incoming().flatten().collect();
    });
    port
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The server, its backlog, and the port of the listener under test.
struct Bench {
    runtime: tokio::runtime::Runtime,
    server: redis::Server,
    store: RedisStore,
    port: u16,
}

impl Bench {
    fn new(port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // Children have the processor of the thread that starts them.
        use_processor(0);
        let server = redis::Server::start();
        use_processor(1);
        let store = runtime.block_on(RedisStore::connect(&server.config(), CHANNEL)).unwrap();
        Self { runtime, server, store, port }
    }

    /// Measures a comparison and prints it; false if the medians of both figures are below what is promised.
    fn shows(&self, comparison: &Comparison, pairs: usize) -> bool {
        println!("\n{}: {}", comparison.name, comparison.question);
        println!("pair  without/s     with/s  ratio   µs a job      with  ratio");
        let states = [&comparison.without, &comparison.with];
        let (mut rates, mut times) = (Vec::new(), Vec::new());
        for pair in 1..=pairs {
            let mut measured = [Measured::default(); 2];
            // Each state is first in every other pair.
            for of in [pair % 2, (pair + 1) % 2] {
                measured[of] = self.measured(states[of]);
            }
            let [without, with] = measured;
            // The ratios are below 1 where the state with the load is slower.
            let (rate, time) = (with.rate / without.rate, without.micros / with.micros);
            println!(
                "{pair:>4} {:>10.0} {:>10.0} {rate:>6.3}  {:>9.2} {:>9.2} {time:>6.3}",
                without.rate, with.rate, without.micros, with.micros
            );
            rates.push(rate);
            times.push(time);
        }
        let rate = summary(comparison.name, "rate", rates);
        let time = summary(comparison.name, "processor time", times);
        rate.max(time) >= PROMISED
    }

    /// The figures of a master of its own in this state.
    fn measured(&self, state: &State) -> Measured {
        self.runtime.block_on(self.fill());
        let config = self.config(state);
        let program = state.program.clone().unwrap_or_else(|| fixture::BINARY.into());
        let fixture = Fixture::with_binary(program, "aint-queue.toml", &config);
        let master = fixture.listen(&[]);
        let watching = self.watch(state.watchers);
        let measured = self.runtime.block_on(async {
            tokio::time::sleep(SETTLING).await;
            let processes = self.processes(&master);
            let (begun, before) = (Instant::now(), self.store.status().await.unwrap());
            let used = ticks(&processes);
            tokio::time::sleep(MEASURED).await;
            let (took, after) = (begun.elapsed(), self.store.status().await.unwrap());
            let used = ticks(&processes) - used;
            assert!(after.waiting > 0, "the backlog is too small for this machine");
            let jobs = float(after.done - before.done);
            Measured { rate: jobs / took.as_secs_f64(), micros: float(used * MICROS_PER_TICK) / jobs }
        });
        watching.end();
        assert!(master.stop().success());
        measured
    }

    /// The server, the master, its guardian and its workers.
    fn processes(&self, master: &fixture::Master) -> Vec<i32> {
        let server = fixture::with_command(&format!("127.0.0.1:{}", self.server.config().port));
        assert_eq!(server.len(), 1, "the server shows its address");
        [server, vec![master.pid(), master.guardian()], master.workers()].concat()
    }

    fn config(&self, state: &State) -> String {
        let server = self.server.config();
        let (host, port) = (&server.host, server.port);
        format!(
            "[defaults]\npid_path = \"run\"\n\
             driver = {{ type = \"redis\", connection = {{ host = \"{host}\", port = {port} }} }}\n\
             [channels.{CHANNEL}]\nworker = {{ type = \"coroutine\", demo_jobs = true }}\n{}{}",
            state.channel, state.tables
        )
    }

    /// Pushes until the backlog is complete.
    async fn fill(&self) {
        let payload = Payload::parse(format!("{{\"pad\":\"{}\"}}", "x".repeat(90))).unwrap();
        let batch = vec![NewJob::new("noop", payload); MAX_BATCH];
        while self.store.status().await.unwrap().waiting < BACKLOG {
            self.store.push(&batch).await.unwrap();
        }
    }

    fn watch(&self, watchers: Watchers) -> Watching {
        let ended = Arc::new(AtomicBool::new(false));
        let threads = match watchers {
            Watchers::None => Vec::new(),
            Watchers::Scraper => vec![scraper(self.port, Arc::clone(&ended))],
            Watchers::Pages(number) => (0..number).map(|_| page(self.port, Arc::clone(&ended))).collect(),
        };
        Watching { ended, threads }
    }
}

/// Clients of the listener on threads of their own.
struct Watching {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Watching {
    fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
    }
}

/// Asks for the metrics each second.
fn scraper(port: u16, ended: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut next = Instant::now();
        while !ended.load(Ordering::Relaxed) {
            if Instant::now() < next {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            next += Duration::from_secs(1);
            let mut answer = String::new();
            request(port, "/metrics", "close").read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    })
}

/// Reads the events of the channel's page as they come.
fn page(port: u16, ended: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut stream = request(port, &format!("/events?channel={CHANNEL}"), "keep-alive");
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let (mut received, mut buffer) = (0, vec![0; 64 * 1024]);
        while !ended.load(Ordering::Relaxed) {
            received += stream.read(&mut buffer).unwrap_or(0);
        }
        assert!(received > 1_000, "{}", String::from_utf8_lossy(&buffer[..received.min(1_000)]));
    })
}

fn request(port: u16, path: &str, connection: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: {connection}\r\n\r\n")
        .unwrap();
    stream
}

/// The interval that holds the median with a probability of 95 %, by order statistics of sorted values.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "few values"
)]
fn interval(sorted: &[f64]) -> (f64, f64) {
    let n = sorted.len() as f64;
    let outside = ((n - 1.96 * n.sqrt()) / 2.0).floor().max(0.0) as usize;
    (sorted[outside], sorted[sorted.len() - 1 - outside])
}

/// Keeps this thread, and the processes that it starts, on one processor.
fn use_processor(number: usize) {
    let mut taskset = Command::new("taskset");
    taskset.args(["--pid", "--cpu-list", &number.to_string(), &std::process::id().to_string()]);
    let done = taskset.stdout(Stdio::null()).status().expect("taskset of util-linux");
    assert!(done.success(), "the machine has no processor {number}");
}

/// Prints what a comparison of one figure has shown; returns the median.
fn summary(comparison: &str, figure: &str, mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    let median = f64::midpoint(ratios[(ratios.len() - 1) / 2], ratios[ratios.len() / 2]);
    let (low, high) = interval(&ratios);
    println!(
        "{comparison}, {figure}: median ratio {median:.3}, 95 % interval {low:.3} to {high:.3}, promised {PROMISED}"
    );
    median
}

/// The processor time of processes so far, in ticks of [`MICROS_PER_TICK`].
fn ticks(processes: &[i32]) -> u64 {
    let used = processes.iter().filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    used.map(|stat| {
        let fields: Vec<_> = stat[stat.rfind(')').unwrap()..].split(' ').collect();
        // User and system time: fields 14 and 15 of proc_pid_stat(5), of which the first here is 2.
        fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap()
    })
    .sum()
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn float(number: u64) -> f64 {
    number as f64
}
