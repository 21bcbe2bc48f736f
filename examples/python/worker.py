"""A worker for aint-queue: runs one job after the other, as long as its master lives.
Copy this file, put your functions into HANDLERS, and name it: command = ["python3", "worker.py"]"""
import json, os, select, socket, time

class Answer(Exception):  # ends a job otherwise than by returning (done) or by another exception (tried again)
    def __init__(self, type, **fields):
        self.frame = {"type": type, **fields}

def send_mail(job, payload):
    if "@" not in payload["to"]:
        raise Answer("failed", error="not an address", retry=False)  # trying again is pointless
    with open("outbox.txt", "a") as outbox:  # in place of a mail server
        outbox.write(f"{job['id']} {payload['to']}\n")

def call_partner(job, payload):
    if os.path.exists("partner.lock"):  # not our turn: handed back, no attempt is counted
        raise Answer("release", after_ms=100)
    if job["attempt"] == 1:  # it says when it has time again: tried again after so many milliseconds
        raise Answer("failed", error="the partner is busy", retry=payload["busy_ms"])

def write_report(job, payload):
    say(type="log", run=job["run"], message=f"{payload['pages']} pages to write")
    for page in range(payload["pages"]):
        check_cancelled(job)
        time.sleep(0.01)
        say(type="progress", run=job["run"], percent=100 * (page + 1) / payload["pages"])

HANDLERS = {"send_mail": send_mail, "call_partner": call_partner, "write_report": write_report}
master, unread, later = socket.socket(fileno=int(os.environ["AINT_QUEUE_FD"])), b"", []

def say(**frame):
    master.sendall(json.dumps(frame).encode() + b"\n")

def hear(wait=True):  # the next frame; None when there is none: not yet, or, after waiting, no master any more
    global unread
    while b"\n" not in unread:
        more = master.recv(65536) if wait or select.select([master], [], [], 0)[0] else b""
        if not more:
            return None
        unread += more
    line, unread = unread.split(b"\n", 1)
    return json.loads(line)

def check_cancelled(job):  # for long jobs to call; one that does not is killed when its time is up
    while frame := hear(wait=False):
        if frame["type"] == "cancel" and frame["run"] == job["run"]:
            raise Answer("failed", error="cancelled")
        later.append(frame)

say(type="hello", protocol=1, jobs=list(HANDLERS))
while (job := later.pop(0) if later else hear()) and job["type"] != "stop":
    try:
        if job["type"] == "run":  # not a cancel that came when the job had just ended
            HANDLERS[job["job"]](job, job["payload"])
            say(type="done", run=job["run"])
    except Answer as other:
        say(run=job["run"], **other.frame)
    except Exception as error:
        say(type="failed", run=job["run"], error=repr(error)[:4096], unknown_job=job["job"] not in HANDLERS)
