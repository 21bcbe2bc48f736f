-- Fragment for servers before Redis 7, after the checks: a write that needs no memory and changes nothing. These servers
-- let a script that has already written continue when memory is short, so jobs can still be finished.
redis.call('LTRIM', NOTIFY, 0, 0)
