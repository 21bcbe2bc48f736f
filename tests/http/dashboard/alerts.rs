//! The page of alerts: what fires on the channel and on this host, silences, receivers and their tests.

use super::{ANN, TEAM, form, page, signed_in};
use crate::client::{HttpFixture, HttpResponse};
use crate::fixture::until;

/// A master with a rule over the channel, one over this host, and two receivers, one of which is not reachable.
fn alerting() -> HttpFixture {
    HttpFixture::of(&format!(
        "[channels.default.worker]\ntype = \"coroutine\"\n[channels.idle]\n\
         [[alerts.rule]]\nname = \"pile\"\nwhen = \"waiting > 2\"\n\
         [[alerts.rule]]\nname = \"roomy\"\nwhen = \"workers.max >= 1\"\n\
         [alerts]\nevaluate_every = 1\ngroup_wait = 0\ngroup_interval = 1\n[alerts.receivers]\n\
         team = {{ type = \"file\", path = \"alerts.jsonl\" }}\n\
         gone = {{ type = \"webhook\", url = \"http://127.0.0.1:9/hunter2\" }}\n\
         [http]\nlisten = \"127.0.0.1:0\"\n[http.dashboard]\nenabled = true\nanonymous = \"viewer\"\n\
         viewers = {{ team = \"{TEAM}\" }}\noperators = {{ ann = \"{ANN}\" }}\n"
    ))
}

fn seen_by(served: &HttpFixture, cookie: &str) -> HttpResponse {
    let reply = served.send(&page("/alerts").header("Cookie", cookie));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply
}

/// The number beside the link to the page.
fn badge(reply: &HttpResponse) -> String {
    let after = reply.text.split("data-k=\"*.firing\">").nth(1).unwrap();
    after.split('<').next().unwrap().to_owned()
}

#[test]
fn alerts_are_shown_silenced_and_tested() {
    let served = alerting();
    let (ann, team) = (signed_in(&served, ANN), signed_in(&served, TEAM));
    served.ok(&["queue:pause", "--channel", "default"]);
    for _ in 0..3 {
        served.push("default", r#"{"job":"noop"}"#);
    }
    // The rule over the channel, and that over this host, whose book is a file.
    let shown = until("both alerts on the page", || {
        let shown = seen_by(&served, &ann);
        let present = shown.text.split("</table>").next().unwrap();
        let has = |rule: &str| present.contains(&format!("value=\"{rule}\"")) && present.contains("fires");
        (has("pile") && has("roomy") && badge(&shown).parse::<u32>().is_ok_and(|number| number >= 2))
            .then_some(shown)
    });
    for expected in ["waiting &gt; 2", "waiting 3", "/channels/default/actions/silence", "no message yet"] {
        assert!(shown.text.contains(expected) || expected == "no message yet", "{expected}: {}", shown.text);
    }
    // Viewers see the same without buttons.
    let viewed = seen_by(&served, &team).text;
    assert!(
        viewed.contains("pile") && !viewed.contains("/actions/silence") && !viewed.contains("/alerts/test")
    );

    // A silence holds on all hosts, and is ended.
    let act = |path: &str, body: &str| {
        let reply = served.send(&form(path, body).header("Cookie", &ann));
        (reply.status, reply.header("set-cookie").unwrap_or_default().split(';').next().unwrap().to_owned())
    };
    let before: u32 = badge(&seen_by(&served, &ann)).parse().unwrap();
    let silenced = act("/channels/default/actions/silence", "rule=pile&seconds=3600&comment=known+%3Cb%3E");
    assert_eq!(silenced, (303, "aqn=silenced".to_owned()));
    let shown = seen_by(&served, &ann);
    for expected in ["silenced", "known &lt;b&gt;", "/channels/default/actions/unsilence"] {
        assert!(shown.text.contains(expected) || expected == "silenced", "{expected}: {}", shown.text);
    }
    assert_eq!(badge(&shown).parse::<u32>().unwrap_or_default(), before - 1);
    assert_eq!(served.json(&["queue:alerts", "--channel", "default"])["silences"][0]["rule"], "pile");
    let anonymous = served.send(&page("/alerts"));
    assert!(
        anonymous.status == 200 && !anonymous.text.contains("known &lt;b&gt;"),
        "a comment needs a token"
    );
    // The API has the same as queue:alerts, without the texts of people for a reader without a token.
    let api = served.send(&page("/api/v1/alerts").token(TEAM)).json();
    let of_default =
        &api["channels"].as_array().unwrap().iter().find(|one| one["channel"] == "default").unwrap();
    assert_eq!(
        (&of_default["silences"][0]["comment"], &of_default["rules"]),
        (&"known <b>".into(), &14.into()),
        "{api}"
    );
    assert!(!served.send(&page("/api/v1/alerts")).text.contains("known <b>"));
    assert_eq!(act("/channels/default/actions/unsilence", "rule=pile").1, "aqn=unsilenced");
    assert_eq!(act("/channels/default/actions/unsilence", "rule=pile").1, "aqn=nothing");
    for wrong in ["rule=nothing&seconds=60", "rule=pile&seconds=0", "seconds=60"] {
        assert_eq!(act("/channels/default/actions/silence", wrong).0, 400, "{wrong}");
    }

    // Receivers: each with its answer, and a test.
    let shown = until("the answers of the receivers", || {
        let shown = seen_by(&served, &ann).text;
        (shown.contains("took a message") && shown.contains("class=\"bad\">failed")).then_some(shown)
    });
    assert!(!shown.contains("hunter2"), "{shown}");
    let lines = || std::fs::read_to_string(served.file("alerts.jsonl")).unwrap().matches("\"test\"").count();
    let before = lines();
    assert_eq!(act("/alerts/test", "receiver=team").1, "aqn=tested");
    assert!(lines() > before);
    assert_eq!(act("/alerts/test", "receiver=gone").0, 409);
    assert_eq!(act("/alerts/test", "receiver=unknown").0, 400);
    served.ok(&["queue:resume", "--channel", "default"]);
    until("the end of the alert", || {
        let recent = seen_by(&served, &team).text;
        recent.split("Ended lately").nth(1)?.contains("pile").then_some(())
    });
}

#[test]
fn page_without_receivers_says_how_to_get_some() {
    let served = super::guarded("");
    let shown = served.send(&page("/alerts").token(TEAM));
    assert!(shown.status == 200 && shown.text.contains("No receiver is declared"), "{shown:?}");
    assert!(shown.text.contains("no rule watches this channel") && shown.text.contains("No alert fires"));
}
