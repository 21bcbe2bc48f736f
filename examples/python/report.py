"""A job of aint-queue as a program: the payload on standard input, the rest in the environment, the exit status says
how it ended. What it writes to standard error is kept as the job's error: a traceback, for example.

Copy this file and name it: command = ["python3", "report.py"]
"""
import json, os, sys

TRY_LATER, NEVER = os.EX_TEMPFAIL, os.EX_DATAERR  # 75, 65

payload = json.load(sys.stdin)

if "month" not in payload:
    print(f"no month in {payload}", file=sys.stderr)
    sys.exit(NEVER)  # failed for good: trying again is pointless

if os.path.exists("books.open"):
    sys.exit(TRY_LATER)  # handed back for a second, no attempt is counted

# An exception ends Python with status 1: an error that is tried again by the channel's policy.
with open("reports.txt", "a") as reports:
    reports.write(f"{os.environ['AINT_QUEUE_JOB_ID']} {payload['month']}\n")
print(f"attempt {os.environ['AINT_QUEUE_ATTEMPT']} of {os.environ['AINT_QUEUE_JOB']} is done")
