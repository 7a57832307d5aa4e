INSERT INTO audit_batch (number, previous, row_count, digest, sealed_at_s, seal)
VALUES (1, '0', 1, '1', 1790790001, '2');
INSERT INTO audit_entry
    (id, at_ms, actor, address, via, action, object, whose, personal, result, request_id, batch)
VALUES ('e1', 1790790001000, 'ann', '192.0.2.7', 'api', 'GET /x', '', 'kim', 'profile', '200', 'r1', 1);
