INSERT INTO webhook_checkpoint (reader, position) VALUES ('hub-0', 4096), ('sfu-0', 0);
