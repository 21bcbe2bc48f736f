//! The dashboard of a real master: visitors, their rights, and the figures of pages. How pages look and behave in a browser is
//! tested in `tests/dashboard`.

mod actions;
mod alerts;
mod jobs;
mod pages;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::client::{HttpFixture, HttpResponse, Request, address, connect};
use crate::fixture::{Fixture, SQLITE, text, until};

const ANN: &str = "a-token-of-ann-0123456789";
const TEAM: &str = "a-token-of-the-team-0123456789";
const PUSH: &str = "a-token-of-producers-0123456789";
const OPEN: &str = "[http.dashboard]\nenabled = true\ntitle = \"prod-1\"";

/// A dashboard that needs a token.
fn guarded(http: &str) -> HttpFixture {
    HttpFixture::with(&format!(
        "token = \"{PUSH}\"\n{http}\n{OPEN}\nviewers = {{ team = \"{TEAM}\" }}\noperators = {{ ann = \"{ANN}\" }}"
    ))
}

/// The opening of a page in a browser.
fn page(path: &str) -> Request {
    Request::new("GET", path, "").header("Content-Type", "").header("Accept", "text/html,*/*;q=0.8")
}

fn form(path: &str, body: &str) -> Request {
    Request::new("POST", path, body)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Accept", "text/html,*/*;q=0.8")
        .header("Sec-Fetch-Site", "same-origin")
}

/// The cookie of a new session.
fn signed_in(served: &HttpFixture, token: &str) -> String {
    let reply = served.send(&form("/login", &format!("token={token}&next=%2F")));
    assert_eq!((reply.status, reply.header("location")), (303, Some("/")), "{reply:?}");
    let cookie = reply.header("set-cookie").unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

fn shows_form(reply: &HttpResponse) -> bool {
    reply.text.contains("name=\"token\"")
}

#[test]
fn dashboard_is_off_by_default() {
    let served = HttpFixture::with("");
    for path in ["/", "/channels/default", "/login", "/events", "/api/v1/channels", "/assets/app.js"] {
        assert!(served.send(&page(path)).refused(404).contains("POST /channels/{name}/jobs"), "{path}");
    }
}

#[test]
fn visitor_of_loopback_without_tokens_sees_names_and_counts() {
    let served = HttpFixture::with(OPEN);
    served.push("idle", r#"{"job":"noop","payload":{"password":"hunter2"}}"#);
    // The master asks the store of a channel that it does not serve every five seconds.
    until("the waiting job on the page", || served.send(&page("/")).text.contains(">1</td>").then_some(()));
    let overview = served.send(&page("/"));
    assert_eq!((overview.status, overview.header("content-type")), (200, Some("text/html; charset=utf-8")));
    for shown in ["prod-1", "href=\"/channels/default\"", "no master"] {
        assert!(overview.text.contains(shown), "{shown}: {}", overview.text);
    }
    let channel = served.send(&page("/channels/default?range=1h"));
    assert_eq!(channel.status, 200);
    for shown in ["Is the backlog growing?", "<svg class=\"chart\"", "aria-current=\"true\">1h<"] {
        assert!(channel.text.contains(shown), "{shown}: {}", channel.text);
    }
    assert!(!served.send(&page("/channels/idle")).text.contains("hunter2"));
    let chinese = served.send(&page("/?lang=zh-CN"));
    assert!(chinese.text.contains("<html lang=\"zh-CN\">") && chinese.text.contains("无主进程"));
    assert!(chinese.header("set-cookie").unwrap().starts_with("aql=zh-CN;"));
}

#[test]
fn every_response_tells_browsers_what_they_may_do() {
    let served = guarded("");
    for path in
        ["/", "/login", "/nowhere", "/channels/default", "/assets/app.css", "/api/v1/channels", "/events"]
    {
        let reply = served.send(&page(path));
        let policy = reply.header("content-security-policy").unwrap_or_else(|| panic!("{path}"));
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "trusted-types aq"]
        {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(reply.header("referrer-policy"), Some("same-origin"), "{path}");
        let cache = reply.header("cache-control").unwrap();
        assert_eq!(cache == "no-store", path != "/assets/app.css", "{path}: {cache}");
        assert!(!reply.text.contains(" style=") && !reply.text.contains("<style"), "{path}");
        assert!(!reply.text.contains("onclick") && !reply.text.contains("<script>"), "{path}");
    }
}

#[test]
fn token_opens_pages_as_bearer_and_by_the_form() {
    let served = guarded("");
    for path in ["/", "/channels/default", "/channels/nowhere"] {
        let reply = served.send(&page(path));
        assert!(reply.status == 401 && shows_form(&reply), "{path}: {reply:?}");
        assert!(!reply.text.contains("no master") && !reply.text.contains("declared"), "{path}");
    }
    for path in ["/api/v1/channels", "/api/v1/channels/default/series", "/events"] {
        let reply = served.send(&page(path).header("Accept", "application/json"));
        assert!(reply.refused(401).contains("[http.dashboard]"), "{path}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    }
    for (token, status) in [(ANN, 200), (TEAM, 200), (PUSH, 401), ("", 401), (&ANN[1..], 401)] {
        let reply =
            served.send(&page("/api/v1/channels").header("Authorization", &format!("Bearer {token}")));
        assert_eq!(reply.status, status, "{token}");
    }
    let reply =
        served.send(&form("/login", &format!("token={TEAM}&next=%2Fchannels%2Fdefault%3Frange%3D1h")));
    assert_eq!((reply.status, reply.header("location")), (303, Some("/channels/default?range=1h")));
    let cookie = reply.header("set-cookie").unwrap();
    for part in ["aqs=v1.v.", "HttpOnly", "SameSite=Strict", "Path=/;", "Max-Age=43200"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "people reach it by http: {cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let opened = served.send(&page("/").header("Cookie", cookie));
    assert!(opened.status == 200 && opened.text.contains(">team<"), "{opened:?}");
    let changed = cookie.replacen("v1.v.", "v1.o.", 1);
    assert_eq!(served.send(&page("/").header("Cookie", &changed)).status, 401);
    // The new address never leads to another site.
    for next in [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/%09/evil.example",
        "/%00",
    ] {
        let reply = served.send(&form("/login", &format!("token={TEAM}&next={next}")));
        assert_eq!(reply.header("location"), Some("/"), "{next}");
    }
    let wrong = served.send(&form("/login", "token=wrong"));
    assert!(wrong.status == 401 && wrong.text.contains("No viewer or operator has this token"), "{wrong:?}");
    let ended = served.send(&form("/logout", "").header("Cookie", cookie));
    assert!(ended.status == 303 && ended.header("set-cookie").unwrap().contains("Max-Age=0"), "{ended:?}");
    for secret in [ANN, TEAM, cookie] {
        assert!(!served.master.log().contains(secret));
    }
}

#[test]
fn cookie_never_pushes() {
    let served = guarded("");
    let cookie = signed_in(&served, ANN);
    let push = Request::push("idle", r#"{"job":"noop"}"#).header("Cookie", &cookie);
    assert_eq!(served.send(&push).status, 401);
    assert_eq!(
        served.send(&push.clone().token(ANN)).status,
        401,
        "the token of a person is none of a producer"
    );
    assert_eq!(served.send(&push.token(PUSH)).status, 201);
}

#[test]
fn change_that_another_site_asks_for_is_refused() {
    let served = guarded("");
    let cookie = signed_in(&served, ANN);
    for path in ["/login", "/logout"] {
        let plain = form(path, "token=x").header("Cookie", &cookie).header("Sec-Fetch-Site", "");
        for (what, request) in [
            ("without any sign of a browser", plain.clone()),
            ("from another site", plain.clone().header("Sec-Fetch-Site", "cross-site")),
            ("from a sibling of the site", plain.clone().header("Sec-Fetch-Site", "same-site")),
            ("typed by hand", plain.clone().header("Sec-Fetch-Site", "none")),
            ("with another origin", plain.clone().header("Origin", "https://evil.example")),
            ("with an opaque origin", plain.clone().header("Origin", "null")),
        ] {
            let reply = served.send(&request);
            assert_eq!(reply.status, 403, "{path} {what}: {reply:?}");
            assert_eq!(reply.header("set-cookie"), None, "{path} {what}");
        }
    }
    let own_origin = form("/logout", "").header("Sec-Fetch-Site", "").header("Origin", "http://127.0.0.1");
    assert_eq!(served.send(&own_origin).status, 303);
}

#[test]
fn link_from_a_chat_opens_the_page() {
    let served = guarded("");
    let linked = |path: &str| {
        page(path)
            .header("Sec-Fetch-Site", "cross-site")
            .header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-Dest", "document")
    };
    // The browser keeps a strict cookie back, so the page opens itself again, which sends the cookie.
    let first = served.send(&linked("/channels/default"));
    assert_eq!(first.status, 200);
    assert!(first.text.contains("http-equiv=\"refresh\" content=\"0\"") && !shows_form(&first), "{first:?}");
    let again = page("/channels/default").header("Sec-Fetch-Site", "same-origin");
    assert!(shows_form(&served.send(&again)), "a visitor without a session signs in");
    // Where visitors without a token see something, the page of a link opens signed in, too.
    let mixed =
        HttpFixture::with(&format!("{OPEN}\nanonymous = \"viewer\"\noperators = {{ ann = \"{ANN}\" }}"));
    assert!(mixed.send(&linked("/")).text.contains("http-equiv=\"refresh\""));
    assert_eq!(mixed.send(&page("/").header("Sec-Fetch-Site", "same-origin")).status, 200);
    let cookie = signed_in(&served, TEAM);
    assert!(served.send(&again.header("Cookie", &cookie)).text.contains("Is the backlog growing?"));
    // Anything but the opening of a page stays refused.
    for request in [
        linked("/").header("Sec-Fetch-Mode", "no-cors"),
        linked("/").header("Sec-Fetch-Dest", "iframe"),
        Request { method: "POST", ..linked("/login") },
        linked("/events"),
    ] {
        assert_eq!(served.send(&request.header("Cookie", &cookie)).status, 403);
    }
}

#[test]
fn proxy_needs_a_token() {
    let open = HttpFixture::with(OPEN);
    for header in
        ["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP"]
    {
        for path in ["/", "/channels/default", "/api/v1/channels", "/events"] {
            let reply = open.send(&page(path).header(header, "10.0.0.7"));
            assert!(reply.status == 403 && reply.text.contains("proxy"), "{header} {path}: {reply:?}");
            assert!(!reply.text.contains("idle"), "{reply:?}");
        }
    }
    for header in ["Forwarded", "X-Forwarded-For"] {
        let push = Request::push("idle", r#"{"job":"noop"}"#).header(header, "10.0.0.7");
        assert!(open.send(&push).refused(403).contains("set token in [http]"));
    }
    assert_eq!(open.counts("idle").total, 0);
    let mixed =
        HttpFixture::with(&format!("{OPEN}\nanonymous = \"viewer\"\nviewers = {{ team = \"{TEAM}\" }}"));
    assert_eq!(mixed.send(&page("/")).status, 200);
    assert!(shows_form(&mixed.send(&page("/").header("X-Forwarded-For", "10.0.0.7"))));
    let proxied = page("/").header("X-Forwarded-For", "10.0.0.7").token(TEAM);
    assert_eq!(mixed.send(&proxied).status, 200);
    // The basic authentication of a proxy is no token of ours.
    let basic = page("/").header("Authorization", "Basic YW5uOnB3");
    assert_eq!((0..8).map(|_| mixed.send(&basic).status).max(), Some(200));
}

#[test]
fn host_of_the_public_url_is_that_of_a_proxy() {
    let named = HttpFixture::with(&format!(
        "public_url = \"https://queue.example.com:8443\"\n{OPEN}\nanonymous = \"viewer\"\nviewers = {{ team = \"{TEAM}\" }}"
    ));
    let there = |request: Request| named.send(&request.header("Host", "queue.example.com:8443"));
    assert_eq!(named.send(&page("/")).status, 200);
    assert!(shows_form(&there(page("/"))));
    assert_eq!(there(Request::push("idle", r#"{"job":"noop"}"#)).status, 403);
    // The form of the page has the origin that people use, whatever host the proxy names.
    let form = form("/login", &format!("token={TEAM}")).header("Origin", "https://queue.example.com:8443");
    assert_eq!(named.send(&form).status, 303);
    assert_eq!(named.send(&form.header("Origin", "http://queue.example.com:8443")).status, 403);
}

#[test]
fn pages_are_below_the_path_of_their_public_url() {
    let served = guarded("public_url = \"https://example.com/queue\"");
    let reply = served.send(&form("/queue/login", &format!("token={TEAM}&next=%2Fchannels%2Fdefault")));
    assert_eq!(reply.header("location"), Some("/queue/channels/default"), "{reply:?}");
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.contains("Path=/queue/;") && cookie.ends_with("; Secure"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    // A proxy passes the path on, or removes it, and has the host of the public URL or its own.
    for (path, host) in
        [("/queue/", "example.com"), ("/", "127.0.0.1"), ("/queue/channels/default", "example.com")]
    {
        let reply = served.send(&page(path).header("Host", host).header("Cookie", cookie));
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        for link in ["href=\"/queue/assets/app.css", "href=\"/queue/\"", "data-base=\"/queue\""] {
            assert!(reply.text.contains(link), "{path} {link}: {}", reply.text);
        }
    }
    assert_eq!(served.send(&page("/queue/").header("Host", "evil.example")).status, 421);
}

#[test]
fn hostile_addresses_appear_as_text() {
    let served = HttpFixture::with(OPEN);
    let hostile = [
        "%3Cscript%3Ealert(1)%3C/script%3E",
        "%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E",
        "javascript:alert(1)",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "%ff%fe",
        "{{7*7}}",
        "%E2%80%AEgnp",
    ];
    for text in hostile {
        for path in [
            format!("/channels/{text}"),
            format!("/{text}"),
            format!("/channels/default?range={text}"),
            format!("/?lang={text}&x=%22%3E{text}"),
            format!("/assets/{text}"),
            format!("/events?channel={text}"),
            format!("/activity?channel={text}"),
            format!("/activity?from={text}"),
            format!("/report?range={text}&channel={text}"),
            format!("/channels/default/workers/{text}"),
            format!("/channels/default/jobs/{text}"),
            format!("/api/v1/channels/{text}"),
            format!("/api/v1/channels/default/series?range={text}"),
        ] {
            let reply = served.send(&page(&path));
            assert!(reply.status < 500, "{path}: {reply:?}");
            for wrong in ["<script>alert", "<img src=x"] {
                assert!(!reply.text.contains(wrong), "{path}: {}", reply.text);
            }
        }
    }
}

/// The next event of a stream: its name and its data.
fn event(stream: &mut BufReader<TcpStream>) -> (String, String) {
    let (mut name, mut data) = (String::new(), String::new());
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ended");
        if let Some(found) = line.strip_prefix("event: ") {
            name = found.trim_end().to_owned();
        } else if let Some(found) = line.strip_prefix("data: ") {
            data = found.trim_end().to_owned();
        } else if line.trim().is_empty() && !data.is_empty() {
            return (name, data);
        }
    }
}

fn stream(served: &HttpFixture, path: &str) -> BufReader<TcpStream> {
    let mut stream = connect(served.address).unwrap();
    stream.write_all(page(path).head().as_bytes()).unwrap();
    BufReader::new(stream)
}

#[test]
fn stream_has_the_figures_of_its_page_until_the_master_stops() {
    let served = HttpFixture::with(OPEN);
    let mut overview = stream(&served, "/events?channel=*");
    let mut channel = stream(&served, "/events?channel=default");
    served.push("default", r#"{"job":"noop"}"#);
    until("the figures of the done job", || {
        let (name, data) = event(&mut channel);
        let tick: Value = serde_json::from_str(&data).unwrap();
        (name == "tick" && tick["figures"]["default.done"] == "1").then_some(())
    });
    let (_, data) = event(&mut overview);
    assert!(data.len() < 2 << 10, "{data}");
    let tick: Value = serde_json::from_str(&data).unwrap();
    assert!(tick["figures"]["*.waiting"].is_string() && tick["states"]["default"] == "idle", "{tick}");
    served.master.signal(Signal::SIGTERM);
    until("the end of the stream", || (event(&mut channel).0 == "bye").then_some(()));
}

#[test]
fn streams_leave_pushes_and_pages_their_places() {
    let served = HttpFixture::with(OPEN);
    let mut streams: Vec<_> = (0..64).map(|_| stream(&served, "/events?channel=*")).collect();
    for stream in &mut streams {
        event(stream);
    }
    let refused = served.send(&page("/events?channel=*").header("Accept", "text/event-stream"));
    assert!(refused.refused(503).contains("Too many pages"), "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(served.push("default", r#"{"job":"noop"}"#).status, 201);
    assert_eq!(served.send(&page("/")).status, 200);
    assert_eq!(served.send(&page("/healthz")).status, 200);
    drop(streams);
    until("a free place for a stream", || {
        let mut stream = connect(served.address).unwrap();
        stream.write_all(page("/events?channel=*").head().as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line.contains("200").then_some(())
    });
}

#[test]
fn numbers_of_page_api_status_and_metrics_are_equal_at_rest() {
    let served = HttpFixture::with(OPEN);
    for _ in 0..3 {
        served.push("default", r#"{"job":"noop"}"#);
    }
    served.push("default", r#"{"job":"fail","payload":{"final":true}}"#);
    served.push("default", r#"{"job":"noop","delay":"1h"}"#);
    served.until("default", "the jobs to end", |counts| counts.done == 3 && counts.failed == 1);
    let api = until("a picture with all jobs", || {
        let channel = served.send(&page("/api/v1/channels/default")).json();
        (channel["counts"]["done"] == 3).then_some(channel)
    });
    let status: Value = serde_json::from_str(&served.ok(&["queue:status", "--json"])).unwrap();
    let status = status.as_array().map_or(&status, |channels| &channels[0]);
    let metrics = served.send(&page("/metrics")).text;
    let shown = served.send(&page("/channels/default")).text;
    for (key, expected) in [("waiting", 0), ("delayed", 1), ("reserved", 0), ("failed", 1), ("done", 3)] {
        assert_eq!(api["counts"][key], expected, "API {key}");
        assert_eq!(status[key], expected, "status {key}: {status}");
        assert!(shown.contains(&format!("data-k=\"default.{key}\">{expected}</dd>")), "page {key}");
        if key != "done" {
            let sample = format!("aint_queue_jobs{{channel=\"default\",state=\"{key}\"}} {expected}\n");
            assert!(metrics.contains(&sample), "{sample}: {metrics}");
        }
    }
}

#[test]
fn description_of_the_api_names_every_path() {
    let served = HttpFixture::with(OPEN);
    let description = served.send(&page("/api/v1/openapi.json")).json();
    assert_eq!(description["openapi"], "3.1.0");
    let paths = description["paths"].as_object().unwrap();
    for (path, methods) in paths {
        assert_eq!(methods.as_object().unwrap().keys().collect::<Vec<_>>(), ["get"], "{path}");
        let reply = served.send(&page(&path.replace("{channel}", "default")));
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
    }
    let router = include_str!("../../../src/dashboard/mod.rs");
    let routes = router.lines().filter_map(|line| line.trim().strip_prefix(".route(\"/api/"));
    let routes: Vec<_> = routes.map(|rest| format!("/api/{}", rest.split('"').next().unwrap())).collect();
    assert_eq!(routes.iter().collect::<std::collections::BTreeSet<_>>(), paths.keys().collect());
}

#[test]
fn errors_are_for_visitors_with_a_token() {
    let broken = "[channels.default.worker]\ntype = \"process-pool\"\ncommand = [\"sh\", \"-c\", \"echo hunter2 >&2; exit 9\"]";
    let config = format!(
        "{broken}\n[http]\nlisten = \"127.0.0.1:0\"\n{OPEN}\nanonymous = \"viewer\"\nviewers = {{ team = \"{TEAM}\" }}\n"
    );
    let fixture = Fixture::new(SQLITE, &config);
    let master = fixture.listen(&[]);
    let address = address(&master);
    for path in ["/channels/default", "/api/v1/channels/default"] {
        until("the error of the worker", || {
            page(path).token(TEAM).send(address).text.contains("exited with 9").then_some(())
        });
        let anonymous = page(path).send(address);
        assert_eq!(anonymous.status, 200);
        assert!(
            !anonymous.text.contains("exited with 9") && !anonymous.text.contains("hunter2"),
            "{anonymous:?}"
        );
    }
}

#[test]
fn other_users_of_the_machine_see_what_anonymous_visitors_see() {
    let served = HttpFixture::with(OPEN);
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let url = format!("http://{}/api/v1/channels", served.address);
    let curl = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "curl", "-s", &url])
        .output()
        .unwrap();
    let shown: Value =
        serde_json::from_str(&text(&curl.stdout)).unwrap_or_else(|error| panic!("{error}: {curl:?}"));
    assert_eq!(shown["channels"][0]["name"], "default");
}

/// The id of a job that has failed for good.
fn failed_job(served: &HttpFixture, payload: &str) -> u64 {
    let body =
        format!(r#"{{"job":"fail","payload":{payload},"headers":{{"x-token":"h1","tenant":"acme"}}}}"#);
    let before = served.counts("default").failed;
    let pushed = served.send(&Request::push("default", &body).token(PUSH));
    assert_eq!(pushed.status, 201, "{pushed:?}");
    served.until("default", "the job to fail", |counts| counts.failed > before);
    pushed.json()["id"].as_u64().unwrap()
}
