//! Where requests may go.

use crate::channel::{errors, sending, sending_to};
use crate::receiver::{Receiver, status};
use crate::site::{Site, text};

fn refused(url: &str, more: &str) -> String {
    let output = sending(url, more).run(&["config:check"]);
    assert_eq!(output.status.code(), Some(4), "{url}");
    text(&output.stderr)
}

#[test]
fn a_private_address_in_the_configuration_is_refused_with_it() {
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

/// A name is looked at when it is used, as what it stands for may change.
#[test]
fn a_name_that_stands_for_a_private_address_gets_no_connection() {
    let receiver = Receiver::start(|_| status(200));
    let url = format!("http://localhost:{}/hook", receiver.port());
    let site = sending(&url, "allow_http = true");
    let master = site.listen(&[]);
    let id = site.push("hook", "{}", &[]);
    site.until("default", "the failure", |c| c.failed == 1);
    let errors = errors(&site, id);
    assert!(
        errors[0].starts_with(&format!(
            "could not connect to http://localhost:{}: the host's name stands for a loopback address: set worker.",
            receiver.port()
        )),
        "{errors:?}"
    );
    assert_eq!(receiver.connections(), 0);
    assert!(master.stop().success());

    let site = sending(&url, "allow_http = true\nallow_private = true");
    let master = site.listen(&[]);
    site.push("hook", "{}", &[]);
    site.until("default", "the job", |c| c.done == 1);
    assert!(master.stop().success());
}

#[test]
fn proxies_of_the_environment_are_not_used() {
    let (receiver, proxy) = (Receiver::start(|_| status(200)), Receiver::start(|_| status(500)));
    let site: Site = sending_to(
        &receiver,
        &format!(
            "env = {{ {} }}",
            ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"]
                .map(|name| format!("{name} = \"http://127.0.0.1:{}\"", proxy.port()))
                .join(", ")
        ),
    );
    let master = site.listen(&[]);
    site.push("hook", "{}", &[]);
    site.until("default", "the job", |c| c.done == 1);
    assert_eq!((receiver.connections(), proxy.connections()), (1, 0));
    assert!(master.stop().success());
}
