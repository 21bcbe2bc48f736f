#!/bin/sh
# A job of aint-queue as a program: the payload is on standard input, other data in the environment, and the exit
# status is the outcome. Standard error becomes the error of the job.
#
# Copy this file and configure: command = ["./report.sh"]
payload=$(cat)

case $payload in
    *'"month"'*) ;;
    *) echo "no month in $payload" >&2; exit 65 ;;  # 65 or 100: failed for good, a retry would not help
esac

if [ -e books.open ]; then
    exit 75                                         # released for one second, no attempt is counted
fi

# Any other status is an error, retried by the policy of the channel. "exit 1" replaces the status of the failed
# command, which could be one of the special values above.
echo "$AINT_QUEUE_JOB_ID $payload" >> reports.txt || exit 1
echo "attempt $AINT_QUEUE_ATTEMPT of $AINT_QUEUE_MAX_ATTEMPTS of $AINT_QUEUE_JOB is done"
