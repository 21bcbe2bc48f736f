#!/bin/sh
# A job of aint-queue as a program: the payload on standard input, the rest in the environment, the exit status says
# how it ended. What it writes to standard error is kept as the job's error.
payload=$(cat)

case $payload in
    *'"month"'*) ;;
    *) echo "no month in $payload" >&2; exit 65 ;;  # 65 or 100: failed for good, trying again is pointless
esac

if [ -e books.open ]; then
    exit 75                                         # not yet: handed back for a second, no attempt is counted
fi

# Any other status: an error that is tried again by the channel's policy. The status of a program that fails here is
# its own affair, not ours, hence the "exit 1".
echo "$AINT_QUEUE_JOB_ID $payload" >> reports.txt || exit 1
echo "attempt $AINT_QUEUE_ATTEMPT of $AINT_QUEUE_MAX_ATTEMPTS of $AINT_QUEUE_JOB is done"
