//! The pages of activity, of the system and of the report, and rules that all pages keep.

use super::{ANN, OPEN, PUSH, TEAM, form, guarded, page, signed_in};
use crate::client::{CHANNELS, HttpFixture, Request, address};
use crate::fixture::{Fixture, SQLITE, until};

#[test]
fn every_page_is_whole_in_both_languages_and_needs_a_visitor() {
    let served = guarded("");
    for (path, english, chinese) in [
        ("/alerts", "Receivers", "接收方"),
        ("/activity", "Ends of workers", "工作进程的结束"),
        ("/system", "HTTP listener", "HTTP 监听"),
        ("/report", "Longest waits", "最长等待"),
    ] {
        let stranger = served.send(&page(path));
        assert_eq!(stranger.status, 401, "{path}");
        assert!(!stranger.text.contains(english), "{path}");
        let shown = served.send(&page(path).token(TEAM));
        assert!(shown.status == 200 && shown.text.contains(english), "{path}: {shown:?}");
        let current = format!("href=\"{path}\" data-go=");
        assert!(shown.text.split(&current).nth(1).unwrap()[..40].contains("aria-current=\"page\""), "{path}");
        assert!(!shown.text.contains(" style=") && shown.text.contains("</html>"), "{path}");
        let joint = if path.contains('?') { '&' } else { '?' };
        let shown = served.send(&page(&format!("{path}{joint}lang=zh-CN")).token(TEAM));
        assert!(shown.text.contains(chinese) && !shown.text.contains(english), "{path}: {}", shown.text);
    }
}

#[test]
fn language_link_keeps_the_state_of_the_page() {
    let served = guarded("");
    for (path, kept) in [
        ("/channels/idle/jobs?state=waiting&q=ann", "/channels/idle/jobs?state=waiting&amp;q=ann&amp;lang="),
        (
            "/channels/idle/jobs?state=failed&after=5-17",
            "/channels/idle/jobs?state=failed&amp;after=5-17&amp;lang=",
        ),
        ("/activity?channel=idle", "/activity?channel=idle&amp;lang="),
        ("/report?range=1h&channel=default", "/report?range=1h&amp;channel=default&amp;lang="),
    ] {
        let shown = served.send(&page(path).token(TEAM));
        assert!(shown.text.contains(kept), "{path}: {}", shown.text);
    }
}

#[test]
fn asset_of_another_version_is_not_kept() {
    let served = HttpFixture::with(OPEN);
    let shown = served.send(&page("/")).text;
    let link = shown.split("href=\"/assets/app.css").nth(1).unwrap().split('"').next().unwrap();
    let cache = |query: &str| {
        let reply = served.send(&page(&format!("/assets/app.css{query}")));
        reply.header("cache-control").unwrap().to_owned()
    };
    assert!(cache(link).contains("immutable"), "{link}");
    for wrong in ["", "?v=0123456789abcdef", &format!("{link}0"), &link.replace("?v=", "?x=")] {
        assert_eq!(cache(wrong), "no-cache", "{wrong}");
    }
}

