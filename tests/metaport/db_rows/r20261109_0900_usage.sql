INSERT INTO usage_window (window_start_s, node, boot, meter, room, user_id, quantity)
VALUES (1790000100, 'hub', 'b', 'chat.messages_sent', '광장', 'u', 7);
INSERT INTO usage_window (window_start_s, node, boot, meter, room, user_id, quantity)
VALUES (1790001000, 'sfu', 'c', 'voice.participant_seconds', '', '', 9000000000);
INSERT INTO reader_checkpoint (reader, position, at_s) VALUES ('hub', '4096', 1790000200);
