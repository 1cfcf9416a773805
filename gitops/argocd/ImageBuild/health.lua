-- The health of an ImageBuild. A build that was made superfluous by a newer change is nobody's problem.
local status = obj.status or {}
local ready = {}
local stalled = false
for _, each in ipairs(status.conditions or {}) do
  if each.type == "Ready" then
    ready = each
  end
  stalled = stalled or (each.type == "Stalled" and each.status == "True")
end
local message = ready.message or "the operator has not seen it yet"
if status.failure then
  if status.failure.reason == "Superseded" then
    return { status = "Suspended", message = message }
  end
  return { status = "Degraded", message = status.failure.reason .. ": " .. message }
end
-- It has not ended: what it names has been missing for long, or somebody must act.
if stalled then
  return { status = "Degraded", message = ready.reason .. ": " .. message }
end
if ready.status == "True" then
  return { status = "Healthy", message = message }
end
return { status = "Progressing", message = message }
