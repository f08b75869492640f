/* module.c - registration of hasten._native; each concern has a file of its own (native.h). */
#include "py/native.h"

#include "os/cpu.h"
#include "run/segment.h"
#include "run/wire.h"
#include "store/record.h"

static PyObject *native_cpu_limits(PyObject *self, PyObject *args)
{
    struct cpu_limits limits;

    (void)self;
    (void)args;
    cpu_limits(&limits);
    return Py_BuildValue("{s:I,s:I,s:I,s:K}", "logical", limits.logical, "physical", limits.physical, "quota",
                         limits.quota, "memory_bytes", (unsigned long long)limits.memory_bytes);
}

static PyMethodDef module_methods[] = {
    {"cpu_limits", native_cpu_limits, METH_NOARGS,
     "cpu_limits() -> dict\n\nCores (affinity mask: logical, physical; quota: by cgroup, 0 for none) and memory in "
     "bytes that this process may use."},
    {NULL, NULL, 0, NULL},
};

struct constant {
    const char *name;
    long value;
};

static const struct constant constants[] = {
    {"WIRE_CONFIG", WIRE_CONFIG},
    {"WIRE_INPUTS", WIRE_INPUTS},
    {"WIRE_STOP", WIRE_STOP},
    {"WIRE_PLAIN", WIRE_PLAIN},
    {"WIRE_ASKS", WIRE_ASKS},
    {"WIRE_GROUPS", WIRE_GROUPS},
    {"WIRE_CRASH_SEEN", WIRE_CRASH_SEEN},
    {"WIRE_ASKS_GROUPS", WIRE_ASKS_GROUPS},
    {"WIRE_ASKS_CRASHES", WIRE_ASKS_CRASHES},
    {"WIRE_BYE", WIRE_BYE},
    {"WIRE_CATALOG", WIRE_CATALOG},
    {"WIRE_EXTRA", WIRE_EXTRA},
    {"WIRE_ABORT", WIRE_ABORT},
    {"WIRE_EARLY", WIRE_EARLY},
    {"WIRE_FORKED", WIRE_FORKED},
    {"WIRE_EXITED", WIRE_EXITED},
    {"WIRE_MISSING", WIRE_MISSING},
    {"WIRE_HELLO", WIRE_HELLO},
    {"WIRE_COLLECT", WIRE_COLLECT},
    {"WIRE_COLLECT_ONCE", WIRE_COLLECT_ONCE},
    {"WIRE_COLLECT_PARALLEL", WIRE_COLLECT_PARALLEL},
    {"WIRE_COLLECT_ANEW", WIRE_COLLECT_ANEW},
    {"WIRE_PARTS", WIRE_PARTS},
    {"WIRE_SEGMENT", WIRE_SEGMENT},
    {"WIRE_PLAN", WIRE_PLAN},
    {"WIRE_FORK", WIRE_FORK},
    {"WIRE_QUIT", WIRE_QUIT},
    {"WIRE_JOURNAL", WIRE_JOURNAL},
    {"WIRE_ADVANCE", WIRE_ADVANCE},
    {"RECORD_HEADER", RECORD_HEADER},
    {"RECORD_CATALOG", RECORD_CATALOG},
    {"RECORD_NODE_UP", RECORD_NODE_UP},
    {"RECORD_TEST", RECORD_TEST},
    {"RECORD_CRASH", RECORD_CRASH},
    {"RECORD_EXTRA", RECORD_EXTRA},
    {"RECORD_NODE_DOWN", RECORD_NODE_DOWN},
    {"RECORD_INTERRUPT", RECORD_INTERRUPT},
    {"RECORD_NOTE", RECORD_NOTE},
    {"RECORD_END", RECORD_END},
    {"RECORD_PLAIN", RECORD_PLAIN},
    {"RECORD_RESUMED", RECORD_RESUMED},
    {"RECORD_AFTER", RECORD_AFTER},
    {"RECORD_MAX_PAYLOAD", RECORD_MAX_PAYLOAD},
    {"OUTCOME_NONE", OUTCOME_NONE},
    {"OUTCOME_PASSED", OUTCOME_PASSED},
    {"OUTCOME_FAILED", OUTCOME_FAILED},
    {"OUTCOME_ERROR", OUTCOME_ERROR},
    {"OUTCOME_SKIPPED", OUTCOME_SKIPPED},
    {"OUTCOME_XFAILED", OUTCOME_XFAILED},
    {"OUTCOME_XPASSED", OUTCOME_XPASSED},
    {"OUTCOME_CRASHED", OUTCOME_CRASHED},
    {"OUTCOME_TIMEOUT", OUTCOME_TIMEOUT},
    {"OUTCOME_RERUN", OUTCOME_RERUN},
    {NULL, 0},
};

static int native_exec(PyObject *module)
{
    PyMethodDef *tables[] = {
        module_methods, channel_methods, worker_methods,        plain_methods,    multicall_methods,   template_methods,
        loop_methods,   journal_methods, passed_methods,        terminal_methods, collector_methods,   collect_methods,
        fuse_methods,   monitor_methods, monitor_tests_methods, covered_methods,  importwatch_methods, database_methods,
        memory_methods, lease_methods,   covered_write_methods,
    };

    for (size_t i = 0; i < HS_COUNT(tables); i++)
        if (PyModule_AddFunctions(module, tables[i]) < 0)
            return -1;
    for (const struct constant *c = constants; c->name; c++)
        if (PyModule_AddIntConstant(module, c->name, c->value) < 0)
            return -1;
    return 0;
}

static PyModuleDef_Slot native_slots[] = {
    {Py_mod_exec, native_exec},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#if PY_VERSION_HEX >= 0x030D0000
    {Py_mod_gil, Py_MOD_GIL_NOT_USED}, /* main thread only: nothing to guard, and the suite decides about its GIL */
#endif
    {0, NULL},
};

static struct PyModuleDef native_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "hasten._native",
    .m_doc = "The C half of hasten inside of pytest's processes.",
    .m_size = 0,
    .m_slots = native_slots,
};

PyMODINIT_FUNC PyInit__native(void);

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&native_module);
}
