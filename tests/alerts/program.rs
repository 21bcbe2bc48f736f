//! Programs as receivers, under a real guardian and on the thread of the deliveries.

use std::path::Path;
use std::time::Duration;

use aint_queue::engine::guardian::Guardian;
use serde_json::Value as Json;

use crate::fixture::{Running, firing};

/// The longest silence of a master.
const LEASE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn program_gets_the_message_and_one_that_hangs_is_killed() {
    let program = Path::new(env!("CARGO_BIN_EXE_aint-queue"));
    let cookie = format!("test-alerts-{}:a", std::process::id());
    let guardian = Guardian::start_with(program, cookie, LEASE).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("message.json");
    let lines = format!(
        "good = {{ type = \"command\", command = [\"/bin/sh\", \"-c\", \"cat > {}\"] }}\n\
         refuses = {{ type = \"command\", command = [\"/bin/sh\", \"-c\", \"echo no such pager >&2; exit 3\"] }}\n\
         hangs = {{ type = \"command\", command = [\"/bin/sh\", \"-c\", \"sleep 100\"], timeout_seconds = 0.3 }}\n\
         floods = {{ type = \"command\", command = [\"/bin/sh\", \"-c\", \"yes\"], timeout_seconds = 0.3 }}\n",
        file.display()
    );
    let mut running = Running::start(&lines, Some(guardian.handle()));
    running.deliver("good", firing(1));
    assert_eq!(running.next().await.1, None);
    let message: Json = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(
        (&message["kind"], &message["alerts"][0]["rule"]),
        (&Json::from("alert"), &Json::from("backlog"))
    );
    for name in ["hangs", "floods"] {
        running.deliver(name, firing(2));
        assert_eq!(running.next().await.1.as_deref(), Some("killed after the time limit of 300ms"), "{name}");
    }
    running.deliver("refuses", firing(2));
    let refused = running.until("refuses", |status| status.last_error.is_some()).await;
    assert_eq!(refused.last_error.as_deref(), Some("exited with 3: no such pager"));
    running.deliveries.stop().await;
    guardian.shut_down().await;
}
