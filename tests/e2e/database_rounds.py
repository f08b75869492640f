"""What a test may write to a PostgreSQL database, and all that another could see of it: for rounds of random writes."""

from __future__ import annotations

from typing import Any

N_TABLES = 12
SCHEMA = (
    "".join(f"CREATE TABLE t{n}(id serial PRIMARY KEY, a int, b text);\n" for n in range(N_TABLES))
    + "".join(
        f"ALTER TABLE t{n} ADD COLUMN up int REFERENCES t{n - 1} ON DELETE CASCADE;\n" for n in range(2, N_TABLES)
    )
    + """
    INSERT INTO t0(a) SELECT generate_series(1, 20);
    CREATE TABLE kind(id int PRIMARY KEY, name text);
    INSERT INTO kind VALUES (1, 'one'), (2, 'two');
    CREATE TABLE thing(id serial PRIMARY KEY, kind int REFERENCES kind);
    CREATE UNLOGGED TABLE fast(x int);
    CREATE SEQUENCE used; SELECT nextval('used'), nextval('used');
    CREATE TABLE noted(x int);
    CREATE TABLE log(what text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO log VALUES (TG_OP); RETURN NULL; END $$;
    CREATE TRIGGER note AFTER INSERT OR DELETE ON noted FOR EACH ROW EXECUTE FUNCTION note();
    CREATE TABLE part(x int) PARTITION BY RANGE (x);
    CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (100);
    CREATE SCHEMA "Odd name"; CREATE TABLE "Odd name"."it's; a table"("Column" text);
    CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM t1;
    """
)
ROWS = (
    "INSERT INTO t{n}(a) SELECT generate_series(1, {many})", "UPDATE t{n} SET a = 9, b = repeat('x', 5000)",
    "DELETE FROM t{n}", "SELECT nextval('t{n}_id_seq')", "SELECT nextval('used')",
    "SELECT setval('used', {many}, false)", "UPDATE t{n} SET a = a + 1 WHERE id < 4",
    "INSERT INTO thing(kind) VALUES (1), (2), (2)", "INSERT INTO fast VALUES ({n})", "INSERT INTO part VALUES ({n})",
    "INSERT INTO noted VALUES (1), (2)", "INSERT INTO \"Odd name\".\"it's; a table\" VALUES ('x')",
    "COPY t{n}(a) FROM PROGRAM 'seq 500'", "BEGIN;; INSERT INTO kind VALUES (7, 'rolled back');; ROLLBACK",
    "BEGIN;; INSERT INTO t{n}(a) VALUES (1);; SAVEPOINT s;; UPDATE kind SET name = 'x';; ROLLBACK TO s;; COMMIT",
    "SELECT * FROM kind FOR UPDATE", "INSERT INTO t{n}(a) VALUES (1)", "SELECT pg_switch_wal()",
)  # fmt: skip
SCHEMAS = (
    "TRUNCATE t{n} CASCADE", "DROP TABLE t{n} CASCADE", "CREATE TABLE x{n}(y int)", "SELECT lo_create(0)",
    "CREATE TEMPORARY TABLE y{n}(y int)", "SELECT lo_from_bytea(0, 'abc')", "CREATE SCHEMA s{n}",
    "ALTER TABLE t{n} ADD COLUMN z{n} int",
    "CREATE VIEW v{n} AS SELECT 1", "ALTER DATABASE {database} SET work_mem = '5MB'", "COMMENT ON TABLE t{n} IS 'c'",
    "UPDATE kind SET name = 'x' WHERE id = 1", "INSERT INTO t0(a) VALUES (1)", "CREATE INDEX ON t{n}(a)",
    "VACUUM t{n}",
    "CREATE UNLOGGED TABLE u{n}(x int)", "ALTER SEQUENCE used RESTART WITH 40", "VACUUM FULL t{n}", "ANALYZE",
    "REFRESH MATERIALIZED VIEW seen", "COMMENT ON DATABASE {database} IS 'c'", "CREATE TYPE e{n} AS ENUM ('a')",
    "GRANT SELECT ON t{n} TO PUBLIC", "BEGIN;; DROP TABLE t{n} CASCADE;; ROLLBACK", "VACUUM FULL pg_class",
    "CREATE TABLE c{n} AS SELECT generate_series(1, 9)", "REINDEX TABLE t{n}", "CLUSTER t{n} USING t{n}_pkey",
)  # fmt: skip
SESSIONS = ("SELECT pg_advisory_lock({n})", "LISTEN c{n}", "BEGIN;; UPDATE t0 SET a = 7", "SET work_mem = '7MB'")
LEFT = """
    SELECT (SELECT string_agg(concat(relname, relkind, relacl, relnatts, obj_description(oid)), ',' ORDER BY oid) FROM
            pg_class WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace)),
        (SELECT count(*) FROM pg_attribute), (SELECT count(*) FROM pg_constraint), (SELECT count(*) FROM pg_type),
        (SELECT count(*) FROM pg_largeobject_metadata), (SELECT count(*) FROM pg_largeobject),
        (SELECT count(*) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'),
        (SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
            WHERE locktype = 'advisory' AND datname = current_database()),
        (SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
            WHERE datname = current_database()),
        (SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database())
"""


def content(url: str) -> list[Any]:
    """All that a test could see: rows as they come, sequences, the schema in short, what belongs to the database."""
    import psycopg

    connection = psycopg.connect(url, autocommit=True)
    tables = connection.execute(
        "SELECT format('%I.%I', nspname, relname), relkind FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE relkind IN ('r', 'S', 'm') AND nspname !~ '^pg_|^information' ORDER BY c.oid"
    ).fetchall()
    found: list[Any] = [connection.execute(LEFT).fetchone()]
    for name, kind in tables:
        columns = "last_value, is_called" if kind == "S" else "*"
        found.append((name, connection.execute(f"SELECT {columns} FROM {name}").fetchall()))
    connection.close()
    return found


def differences(before: list[Any], now: list[Any]) -> list[Any]:
    pairs = [*zip(before[0], now[0], strict=True), *zip(before[1:], now[1:], strict=False)]
    return [pair for pair in pairs if pair[0] != pair[1]] + [before[len(now) :], now[len(before) :]] * (
        len(before) != len(now)
    )
