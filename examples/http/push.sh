#!/bin/sh
# Pushes a job, or an array of jobs, over HTTP:  push.sh CHANNEL JSON
# AINT_QUEUE_URL is where the master listens, AINT_QUEUE_HTTP_TOKEN its token, if it has one.
#
# The token goes through a pipe: arguments can be seen by everybody on the machine. curl tries again by itself while the
# master is being started or the store is away; give the job a "unique" key, so that this cannot add it twice.
printf 'header = "Authorization: Bearer %s"\n' "${AINT_QUEUE_HTTP_TOKEN-}" |
    curl --config - --silent --show-error --fail-with-body --retry 10 --retry-connrefused --max-time 60 \
        --header 'Content-Type: application/json' --data-raw "$2" \
        "${AINT_QUEUE_URL:-http://127.0.0.1:9465}/channels/$1/jobs"
