//! Lists of jobs, search, and the page of a job: payloads, errors and output without secrets.

use super::{OPEN, TEAM, failed_job, guarded, page};
use crate::client::{HttpFixture, HttpResponse};

#[test]
fn lists_show_a_page_of_a_state_and_search_it() {
    let served = guarded("");
    let lines =
        (0..120).map(|n| format!(r#"{{"job":"noop","payload":{{"n":{n},"to":"ann{n}@example.com"}}}}"#));
    served.push_lines("idle", lines);
    let get = |path: &str| served.send(&page(path).token(TEAM));
    let rows = |reply: &HttpResponse| reply.text.matches("<tr id=\"job-").count();
    let mut path = "/channels/idle/jobs?state=waiting".to_owned();
    let mut seen = Vec::new();
    loop {
        let reply = get(&path);
        assert_eq!(reply.status, 200);
        seen.push(rows(&reply));
        let next = reply.text.split("rel=\"next\" href=\"").nth(1).and_then(|rest| rest.split('"').next());
        let Some(next) = next else { break };
        path = next.replace("&amp;", "&");
    }
    assert_eq!(seen.iter().sum::<usize>(), 120, "{seen:?}");
    assert!(seen.iter().all(|rows| *rows <= 50), "{seen:?}");
    let found = get("/channels/idle/jobs?state=waiting&q=ann7%40example");
    assert!(rows(&found) == 1 && found.text.contains("120 jobs were searched"), "{found:?}");
    assert_eq!(rows(&get("/channels/idle/jobs?state=waiting&q=%3Cscript%3Ealert(1)")), 0);
    assert!(get("/channels/idle/jobs?state=delayed").text.contains("No job is in this state"));
    for wrong in ["state=done7", "state=waiting&after=x", &format!("state=waiting&q={}", "x".repeat(201))] {
        let reply = get(&format!("/channels/idle/jobs?{wrong}"));
        assert_eq!(reply.status, 400, "{wrong}: {reply:?}");
    }
}

#[test]
fn job_shows_its_payload_errors_and_output_without_secrets() {
    let served = guarded("");
    let payload =
        r#"{"final":true,"message":"connect: timed out <b>","password":"x1","list":[{"apiToken":"x2"}]}"#;
    let id = failed_job(&served, payload);
    let shown = served.send(&page(&format!("/channels/default/jobs/{id}")).token(TEAM));
    assert_eq!(shown.status, 200);
    for expected in ["connect: timed out &lt;b&gt;", "••••", "acme", "tenant", "final"] {
        assert!(shown.text.contains(expected), "{expected}: {}", shown.text);
    }
    for secret in ["x1", "x2", "h1</dd>", "<b>"] {
        assert!(!shown.text.contains(secret), "{secret}: {}", shown.text);
    }
    let search = |text: &str| {
        let path = format!("/channels/default/jobs?state=failed&q={text}");
        served.send(&page(&path).token(TEAM)).text.contains("<tr id=\"job-")
    };
    assert!(search("timed+out") && search("%22final%22:true"));
    assert!(!search("x1") && !search("password%22:%22x"), "a hidden value is not found");
    let gone = served.send(&page("/channels/default/jobs/17").token(TEAM));
    assert!(gone.status == 404 && gone.text.contains("no such job"), "{gone:?}");
    assert_eq!(served.send(&page("/channels/default/jobs/abc").token(TEAM)).status, 404);
}

#[test]
fn anonymous_visitor_sees_no_payload_and_cannot_search_them() {
    let served = HttpFixture::with(OPEN);
    served.push("idle", r#"{"job":"noop","payload":{"to":"ann@example.com"},"headers":{"tenant":"acme"},"unique":"welcome-ann@example"}"#);
    let list = served.send(&page("/channels/idle/jobs?state=waiting"));
    let id = list.text.split("id=\"job-").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let shown = served.send(&page(&format!("/channels/idle/jobs/{id}")));
    assert!(shown.status == 200 && shown.text.contains("noop"), "{shown:?}");
    assert!(!shown.text.contains("ann@example") && !shown.text.contains("acme"), "{shown:?}");
    assert_eq!(served.send(&page("/channels/idle/jobs?state=waiting&q=ann")).status, 401);
    assert!(!list.text.contains("name=\"q\""));
    let open = HttpFixture::with(&format!("{OPEN}\nviewer_sees_payloads = true"));
    open.push("idle", r#"{"job":"noop","payload":{"to":"ann@example.com"}}"#);
    let found = open.send(&page("/channels/idle/jobs?state=waiting&q=ann"));
    assert!(found.text.contains("<tr id=\"job-"), "{found:?}");
}
