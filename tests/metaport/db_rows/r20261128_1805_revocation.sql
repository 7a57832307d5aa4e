INSERT INTO token_revocation (serial, kind, subject, before_ms, until_s, at_s) VALUES
    (7, 'user', '방문자', 1790000100123, 1790000900, 1790000100);