#[test]
fn activity_names_actors_actions_and_results() {
    let served = guarded("");
    let ann = signed_in(&served, ANN);
    served.ok(&["queue:quiet", "--channel", "default"]);
    served.ok(&["queue:resume", "--channel", "default"]);
    let paused = served.send(&form("/channels/idle/actions/pause", "seconds=60").header("Cookie", &ann));
    assert_eq!(paused.status, 303);
    let shown = served.send(&page("/activity").token(TEAM)).text;
    let uid = nix::unistd::geteuid();
    for expected in [&format!("cli uid {uid}"), ">ann<", "quiet", "resume", "60 s", "paused", ">started<"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    assert!(shown.find("60 s").unwrap() < shown.find(">quiet<").unwrap(), "the newest is first");
    // A filter keeps events of the whole master.
    let shown = served.send(&page("/activity?channel=idle").token(TEAM)).text;
    assert!(shown.contains("60 s") && !shown.contains(">quiet<") && shown.contains(">started<"), "{shown}");
    let api = served.send(&page("/api/v1/activity?channel=idle").token(TEAM)).json();
    assert_eq!(
        (&api["entries"][0]["who"], &api["entries"][0]["action"]),
        (&"ann".into(), &"pause".into()),
        "{api}"
    );
    assert_eq!(served.send(&page("/activity?channel=nowhere").token(TEAM)).status, 404);
    assert_eq!(served.send(&page("/activity?from=x").token(TEAM)).status, 400);
    // Without a token a visitor learns no names of people.
    let open =
        HttpFixture::with(&format!("{OPEN}\nanonymous = \"viewer\"\noperators = {{ ann = \"{ANN}\" }}"));
    let ann = signed_in(&open, ANN);
    open.send(&form("/channels/idle/actions/pause", "").header("Cookie", &ann));
    let shown = open.send(&page("/activity")).text;
    assert!(shown.contains(">pause<") && !shown.contains(">ann<"), "{shown}");
}

#[test]
fn system_shows_masters_stores_and_limits_without_secrets() {
    let served = guarded("");
    served.send(&Request::push("default", r#"{"job":"noop"}"#).token(PUSH));
    let path = |token: &str| served.send(&page("/system").token(token)).text;
    let shown = until("the summary of this master", || {
        let shown = path(ANN);
        shown.contains("(this page)").then_some(shown)
    });
    let pid = served.master.pid();
    for expected in
        [&format!(">{pid}<"), "sqlite at ", " KiB", "/ 64", "max_connections = ", env!("CARGO_PKG_VERSION")]
    {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    for secret in [ANN, TEAM, PUSH] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let viewed = path(TEAM);
    assert!(
        viewed.contains("sqlite at ") && !viewed.contains("max_connections"),
        "configuration is for operators"
    );
}

#[test]
fn report_sums_up_the_runs_of_a_range() {
    let served = guarded("");
    for _ in 0..4 {
        served.send(&Request::push("default", r#"{"job":"noop"}"#).token(PUSH));
    }
    served.send(&Request::push("default", r#"{"job":"fail","payload":{"final":true}}"#).token(PUSH));
    served.until("default", "the jobs to end", |counts| counts.done == 4 && counts.failed == 1);
    let shown = until("the runs in the report", || {
        let shown = served.send(&page("/report?range=15m&channel=default").token(TEAM)).text;
        shown.contains("data-label=\"Failing\">20 %<").then_some(shown)
    });
    for expected in [
        "data-label=\"Runs\">5<",
        "data-label=\"Failed runs\">1<",
        "svg class=\"chart\"",
        "No alert has fired",
    ] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let all = served.send(&page("/report").token(TEAM)).text;
    assert!(all.contains("aria-current=\"true\">24h<") && !all.contains("svg class=\"chart\""), "{all}");
    assert_eq!(served.send(&page("/report?channel=nowhere").token(TEAM)).status, 404);
}

#[test]
fn channels_named_by_dots_have_pages() {
    let config = format!(
        "[channels.\"..\"]\n[channels.default.worker]\ntype = \"coroutine\"\n[http]\nlisten = \"127.0.0.1:0\"\n{OPEN}\n"
    );
    let served = HttpFixture::of(&config);
    assert!(served.send(&page("/")).text.contains("href=\"/channels/~..\""));
    let shown = served.send(&page("/channels/~.."));
    assert!(shown.status == 200 && shown.text.contains("<h1>.. "), "{shown:?}");
    assert_eq!(served.send(&page("/channels/~../jobs?state=waiting")).status, 200);
}

#[test]
fn channel_that_ends_is_neither_stuck_nor_without_its_store() {
    let fixture = Fixture::new(SQLITE, &format!("{CHANNELS}[http]\nlisten = \"127.0.0.1:0\"\n{OPEN}\n"));
    let master = fixture.listen(&["--all"]);
    let address = address(&master);
    let state = || page("/api/v1/channels/idle").send(address).json()["state"].as_str().unwrap().to_owned();
    until("both channels", || (state() == "idle").then_some(()));
    let mut seen = std::collections::BTreeSet::new();
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| fixture.ok(&["queue:stop", "-t", "idle"]));
        until("the end of the channel", || {
            let now = state();
            seen.insert(now.clone());
            (now == "no_master").then_some(())
        });
        stopping.join().unwrap();
    });
    seen.retain(|state| !["idle", "stopping", "no_master"].contains(&state.as_str()));
    assert!(seen.is_empty(), "{seen:?}");
}

#[test]
fn slow_forms_of_strangers_keep_no_page_from_others() {
    use std::io::Write;
    let served = guarded("");
    let head = form("/login", "token=x").head();
    let unfinished = head.replace("Content-Length: 7", "Content-Length: 100").into_bytes();
    let mut held: Vec<_> = (0..70)
        .map(|_| {
            let mut stream = crate::client::connect(served.address).unwrap();
            stream.write_all(&unfinished).unwrap();
            stream
        })
        .collect();
    let shown = served.send(&page("/").token(TEAM));
    assert_eq!(shown.status, 200, "{shown:?}");
    held.clear();
}
