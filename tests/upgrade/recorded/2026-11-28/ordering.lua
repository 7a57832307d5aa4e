-- The one call of RedisBus: judges whether writes may have been lost, then publishes or reads.
--
-- Effects of a script reach replicas and the append-only file as one transaction, so place, stream
-- entry, idempotency key and count stand or fall together. The first write for a draft is XADD:
-- when the server takes no writes (OOM, MISCONF, NOREPLICAS) it fails and nothing has happened.
--
-- KEYS[1] seed; ARGV[1] operation, ARGV[2] fresh random name, ARGV[3] '1' when a restart keeps
-- every write, ARGV[4] replication ids of primaries, or nothing new about them. The rest belongs
-- to the operation. chatd/redis_script.py is the other side.

local fresh = ARGV[2]
local clock = redis.call('TIME')
local now_s = tonumber(clock[1])
local now_ms = now_s * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function digits(number)
  return string.format('%.0f', number)
end

-- The generation names a stretch of time in which the keys of this slot have lost nothing.
--
-- Redis draws a new replication id at every promotion and at every start; replid2 is all zeros
-- only after a start that was no promotion and read no RDB file. In a cluster another id may also
-- mean that the slot has moved, and then nothing is lost: that is so when its new owner was a
-- primary under this same id while the old one still served the slot. A replica has its primary's
-- id, and an id that is given up never comes back. Hence `peers`, written while the slot is served.
local function current_generation()
  local replication = redis.call('INFO', 'replication')
  local id = string.match(replication, 'master_replid:(%w+)')
  local seed = redis.call('HMGET', KEYS[1], 'replid', 'generation', 'peers')
  local generation = seed[2]
  if seed[1] ~= id or not generation then
    local restarted = string.match(replication, 'master_replid2:0+[\r\n]') and ARGV[3] == '1'
    local moved = seed[3] and string.find(seed[3], id, 1, true)
    if not (generation and (restarted or moved)) then
      generation = fresh
    end
    redis.call('HSET', KEYS[1], 'replid', id, 'generation', generation)
  end
  if ARGV[4] ~= '' then
    redis.call('HSET', KEYS[1], 'peers', ARGV[4])
  end
  return generation
end

local generation = current_generation()

local function head_of(meta, stream, meta_s)
  local row = redis.call('HMGET', meta, 'epoch', 'offset', 'bytes', 'generation', 'touched')
  if row[4] == generation then
    return {
      epoch = row[1], offset = tonumber(row[2]), bytes = tonumber(row[3]),
      touched = tonumber(row[5] or 0),
    }
  end
  redis.call('DEL', stream)
  redis.call('HSET', meta, 'epoch', fresh, 'offset', 0, 'bytes', 0, 'generation', generation)
  redis.call('EXPIRE', meta, meta_s)
  return { epoch = fresh, offset = 0, bytes = 0, touched = 0, opened = true }
end

-- An entry is {id, {'frame', f, 'at', ms, 'bytes', all bytes of the room up to and with it}}.
local function trim(stream, room, max_bytes, age_ms)
  local function passed(entry)
    local fields = entry[2]
    return tonumber(fields[4]) < now_ms - age_ms or room.bytes - tonumber(fields[6]) > max_bytes
  end
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  if not first or not passed(first) then
    return
  end
  local low, high = tonumber(string.match(first[1], '%d+')), room.offset
  while low + 1 < high do
    local middle = math.floor((low + high) / 2)
    local entry = redis.call('XRANGE', stream, digits(middle), '+', 'COUNT', 1)[1]
    if entry and passed(entry) then
      low = middle
    else
      high = middle
    end
  end
  redis.call('XTRIM', stream, 'MINID', digits(high))
end

