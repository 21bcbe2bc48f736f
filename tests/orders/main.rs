//! Runs the application of `examples/orders`: 30 orders, valid and invalid; then as many while its processes are killed.

#![expect(unreachable_pub, reason = "a test has no outside; pub says what the cases use")]
#![expect(clippy::unwrap_used, reason = "in a test an error is a failure")]

#[allow(dead_code, reason = "other tests use more of it")]
#[path = "../support/fixture.rs"]
mod fixture;
mod shop;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use fixture::until;
use shop::{ExpectedEnd, ORDERS, Shop, failed_for};

#[test]
fn orders_are_done_once_and_bad_ones_fail_visibly() {
    let shop = Shop::open();
    let master = shop.fixture.listen(&["--all"]);
    shop.place();
    until("the late picture to be missed", || master.log().contains("it is not uploaded yet").then_some(()));
    shop.upload_late();
    // Two orders that no customer of this shop could have placed.
    let outside = r#"{"number":98,"customer":"x@example.com","prints":[{"picture":"../../etc/passwd","copies":1,"cents_each":1}]}"#;
    shop.fixture.push("place_order", outside, &[]);
    shop.fixture.push("place_order", r#"{"number":99,"customer":"x@example.com","prints":[]}"#, &[]);
    shop.wait();
    shop.assert_right();

    // Without kills nothing is made twice.
    assert_eq!(shop.fixture.counts("invoices").done, ORDERS);
    assert_eq!(shop.fixture.counts("images").done, shop.pictures() - shop::BROKEN.len() as u64);
    let images = shop.failed("images");
    assert!(
        images.len() == shop::BROKEN.len() && images.iter().all(|job| job["attempts"] == 1),
        "{images:?}"
    );
    assert_eq!(shop.failed("mails").len(), 1);
    let refused = shop.failed("default");
    let says = |error: &str| refused.iter().any(|job| failed_for(job, error));
    assert!(refused.len() == 2 && says("prints[0].picture") && says("at least one print"), "{refused:?}");
    let log = master.log();
    for number in 1..=ORDERS {
        let sent = log.matches(&format!("sent {number}-")).count();
        assert_eq!(
            sent,
            usize::from(ExpectedEnd::of(number) != ExpectedEnd::NoAddress),
            "mails of order {number}"
        );
    }

    // A second push of the same order adds nothing.
    let again = shop.order(1);
    shop.fixture.push("place_order", &again.to_string(), &[]);
    let mails = shop.files("outbox");
    shop.fixture.until("invoices", "it to be invoiced again", |c| c.done == ORDERS + 1);
    shop.wait();
    assert_eq!(shop.files("outbox"), mails);
    assert_eq!(master.log().matches("sent 1-").count(), 1);
    assert!(master.stop().success());
}

#[test]
fn orders_survive_worker_and_master_kills() {
    let shop = Shop::open();
    let master = shop.fixture.listen(&["--all"]);
    shop.place();
    shop.upload_late();
    let resized = |least: u64| {
        shop.fixture.until("images", "pictures to be resized", |c| c.done >= least);
    };
    for round in 0..5 {
        resized(6 * round);
        let workers = master.workers();
        let victim = workers[usize::try_from(round).unwrap() % workers.len()];
        // A worker that runs a single job may have ended by now, which counts as killed.
        let _ = kill(Pid::from_raw(victim), Signal::SIGKILL);
    }
    resized(30);
    let before = shop.fixture.counts("images");
    assert!(before.waiting + before.reserved > 0, "in the middle of the work: {before:?}");
    master.kill();
    let next = shop.fixture.listen(&["--all"]);
    shop.wait();
    shop.assert_right();
    assert!(next.stop().success());
}
