"""Pushes a job with redis-py. Copy this file and push.lua, and call push().

Try it: python3 push.py default send_mail '{"to":"ann@example.com"}' '{"delay":5}'
"""
import json, os, pathlib, re, sys
import redis

SCRIPT = pathlib.Path(__file__).with_name("push.lua").read_text()
NAMES = re.findall(r"'([\w:]+)'", re.search(r"local NAMES = {(.*?)}", SCRIPT, re.S)[1])

def push(client, channel, job, payload, **options):
    """Returns the id of the job and whether it is new; otherwise another job holds the unique key.

    The head of push.lua lists the options. A refusal raises redis.exceptions.ResponseError.
    """
    script = client.register_script(SCRIPT)  # sends the hash, and the text only if needed
    own = [f"unique:{options['unique']}"] if options.get("unique") else []
    keys = [f"aint-queue:{{{channel}}}:{name}" for name in NAMES + own]
    id, added = script(keys, [job, json.dumps(payload), json.dumps(options)])
    return id, added == 1

if __name__ == "__main__":
    channel, job, payload, *options = sys.argv[1:]
    client = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
    id, added = push(client, channel, job, json.loads(payload), **json.loads(options[0] if options else "{}"))
    print(id, "is new" if added else "was there")