-- KEYS: seed, lane, three windows of counts, (meta, stream) of each room, idempotency keys.
local function publish()
  local lane, sequence, known = KEYS[2], tonumber(ARGV[5]), ARGV[6]
  local origin, command = ARGV[7], ARGV[8]
  local window_s, first_window_s = tonumber(ARGV[9]), tonumber(ARGV[10])
  local max_messages, max_bytes = ARGV[11], tonumber(ARGV[12])
  local age_ms, key_ms = tonumber(ARGV[13]), ARGV[14]
  local meta_s, lane_s, sent_s = ARGV[15], ARGV[16], ARGV[17]
  local room_count, draft_count = tonumber(ARGV[18]), tonumber(ARGV[19])

  -- A batch that will not be done is fenced: an attempt of it that is still stuck in some socket
  -- finds its number used.
  local function fence(verdict)
    local answer = cmsgpack.pack({ generation, now_ms, verdict })
    redis.call('HSET', lane, 'sequence', sequence, 'answer', answer)
    redis.call('EXPIRE', lane, lane_s)
    return answer
  end

  -- A batch that comes again is answered, not done again.
  local past = redis.call('HMGET', lane, 'sequence', 'answer')
  local last = tonumber(past[1] or 0)
  if sequence <= last then
    redis.call('EXPIRE', lane, lane_s) -- a write, so that WAIT after this answer waits for it
    return sequence == last and past[2] or cmsgpack.pack({ generation, now_ms, 'stale' })
  end
  -- It was sent before under another generation: whether it was done then, nobody knows.
  if known ~= '' and known ~= generation then
    return fence('lost')
  end
  local window = math.floor((now_s - first_window_s) / window_s)
  if window < 0 or window > 2 then
    return fence('clock')
  end
  local sent = KEYS[3 + window]

  local rooms = {}
  local argument = 20
  for index = 1, room_count do
    local meta, stream = KEYS[4 + 2 * index], KEYS[5 + 2 * index]
    local room = head_of(meta, stream, meta_s)
    room.meta, room.stream = meta, stream
    room.channel, room.head = ARGV[argument], ARGV[argument + 1]
    room.appended = 0
    rooms[index] = room
    argument = argument + 2
  end

  local places, kept = {}, false
  local at, packed_at = digits(now_ms), cmsgpack.pack(now_ms)
  for index = 1, draft_count do
    local room = rooms[tonumber(ARGV[argument])]
    local key = KEYS[tonumber(ARGV[argument + 1])]
    local subject, middle, tail = ARGV[argument + 2], ARGV[argument + 3], ARGV[argument + 4]
    argument = argument + 5
    local first = key and redis.call('GET', key)
    if first then
      local epoch, offset, at_ms = cmsgpack.unpack(first)
      places[index] = { 'repeat', epoch, offset, at_ms }
      kept = true
    else
      local offset = room.offset + 1
      local number = digits(offset)
      local frame = room.head .. cmsgpack.pack(offset) .. '\162id'
        .. cmsgpack.pack(room.epoch .. '-' .. number) .. middle .. packed_at .. tail
      local bytes = room.bytes + #frame
      local added = redis.pcall(
        'XADD', room.stream, 'MAXLEN', '~', max_messages, number .. '-0',
        'frame', frame, 'at', at, 'bytes', digits(bytes)
      )
      if type(added) == 'table' and added.err then
        places[index] = { 'refused', added.err, 0, 0 }
      else
        room.offset, room.bytes = offset, bytes
        room.appended = room.appended + #frame
        if key then
          redis.call('SET', key, cmsgpack.pack(room.epoch, offset, now_ms), 'PX', key_ms)
        end
        if redis.call('HINCRBY', sent, generation .. subject, 1) == 1 then
          redis.call('EXPIRE', sent, sent_s)
        end
        redis.call(
          command, room.channel,
          room.epoch .. ' ' .. number .. ' ' .. origin .. ' ' .. frame
        )
        places[index] = { 'accepted', room.epoch, offset, now_ms }
        kept = true
        -- About one in 64 messages pays for looking at the old end; big ones pay more often.
        if offset % 64 == 0 or room.appended > 65536 then
          trim(room.stream, room, max_bytes, age_ms)
          room.appended = 0
        end
      end
    end
  end

  if not kept then
    -- The server takes no writes: there is nothing to keep, and it could not be kept.
    return cmsgpack.pack({ generation, now_ms, places })
  end
  for index = 1, room_count do
    local room = rooms[index]
    local offset, bytes = digits(room.offset), digits(room.bytes)
    if now_ms - room.touched > age_ms / 8 then
      -- Not with every message: each costs as much as the publication.
      redis.call('HSET', room.meta, 'offset', offset, 'bytes', bytes, 'touched', at)
      redis.call('EXPIRE', room.meta, meta_s)
      redis.call('PEXPIRE', room.stream, digits(age_ms * 9 / 8))
    else
      redis.call('HSET', room.meta, 'offset', offset, 'bytes', bytes)
    end
  end
  return fence(places)
end

-- KEYS: seed, meta, stream.
-- Returns {head, frame, frame, …}: the newest frames up to the room's offset, without a gap.
local function read()
  local meta, stream = KEYS[2], KEYS[3]
  local meta_s, max_entries = ARGV[5], tonumber(ARGV[6])
  local since_epoch, since_offset, wanted = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
  local room = head_of(meta, stream, meta_s)
  if since_epoch == room.epoch then
    wanted = math.max(wanted, room.offset - since_offset)
  end
  wanted = math.min(wanted, room.offset, max_entries)
  local opened = room.opened or false
  local answer = { cmsgpack.pack({ generation, now_ms, room.epoch, room.offset, opened }) }
  if wanted > 0 then
    local entries = redis.call('XRANGE', stream, digits(room.offset - wanted + 1), '+')
    for index = 1, #entries do
      answer[index + 1] = entries[index][2][2]
    end
  end
  return answer
end

if ARGV[1] == 'publish' then
  return publish()
end
return read()
