-- One of each kind of thing that a schema may hold.
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE SCHEMA world;
CREATE TYPE world.mood AS ENUM ('기쁨', 'sad');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE FUNCTION world.shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT upper($1) $$;
CREATE SEQUENCE world.ticket START 100 INCREMENT 5;
CREATE TABLE world.person (
  id bigserial PRIMARY KEY, name text NOT NULL, email varchar(200) UNIQUE,
  mood world.mood DEFAULT '기쁨', tags text[], p pair, age positive, at timestamptz DEFAULT now(),
  amount numeric(12,2), doc jsonb, raw bytea,
  big text GENERATED ALWAYS AS (world.shout(name)) STORED,
  CONSTRAINT no_empty CHECK (name <> ''));
COMMENT ON TABLE world.person IS '사람''s';
COMMENT ON COLUMN world.person.name IS 'name \ 이름';
CREATE TABLE "Odd ""name" ("Key" int GENERATED ALWAYS AS IDENTITY, "v;" text,
  person bigint REFERENCES world.person ON DELETE CASCADE, PRIMARY KEY ("Key"));
CREATE TABLE nokey (a int, b text);
CREATE TABLE part (at date NOT NULL, n int NOT NULL, v text, PRIMARY KEY (at, n))
  PARTITION BY RANGE (at);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE part_2 PARTITION OF part DEFAULT;
CREATE INDEX person_trgm ON world.person USING gin (name gin_trgm_ops);
CREATE INDEX person_lower ON world.person (lower(email)) WHERE email IS NOT NULL;
CREATE VIEW happy AS SELECT id, name FROM world.person WHERE mood = '기쁨';
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM happy;
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE INSERT ON world.person FOR EACH ROW EXECUTE FUNCTION stamp();
INSERT INTO world.person (name, email, tags, p, age, amount, doc, raw)
  SELECT '사람 ' || g || E'\t\\x', 'u' || g || '@x.kr', ARRAY['a', NULL, '"q"'],
    ROW(g, 'x')::pair, g, g * 1.10, '{"b": 1, "a": [1,2]}', decode('00ff','hex')
  FROM generate_series(1, 2000) g;
INSERT INTO "Odd ""name" ("v;", person) SELECT E'a\nb', g FROM generate_series(1, 500) g;
INSERT INTO nokey SELECT g % 10, NULL FROM generate_series(1, 1000) g;
INSERT INTO part SELECT '2026-01-01'::date + g, g, 'v' FROM generate_series(0, 364) g;
SELECT nextval('world.ticket'), nextval('world.ticket');
