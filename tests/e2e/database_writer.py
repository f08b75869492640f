"""Writes projects with a database, at any size: of Django, of SQLAlchemy and Alembic, of pytest-postgresql.

The suites are xdist's usual ones and know nothing of hasten. Where they connect to is in DB_URL, a PostgreSQL URL; it
is SQLite without it. pytest-postgresql's is told by DB_HOST.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

FAMILY = 5  # so many tables refer to one another
DJANGO_SETTINGS = """
    import os
    from urllib.parse import parse_qsl, unquote, urlsplit

    SECRET_KEY = "x"
    base = os.environ.get("DB_NAME", "shop")
    USE_TZ = True
    DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
    ROOT_URLCONF = "project.urls"
    STATIC_URL = "/static/"
    INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "shop"]


    def database(name):
        url = urlsplit(os.environ.get("DB_URL", ""))
        if not url.scheme:
            test = {"NAME": os.environ["DB_FILE"] + name} if "DB_FILE" in os.environ else {}
            return {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "TEST": test}
        host = dict(parse_qsl(url.query)).get("host") or url.hostname
        return {"ENGINE": "django.db.backends.postgresql", "NAME": name, "HOST": host, "USER": unquote(url.username),
                "PORT": url.port or 5432, "TEST": {"SERIALIZE": True} if "SERIALIZE" in os.environ else {}}


    DATABASES = {"default": database(base), "other": database(base + "_other")}
    DATABASES["replica"] = {**database(base), "TEST": {"MIRROR": "default"}}
"""

DJANGO_TESTS = """
    import os

    import pytest
    from django.contrib.auth.models import Permission
    from django.contrib.contenttypes.models import ContentType
    from django.db import connection, connections
    from django.db.migrations.recorder import MigrationRecorder

    from shop import models

    N = {number}


    def own(using="default"):
        return sorted(models.M0.objects.using(using).values_list("name", flat=True))


    @pytest.mark.django_db
    def test_migrated_{number}():
        names = [table for table in connection.introspection.table_names() if table.startswith("shop_")]
        assert len(names) == {tables}
        assert MigrationRecorder(connection).migration_qs.filter(app="shop").count() == {migrations}
        assert ContentType.objects.filter(app_label="shop").count() == {tables}
        assert Permission.objects.filter(content_type__app_label="shop").count() == 4 * {tables}


    @pytest.mark.django_db
    @pytest.mark.parametrize("round", range({rounds}))
    def test_rows_{number}(round):
        assert own() == ["seed"]
        models.M0.objects.create(name=f"row of {number}")
        assert len(own()) == 2


    @pytest.mark.django_db(databases=["default", "other", "replica"])
    def test_aliases_{number}():
        assert own() == own("other") == own("replica") == ["seed"]
        models.M0.objects.using("other").create(name="there")
        assert own() == ["seed"]
        assert own("other") == ["seed", "there"]
        assert connections["other"].settings_dict["NAME"] != connections["default"].settings_dict["NAME"]


    @pytest.mark.django_db(transaction=True, serialized_rollback=True)
    def test_rolled_back_{number}():
        assert own() == ["seed"]
        models.M0.objects.create(name="committed")


    @pytest.mark.django_db
    def test_isolated_{number}():
        name = str(connection.settings_dict["NAME"])
        assert os.environ.get("PYTEST_XDIST_WORKER", "") in name or "memory" in name


    def test_without_database_{number}():
        assert N == {number}
"""

DJANGO_LAST_TESTS = """
    import urllib.request

    import pytest
    from shop import models


    @pytest.mark.django_db(transaction=True)
    def test_live(live_server):
        models.M0.objects.create(name="live")
        assert "live" in urllib.request.urlopen(live_server.url + "/").read().decode()


    @pytest.mark.django_db(transaction=True)
    def test_z_flushed():
        assert not models.M0.objects.filter(name="live").exists()
