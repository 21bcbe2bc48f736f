"""Pushes jobs over HTTP:  python3 push.py ann@example.com
Copy push_job() into your application. AINT_QUEUE_URL: address of the master. AINT_QUEUE_HTTP_TOKEN: its token."""
import json, os, sys, time, urllib.error, urllib.parse, urllib.request

def push_job(channel, job):
    """Pushes one job, or a list of jobs. Returns {"id": …, "added": …}, or a list of them."""
    base = os.environ.get("AINT_QUEUE_URL", "http://127.0.0.1:9465")
    request = urllib.request.Request(
        f"{base}/channels/{urllib.parse.quote(channel, safe='')}/jobs",
        data=json.dumps(job).encode(),
        headers={"Content-Type": "application/json",
                 "Authorization": "Bearer " + os.environ.get("AINT_QUEUE_HTTP_TOKEN", "")},
    )
    for tries_left in reversed(range(10)):
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code != 503 or not tries_left:
                raise RuntimeError(f"could not push: status {error.code}, {error.read().decode()}") from None
        except OSError:
            if not tries_left:
                raise
        # No connection, or the store is unavailable: retry. A unique key keeps a retry from adding the job twice.
        time.sleep(1)

to = sys.argv[1]
welcome = {"job": "send_mail", "payload": {"to": to}, "unique": f"welcome-{to}", "unique_for": "1d"}
print(push_job("mail", welcome)["id"])
later = {"job": "send_mail", "payload": {"to": to, "text": "Schöne Grüße"}, "delay": "1d", "priority": "low"}
print(*(pushed["id"] for pushed in push_job("mail", [later, later])))
