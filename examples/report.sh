#!/bin/sh
# A job of aint-queue as a program: the payload on standard input, the rest in the environment.
payload=$(cat)
case $payload in
    *'"month"'*) ;;
    *) echo "no month in $payload" >&2; exit 65 ;;  # trying again is pointless
esac
echo "attempt $AINT_QUEUE_ATTEMPT of $AINT_QUEUE_JOB, job $AINT_QUEUE_JOB_ID: $payload"
