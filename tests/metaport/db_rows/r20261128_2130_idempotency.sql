INSERT INTO api_idempotency
    (caller, key_hash, request_hash, claimed_by, claimed_at_s, status, answer)
VALUES ('ann', 'a1', 'b2', 'r1', 1790790001, NULL, NULL);
