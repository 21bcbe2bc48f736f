"""A worker for aint-queue: runs one job at a time until its master stops it.
Copy this file, add your functions to HANDLERS, and configure: command = ["python3", "-u", "worker.py"]"""
import json, os, select, socket, sys, time

class Outcome(Exception):  # ends a job with a frame of its own; a normal return is done, other exceptions are retried
    def __init__(self, type, **fields):
        self.frame = {"type": type, **fields}

def send_mail(job, payload):
    if "@" not in payload["to"]:
        raise Outcome("failed", error="not an address", retry=False)  # final: a retry would not help
    with open("outbox.txt", "a") as outbox:  # replaces a mail server
        outbox.write(f"{job['id']} {payload['to']}\n")

def call_partner(job, payload):
    if os.path.exists("partner.lock"):  # partner in use: release the job, no attempt is counted
        raise Outcome("release", after_ms=100)
    if job["attempt"] == 1:  # the partner names a time: retry after that many milliseconds
        raise Outcome("failed", error="the partner is busy", retry=payload["busy_ms"])

def write_report(job, payload):
    send(type="log", run=job["run"], message=f"{payload['pages']} pages to write")
    for page in range(payload["pages"]):
        check_cancelled(job)
        time.sleep(0.01)
        send(type="progress", run=job["run"], percent=100 * (page + 1) / payload["pages"])

def unknown_job(job, payload):
    raise Outcome("failed", error=f"unknown job {job['job']}", unknown_job=True)

HANDLERS = {"send_mail": send_mail, "call_partner": call_partner, "write_report": write_report}
master, buffer, pending = socket.socket(fileno=int(os.environ["AINT_QUEUE_FD"])), b"", []

def send(**frame):  # text that is not valid UTF-8, such as a file name, becomes "?"
    master.sendall(json.dumps(frame, ensure_ascii=False).encode(errors="replace") + b"\n")

def receive(wait=True):  # the next frame; None without one: nothing arrived yet, or (with wait) the master is gone
    global buffer
    while b"\n" not in buffer:
        data = master.recv(65536) if wait or select.select([master], [], [], 0)[0] else b""
        if not data:
            return None
        buffer += data
    line, buffer = buffer.split(b"\n", 1)
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        sys.exit(f"unreadable frame ({error}): {line[:200]}")

def check_cancelled(job):  # long jobs call this; without it the worker is killed at the time limit
    while frame := receive(wait=False):
        if frame["type"] == "cancel" and frame["run"] == job["run"]:
            raise Outcome("failed", error="cancelled")
        pending.append(frame)

send(type="hello", protocol=1, jobs=list(HANDLERS))
while (job := pending.pop(0) if pending else receive()) and job["type"] != "stop":
    try:
        if job["type"] == "run":  # other frames: a cancel that arrived just after its job ended
            HANDLERS.get(job["job"], unknown_job)(job, job["payload"])
            send(type="done", run=job["run"])
    except Outcome as outcome:
        send(run=job["run"], **outcome.frame)
    except Exception as error:
        send(type="failed", run=job["run"], error=repr(error)[:4096])
