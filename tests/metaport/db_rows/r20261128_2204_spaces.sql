INSERT INTO space (space, title_ko, title_en, capacity, zone, hours, closed, state, state_revision, removed,
    revision, changed_by, changed_at_s) VALUES
    ('금오산', '금오산', 'Geumosan', 300, 'Asia/Seoul', '[{"days":["mon"],"from":"09:00","to":"18:00"}]',
     false, '{"weather":"비"}', 3, false, 1, '관리자', 1790000100),
    ('old', '', '', NULL, 'UTC', '[]', true, '{}', 0, true, 2, 'admin', 1790000200);
