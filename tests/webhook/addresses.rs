//! Allowed and refused addresses of receivers.

use crate::channel::{errors, sending, sending_to};
use crate::fixture::{Fixture, text};
use crate::receiver::{Receiver, status};

fn refused(url: &str, more: &str) -> String {
    let output = sending(url, more).run(&["config:check"]);
    assert_eq!(output.status.code(), Some(4), "{url}");
    text(&output.stderr)
}

#[test]
fn private_address_in_config_is_refused() {
    for url in [
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://10.1.2.3:8443/hook",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:192.168.0.1]/",
        "https://[fd00:ec2::254]/",
    ] {
        let said = refused(url, "");
        assert!(
            said.contains("worker.url goes to a") && said.contains("worker.allow_private = true"),
            "{said}"
        );
    }
    assert!(refused("http://example.com/", "").contains("worker.allow_http = true"));
    assert!(refused("https://0x7f.1/", "").contains("has no usable host"));
}

/// The addresses of a name are checked at each connect, because they may change.
#[test]
fn name_of_private_address_gets_no_connection() {
    let receiver = Receiver::start(|_| status(200));
    let url = format!("http://localhost:{}/hook", receiver.port());
    let fixture = sending(&url, "allow_http = true");
    let master = fixture.listen(&[]);
    let id = fixture.push("hook", "{}", &[]);
    fixture.until("default", "the failure", |c| c.failed == 1);
    let errors = errors(&fixture, id);
    assert!(
        errors[0].starts_with(&format!(
            "could not connect to http://localhost:{}: the host name resolves to a loopback address: set worker.",
            receiver.port()
        )),
        "{errors:?}"
    );
    assert_eq!(receiver.connections(), 0);
    assert!(master.stop().success());

    let fixture = sending(&url, "allow_http = true\nallow_private = true");
    let master = fixture.listen(&[]);
    fixture.push("hook", "{}", &[]);
    fixture.until("default", "the job", |c| c.done == 1);
    assert!(master.stop().success());
}

#[test]
fn environment_proxies_are_ignored() {
    let (receiver, proxy) = (Receiver::start(|_| status(200)), Receiver::start(|_| status(500)));
    let fixture: Fixture = sending_to(
        &receiver,
        &format!(
            "env = {{ {} }}",
            ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"]
                .map(|name| format!("{name} = \"http://127.0.0.1:{}\"", proxy.port()))
                .join(", ")
        ),
    );
    let master = fixture.listen(&[]);
    fixture.push("hook", "{}", &[]);
    fixture.until("default", "the job", |c| c.done == 1);
    assert_eq!((receiver.connections(), proxy.connections()), (1, 0));
    assert!(master.stop().success());
}
