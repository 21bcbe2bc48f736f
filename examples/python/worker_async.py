"""A worker for aint-queue that runs many jobs at once, each as a task: for type = "coroutine".
Copy this file, put your functions into HANDLERS, and name it: command = ["python3", "worker_async.py"]"""
import asyncio, json, os, socket

class Answer(Exception):  # ends a job otherwise than by returning (done) or by another exception (tried again)
    def __init__(self, type, **fields):
        self.frame = {"type": type, **fields}

async def send_mail(job, payload):
    if "@" not in payload["to"]:
        raise Answer("failed", error="not an address", retry=False)  # trying again is pointless
    with open("outbox.txt", "a") as outbox:  # in place of a mail server
        outbox.write(f"{job['id']} {payload['to']}\n")

async def call_partner(job, payload):
    if os.path.exists("partner.lock"):  # not our turn: handed back, no attempt is counted
        raise Answer("release", after_ms=100)
    if job["attempt"] == 1:  # it says when it has time again: tried again after so many milliseconds
        raise Answer("failed", error="the partner is busy", retry=payload["busy_ms"])

async def write_report(job, payload):
    say(type="log", run=job["run"], message=f"{payload['pages']} pages to write")
    for page in range(payload["pages"]):
        await asyncio.sleep(0.01)  # a cancel ends a task at any of its awaits
        say(type="progress", run=job["run"], percent=100 * (page + 1) / payload["pages"])

HANDLERS = {"send_mail": send_mail, "call_partner": call_partner, "write_report": write_report}

def say(**frame):
    writer.write(json.dumps(frame).encode() + b"\n")

async def run(job):
    try:
        await HANDLERS[job["job"]](job, job["payload"])
        say(type="done", run=job["run"])
    except Answer as other:
        say(run=job["run"], **other.frame)
    except (Exception, asyncio.CancelledError) as error:
        say(type="failed", run=job["run"], error=repr(error)[:4096], unknown_job=job["job"] not in HANDLERS)

async def main():
    global writer
    master = socket.socket(fileno=int(os.environ["AINT_QUEUE_FD"]))
    reader, writer = await asyncio.open_unix_connection(sock=master, limit=2 << 20)
    say(type="hello", protocol=1, slots=int(os.environ["AINT_QUEUE_SLOTS"]), jobs=list(HANDLERS))
    aboard = {}
    while (line := await reader.readline()) and (frame := json.loads(line))["type"] != "stop":
        if frame["type"] == "run":
            task = aboard[frame["run"]] = asyncio.create_task(run(frame))
            task.add_done_callback(lambda _, number=frame["run"]: aboard.pop(number))
        elif frame["type"] == "cancel" and frame["run"] in aboard:
            aboard[frame["run"]].cancel()
    await asyncio.gather(*aboard.values())
    await writer.drain()

asyncio.run(main())
