"""A worker for aint-queue that runs many jobs at once, each as a task."""
import asyncio, json, os, socket

async def send_mail(payload):
    await asyncio.sleep(0.2)  # in place of the real thing
    print("mail to", payload["to"], flush=True)

HANDLERS = {"send_mail": send_mail}

async def run(frame, say):
    answer = {"type": "done", "run": frame["run"]}
    try:
        await HANDLERS[frame["job"]](frame["payload"])
    except asyncio.CancelledError:
        answer.update(type="failed", error="cancelled")
    except Exception as error:
        answer.update(type="failed", error=repr(error), unknown_job=frame["job"] not in HANDLERS)
    say(answer)

async def main():
    master = socket.socket(fileno=int(os.environ["AINT_QUEUE_FD"]))
    master.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=master, limit=2 << 20)
    say = lambda frame: writer.write(json.dumps(frame).encode() + b"\n")
    slots = int(os.environ["AINT_QUEUE_SLOTS"])
    say({"type": "hello", "protocol": 1, "slots": slots, "jobs": list(HANDLERS)})
    aboard = {}
    async for line in reader:
        frame = json.loads(line)
        if frame["type"] == "run":
            task = aboard[frame["run"]] = asyncio.create_task(run(frame, say))
            task.add_done_callback(lambda _, number=frame["run"]: aboard.pop(number))
        elif frame["type"] == "cancel" and frame["run"] in aboard:
            aboard[frame["run"]].cancel()
        elif frame["type"] == "stop":
            break
    await asyncio.gather(*aboard.values())
    await writer.drain()

asyncio.run(main())
