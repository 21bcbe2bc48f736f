//! Readings of another machine: the JSON API of its dashboard.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::collector::Collect;
use super::local::clock;
use super::reading::{
    ChannelReading, ChannelsAnswer, Chosen, JobList, OpenText, Reading, SeriesAnswer, Wanted,
};
use crate::cli::{CommandContext, Exit, Failure};
use crate::pool::{RunStatus, RunningJob, WorkerStatus};
use crate::webhook::connector::{AddressRule, Connector, Target};

/// Longest time for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer: the samples of a channel have about a megabyte.
const MAX_ANSWER: usize = 8 << 20;
/// Time after which an idle connection is not used again.
const IDLE_TIMEOUT: Duration = Duration::from_secs(8);
const DOING: &str = "read the dashboard";

/// Reads the channels of a dashboard.
pub(super) struct Remote {
    context: CommandContext,
    client: Client<Connector, Full<Bytes>>,
    /// The address without a slash at its end.
    base: String,
    token: Option<HeaderValue>,
    last: Reading,
}

impl Remote {
    pub(super) fn new(context: CommandContext, url: &str, token: Option<&str>) -> Result<Self, Failure> {
        let wrong = |why: String| {
            Failure::new(Exit::Usage, DOING)
                .because(why)
                .hint("--remote takes the address of a dashboard, such as https://queue.example.com")
        };
        let base = url.trim_end_matches('/').to_owned();
        let uri: Uri = base.parse().map_err(|_| wrong(format!("\"{url}\" is no address")))?;
        let (Some(scheme @ ("http" | "https")), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(wrong(format!("\"{url}\" is no address of http or https")));
        };
        if uri.query().is_some() {
            return Err(wrong(format!("\"{url}\" has a query")));
        }
        let target = Target {
            host,
            is_https: scheme == "https",
            allow_http: true,
            addresses: AddressRule::Any,
            ca_file: None,
            keys: "--remote ",
        };
        let connector = Connector::new(&target).map_err(|error| wrong(error.to_string()))?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        let bearer = |token: &str| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        let token = match token {
            Some(token) => {
                Some(bearer(token).ok_or_else(|| wrong("the token has signs that no token has".to_owned()))?)
            }
            None => None,
        };
        let source = uri.authority().map_or_else(|| base.clone(), ToString::to_string);
        Ok(Self { context, client, base, token, last: Reading { source, ..Reading::default() } })
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        self.context.block_on(async {
            timeout(ANSWER_TIMEOUT, self.fetch(path))
                .await
                .unwrap_or_else(|_| Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())))
        })
    }

    async fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let mut request = Request::get(format!("{}{path}", self.base)).header(ACCEPT, "application/json");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::default()).map_err(|error| error.to_string())?;
        let response = self.client.request(request).await.map_err(|error| crate::job::error_chain(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        match status {
            StatusCode::OK => {
                serde_json::from_slice(&body).map_err(|_| "the answer is not that of a dashboard".to_owned())
            }
            StatusCode::UNAUTHORIZED => {
                Err("the dashboard wants a token: --token, or AINT_QUEUE_TOKEN".to_owned())
            }
            status => {
                let said: Option<Value> = serde_json::from_slice(&body).ok();
                let said = said.and_then(|said| said["error"].as_str().map(str::to_owned));
                Err(said.map_or_else(|| status.to_string(), |said| format!("{status}: {said}")))
            }
        }
    }

    fn chosen(&self, name: &str, wanted: &Wanted) -> Result<Chosen, String> {
        let channel: ChannelReading = self.get(&format!("/api/v1/channels/{name}"))?;
        let series: SeriesAnswer = self.get(&format!("/api/v1/channels/{name}/series?range=1h"))?;
        let rows = channel.status.iter().flat_map(|status| &status.pool.rows);
        let mut runs: Vec<_> = rows.filter_map(run_of).collect();
        runs.sort_by_key(|run| std::cmp::Reverse(run.run.ms));
        let why = channel.status.as_ref().map_or_else(
            || "The token of a viewer shows workers and running jobs.".to_owned(),
            |status| status.pool.why.clone(),
        );
        let note = match wanted.pane.is_stored() {
            true => "Lists of jobs are on the machine of the master, and on its pages.".to_owned(),
            false => String::new(),
        };
        let text = wanted.text.map(|text| OpenText {
            wanted: text,
            lines: vec![format!("{}/channels/{name}/jobs/{}", self.base, text.job)],
        });
        Ok(Chosen {
            channel,
            points: series.points,
            scaled: series.scaled,
            runs,
            why,
            jobs: JobList { pane: wanted.pane, note, ..JobList::default() },
            text,
        })
    }
}

/// The run in a worker, as far as the row of the worker has it.
fn run_of(worker: &WorkerStatus) -> Option<RunningJob> {
    let job = worker.job.as_ref()?;
    let run = RunStatus {
        pid: worker.pid,
        booting: false,
        ms: job.age_ms,
        limit_ms: None,
        progress: job.progress,
        ending: None,
        stuck: worker.stuck > 0,
        attempt: None,
    };
    Some(RunningJob { id: job.id, job: job.name.clone(), memory: worker.memory, run })
}

impl Collect for Remote {
    fn read(&mut self, wanted: &Wanted) -> Reading {
        let read = || -> Result<Reading, String> {
            let answer: ChannelsAnswer = self.get("/api/v1/channels")?;
            let mut reading = Reading {
                at: answer.as_of,
                clock: clock(answer.as_of),
                source: self.last.source.clone(),
                channels: answer.channels,
                ..Reading::default()
            };
            let name = match wanted.channel.as_str() {
                "" => reading.first_choice().to_owned(),
                name => name.to_owned(),
            };
            if reading.channel(&name).is_some() {
                reading.chosen = Some(self.chosen(&name, wanted)?);
            }
            Ok(reading)
        };
        match read() {
            Ok(reading) => self.last = reading,
            // The last values stay, with the reason.
            Err(error) => self.last.error = Some(error),
        }
        self.last.clone()
    }

    fn json(&mut self) -> Result<Value, Failure> {
        self.get("/api/v1/channels").map_err(|why| Failure::new(Exit::Failed, DOING).because(why))
    }
}
