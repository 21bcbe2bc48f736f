#!/usr/bin/env python3
"""Builds all test programs, and runs them two at a time: most tests wait for processes and for time to pass, so a program alone leaves
the processors idle, above all while its last test runs. Arguments go to `cargo test`.

Each program's output appears when it has ended; the names of those that failed are the last lines.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed

AT_ONCE = 2
# Those that take longest begin first.
LONGEST = ["runtime", "elastic", "processes", "languages", "aint_queue", "alerts", "store", "dashboard"]


def programs(arguments):
    """The executables that cargo has built, each with its name and the folder of its package."""
    build = ["cargo", "test", *arguments, "--no-run", "--message-format=json-render-diagnostics"]
    cargo = subprocess.Popen(build, stdout=subprocess.PIPE, text=True)
    found = []
    for line in cargo.stdout:
        message = json.loads(line)
        if message.get("executable") and message["profile"]["test"]:
            folder = os.path.dirname(message["manifest_path"])
            found.append((message["target"]["name"], message["executable"], folder))
    if cargo.wait() != 0:
        sys.exit(cargo.returncode)
    order = {name: place for place, name in enumerate(LONGEST)}
    return sorted(found, key=lambda program: order.get(program[0], len(LONGEST)))


def run(program):
    name, executable, folder = program
    environment = {**os.environ, "CARGO_MANIFEST_DIR": folder}
    ended = subprocess.run(
        [executable], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    return name, executable, ended


def main():
    failed = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = [pool.submit(run, program) for program in programs(sys.argv[1:])]
        for done in as_completed(running):
            name, executable, ended = done.result()
            print(f"\n     Running {name} ({os.path.relpath(executable)})", flush=True)
            sys.stdout.buffer.write(ended.stdout)
            sys.stdout.flush()
            if ended.returncode != 0:
                failed.append(name)
    documents = subprocess.run(["cargo", "test", *sys.argv[1:], "--doc"])
    if documents.returncode != 0:
        failed.append("examples of the documentation")
    for name in failed:
        print(f"failed: {name}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
