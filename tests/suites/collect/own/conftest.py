import pytest

class OwnModule(pytest.Module):
    def collect(self):
        yield from super().collect()
        yield pytest.Function.from_parent(self, name="more", callobj=lambda: None)

def pytest_pycollect_makemodule(module_path, parent):
    return OwnModule.from_parent(parent, path=module_path)
