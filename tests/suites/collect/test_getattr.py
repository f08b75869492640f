def __getattr__(name):
    if name == "pytest_generate_tests":
        raise AttributeError(name)
    raise AttributeError(name)
def setup_module(module): pass
def teardown_function(function): pass
def test_g(): pass
