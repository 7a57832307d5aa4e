INSERT INTO room_epoch (room, epoch, ordinal) VALUES ('광장', 'e1', 1);
INSERT INTO message (room, epoch, message_offset, message_id, user_id, name, at_ms, body)
VALUES ('광장', 'e1', 1, 'm1', 'u', '방문자', 1790000100123, '"안녕"');
INSERT INTO history_checkpoint (reader, position) VALUES ('hub', 4096);
