INSERT INTO webhook_endpoint
    (id, url, events, enabled, secret_version, rotated_at_s, created_by, created_at_s)
VALUES ('we_1', 'https://example.kr/hook', '["budget.*"]', true, 1, 1790790001, 'admin', 1790790001);
INSERT INTO webhook_event (id, type, at_ms, body)
VALUES ('budget/1', 'budget.reached', 1790790001000, '{}');
INSERT INTO webhook_delivery
    (event_id, endpoint_id, state, attempts, next_at_s, last_status, last_error)
VALUES ('budget/1', 'we_1', 'dead', 8, 1790790001, 500, 'no');