"""


ALEMBIC_CONFTEST = """
    import os
    import pathlib

    import alembic.command
    import alembic.config
    import pytest
    import sqlalchemy
    from sqlalchemy.engine import make_url

    URL = os.environ.get("DB_URL", "")


    def new_database(name, folder):
        if not URL:
            return make_url("sqlite:///" + str(folder / name))
        url = make_url(URL).set(drivername="postgresql+psycopg")
        admin = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {{name}}")
            connection.exec_driver_sql(f"CREATE DATABASE {{name}}")
        return url.set(database=name)


    def upgrade(url):
        config = alembic.config.Config(str(pathlib.Path(__file__).parent / "alembic.ini"))
        config.set_main_option("sqlalchemy.url", url.render_as_string(hide_password=False).replace("%", "%%"))
        alembic.command.upgrade(config, "head")


    def worker():
        return os.environ.get("PYTEST_XDIST_WORKER", "main")


    @pytest.fixture(scope="session")
    def engine(tmp_path_factory):
        url = new_database(f"migrated_{{worker()}}", tmp_path_factory.mktemp("db"))
        upgrade(url)
        engine = sqlalchemy.create_engine(url)
        yield engine
        engine.dispose()


    @pytest.fixture(scope="session")
    def created(tmp_path_factory):
        from shop import metadata

        engine = sqlalchemy.create_engine(new_database(f"created_{{worker()}}", tmp_path_factory.mktemp("db")))
        metadata.create_all(engine)
        metadata.create_all(engine)
        yield engine
        engine.dispose()


    @pytest.fixture
    def connection(engine):
        with engine.connect() as connection:
            with connection.begin() as transaction:
                yield connection
                transaction.rollback()
"""

ALEMBIC_ENV = """
    import sqlalchemy
    from alembic import context

    from shop import metadata

    engine = sqlalchemy.create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata)
        with context.begin_transaction():
            context.run_migrations()
"""

ALEMBIC_TESTS = """
    import pytest
    import sqlalchemy
    from conftest import worker


    def names(engine):
        return sorted(name for name in sqlalchemy.inspect(engine).get_table_names() if name.startswith("t"))


    def test_migrated_{number}(engine, connection):
        assert len(names(engine)) == {tables}
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "{last:04}"
        assert connection.exec_driver_sql("SELECT name FROM t0").scalars().all() == ["seed"]


    @pytest.mark.parametrize("round", range({rounds}))
    def test_rows_{number}(connection, round):
        connection.exec_driver_sql("INSERT INTO t0(name) VALUES ('row')")
        assert connection.exec_driver_sql("SELECT id, name FROM t0 ORDER BY id").all()[0] == (1, "seed")
        assert connection.exec_driver_sql("SELECT count(*) FROM t0").scalar() == 2


    def test_created_{number}(created):
        assert len(names(created)) == {tables}
        assert created.url.database.endswith(f"created_{{worker()}}")
