-- Fragment, behind the checks: what stands in stats about a pause.

-- When the pause that is in force ends, by what is stored: 0 for one that somebody has to end. nil when there is none.
-- A program that knows no ends takes each for a pause without one.
local function pause(stored, time)
  local till = tonumber(stored)
  if not stored or (till and till > 1 and till <= time) then
    return nil
  end
  return till and till > 1 and till or 0
end
