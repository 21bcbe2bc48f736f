"""A worker for aint-queue: runs one job after the other, as long as its master lives."""
import json, os, socket

def send_mail(payload):
    print("mail to", payload["to"], flush=True)  # becomes a line of the master's log

HANDLERS = {"send_mail": send_mail}

def answer(run, job, payload):
    if job not in HANDLERS:
        return {"type": "failed", "run": run, "error": f"no handler for {job}", "unknown_job": True}
    try:
        HANDLERS[job](payload)
        return {"type": "done", "run": run}
    except Exception as error:
        return {"type": "failed", "run": run, "error": repr(error)}

def say(frame):
    master.write(json.dumps(frame).encode() + b"\n")
    master.flush()

master = socket.socket(fileno=int(os.environ["AINT_QUEUE_FD"])).makefile("rwb")
say({"type": "hello", "protocol": 1, "slots": 1, "jobs": list(HANDLERS)})
for line in master:
    frame = json.loads(line)
    if frame["type"] == "run":
        say(answer(frame["run"], frame["job"], frame["payload"]))
    elif frame["type"] == "stop":
        break