"""


def _alembic_revision(number: int, tables: int, migrations: int) -> str:
    before = f'"{number - 1:04}"' if number > 1 else "None"
    if number <= tables:
        table = number - 1
        parent = f', sa.Column("parent", sa.Integer, sa.ForeignKey("t{table - 1}.id"))' if table % FAMILY else ""
        body = f"""op.create_table("t{table}", sa.Column("id", sa.Integer, primary_key=True),
                    sa.Column("name", sa.String(80), index=True), sa.Column("size", sa.Integer){parent})"""
    elif number < migrations:
        body = f'op.add_column("t{number % tables}", sa.Column("c{number}", sa.String(20)))'
    else:
        body = "op.execute(\"INSERT INTO t0(name) VALUES ('seed')\")"
    head = f'import sqlalchemy as sa\nfrom alembic import op\n\nrevision = "{number:04}"\ndown_revision = {before}\n'
    return f"{head}\n\ndef upgrade():\n    {body}\n\n\ndef downgrade():\n    pass\n"


def write_alembic(folder: Path, tables: int, migrations: int, files: int = 4, rounds: int = 3) -> None:
    """{files} test files with {rounds} + 2 tests each; every worker makes two databases by CREATE DATABASE."""
    columns = {
        table: "".join(f', sa.Column("c{n}", sa.String(20))' for n in _columns(table, tables, migrations))
        for table in range(tables)
    }
    parents = {
        table: f', sa.Column("parent", sa.Integer, sa.ForeignKey("t{table - 1}.id"))'
        for table in range(tables)
        if table % FAMILY
    }
    models = "".join(
        f'sa.Table("t{table}", metadata, sa.Column("id", sa.Integer, primary_key=True),\n'
        f'    sa.Column("name", sa.String(80), index=True), sa.Column("size", sa.Integer)'
        f"{parents.get(table, '')}{columns[table]})\n"
        for table in range(tables)
    )
    numbers = {"tables": tables, "last": migrations, "rounds": rounds}
    write(
        folder,
        {
            "pytest.ini": "[pytest]\npythonpath = .\n",
            "alembic.ini": "[alembic]\nscript_location = %(here)s/migrations\nsqlalchemy.url = sqlite://\n",
            "shop.py": f"import sqlalchemy as sa\n\nmetadata = sa.MetaData()\n{models}",
            "conftest.py": ALEMBIC_CONFTEST.replace("{{", "{").replace("}}", "}"),
            "migrations/env.py": ALEMBIC_ENV,
            **{
                f"migrations/versions/{n:04}_m.py": _alembic_revision(n, tables, migrations)
                for n in range(1, migrations + 1)
            },
            **{f"test_{n}.py": ALEMBIC_TESTS.format(number=n, **numbers) for n in range(files)},
        },
    )


LOADED_CONFTEST = """
    import os
    import pathlib

    from loader import migrate
    from pytest_postgresql import factories

    HERE = pathlib.Path(__file__).parent
    given = factories.postgresql_noproc(
        host=os.environ["DB_HOST"], port=5432, user="postgres", load=[HERE / "schema.sql", migrate]
    )
    client = factories.postgresql("given")
"""

LOADED_LOADER = """
    import pathlib

    import psycopg


    def migrate(host, port, user, dbname, password, **kwargs):
        with psycopg.connect(host=host, port=port, user=user, dbname=dbname, password=password) as connection:
            for path in sorted(pathlib.Path(__file__).parent.glob("migrations/*.sql")):
                connection.execute(path.read_text())
                connection.commit()
"""

LOADED_TESTS = """
    import pytest


    def rows(client, sql):
        with client.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()


    def test_migrated_{number}(client):
        sql = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^t[0-9]'"
        assert rows(client, sql) == [({tables},)]
        assert rows(client, "SELECT name FROM t0") == [("seed",)]


    @pytest.mark.parametrize("round", range({rounds}))
    def test_rows_{number}(client, round):
        with client.cursor() as cursor:
            cursor.execute("INSERT INTO t0(name) VALUES ('row')")
            cursor.execute("DROP TABLE t1 CASCADE")
        client.commit()
        assert rows(client, "SELECT id, name FROM t0 ORDER BY id") == [(1, "seed"), (2, "row")]
