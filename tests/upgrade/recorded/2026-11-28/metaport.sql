BEGIN TRANSACTION;
CREATE TABLE history_checkpoint (
	reader TEXT NOT NULL, 
	position BIGINT NOT NULL, 
	PRIMARY KEY (reader)
);
INSERT INTO "history_checkpoint" VALUES('hub',3652);
CREATE TABLE message (
	room TEXT NOT NULL, 
	epoch TEXT NOT NULL, 
	message_offset BIGINT NOT NULL, 
	message_id TEXT NOT NULL, 
	user_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	at_ms BIGINT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (room, epoch, message_offset)
);
INSERT INTO "message" VALUES('plaza/json','02d19f0796ea',1,'02d19f0796ea-1','anna','anna',1795889368509,'"안녕하세요"');
INSERT INTO "message" VALUES('plaza/json','02d19f0796ea',2,'02d19f0796ea-2','minho','minho',1795889369713,'{"kind":"emote","at":[1,-2.5,null,true],"wide":9007199254740991}');
INSERT INTO "message" VALUES('plaza/json','02d19f0796ea',3,'02d19f0796ea-3','anna','anna',1795889370316,'"third"');
INSERT INTO "message" VALUES('plaza/json','02d19f0796ea',4,'02d19f0796ea-4','anna','anna',1795889378256,'"last"');
INSERT INTO "message" VALUES('plaza/msgpack','1d182634bdfc',1,'1d182634bdfc-1','anna','anna',1795889381578,'"안녕하세요"');
INSERT INTO "message" VALUES('plaza/msgpack','1d182634bdfc',2,'1d182634bdfc-2','minho','minho',1795889382782,'{"kind":"emote","at":[1,-2.5,null,true],"wide":9007199254740991}');
INSERT INTO "message" VALUES('plaza/msgpack','1d182634bdfc',3,'1d182634bdfc-3','anna','anna',1795889383384,'"third"');
INSERT INTO "message" VALUES('plaza/msgpack','1d182634bdfc',4,'1d182634bdfc-4','anna','anna',1795889391340,'"last"');
CREATE TABLE reader_checkpoint (
	reader TEXT NOT NULL, 
	position TEXT NOT NULL, 
	at_s BIGINT NOT NULL, 
	PRIMARY KEY (reader)
);
INSERT INTO "reader_checkpoint" VALUES('hub','3861',1795889391);
CREATE TABLE room_epoch (
	room TEXT NOT NULL, 
	epoch TEXT NOT NULL, 
	ordinal BIGINT NOT NULL, 
	PRIMARY KEY (room, epoch), 
	CONSTRAINT room_epoch_in_order UNIQUE (room, ordinal)
);
INSERT INTO "room_epoch" VALUES('plaza/json','02d19f0796ea',1);
INSERT INTO "room_epoch" VALUES('plaza/msgpack','1d182634bdfc',1);
CREATE TABLE schema_version (
	version INTEGER NOT NULL, 
	applied_at_s BIGINT NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "schema_version" VALUES(2,1795889366);
CREATE TABLE usage_window (
	window_start_s BIGINT NOT NULL, 
	node TEXT NOT NULL, 
	boot TEXT NOT NULL, 
	meter TEXT NOT NULL, 
	room TEXT NOT NULL, 
	user_id TEXT NOT NULL, 
	quantity BIGINT NOT NULL, 
	PRIMARY KEY (window_start_s, node, boot, meter, room, user_id)
)
 WITHOUT ROWID

;
INSERT INTO "usage_window" VALUES(1795888800,'hub','99cdf020d127bfd2','chat.connection_seconds','','anna',25);
INSERT INTO "usage_window" VALUES(1795888800,'hub','99cdf020d127bfd2','chat.connection_seconds','','minho',25);
INSERT INTO "usage_window" VALUES(1795888800,'hub','99cdf020d127bfd2','chat.messages_delivered','plaza/json','anna',5);
INSERT INTO "usage_window" VALUES(1795888800,'hub','99cdf020d127bfd2','chat.messages_delivered','plaza/json','minho',2);
INSERT INTO "usage_window" VALUES(1795888800,'hub','99cdf020d127bfd2','chat.messages_delivered','plaza/msgpack','anna',5);
INSERT INTO "usage_window" VALUES(1795888800,'hub','99cdf020d127bfd2','chat.messages_delivered','plaza/msgpack','minho',2);
INSERT INTO "usage_window" VALUES(1795888800,'hub','99cdf020d127bfd2','chat.messages_recovered','plaza/json','minho',2);
INSERT INTO "usage_window" VALUES(1795888800,'hub','99cdf020d127bfd2','chat.messages_recovered','plaza/msgpack','minho',2);
INSERT INTO "usage_window" VALUES(1795888800,'hub','99cdf020d127bfd2','chat.messages_sent','plaza/json','anna',3);
INSERT INTO "usage_window" VALUES(1795888800,'hub','99cdf020d127bfd2','chat.messages_sent','plaza/json','minho',1);
INSERT INTO "usage_window" VALUES(1795888800,'hub','99cdf020d127bfd2','chat.messages_sent','plaza/msgpack','anna',3);
INSERT INTO "usage_window" VALUES(1795888800,'hub','99cdf020d127bfd2','chat.messages_sent','plaza/msgpack','minho',1);
CREATE INDEX usage_window_by_user ON usage_window (user_id, window_start_s);
CREATE INDEX message_by_time ON message (at_ms);
COMMIT;
