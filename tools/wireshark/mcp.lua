-- SPDX-License-Identifier: Apache-2.0
-- Wireshark's view of MCP 1 (Model Communication Protocol): header, opcodes by name, payloads as JSON,
-- pieces (CHUNK) put together, CRCs set apart where WELCOME agreed on them. Frames may lie across
-- TCP segments and share them. Copy it to the folder "Personal Lua Plugins" of Help > About, or:
--   wireshark -X lua_script:tools/wireshark/mcp.lua
-- Connections to port 8080 (preference mcp1.port) are read, and those on any port that begin as MCP.
-- Its filters begin with "mcp1.", such as mcp1.opcode == 2 or mcp1.session == 7.

local HEADER, VERSION, CRC = 10, 1, 4
local LENGTH_MOST = 1024 * 1024 * 1024 -- a gateway's own limit is at most so high
-- As src/wire/opcode.def has them.
local OPCODES = {
    [0x01] = "REQUEST", [0x02] = "RESPONSE", [0x03] = "HEARTBEAT", [0x10] = "HELLO", [0x11] = "WELCOME",
    [0x12] = "ACK", [0x13] = "CREDIT", [0x14] = "CANCEL", [0x15] = "GOAWAY", [0x16] = "CHUNK",
}
local IS_JSON = { REQUEST = true, RESPONSE = true, HELLO = true, WELCOME = true, ACK = true, GOAWAY = true }

local mcp = Proto("mcp1", "Model Communication Protocol")
local field = {
    version = ProtoField.uint8("mcp1.version", "Version"),
    opcode = ProtoField.uint8("mcp1.opcode", "Opcode", base.HEX, OPCODES),
    session = ProtoField.uint32("mcp1.session", "Session"),
    length = ProtoField.uint32("mcp1.length", "Length"),
    payload = ProtoField.bytes("mcp1.payload", "Payload"),
    credit = ProtoField.uint32("mcp1.credit", "Credit in bytes"),
    crc = ProtoField.uint32("mcp1.crc32c", "CRC32C", base.HEX),
}
local expert = {
    version = ProtoExpert.new("mcp1.bad_version", "The version is not 1", expert.group.MALFORMED, expert.severity.ERROR),
    opcode = ProtoExpert.new("mcp1.unknown_opcode", "The opcode is not known", expert.group.UNDECODED,
        expert.severity.WARN),
    crc = ProtoExpert.new("mcp1.no_crc", "There is no room for the CRC that was agreed on", expert.group.MALFORMED,
        expert.severity.ERROR),
}
mcp.fields = field
mcp.experts = expert
mcp.prefs.port = Pref.uint("TCP port", 8080, "Connections to this port are read as MCP")

local stream_field = Field.new("tcp.stream")
local json = Dissector.get("json")
local crc_from -- by TCP stream: where WELCOME agreed on CRCs
local pieces -- by stream, source port and session: payload so far
local told -- the frames of this packet, in short
local wholes -- by packet and place in it: payload with the pieces before; false: there were none

function mcp.init()
    crc_from, pieces, wholes = {}, {}, {}
end

-- Whether CRCs were agreed on before this frame.
local function has_crc(stream, pinfo, at)
    local from = crc_from[stream]
    if from == nil then
        return false
    end
    return pinfo.number > from.number or (pinfo.number == from.number and at > from.at)
end

-- The payload with the pieces before it as a tvb, or nil. Frames are read in order only once.
local function put_together(stream, opcode, session, payload, pinfo, place)
    local id = string.format("%d/%d/%d", stream, pinfo.src_port, session)
    if not pinfo.visited and wholes[place] == nil then
        wholes[place] = false
        if opcode == "CHUNK" and payload:len() == 0 then
            pieces[id] = nil
        elseif opcode == "CHUNK" then
            pieces[id] = pieces[id] or ByteArray.new()
            pieces[id]:append(payload:bytes())
        elseif pieces[id] ~= nil then
            if payload:len() > 0 then
                pieces[id]:append(payload:bytes())
            end
            wholes[place] = pieces[id]
            pieces[id] = nil
        end
    end
    return wholes[place] and wholes[place]:tvb("MCP payload of several frames")
end

