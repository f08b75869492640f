import pytest, sys
order=[]
@pytest.fixture(scope="session")
def sess(): 
    print("sess up"); yield 1; print("sess down")
@pytest.fixture
def overridden(): return ["conf"]
@pytest.fixture(autouse=True)
def auto(request):
    yield
@pytest.fixture(params=[1,2])
def par(request): return request.param
