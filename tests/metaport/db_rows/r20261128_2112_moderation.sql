INSERT INTO moderation_act (revision, act, room, user_id, what, until_ms, epoch, message_offset, to_room,
    note, done_by, at_ms) VALUES
    (1, 'mute', '광장', 'eve', '["audio", "text"]', 1790000060000, NULL, NULL, NULL, '도배', 'host',
     1790000000000),
    (2, 'ban', 'world/1/**', 'eve', NULL, NULL, NULL, NULL, NULL, '', 'admin', 1790000001000),
    (3, 'remove', '광장', 'eve', NULL, NULL, 'e1', 7, NULL, '욕설', 'host', 1790000002000),
    (4, 'move', '광장', 'ann', NULL, NULL, NULL, NULL, '조용한 방', '', 'host', 1790000003000);