"""


def write_pytest_postgresql(folder: Path, tables: int, migrations: int, files: int = 4, rounds: int = 3) -> None:
    """{files} test files with {rounds} + 1 tests each, each with a database. DB_HOST: the server's socket folder."""
    schema = "".join(f"CREATE TABLE t{n}(id serial PRIMARY KEY, name text, size int);\n" for n in range(tables))
    numbers = {"tables": tables, "rounds": rounds}
    steps = {n: f"ALTER TABLE t{n % tables} ADD COLUMN c{n} text;\n" for n in range(tables + 1, migrations)}
    steps[migrations] = "INSERT INTO t0(name) VALUES ('seed');\n"
    write(
        folder,
        {
            "pytest.ini": "[pytest]\npythonpath = .\n",
            "conftest.py": LOADED_CONFTEST,
            "loader.py": LOADED_LOADER,
            "schema.sql": schema,
            **{f"migrations/{n:04}.sql": text for n, text in steps.items()},
            **{f"test_{n}.py": LOADED_TESTS.format(number=n, **numbers) for n in range(files)},
        },
    )


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def _columns(table: int, tables: int, migrations: int) -> list[int]:
    """The migrations after the first ones, which add a column each."""
    return [n for n in range(tables + 1, migrations) if n % tables == table]


def django_models(tables: int, migrations: int) -> str:
    lines = ["from django.db import models\n"]
    for table in range(tables):
        lines.append(f"\nclass M{table}(models.Model):\n    name = models.CharField(max_length=80, db_index=True)")
        lines.append("    size = models.IntegerField(default=0, db_index=True)")
        if table % FAMILY:
            lines.append(f'    parent = models.ForeignKey("M{table - 1}", models.CASCADE, null=True)')
        lines += [
            f'    c{n} = models.CharField(max_length=20, default="")' for n in _columns(table, tables, migrations)
        ]
    return "\n".join(lines) + "\n"


def django_migration(number: int, tables: int, migrations: int) -> str:
    """Number 1 to migrations: first a table each, then columns, at last a row."""
    head = "from django.db import migrations, models\n"
    before = f'[("shop", "{number - 1:04}_m")]' if number > 1 else "[]"
    if number <= tables:
        table = number - 1
        parent = (
            f'("parent", models.ForeignKey("shop.M{table - 1}", models.CASCADE, null=True)),' if table % FAMILY else ""
        )
        operation = f"""migrations.CreateModel(name="M{table}", fields=[
            ("id", models.BigAutoField(primary_key=True, serialize=False, auto_created=True, verbose_name="ID")),
            ("name", models.CharField(max_length=80, db_index=True)),
            ("size", models.IntegerField(default=0, db_index=True)), {parent}])"""
    elif number < migrations:
        operation = (
            f'migrations.AddField("M{number % tables}", "c{number}", models.CharField(max_length=20, default=""))'
        )
    else:
        head += "\n\ndef seed(apps, editor):\n    alias = editor.connection.alias\n"
        head += '    apps.get_model("shop", "M0").objects.using(alias).create(name="seed")\n'
        operation = "migrations.RunPython(seed, migrations.RunPython.noop)"
    body = f"    dependencies = {before}\n    operations = [{operation}]\n"
    return f"{head}\n\nclass Migration(migrations.Migration):\n{body}"


def write_django(folder: Path, tables: int, migrations: int, files: int = 4, rounds: int = 3) -> None:
    """migrations > tables. {files} test files with {rounds} + 5 tests each, and one with two."""
    numbers = {"tables": tables, "migrations": migrations, "rounds": rounds}
    write(
        folder,
        {
            "pytest.ini": "[pytest]\nDJANGO_SETTINGS_MODULE = project.settings\npythonpath = .\n",
            "project/__init__.py": "",
            "project/settings.py": DJANGO_SETTINGS,
            "project/urls.py": """
                from django.http import HttpResponse
                from django.urls import path
                from shop.models import M0

                urlpatterns = [path("", lambda request: HttpResponse(str(list(M0.objects.values("name")))))]
            """,
            "shop/__init__.py": "",
            "shop/models.py": django_models(tables, migrations),
            "shop/migrations/__init__.py": "",
            **{
                f"shop/migrations/{n:04}_m.py": django_migration(n, tables, migrations)
                for n in range(1, migrations + 1)
            },
            "tests/test_last.py": DJANGO_LAST_TESTS,
            **{f"tests/test_{n}.py": DJANGO_TESTS.format(number=n, **numbers) for n in range(files)},
        },
    )
