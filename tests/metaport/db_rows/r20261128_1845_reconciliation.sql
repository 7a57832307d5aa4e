INSERT INTO reconciliation (day, checked_at_s, compared, differences, skipped)
VALUES ('2026-09-30', 1790790001, '{"messages": 3}', '[]', '{}');
