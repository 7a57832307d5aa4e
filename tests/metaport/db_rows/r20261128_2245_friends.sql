INSERT INTO friendship (pair, asker, asked, asked_at_s, accepted_at_s) VALUES
    ('0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', 'u_1', '상담:u_2', 1790000100, 1790000200),
    ('1123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', 'u_3', 'u_1', 1790000300, NULL);
INSERT INTO block (blocker, blocked, at_s) VALUES ('u_1', 'u_4', 1790000400), ('u_4', 'u_1', 1790000500);
