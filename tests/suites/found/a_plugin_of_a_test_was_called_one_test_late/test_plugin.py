class Plugin:
    def pytest_runtest_makereport(self, item, call):
        print("makereport", item.name, call.when)

    def pytest_runtest_teardown(self, item):
        print("teardown", item.name)

    def pytest_runtest_setup(self, item):
        print("setup", item.name)


def test_before():
    pass


def test_registers(request):
    request.config.pluginmanager.register(Plugin(), "made")


def test_after():
    pass


def test_unregisters(request):
    request.config.pluginmanager.unregister(name="made")


def test_last():
    pass
