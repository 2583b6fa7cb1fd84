-- work.lua — an ordinary program: queens on a board, word counts over generated text, a parser and printer for JSON.
-- It knows nothing of where its memory comes from. Usage: work.lua [SCALE]; scale 1 takes about a second.
local scale = tonumber((...)) or 1

-- A generator of its own, so that every run does the same work.
local seed = 42
local function random(n)
    seed = (seed * 1664525 + 1013904223) % 4294967296
    return seed * n // 4294967296
end

-- ---- Queens: how many ways to place n of them; boards are copied, so each step allocates.
local function queens(n)
    local count = 0
    local function place(row, board)
        if row > n then
            count = count + 1
            return
        end
        for column = 1, n do
            local free = true
            for r = 1, row - 1 do
                local c = board[r]
                if c == column or c - r == column - row or c + r == column + row then
                    free = false
                    break
                end
            end
            if free then
                local copy = table.move(board, 1, row - 1, 1, {})
                copy[row] = column
                place(row + 1, copy)
            end
        end
    end
    place(1, {})
    return count
end

-- ---- Words: generate a text, take it apart again, count, sort.
local syllables = { "mor", "ph", "em", "ka", "lu", "to", "ri", "sen", "va", "do", "ne", "qui" }

local function text(words)
    local parts = {}
    for i = 1, words do
        local word = ""
        for _ = 1, 1 + random(3) do
            word = word .. syllables[1 + random(#syllables)]
        end
        parts[i] = word
    end
    return table.concat(parts, " ")
end

local function word_counts(words)
    local counts, names = {}, {}
    for word in text(words):gmatch("%a+") do
        counts[word] = (counts[word] or 0) + 1
    end
    for name in pairs(counts) do
        names[#names + 1] = name
    end
    table.sort(names, function(a, b)
        if counts[a] ~= counts[b] then
            return counts[a] > counts[b]
        end
        return a < b
    end)
    return #names, names[1], counts[names[1]]
end

-- ---- JSON: print a tree of tables, parse it, print it again.
local function json_print(value, out)
    if type(value) == "table" and value[1] ~= nil then
        out[#out + 1] = "["
        for i, item in ipairs(value) do
            if i > 1 then out[#out + 1] = "," end
            json_print(item, out)
        end
        out[#out + 1] = "]"
    elseif type(value) == "table" then
        local keys = {}
        for key in pairs(value) do keys[#keys + 1] = key end
        table.sort(keys)
        out[#out + 1] = "{"
        for i, key in ipairs(keys) do
            out[#out + 1] = (i > 1 and "," or "") .. '"' .. key .. '":'
            json_print(value[key], out)
        end
        out[#out + 1] = "}"
    elseif type(value) == "string" then
        out[#out + 1] = '"' .. value .. '"'
    else
        out[#out + 1] = tostring(value)
    end
    return out
end

local json_parse

local function json_items(s, at, close, item)
    at = s:match("^%s*()", at)
    while s:sub(at, at) ~= close do
        at = item(at)
        at = s:match("^%s*,?%s*()", at)
        if at > #s then error("JSON ends too early") end
    end
    return at + 1
end

function json_parse(s, at)
    at = s:match("^%s*()", at)
    local first = s:sub(at, at)
    if first == "{" then
        local object = {}
        at = json_items(s, at + 1, "}", function(here)
            local key, after = s:match('^"([^"]*)"%s*:()', here)
            if not key then error("JSON wants a key at " .. here) end
            object[key], after = json_parse(s, after)
            return after
        end)
        return object, at
    elseif first == "[" then
        local array = {}
        at = json_items(s, at + 1, "]", function(here)
            local value, after = json_parse(s, here)
            array[#array + 1] = value
            return after
        end)
        return array, at
    elseif first == '"' then
        return s:match('^"([^"]*)"()', at)
    end
    local word, after = s:match("^([%w%.%-]+)()", at)
    if word == "true" or word == "false" then return word == "true", after end
    local number = math.tointeger(word) or tonumber(word)
    if not number then error("JSON wants a value at " .. at) end
    return number, after
end

local function tree(depth)
    if depth == 0 then return random(1000) end
    local node = { name = "node-" .. random(1000), open = random(2) == 1, items = {} }
    for i = 1, 4 do node.items[i] = tree(depth - 1) end
    return node
end

local function json_round(depth)
    local printed = table.concat(json_print(tree(depth), {}))
    local again = table.concat(json_print((json_parse(printed, 1)), {}))
    assert(printed == again, "the tree changed on its way through JSON")
    return #printed
end

-- ---- The program.
local ways = queens(8)
assert(ways == 92, "8 queens stand in 92 ways")
for _ = 2, 40 * scale do assert(queens(8) == ways) end
print(("queens   %d ways"):format(ways))

local different, first, times
for _ = 1, 30 * scale do different, first, times = word_counts(20000) end
print(("words    %d different, '%s' %d times"):format(different, first, times))

local bytes = 0
for _ = 1, 25 * scale do bytes = bytes + json_round(6) end
print(("json     %d bytes there and back"):format(bytes))
