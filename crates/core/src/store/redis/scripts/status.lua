-- The job counts, made by lib/counts.lua.
--
-- reply  {waiting, reserved, delayed, done, failed, cleared, paused, end of the pause or 0, highest time that the clock has
--        shown, due time of the next delayed job or 0, now, 1 more than the bytes of all jobs or 0 while they are not counted, {id and meta of the front job of each priority that has one}}
return counts()
