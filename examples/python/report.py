"""A job of aint-queue as a program: the payload is on standard input, other data in the environment, and the exit
status is the outcome. Standard error becomes the error of the job.

Copy this file and configure: command = ["python3", "-u", "report.py"]
"""
import json, os, sys

RELEASE, FINAL_FAILURE = 75, 65

text = sys.stdin.read()
payload = json.loads(text)  # an uncaught exception: its traceback is the error, its status is 1

if "month" not in payload:
    print(f"no month in {text}", file=sys.stderr)
    sys.exit(FINAL_FAILURE)  # failed for good: a retry would not help

if os.path.exists("books.open"):
    sys.exit(RELEASE)  # released for one second, no attempt is counted

# Any other status is an error, retried by the policy of the channel.
with open("reports.txt", "a") as reports:
    reports.write(f"{os.environ['AINT_QUEUE_JOB_ID']} {payload['month']}\n")
env = os.environ
print(f"attempt {env['AINT_QUEUE_ATTEMPT']} of {env['AINT_QUEUE_MAX_ATTEMPTS']} of {env['AINT_QUEUE_JOB']} is done")
