#!/bin/sh
# Pushes a job, or an array of jobs, over HTTP:  push.sh CHANNEL JSON
# AINT_QUEUE_URL: address of the master's listener. AINT_QUEUE_HTTP_TOKEN: its token, if any.
#
# The token goes through a pipe, because all users of the machine can read arguments. curl retries while the master
# starts or the store is unavailable; a "unique" key keeps a retry from adding the job twice.
printf 'header = "Authorization: Bearer %s"\n' "${AINT_QUEUE_HTTP_TOKEN-}" |
    curl --config - --silent --show-error --fail-with-body --retry 10 --retry-connrefused --max-time 60 \
        --header 'Content-Type: application/json' --data-raw "$2" \
        "${AINT_QUEUE_URL:-http://127.0.0.1:9465}/channels/$1/jobs"
