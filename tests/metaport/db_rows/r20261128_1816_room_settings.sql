INSERT INTO room_settings (room, kind, persistent, capacity, users, guests, subscribed, removed,
    revision, changed_by, changed_at_s) VALUES
    ('상담실', 'private', true, 20, '["방문자"]', false, true, false, 1, '관리자', 1790000100),
    ('hall', 'public', false, NULL, '[]', true, false, true, 2, 'admin', 1790000200);
