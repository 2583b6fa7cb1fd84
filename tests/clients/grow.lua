-- grow.lua — keeps everything it makes, until there is no memory left. What is kept is checked on the way.
local kept, bytes = {}, 0
while true do
    local text = ("entry %d "):format(#kept + 1):rep(1 + #kept % 7)
    kept[#kept + 1] = { text = text, previous = kept[#kept] }
    bytes = bytes + #text
    if #kept % 5000 == 0 then
        assert(kept[#kept].previous == kept[#kept - 1])
        print(("kept %d entries, %d bytes of text"):format(#kept, bytes))
    end
end
