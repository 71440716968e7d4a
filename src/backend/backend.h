/* The whole contract between Mia and a backend. A backend knows plans (plan/plan.h), never nodes or handles.
 *
 * To add one: a folder beside this file, and a line in registry.c. Work (open, prepare, run, download, poll)
 * is asked for by one thread at a time; memory (allocate, release, adopt, upload) and compile may be asked
 * for by another meanwhile, those again one at a time. */
#ifndef MIA_BACKEND_BACKEND_H
#define MIA_BACKEND_BACKEND_H

#include "backend/watch.h"
#include "plan/plan.h"

#include <mia/device.h>

/* An open backend; each type has its own struct, beginning with this one. */
typedef struct mia__backend mia__backend;
typedef struct mia__backend_type mia__backend_type;

/* Memory of a backend. `host` is the memory itself where the host can reach it, else NULL. */
typedef struct mia__buffer {
    void *host;
    void *handle;
    size_t bytes;
} mia__buffer;

/* Called once when work completes; message is NULL on success and only valid during the call. May come from
 * another thread, and may come before the call that began the work returns. */
typedef struct mia__completion {
    void (*complete)(void *user, mia_status status, const char *message);
    void *user;
} mia__completion;

/* A run: plan->buffers[i] is at memory[i] (the arena's buffers too: base of arena + offset), all of it
 * allocated. */
typedef struct mia__place {
    const mia__buffer *buffer;
    size_t offset; /* bytes from the start of buffer to the start of the plan's buffer */
} mia__place;

/* MIA_DEBUG=check: every step is computed once more, by its reference kernel, and compared. */
typedef struct mia__check {
    /* A constant's own bytes, of a buffer that holds it in a prepared form; false: they are not to be had. */
    bool (*raw)(void *user, uint32_t buffer, void *into, size_t bytes);
    void (*report)(void *user, const char *line);
    void *user;
} mia__check;

typedef struct mia__run {
    const mia__plan *plan;
    void *program;            /* what compile made of the plan */
    const mia__place *places; /* one a plan buffer */
    mia__watch *watch;        /* may be NULL; a run that it stops completes with CANCELLED */
    const mia__check *check;  /* NULL: nothing is checked */
    uint32_t joined; /* set by the backend: steps that ran within another's kernel (step->together) */
    mia__completion completion;
} mia__run;

struct mia__backend_type {
    const char *name;
    const char *description;
    bool synchronous; /* run and download complete before they return, and may take long */
    bool checks;      /* obeys mia__run.check */
    /* Opens; completes through the completion, after setting *out. `out` stays valid until then. The options
     * (their strings and allocator too) stay valid for the backend's life. */
    void (*open)(const mia_device_options *options, mia__backend **out, mia__completion completion);
    void (*close)(mia__backend *backend);
    void (*describe)(const mia__backend *backend, mia_device_info *info);

    /* Memory aligned to at least rules->alignment. NO_MEMORY on failure. Contents undefined. */
    mia_status (*allocate)(mia__backend *backend, size_t bytes, mia__buffer *out, mia_error *error);
    void (*release)(mia__backend *backend, mia__buffer *buffer);
    /* Makes host memory that stays valid and unchanged (a mapped file) usable as a buffer without a copy;
     * UNSUPPORTED where that cannot be. release ends it, and does not free the memory. */
    mia_status (*adopt)(mia__backend *backend, const void *memory, size_t bytes, mia__buffer *out,
                        mia_error *error);
    mia_status (*upload)(mia__backend *backend, mia__buffer *buffer, size_t offset, const void *from,
                         size_t bytes, mia_error *error);
    void (*download)(mia__backend *backend, const mia__buffer *buffer, size_t offset, void *into,
                     size_t bytes, mia__completion completion);

    /* Fills `into` (form->bytes, host reachable or not) with constant data brought into a form that
     * rules.form asked for. `raw` holds the constant's own bytes, compact. */
    mia_status (*prepare)(mia__backend *backend, mia_dtype dtype, const mia_shape *shape,
                          const mia__form *form, const void *raw, mia__buffer *into, mia_error *error);

    /* The same of some rows, what lies along the first extent; `raw` holds these alone. All rows come, in their order.
     * NULL: a constant is prepared whole. */
    mia_status (*prepare_rows)(mia__backend *backend, mia_dtype dtype, const mia_shape *shape,
                               const mia__form *form, uint64_t first, uint64_t count, const void *raw,
                               mia__buffer *into, mia_error *error);

    /* Chooses kernels for every step of a plan, once; no allocation is left for runs to do. UNSUPPORTED names
     * the operation and types that it cannot run. */
    mia_status (*compile)(mia__backend *backend, const mia__plan *plan, void **program, mia_error *error);
    void (*discard)(mia__backend *backend, void *program);

    /* Begins a run; completes in the order of calls. `run` stays valid until it completes. */
    void (*run)(mia__backend *backend, mia__run *run);

    /* Moves begun work on. With `block`, waits until some of it completes (native only). */
    void (*poll)(mia__backend *backend, bool block);
};

struct mia__backend {
    const mia__backend_type *type;
    mia__plan_rules rules;
    uint64_t fallbacks; /* steps that ran on reference kernels */
    mia__watch
        *loads; /* what prepare looks at, if it takes long: it may return CANCELLED; NULL: nobody watches */
};

/* The table of backends, in order of preference; *count gets their number. */
const mia__backend_type *const *mia__backend_types(size_t *count);

#endif
