"""A worker for aint-queue that runs many jobs at once, each as a task: for type = "coroutine".
Copy this file, add your functions to HANDLERS, and configure: command = ["python3", "-u", "worker_async.py"]"""
import asyncio, json, os, socket, sys

class Outcome(Exception):  # ends a job with a frame of its own; a normal return is done, other exceptions are retried
    def __init__(self, type, **fields):
        self.frame = {"type": type, **fields}

async def send_mail(job, payload):
    if "@" not in payload["to"]:
        raise Outcome("failed", error="not an address", retry=False)  # final: a retry would not help
    with open("outbox.txt", "a") as outbox:  # replaces a mail server
        outbox.write(f"{job['id']} {payload['to']}\n")

async def call_partner(job, payload):
    if os.path.exists("partner.lock"):  # partner in use: release the job, no attempt is counted
        raise Outcome("release", after_ms=100)
    if job["attempt"] == 1:  # the partner names a time: retry after that many milliseconds
        raise Outcome("failed", error="the partner is busy", retry=payload["busy_ms"])

async def write_report(job, payload):
    send(type="log", run=job["run"], message=f"{payload['pages']} pages to write")
    for page in range(payload["pages"]):
        await asyncio.sleep(0.01)  # a cancel ends the task at any await
        send(type="progress", run=job["run"], percent=100 * (page + 1) / payload["pages"])

async def unknown_job(job, payload):
    raise Outcome("failed", error=f"unknown job {job['job']}", unknown_job=True)

HANDLERS = {"send_mail": send_mail, "call_partner": call_partner, "write_report": write_report}

def send(**frame):  # text that is not valid UTF-8, such as a file name, becomes "?"
    writer.write(json.dumps(frame, ensure_ascii=False).encode(errors="replace") + b"\n")

def read(line):
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        sys.exit(f"unreadable frame ({error}): {line[:200]}")

async def run(job):
    try:
        await HANDLERS.get(job["job"], unknown_job)(job, job["payload"])
        send(type="done", run=job["run"])
    except Outcome as outcome:
        send(run=job["run"], **outcome.frame)
    except (Exception, asyncio.CancelledError) as error:
        send(type="failed", run=job["run"], error=repr(error)[:4096])

async def main():
    global writer
    master = socket.socket(fileno=int(os.environ["AINT_QUEUE_FD"]))
    reader, writer = await asyncio.open_unix_connection(sock=master, limit=2 << 20)
    send(type="hello", protocol=1, slots=int(os.environ["AINT_QUEUE_SLOTS"]), jobs=list(HANDLERS))
    tasks = {}
    while (line := await reader.readline()).endswith(b"\n") and (frame := read(line))["type"] != "stop":
        if frame["type"] == "run":
            task = tasks[frame["run"]] = asyncio.create_task(run(frame))
            task.add_done_callback(lambda _, number=frame["run"]: tasks.pop(number))
        elif frame["type"] == "cancel" and frame["run"] in tasks:
            tasks[frame["run"]].cancel()
    await asyncio.gather(*tasks.values())
    await writer.drain()

asyncio.run(main())
