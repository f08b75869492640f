"""Suites of plugins: a test that runs a pytest of its own in the worker's process gets plain pytest."""

from __future__ import annotations

import pytest

SUITE = {
    "conftest.py": "pytest_plugins = ['pytester']\n",
    "test_outer.py": """
        import pytest

        class Seen:
            def pytest_collection_finish(self, session):
                self.names = [item.name for item in session.items]

        def test_before(): pass

        @pytest.mark.parametrize("again", [1, 2])
        def test_inner(pytester, again):
            pytester.makepyfile("import pytest\\n@pytest.mark.parametrize('x', [1, 2])\\ndef test_x(x): assert x == 1\\n")
            result = pytester.runpytest_inprocess()
            result.assert_outcomes(passed=1, failed=1)
            result.stdout.fnmatch_lines(["*assert 2 == 1*"])

        def test_main(tmp_path):
            (tmp_path / "test_in.py").write_text("def test_y(): pass\\n")
            seen = Seen()
            assert pytest.main(["-p", "no:cacheprovider", str(tmp_path)], plugins=[seen]) == 0
            assert seen.names == ["test_y"]

        def test_hooks(pytester):
            recorder = pytester.inline_run(pytester.makepyfile("def test_z(): pass\\nclass TestA:\\n    def test_b(self): pass\\n"))
            assert recorder.ret == 0
            names = [call.name for call in recorder.getcalls("pytest_pycollect_makeitem")]
            assert {"test_z", "TestA", "test_b"} <= set(names)

        class TestAfter:
            def test_after(self): pass
        """,
}


@pytest.mark.parametrize("args", [("-n0",), ("-n2",), ("-n2", "--start=early"), ("-n2", "--start=spawn")])
def test_a_pytest_inside_of_a_test_is_plain_pytest(suite, run_hasten, args):
    run = run_hasten(suite(SUITE), *args)
    outcomes = run.outcomes()
    assert len(outcomes) == 6
    assert set(outcomes.values()) == {"passed"}, run.describe()
    assert run.status == 0
