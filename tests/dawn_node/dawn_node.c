/* libmia_dawn_node.so: the Dawn inside npm's package `webgpu`, as a library with webgpu.h's functions. For tests and
 * measurements of the current dialect, which no package offers otherwise; x86-64 Linux only. scripts/webgpu.sh builds it
 * beside dawn.node.
 *
 * dawn.node is an extension of Node that keeps Dawn's functions to itself, but its symbol table still names them. It is
 * opened lazily, so that what it wants of Node (and never calls here) need not be there, but for two functions whose
 * addresses it takes; each wgpu function of ours jumps to the one that the table names. */
#include "backend/webgpu/abi.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Two more, by which Mia tells what kind of library it has. */
#define ALSO(X)                                                                                              \
    X(DeviceTick, void, (WGPUDevice))                                                                        \
    X(GetInstanceFeatures, void, (void *))

#define FUNCTIONS(X)                                                                                         \
    MIA__WGPU_REQUIRED(X)                                                                                    \
    MIA__WGPU_OPTIONAL(X)                                                                                    \
    ALSO(X)

#define TRAMPOLINE(name, result, parameters)                                                                 \
    __attribute__((visibility("hidden"))) void *dawn_node_##name;                                            \
    __asm__(".text\n.globl wgpu" #name "\n.type wgpu" #name ", @function\nwgpu" #name                        \
            ":\n\tjmp *dawn_node_" #name "(%rip)\n.size wgpu" #name ", . - wgpu" #name "\n");
FUNCTIONS(TRAMPOLINE)

/* --- the symbol table --------------------------------------------------------------------------------- */

typedef struct table {
    const char *file;
    const Elf64_Sym *symbols;
    const char *names;
    size_t count;
    uintptr_t base;
} table;

static int read_table(table *t, const char *path, void *handle) {
    struct link_map *map;
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &status) != 0 || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) return 0;
    t->file = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    close(file);
    if (t->file == MAP_FAILED) return 0;
    t->base = (uintptr_t)map->l_addr;
    const Elf64_Ehdr *header = (const void *)t->file;
    const Elf64_Shdr *sections = (const void *)(t->file + header->e_shoff);
    for (int i = 0; i < header->e_shnum; i++) {
        if (sections[i].sh_type != SHT_SYMTAB) continue;
        t->symbols = (const void *)(t->file + sections[i].sh_offset);
        t->count = sections[i].sh_size / sizeof *t->symbols;
        t->names = t->file + sections[sections[i].sh_link].sh_offset;
    }
    return t->symbols != NULL;
}

static void *find(const table *t, const char *name) {
    for (size_t i = 0; i < t->count; i++)
        if (t->symbols[i].st_value != 0 && ELF64_ST_TYPE(t->symbols[i].st_info) == STT_FUNC &&
            strcmp(t->names + t->symbols[i].st_name, name) == 0)
            return (void *)(t->base + t->symbols[i].st_value);
    return NULL;
}

/* --- opening ------------------------------------------------------------------------------------------ */

static void fail(const char *what, const char *why) {
    fprintf(stderr, "libmia_dawn_node: %s: %s\n", what, why);
    abort();
}

void napi_create_error(void);
void napi_create_type_error(void);
void napi_create_error(void) {
    abort();
}
void napi_create_type_error(void) {
    abort();
}

/* dawn.node lies beside this library, and looks for what it lacks among what is open to all. */
__attribute__((constructor)) static void open_dawn(void) {
    Dl_info here;
    char path[4096];
    table t = {0};
    if (dladdr((void *)open_dawn, &here) == 0) fail("dladdr", "does not know this library");
    const char *slash = strrchr(here.dli_fname, '/');
    (void)snprintf(path, sizeof path, "%.*sdawn.node", slash ? (int)(slash + 1 - here.dli_fname) : 0,
                   here.dli_fname);
    (void)dlopen(here.dli_fname, RTLD_LAZY | RTLD_GLOBAL | RTLD_NOLOAD);
    void *handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
    if (handle == NULL) fail(path, dlerror());
    if (!read_table(&t, path, handle)) fail(path, "has no symbol table");
    const void *(*get)(void);
    void (*set)(const void *);
    *(void **)&get = find(&t, "_ZN4dawn6native8GetProcsEv");
    *(void **)&set = find(&t, "dawnProcSetProcs");
    if (get == NULL || set == NULL) fail(path, "does not name Dawn's functions");
    set(get());
#define FILL(name, result, parameters)                                                                       \
    dawn_node_##name = find(&t, "wgpu" #name);                                                               \
    if (dawn_node_##name == NULL) fail(path, "does not name wgpu" #name);
    FUNCTIONS(FILL)
}
