INSERT INTO app (id, name, state, created_by, created_at_s)
VALUES ('gumi', '구미', 'active', 'admin', 1790790001);
INSERT INTO app_key (id, app, algorithm, public_key, created_by, created_at_s, ends_at_s, ended_by)
VALUES ('k1', 'gumi', 'HS256', NULL, 'admin', 1790790001, 1790790101, 'admin'),
    ('k2', 'gumi', 'EdDSA', '{}', 'admin', 1790790001, NULL, NULL);
INSERT INTO account (id, app, login, name, about, email, locale, avatar, state, state_reason,
    password_hash, password_at_s, created_by, created_at_s, approved_by, approved_at_s, version)
VALUES ('u_1', 'default', '홍길동', '길동', '', NULL, 'ko', NULL, 'active', '', '$argon2id$',
    1790790001, 'u_1', 1790790001, 'admin', 1790790101, 2);
INSERT INTO account_subject (issuer, subject, account, linked_at_s)
VALUES ('https://id.example.kr', 's1', 'u_1', 1790790001);
INSERT INTO role_grant (id, account, role, asked_by, asked_at_s, confirmed_by, confirmed_at_s,
    ended_by, ended_at_s)
VALUES ('g_1', 'u_1', 'operator', 'a', 1790790001, 'b', 1790790002, NULL, NULL);
INSERT INTO device (id, account, name, agent, created_at_s, seen_at_s, address)
VALUES ('d_1', 'u_1', '전화', 'x', 1790790001, 1790790002, '192.0.2.1');
INSERT INTO login_session (id, user_id, app, device, turn, turned_at_s, created_at_s, expires_at_s,
    address, ended_at_s, end_reason)
VALUES ('s_1', 'u_1', 'default', 'd_1', 3, 1790790003, 1790790001, 1790999999, '192.0.2.1',
    1790790009, 'reused');
INSERT INTO erasure (pseudonym, user_id, asked_by, at_s, done_at_s, counts)
VALUES ('erased-1', NULL, 'admin', 1790790001, 1790790002, '{"message": 3}');
