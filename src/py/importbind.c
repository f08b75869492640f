/* importbind.c - functions of the interpreter, exchanged where an extension module has bound them. */
#include "py/importwatch.h"

#ifdef __linux__

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if __ELF_NATIVE_CLASS == 64
#define SYMBOL_OF(info) ELF64_R_SYM(info)
#else
#define SYMBOL_OF(info) ELF32_R_SYM(info)
#endif

/* What the dynamic section of a loaded library says; addresses are made absolute where the loader has not done so. */
struct library {
    ElfW(Addr) base;
    const ElfW(Sym) * symbols;
    const char *strings;
    const ElfW(Rela) * tables[2]; /* of data, and of calls */
    size_t bytes[2];
    bool is_rela;
};

static ElfW(Addr) absolute(const struct link_map *map, ElfW(Addr) at)
{
    return at < map->l_addr ? map->l_addr + at : at;
}

static void read_dynamic(struct library *library, const struct link_map *map)
{
    *library = (struct library){.base = map->l_addr, .is_rela = true};
    for (const ElfW(Dyn) *d = map->l_ld; d->d_tag != DT_NULL; d++) {
        if (d->d_tag == DT_SYMTAB)
            library->symbols = (const ElfW(Sym) *)absolute(map, d->d_un.d_ptr);
        else if (d->d_tag == DT_STRTAB)
            library->strings = (const char *)absolute(map, d->d_un.d_ptr);
        else if (d->d_tag == DT_RELA)
            library->tables[0] = (const ElfW(Rela) *)absolute(map, d->d_un.d_ptr);
        else if (d->d_tag == DT_RELASZ)
            library->bytes[0] = d->d_un.d_val;
        else if (d->d_tag == DT_JMPREL)
            library->tables[1] = (const ElfW(Rela) *)absolute(map, d->d_un.d_ptr);
        else if (d->d_tag == DT_PLTRELSZ)
            library->bytes[1] = d->d_un.d_val;
        else if (d->d_tag == DT_PLTREL)
            library->is_rela = d->d_un.d_val == DT_RELA;
    }
}

/* After its relocation the page may have been made read-only. */
static bool exchange(void **slot, void *function)
{
    const uintptr_t size = (uintptr_t)sysconf(_SC_PAGESIZE);
    void *page = (void *)((uintptr_t)slot & ~(size - 1));

    if (mprotect(page, size, PROT_READ | PROT_WRITE) < 0)
        return false;
    *slot = function;
    return true;
}

/* The slot in which the library has its address, as far as it has looked for that name; NULL: it does not ask for it. */
static void **slot_of(const struct library *library, const struct binding *binding)
{
    for (int t = 0; t < 2; t++)
        for (size_t i = 0; library->tables[t] && i < library->bytes[t] / sizeof(ElfW(Rela)); i++) {
            const ElfW(Rela) *r = &library->tables[t][i];
            const size_t symbol = SYMBOL_OF(r->r_info);
            void **slot = (void **)(library->base + r->r_offset);

            if (symbol && !strcmp(library->strings + library->symbols[symbol].st_name, binding->name) &&
                *slot == binding->original)
                return slot;
        }
    return NULL;
}

static void *open_of(PyObject *spec)
{
    PyObject *origin = PyObject_GetAttrString(spec, "origin");                                     /* owned */
    PyObject *path = origin && PyUnicode_Check(origin) ? PyUnicode_EncodeFSDefault(origin) : NULL; /* owned */
    void *handle = path ? dlopen(PyBytes_AS_STRING(path), RTLD_NOW | RTLD_LOCAL) : NULL;

    if (path && !handle)
        dlerror(); /* the interpreter will find the same, and say so */
    PyErr_Clear();
    Py_XDECREF(origin);
    Py_XDECREF(path);
    return handle;
}

void bind_extension(PyObject *spec, const struct binding *bindings, size_t n)
{
    void *handle = open_of(spec); /* never closed: nor does the interpreter close what it has opened */
    struct link_map *map = NULL;
    struct library library;
    void **slot;

    if (!handle || dlinfo(handle, RTLD_DI_LINKMAP, &map) < 0 || !map || !map->l_ld)
        return;
    read_dynamic(&library, map);
    if (!library.symbols || !library.strings || !library.is_rela || !slot_of(&library, &bindings[0]))
        return;
    for (size_t i = 0; i < n; i++)
        while ((slot = slot_of(&library, &bindings[i])))
            if (!exchange(slot, bindings[i].function))
                break;
}

#else

void bind_extension(PyObject *spec, const struct binding *bindings, size_t n)
{
    (void)spec;
    (void)bindings;
    (void)n;
}

#endif
