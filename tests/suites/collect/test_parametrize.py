import enum
import pytest

class E(enum.Enum):
    A = 1

class Thing: pass

@pytest.mark.parametrize("x", [1, 2.5, "text", b"bytes", None, True, E.A, Thing, Thing(), "hooked", "é", "a/b", ""])
def test_values(x): pass

@pytest.mark.parametrize(("x", "y"), [(1, 2), pytest.param(3, 4, id="named"), pytest.param(5, 6, marks=pytest.mark.skip)])
def test_pairs(x, y, root): pass

@pytest.mark.parametrize("x", [1, 1, 2], ids=["same", "same", None])
@pytest.mark.parametrize("y", [1, 2])
def test_stacked(x, y): pass

@pytest.mark.parametrize("x", [1, 2], ids=lambda v: f"v{v}")
def test_ids_function(x): pass

@pytest.mark.parametrize("x", (i for i in range(2)), ids=iter(["g", "h"]))
def test_generators(x): pass

@pytest.mark.parametrize("many", ["i", "j"], indirect=True)
def test_indirect(many): pass

@pytest.mark.parametrize(("many", "direct"), [(1, 2)], indirect=["many"])
def test_half_indirect(many, direct): pass

@pytest.mark.parametrize("x", [])
def test_empty_set(x): pass

@pytest.mark.parametrize("x", [1, 2], scope="module")
def test_scoped_a(x): pass

@pytest.mark.parametrize("x", [1, 2], scope="module")
def test_scoped_b(x): pass

@pytest.mark.parametrize("root", [7])
def test_direct_over_fixture(root): pass

@pytest.mark.parametrize("x", [pytest.param(1, id=pytest.HIDDEN_PARAM), 2])
def test_hidden(x): pass

def test_fixture_params(many): pass
def test_wide(wide): pass
def test_both(wide, many): pass
def test_after(root): pass

@pytest.mark.parametrize("x", [1])
def test_uses_no_x(y): pass

@pytest.mark.parametrize("x,y", [(1,)])
def test_wrong_number(x, y): pass
