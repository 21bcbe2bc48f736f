//! The actions of operators, each by its form: rights, origins, results and the log.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use syn::visit::{self, Visit};

use super::{ANN, PUSH, TEAM, failed_job, form, guarded, page, signed_in};
use crate::client::{HttpFixture, Request};
use crate::fixture::until;

/// The routes of the router that take a form.
#[derive(Default)]
struct PostRoutes(BTreeSet<String>);

impl<'a> Visit<'a> for PostRoutes {
    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        visit::visit_expr_method_call(self, call);
        let mut arguments = call.args.iter();
        if call.method != "route" {
            return;
        }
        let (Some(syn::Expr::Lit(path)), Some(handler)) = (arguments.next(), arguments.next()) else {
            return;
        };
        let syn::Lit::Str(path) = &path.lit else { return };
        if takes_form(handler) {
            self.0.insert(path.value());
        }
    }
}

/// Whether a handler is `post(…)`, or has `.post(…)`.
fn takes_form(handler: &syn::Expr) -> bool {
    match handler {
        syn::Expr::Call(call) => matches!(&*call.func, syn::Expr::Path(path) if path.path.is_ident("post")),
        syn::Expr::MethodCall(call) => call.method == "post" || takes_form(&call.receiver),
        _ => false,
    }
}

fn is_paused(served: &HttpFixture) -> bool {
    let status: Value = serde_json::from_str(&served.ok(&["queue:status", "--json"])).unwrap();
    status.as_array().map_or(&status, |channels| &channels[0])["paused"] == true
}

/// The forms of all actions, by the routes of the router.
fn every_action(id: u64) -> Vec<String> {
    let router = syn::parse_file(include_str!("../../../src/dashboard/mod.rs")).unwrap();
    let mut routes = PostRoutes::default();
    routes.visit_file(&router);
    let mut paths = Vec::new();
    for route in routes.0 {
        let actions: &[&str] = match route.as_str() {
            "/channels/{channel}/jobs/{id}/{action}" => &["retry", "remove", "cancel", "kill", "run-now"],
            "/channels/{channel}/workers/{pid}/{action}" => &["end", "kill"],
            "/channels/{channel}/actions/{action}" => {
                &["pause", "resume", "quiet", "scale", "reload", "clear", "push", "silence", "unsilence"]
            }
            "/alerts/test" => &[""],
            "/login" | "/logout" => continue,
            other => panic!("the test does not know {other}"),
        };
        let route =
            route.replace("{channel}", "default").replace("{id}", &id.to_string()).replace("{pid}", "7");
        paths.extend(actions.iter().map(|action| route.replace("{action}", action)));
    }
    assert_eq!(paths.len(), 17, "{paths:?}");
    paths
}

/// An operator in a browser.
struct Operator<'a> {
    served: &'a HttpFixture,
    cookie: String,
}

impl<'a> Operator<'a> {
    fn new(served: &'a HttpFixture) -> Self {
        Self { served, cookie: signed_in(served, ANN) }
    }

    /// The result of an action by its cookie, and the page that follows.
    fn act(&self, path: &str, body: &str) -> (String, String) {
        let reply = self.served.send(&form(path, body).header("Cookie", &self.cookie));
        let cookie = reply.header("set-cookie").unwrap_or_default();
        let result = cookie.strip_prefix("aqn=").and_then(|rest| rest.split(';').next()).unwrap_or_default();
        assert_eq!(reply.status, 303, "{path} {body}: {reply:?}");
        (result.to_owned(), reply.header("location").unwrap_or_default().to_owned())
    }

    fn status(&self, path: &str, body: &str) -> u16 {
        self.served.send(&form(path, body).header("Cookie", &self.cookie)).status
    }

    fn page(&self, path: &str) -> String {
        let reply = self.served.send(&page(path).header("Cookie", &self.cookie));
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        reply.text
    }

    fn push(&self, channel: &str, body: &str) -> u64 {
        let reply = self.served.send(&Request::push(channel, body).token(PUSH));
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()["id"].as_u64().unwrap()
    }
}

/// The fields of the line of an action in the log.
fn logged(served: &HttpFixture, action: &str) -> Value {
    let log = served.master.log();
    let lines = log.lines().filter(|line| line.contains("dashboard action"));
    let mut lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let found = lines.find_map(|line| {
        let fields = line.get("fields").unwrap_or(&line);
        (fields["action"] == action).then(|| fields.clone())
    });
    found.unwrap_or_else(|| panic!("{action} in {log}"))
}

