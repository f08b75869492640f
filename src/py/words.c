/* words.c - see words.h. */
#include "py/words.h"

PyObject *words_table[N_WORDS];

int words_init(void)
{
    static const char *const texts[N_WORDS] = {
#define X(text) #text,
        WORDS(X)
#undef X
    };

    for (int i = 0; i < N_WORDS; i++) {
        if (!words_table[i])
            words_table[i] = PyUnicode_InternFromString(texts[i]);
        if (!words_table[i])
            return -1;
    }
    return 0;
}

int words_take(PyObject *dict, const char *const names[], PyObject **const places[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        PyObject *value = PyDict_GetItemString(dict, names[i]);

        if (!value) {
            PyErr_Format(PyExc_KeyError, "%s", names[i]);
            return -1;
        }
        Py_XSETREF(*places[i], Py_NewRef(value));
    }
    return 0;
}
