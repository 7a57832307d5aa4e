INSERT INTO usage_late (window_start_s, node, boot, meter, room, user_id, quantity)
VALUES (1790000100, 'hub', 'b', 'chat.messages_sent', '광장', 'u', 7);
INSERT INTO usage_hour (start_s, meter, app, space, room, quantity)
VALUES (1789999200, 'chat.messages_sent', 'default', '', '광장', 7);
INSERT INTO usage_day (start_s, meter, app, space, room, quantity)
VALUES (1789916400, 'chat.messages_sent', 'default', '', '광장', 7);
INSERT INTO usage_month (start_s, meter, app, space, room, quantity)
VALUES (1788188400, 'chat.messages_sent', 'default', '', '광장', 7);
INSERT INTO active_user (month_start_s, user_id) VALUES (1788188400, 'u');
INSERT INTO usage_gauge (at_s, meter, node, boot, quantity)
VALUES (1790000100, 'chat.peak_users', 'hub', 'b', 3);
INSERT INTO ledger_setting (name, value) VALUES ('zone', 'Asia/Seoul');