#[test]
fn only_operators_act_and_only_from_a_page_of_the_dashboard() {
    let served = guarded("");
    let id = failed_job(&served, r#"{"final":true}"#);
    let (ann, team) = (signed_in(&served, ANN), signed_in(&served, TEAM));
    for path in every_action(id) {
        let send = |request: Request| served.send(&request).status;
        assert_eq!(send(form(&path, "")), 401, "{path} without a token");
        assert_eq!(send(form(&path, "").header("Cookie", &team)), 403, "{path} by a viewer");
        assert_eq!(send(form(&path, "").token(TEAM)), 403, "{path} by a viewer's token");
        assert_eq!(send(form(&path, "").token(PUSH)), 401, "{path} by a producer's token");
        for site in ["", "cross-site", "same-site", "none"] {
            let request = form(&path, "").header("Cookie", &ann).header("Sec-Fetch-Site", site);
            assert_eq!(send(request), 403, "{path} from {site:?}");
        }
        assert_eq!(send(page(&path).header("Cookie", &ann)), 405, "{path} by a link");
    }
    assert_eq!((served.counts("default").failed, is_paused(&served)), (1, false));
    // A viewer sees no button.
    let shown = served.send(&page(&format!("/channels/default/jobs/{id}")).header("Cookie", &team));
    assert!(shown.status == 200 && !shown.text.contains("/retry"), "{shown:?}");
}

#[test]
fn operator_retries_removes_and_cancels_jobs() {
    let served = guarded("");
    let ann = Operator::new(&served);
    let first = failed_job(&served, r#"{"final":true}"#);
    let path = |id: u64| format!("/channels/default/jobs/{id}");
    assert!(ann.page(&path(first)).contains(&format!("action=\"{}/retry\"", path(first))));
    let retried = ann.act(&format!("{}/retry", path(first)), "");
    assert_eq!(retried, ("retried".to_owned(), path(first)));
    served.until("default", "the job to fail again", |counts| counts.failed == 1 && counts.waiting == 0);
    let removed = ann.act(&format!("{}/remove", path(first)), "");
    assert_eq!(removed, ("removed".to_owned(), "/channels/default/jobs".to_owned()));
    assert_eq!(served.counts("default").failed, 0);
    assert_eq!(ann.act(&format!("{}/remove", path(first)), ""), ("nothing".to_owned(), path(first)));

    let waiting = ann.push("idle", r#"{"job":"noop"}"#);
    assert_eq!(ann.act(&format!("/channels/idle/jobs/{waiting}/cancel"), "").0, "cancelled");
    let running = ann.push("default", r#"{"job":"sleep","payload":{"ms":600000}}"#);
    served.until("default", "the job to run", |counts| counts.reserved == 1);
    assert_eq!(ann.act(&format!("{}/cancel", path(running)), "").0, "cancelled");
    served.until("default", "the job to be cancelled", |counts| counts.failed == 1 && counts.reserved == 0);

    // The next page shows the result once; the address has no part in it.
    let shown = page(&path(running)).header("Cookie", &format!("{}; aqn=cancelled", ann.cookie));
    let shown = served.send(&shown);
    assert!(shown.text.contains("The job was cancelled."), "{shown:?}");
    assert!(shown.header("set-cookie").unwrap().starts_with("aqn=; "), "{shown:?}");
    assert!(!ann.page(&format!("{}?done=cancelled", path(running))).contains("The job was cancelled."));

    // Each action is in the log with its operator.
    let line = logged(&served, "remove");
    assert_eq!((&line["who"], &line["result"]), (&"ann".into(), &"removed".into()), "{line}");
    // A program gets the result itself.
    let request = form(&format!("{}/retry", path(running)), "").header("Accept", "*/*").token(ANN);
    let reply = served.send(&request.header("Sec-Fetch-Site", "")).json();
    assert_eq!(reply, json!({ "result": "retried", "sentence": "The job waits for another run." }));
}

#[test]
fn operator_pauses_and_resumes_a_channel() {
    let served = guarded("");
    let ann = Operator::new(&served);
    let act = |action: &str, body: &str| ann.act(&format!("/channels/default/actions/{action}"), body);
    assert_eq!(act("pause", ""), ("paused".to_owned(), "/channels/default".to_owned()));
    assert!(is_paused(&served));
    let why = "Channel &quot;default&quot; is blocked: the channel is paused until queue:resume";
    until("the sentence on the page", || ann.page("/channels/default").contains(why).then_some(()));
    assert_eq!(act("resume", "").0, "resumed");
    assert!(!is_paused(&served));
    assert_eq!(act("resume", "").0, "nothing");
    assert_eq!(act("quiet", "").0, "quiet");
    until("the state on the page", || {
        let shown = served.send(&page("/api/v1/channels/default").token(TEAM)).json();
        (shown["state"] == "quiet").then_some(())
    });
    assert_eq!(act("resume", "").0, "resumed");
    assert_eq!(act("pause", "seconds=60").0, "paused");
    for wrong in ["seconds=0", "seconds=-1", "seconds=x", "seconds=99999999999"] {
        assert_eq!(ann.status("/channels/default/actions/pause", wrong), 400, "{wrong}");
    }
    assert_eq!(ann.status("/channels/default/actions/explode", ""), 404);
}

#[test]
fn killed_job_leaves_no_process_behind() {
    let pool = "[channels.default.worker]\ntype = \"process-pool\"\nmax_worker_number = 2";
    let served = guarded_with(pool);
    let ann = Operator::new(&served);
    let id = ann.push("default", r#"{"job":"hang","payload":{"ms":600000}}"#);
    served.until("default", "the job to run", |counts| counts.reserved == 1);
    let path = format!("/channels/default/jobs/{id}");
    let worker = until("the worker of the job", || {
        let shown = ann.page(&path);
        let link = shown.split("href=\"/channels/default/workers/").nth(1)?;
        link.split('"').next()?.parse::<i32>().ok()
    });
    // The page of the worker has its job and its process.
    let shown = ann.page(&format!("/channels/default/workers/{worker}"));
    assert!(shown.contains(&format!("{path}\"")) && shown.contains(&format!(">{worker}</td>")), "{shown}");
    assert_eq!(ann.act(&format!("{path}/kill"), ""), ("killed.1.0".to_owned(), path.clone()));
    served.until("default", "the job to be failed", |counts| counts.failed == 1 && counts.reserved == 0);
    assert!(!std::path::Path::new(&format!("/proc/{worker}")).exists());
    let line = logged(&served, "kill");
    assert_eq!(
        (&line["who"], &line["subject"], &line["result"]),
        (&"ann".into(), &id.to_string().into(), &"killed.1.0".into())
    );
    assert_eq!(ann.act(&format!("{path}/kill"), "").0, "nothing", "it has failed");

    // The jobs of a killed worker run again, uncounted.
    let id = ann.push("default", r#"{"job":"sleep","payload":{"ms":600000}}"#);
    let running = || {
        let runs = served.json(&["queue:running"]);
        let run = runs.as_array()?.iter().find(|run| run["id"] == id)?.clone();
        Some((run["worker_pid"].as_i64()?, run["attempt"].clone()))
    };
    let (first, attempt) = until("the worker of the job", running);
    assert_eq!(ann.act(&format!("/channels/default/workers/{first}/kill"), "").0, "worker-killed.1.0");
    let (_, again) = until("another worker", || running().filter(|(worker, _)| *worker != first));
    assert_eq!(attempt, again);
    assert_eq!(ann.status("/channels/default/workers/1/kill", ""), 404);
    assert_eq!(ann.status("/channels/default/workers/x/kill", ""), 404);
    assert_eq!(ann.status("/channels/idle/workers/1/kill", ""), 409, "not served here");
    until("the kills among the activities", || {
        let activity = ann.page("/activity?channel=default");
        let has = |expected: &str| activity.contains(expected);
        (has("kill-worker") && has("killed by an operator") && has(">ann<")).then_some(())
    });
}

#[test]
fn program_is_shown_with_its_children_and_killed_with_them() {
    let program = r#"["sh", "-c", "echo '<i>printed'; sleep 600 & wait", "<script>alert(1)</script>"]"#;
    let served = guarded_with(&format!(
        "[channels.default.worker]\ntype = \"process\"\nprotocol = \"exec\"\nmax_execute_seconds = 600\ncommand = {program}"
    ));
    let ann = Operator::new(&served);
    let id = ann.push("default", r#"{"job":"any"}"#);
    let path = format!("/channels/default/jobs/{id}");
    let worker = until("the worker of the job", || {
        let shown = ann.page(&path);
        let link = shown.split("href=\"/channels/default/workers/").nth(1)?;
        link.split('"').next()?.parse::<i32>().ok()
    });
    let shown = until("the child and the output", || {
        let shown = ann.page(&format!("/channels/default/workers/{worker}"));
        (shown.contains("└ ") && shown.contains("&lt;i&gt;printed")).then_some(shown)
    });
    for expected in ["sleep 600", "&lt;script&gt;alert(1)"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(!shown.contains("<script>alert") && !shown.contains("<i>printed"), "{shown}");
    let (result, _) = ann.act(&format!("{path}/kill"), "");
    let ended: u32 = result.strip_prefix("killed.").unwrap().strip_suffix(".0").unwrap().parse().unwrap();
    assert!(ended >= 2, "{result}");
    served.until("default", "the job to be failed", |counts| counts.failed == 1 && counts.reserved == 0);
}

#[test]
fn delayed_job_runs_now_and_a_pushed_one_waits() {
    let served = guarded("");
    let ann = Operator::new(&served);
    let id = ann.push("idle", r#"{"job":"noop","delay":"1h"}"#);
    let path = format!("/channels/idle/jobs/{id}");
    assert_eq!(ann.act(&format!("{path}/run-now"), ""), ("runs-now".to_owned(), path.clone()));
    assert_eq!((served.counts("idle").waiting, served.counts("idle").delayed), (1, 0));
    assert_eq!(ann.act(&format!("{path}/run-now"), "").0, "nothing");

    let push = |body: &str| ann.act("/channels/idle/actions/push", body).0;
    let pushed = push("job=noop&payload=%7B%22n%22%3A+7%7D&delay=1h&priority=high");
    let id: u64 = pushed.strip_prefix("pushed.").unwrap().split('.').next().unwrap().parse().unwrap();
    let shown = served.json(&["queue:show", &id.to_string(), "--channel", "idle"]);
    assert_eq!(
        (&shown["payload"], &shown["priority"], &shown["state"]),
        (&json!({"n": 7}), &"high".into(), &"delayed".into())
    );
    for wrong in
        ["", "job=noop&payload=%7B", "job=&payload=1", "job=noop&delay=soon", "job=noop&priority=urgent"]
    {
        assert_eq!(ann.status("/channels/idle/actions/push", wrong), 400, "{wrong}");
    }
    assert_eq!(served.counts("idle").delayed, 1);
    assert_eq!(logged(&served, "push")["subject"], "noop");
}

#[test]
fn clear_needs_the_name_and_the_seen_numbers() {
    let served = guarded("");
    let ann = Operator::new(&served);
    for _ in 0..3 {
        ann.push("idle", r#"{"job":"noop"}"#);
    }
    ann.push("idle", r#"{"job":"noop","delay":"1h"}"#);
    let clear = "/channels/idle/actions/clear";
    let shown = until("the counts in the form", || {
        let shown = ann.page("/channels/idle");
        shown.contains("name=\"seen_waiting\" value=\"3\"").then_some(shown)
    });
    assert!(shown.contains("name=\"seen_delayed\" value=\"1\""), "{shown}");
    for wrong in [
        "waiting=1&seen_waiting=3",
        "waiting=1&seen_waiting=3&confirm=default",
        "waiting=1&seen_waiting=3&confirm=IDLE",
        "seen_waiting=3&confirm=idle",
        "waiting=1&confirm=idle",
        "waiting=1&delayed=1&seen_waiting=3&confirm=idle",
    ] {
        assert_eq!(ann.status(clear, wrong), 400, "{wrong}");
    }
    assert_eq!(ann.status(clear, "waiting=1&seen_waiting=2&confirm=idle"), 409, "more jobs than were seen");
    assert_eq!(served.counts("idle").total, 4);
    assert_eq!(ann.act(clear, "waiting=1&seen_waiting=3&confirm=idle").0, "cleared.3.0");
    assert_eq!((served.counts("idle").waiting, served.counts("idle").delayed), (0, 1));
    assert_eq!(logged(&served, "clear")["subject"], "waiting");
}

#[test]
fn operator_scales_and_reloads_a_channel() {
    let pool =
        "[channels.default.worker]\ntype = \"process-pool\"\nmin_worker_number = 1\nmax_worker_number = 4";
    let served = guarded_with(pool);
    let ann = Operator::new(&served);
    let scale = "/channels/default/actions/scale";
    assert_eq!(ann.act(scale, "workers=%3D3").0, "scaled.3.0");
    until("three workers", || {
        let shown = served.send(&page("/api/v1/channels/default").token(TEAM)).json();
        (shown["workers"]["serving"] == 3).then_some(())
    });
    assert_eq!(ann.act(scale, "workers=-1").0, "scaled.2.0");
    for wrong in ["", "workers=", "workers=many", "workers=%2B-1"] {
        assert_eq!(ann.status(scale, wrong), 400, "{wrong}");
    }
    assert_eq!(ann.status("/channels/idle/actions/scale", "workers=1"), 409, "not served here");
    let (result, _) = ann.act("/channels/default/actions/reload", "");
    assert!(result == "reloaded.2.0" || result == "under-way", "{result}");
    until("the reload among the activities", || ann.page("/activity").contains("generation 2").then_some(()));
    served.write("aint-queue.toml", "[channels.default]\nno_such_key = 1\n");
    let wrong = served.send(&form("/channels/default/actions/reload", "").header("Cookie", &ann.cookie));
    assert!(wrong.status == 409 && wrong.text.contains("no_such_key"), "{wrong:?}");
}

/// A dashboard with tokens, and a table for the channel that its master serves.
fn guarded_with(worker: &str) -> HttpFixture {
    HttpFixture::of(&format!(
        "{worker}\n[channels.idle]\n[http]\nlisten = \"127.0.0.1:0\"\ntoken = \"{PUSH}\"\n[http.dashboard]\nenabled = true\n\
         viewers = {{ team = \"{TEAM}\" }}\noperators = {{ ann = \"{ANN}\" }}\n"
    ))
}
