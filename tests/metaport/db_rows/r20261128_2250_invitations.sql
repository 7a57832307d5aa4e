INSERT INTO invitation (id, digest, room, max_uses, uses, made_by, made_at_s, expires_at_s, revoked_by) VALUES
    ('i_1', '2123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', '상담/1', 3, 1, 'u_1', 1790000100, 1790600100, NULL),
    ('i_2', '3123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', '상담/1', 1, 0, '진행자', 1790000100, 1790600100, 'admin');
INSERT INTO invitation_use (invitation, user_id, at_s) VALUES ('i_1', 'u_2', 1790000200);
