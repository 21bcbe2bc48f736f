"""A job of aint-queue as a program: the payload is on standard input, other data in the environment, and the exit
status is the outcome. Standard error becomes the error of the job: a traceback, for example.

Copy this file and configure: command = ["python3", "-u", "report.py"]
"""
import json, os, sys

RELEASE, FINAL = os.EX_TEMPFAIL, os.EX_DATAERR  # 75, 65

payload = json.load(sys.stdin)

if "month" not in payload:
    print(f"no month in {payload}", file=sys.stderr)
    sys.exit(FINAL)  # failed for good: a retry would not help

if os.path.exists("books.open"):
    sys.exit(RELEASE)  # released for one second, no attempt is counted

# An exception ends Python with status 1: an error, retried by the policy of the channel.
with open("reports.txt", "a") as reports:
    reports.write(f"{os.environ['AINT_QUEUE_JOB_ID']} {payload['month']}\n")
print(f"attempt {os.environ['AINT_QUEUE_ATTEMPT']} of {os.environ['AINT_QUEUE_JOB']} is done")
