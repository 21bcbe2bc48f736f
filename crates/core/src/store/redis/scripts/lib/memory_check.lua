-- Fragment for servers before Redis 7, behind the checks: a write that never needs memory and changes nothing.
-- Those servers let a script that has written go on although memory is short, so ending work stays possible.
redis.call('LTRIM', NOTIFY, 0, 0)
