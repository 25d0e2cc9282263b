-- The health of a Sandbox, for Argo CD: docs/gitops.md says how to install it.
-- An object that is being deleted is Progressing without this script being asked.
-- Without Argo CD's useOpenLibs there is no string library here, and the script needs none.

local function fields(value)
  return type(value) == "table" and value or {}
end

local status = fields(obj.status)
local found = {}
for _, condition in pairs(fields(status.conditions)) do
  local kind = fields(condition).type
  if type(kind) == "string" then
    found[kind] = condition
  end
end

local function is(kind, value)
  return found[kind] ~= nil and found[kind].status == value
end

local function health(word, kind)
  local message = fields(found[kind]).message
  return {status = word, message = type(message) == "string" and message or ""}
end

local generation = fields(obj.metadata).generation
if type(status.observedGeneration) ~= "number" or status.observedGeneration ~= generation then
  return {status = "Progressing", message = "the operator has not looked at this version of the Sandbox yet"}
end
if is("Reconciling", "True") then
  return health("Progressing", "Reconciling")
end
if is("Stalled", "True") then
  return health("Degraded", "Stalled")
end
if is("Paused", "True") then
  return health("Suspended", "Paused")
end
if is("Finished", "True") then
  return health("Healthy", "Finished")
end
if is("Ready", "True") then
  -- It runs, and would not be started again: people should see which permission is gone.
  return health("Healthy", is("VolumesAllowed", "False") and "VolumesAllowed" or "Ready")
end
return health("Progressing", "Ready")
