-- Fragment, after the checks: the pause stored in stats.

-- End of the current pause, from its stored form: 0 without an end, nil without a pause. Programs older than timed pauses
-- treat every pause as one without an end.
local function pause(stored, time)
  local till = tonumber(stored)
  if not stored or (till and till > 1 and till <= time) then
    return nil
  end
  return till and till > 1 and till or 0
end
