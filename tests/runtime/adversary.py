"""A worker of which one at a time behaves as its argument says, and the others as they should.

Each job is a number. Good workers note those they have run in `effects`, the bad one those it was given in `given`.
"""
import fcntl, json, os, socket, sys, time

MISDEED = sys.argv[1]
BIG = 3 << 20
lock = open("adversary.lock", "w")

def note(name, text):
    with open(name, "a") as file:
        file.write(f"{text}\n")

try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    is_bad = True
    note("pids", os.getpid())
except OSError:
    is_bad = False

wire = socket.socket(fileno=int(os.environ["AINT_QUEUE_FD"]))
raw = lambda data: wire.sendall(data)
say = lambda **frame: raw(json.dumps(frame).encode() + b"\n")

def look_alikes(run):
    for stream in (1, 2):
        os.write(stream, b'{"type":"done","run":%d}\n' % run)
        os.write(stream, b'{"type":"failed","run":%d,"error":"not me"}\n' % (run + 1))
        os.write(stream, bytes(range(256)) * 20)
        os.write(stream, b"half a line")
    say(type="done", run=run)

def half_a_frame(run):
    raw(b'{"type":"done","run":')
    os._exit(1)

def others_runs(run):
    for other in [*range(run - 5, run), *range(run + 1, run + 6), 2**63]:
        if other > 0:
            say(type="done", run=other)
    say(type="failed", run=run, error="mine", retry=0)

def twice(run):
    say(type="done", run=run)
    say(type="failed", run=run, error="second thoughts", retry=False)
    say(type="release", run=run)

def late(run):
    time.sleep(2)
    say(type="done", run=run)

def huge_line(run):
    raw(b'{"type":"done","run":%d,"x":"' % run + b"x" * BIG + b'"}\n')
    say(type="done", run=run)

def endless_line(run):
    while True:
        raw(b"x" * 65536)

def chatter(run):
    while True:
        say(type="log", run=run, message="y" * 500)

def asks_and_never_reads(run):
    claim = '{"type":"claim","run":%d,"ask":%%d,"breaker":"%%d","failures":1,"cooldown_ms":1}\n' % run
    for block in range(0, 10**9, 1000):
        raw("".join(claim % (ask, ask) for ask in range(block, block + 1000)).encode())

def half_a_line_and_silence(run):
    raw(b'{"type":"done"')
    time.sleep(1000)

def closed_socket(run):
    wire.close()
    time.sleep(1000)

say(type="hello", protocol=1)
if is_bad and MISDEED == "never_reads":
    time.sleep(1000)
for line in wire.makefile("rb"):
    frame = json.loads(line)
    if frame["type"] == "stop":
        break
    if frame["type"] == "run" and is_bad:
        note("given", frame["payload"])
        globals()[MISDEED](frame["run"])
    elif frame["type"] == "run":
        time.sleep(0.005)
        note("effects", frame["payload"])
        say(type="done", run=frame["run"])