local function dissect_payload(opcode, payload, whole, pinfo, tree)
    if opcode == "CREDIT" and payload:len() == 4 then
        tree:add(field.credit, payload)
    elseif whole then
        json:call(whole, pinfo, tree)
    elseif IS_JSON[opcode] and payload:len() > 0 then
        json:call(payload:tvb(), pinfo, tree)
    elseif payload:len() > 0 then
        tree:add(field.payload, payload)
    end
end

local function dissect_frame(tvb, pinfo, root)
    local tree = root:add(mcp, tvb())
    local version, code = tvb(0, 1), tvb(1, 1)
    if version:uint() ~= VERSION then
        tree:add(field.version, version):add_proto_expert_info(expert.version)
        told[#told + 1] = "bad version"
        return
    end
    local opcode = OPCODES[code:uint()]
    local session = tvb(2, 4):uint()
    local stream = stream_field() and stream_field().value or 0
    local at = tvb:offset()
    local size = tvb:len() - HEADER
    tree:add(field.version, version)
    local opcode_item = tree:add(field.opcode, code)
    tree:add(field.session, tvb(2, 4))
    local length_item = tree:add(field.length, tvb(6, 4))
    if opcode == nil then
        opcode_item:add_proto_expert_info(expert.opcode)
    end
    local checked = has_crc(stream, pinfo, at)
    if checked and size < CRC then
        length_item:add_proto_expert_info(expert.crc)
        checked = false
    end
    local payload = tvb(HEADER, size - (checked and CRC or 0))
    tree:append_text(string.format(", %s, session %d, %d bytes", opcode or "unknown", session, size))
    told[#told + 1] = string.format("%s(%d)", opcode or "?", session)
    local whole
    if opcode == "CHUNK" or opcode == "REQUEST" or opcode == "RESPONSE" then
        whole = put_together(stream, opcode, session, payload, pinfo, pinfo.number .. "/" .. at)
    end
    dissect_payload(opcode, payload, whole, pinfo, tree)
    if checked then
        tree:add(field.crc, tvb(tvb:len() - CRC, CRC))
    end
    if opcode == "WELCOME" and payload:len() > 0 and not pinfo.visited then
        local features = payload:string():match('"features"%s*:%s*(%b[])')
        if features and features:find('"crc32c"', 1, true) then
            crc_from[stream] = { number = pinfo.number, at = at }
        end
    end
end

-- How long the frame at `offset` is; what is no frame takes the rest along.
local function frame_length(tvb, _, offset)
    if tvb(offset, 1):uint() ~= VERSION then
        return tvb:len() - offset
    end
    return HEADER + tvb(offset + 6, 4):uint()
end

local function dissect_one(tvb, pinfo, tree)
    dissect_frame(tvb, pinfo, tree)
    return tvb:len()
end

function mcp.dissector(tvb, pinfo, tree)
    local first = tvb(0, 1):uint()
    if first == 0x16 or (first >= 0x41 and first <= 0x5a) then
        return 0 -- TLS or HTTP: somebody else's
    end
    pinfo.cols.protocol = "MCP"
    told = {}
    if first ~= VERSION and tvb:len() < HEADER then
        dissect_frame(tvb, pinfo, tree) -- never would so much come that it could be a frame
    else
        dissect_tcp_pdus(tvb, tree, HEADER, frame_length, dissect_one)
    end
    if #told > 0 then -- the JSON dissector has written its own
        pinfo.cols.protocol = "MCP"
        pinfo.cols.info = table.concat(told, " ")
    end
    return tvb:len()
end

mcp:register_heuristic("tcp", function(tvb, pinfo, tree)
    if tvb:len() < HEADER or tvb(0, 1):uint() ~= VERSION or OPCODES[tvb(1, 1):uint()] == nil or
        tvb(6, 4):uint() > LENGTH_MOST then
        return false
    end
    pinfo.conversation = mcp
    mcp.dissector(tvb, pinfo, tree)
    return true
end)

local ports = DissectorTable.get("tcp.port")
local port = 0
local function listen()
    if port ~= 0 then
        ports:remove(port, mcp)
    end
    port = mcp.prefs.port
    if port ~= 0 then
        ports:add(port, mcp)
    end
end
mcp.prefs_changed = listen
listen()
