-- The health of an ImageChain, from its conditions (docs/conditions.md).
local function condition(kind)
  for _, each in ipairs(obj.status and obj.status.conditions or {}) do
    if each.type == kind then
      return each
    end
  end
end

local function health(status, message)
  return { status = status, message = message or "" }
end

local observed = obj.status and obj.status.observedGeneration
if observed ~= obj.metadata.generation then
  return health("Progressing", "the operator has not seen this version yet")
end
if obj.spec.suspend then
  return health("Suspended", "spec.suspend is true")
end
for _, kind in ipairs({ "Degraded", "Stalled", "Drifted" }) do
  local found = condition(kind)
  if found and found.status == "True" then
    return health("Degraded", found.reason .. ": " .. found.message)
  end
end
local ready = condition("Ready")
if ready and ready.status == "True" then
  return health("Healthy", ready.message)
end
return health("Progressing", ready and ready.message)
