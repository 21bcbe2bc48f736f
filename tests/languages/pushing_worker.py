"""Runs the jobs of a test of traces: says which trace context it has, and pushes a job that follows."""
import json, os, socket, sys

master = socket.socket(fileno=int(os.environ["AINT_QUEUE_FD"]))
frames = master.makefile("rw", encoding="utf-8", newline="\n")


def send(**frame):
    frames.write(json.dumps(frame) + "\n")
    frames.flush()


send(type="hello", protocol=1, jobs=["order", "follow_up"])
for line in frames:
    job = json.loads(line)
    if job["type"] == "stop":
        break
    if job["type"] != "run":
        continue
    headers = job.get("headers", {})
    print(job["job"], "has", headers.get("traceparent"), flush=True)
    send(type="log", run=job["run"], message=f"frame of {job['job']}")
    if job["job"] == "order":
        follow_up = {"job": "follow_up", "payload": job["payload"]}
        if "own_trace" in job["payload"]:
            follow_up["headers"] = {"traceparent": job["payload"]["own_trace"]}
        send(type="push", run=job["run"], ask=job["run"], jobs=[follow_up], channel=job["payload"].get("to"))
        answer = json.loads(frames.readline())
        if "ids" not in answer:
            sys.exit(f"not pushed: {answer}")
    send(type="done", run=job["run"])
