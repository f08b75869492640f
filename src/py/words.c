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
