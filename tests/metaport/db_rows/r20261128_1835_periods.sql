INSERT INTO closed_month (month, zone, start_s, end_s, as_of_s, closed_at_s, closed_by, note, price_book, price_book_source, figures, corrections, statement, digest, signature)
VALUES ('2026-09', 'Asia/Seoul', 1788188400, 1790780400, 1790780400, 1790790000, '담당', '', '', 'p', '{}', '[]', '{}', '0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', '');
INSERT INTO closed_line (month, day_start_s, meter, app, space, room, quantity)
VALUES ('2026-09', 1788188400, 'chat.messages_sent', 'default', '', '광장', 7);
INSERT INTO correction (number, corrects, booked_in, day_start_s, meter, room, quantity, amount, reason, person, at_s)
VALUES (1, '2026-09', '2026-10', 1788188400, 'chat.messages_sent', '', -3, '-1', '중복', '담당', 1790790001);
