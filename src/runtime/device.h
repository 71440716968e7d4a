/* The runtime's own structs: a device, its handles, memory, plans and queue. This is where graph, plan and
 * backend meet.
 *
 *   handle.c   slots, what was consumed where     record.c    operations become nodes (operations.c, node.c)
 *   storage.c  device memory, prepared forms      create.c    tensors from host memory and weights
 *   cache.c    plans by structure                 submit.c    from nodes to a queued run
 *   queue.c    tickets, who drives the backend    device.c    open, close with its report, counters
 *   begin.c    forms that complete later          blocking.c  the blocking forms, thin wrappers
 *   debug.c    plans told (MIA_DEBUG)             trace.c     steps told; check.c: steps computed twice
 *
 * One lock a device guards all of it; it is not held while a backend works. */
#ifndef MIA_RUNTIME_DEVICE_H
#define MIA_RUNTIME_DEVICE_H

#include "backend/backend.h"
#include "graph/node.h"
#include "weights/weights.h"

#include <mia/tape.h>
#include <pthread.h>

/* --- memory ----------------------------------------------------------------------------------- */

typedef struct mia__storage mia__storage;

/* A constant in a form that kernels asked for. */
typedef struct mia__prepared {
    struct mia__prepared *next;
    mia__form form;
    mia_dtype dtype; /* with the type and shape that it is used with */
    mia_shape shape;
    size_t offset; /* in the constant's own bytes, of the first that it is made of */
    mia__buffer buffer;
    bool filled;
} mia__prepared;

/* What only constants have. */
typedef struct mia__constant {
    mia__storage *next;   /* all constants of a device */
    mia__storage **link;  /* what points to this one: the list's head or the next of the one before */
    mia_weights *weights; /* retained; NULL when made from host memory */
    const mia_tensor_info *info;
    void *
        copy; /* its bytes, where the device cannot give them back and a form of them may be wanted: block types made
                   from host memory */
    mia_dtype dtype;
    mia_shape shape;
    mia__prepared *prepared;
    mia_tensor handle;     /* while its owner is open */
    bool observed_no_more; /* the device is closing */
} mia__constant;

/* Whom to tell that borrowed memory is not used any more. */
typedef struct mia__borrowed {
    struct mia__borrowed *next;
    void (*release)(void *user);
    void *user;
} mia__borrowed;

struct mia__storage {
    mia__memory memory; /* first: nodes see this part */
    uint32_t runs;      /* queued runs that use it */
    bool allocated;     /* buffer holds memory (allocated or adopted) */
    bool filled;        /* of a constant: the bytes are there */
    bool formal;        /* an input to record a tape with: no numbers, and no memory for any */
    mia__buffer buffer;
    mia__constant *constant; /* NULL: an ordinary value's */
    mia__borrowed *borrowed; /* NULL: the memory is ours, or nobody wants to be told */
};

/* Memory for a value: accounted, not yet referred to. NULL with the error set. 0 bytes take no device
 * memory. */
mia__storage *mia__storage_new(mia_device *device, size_t bytes, mia_error *error);
/* Frees it if no node and no run refers to it any more (and it is no constant with an open owner). */
void mia__storage_drop(mia_device *device, mia__storage *storage);
/* Counts bytes that were allocated. */
void mia__device_account(mia_device *device, size_t bytes);
/* Allocates what a plan needs of a constant: its own bytes, or the prepared form that a buffer of kind FORM
 * asks for. */
mia_status mia__constant_reserve(mia_device *device, mia__storage *storage, mia_error *error);
mia__prepared *mia__constant_reserve_form(mia_device *device, mia__storage *storage,
                                          const mia__plan_buffer *wanted, mia_error *error);
/* A constant without a handle, for a tape's leaf: the bytes of a tensor of the weights, as the entry wants them.
 * NULL with the error set. */
mia__storage *mia__constant_new(mia_device *device, mia_weights *weights, const mia_tensor_info *info,
                                const mia__entry *entry, mia_error *error);
/* Observes weights (weights/weights.h); user is the device. */
void mia__weights_closed(const mia_weights *weights, void *user);
mia__prepared *mia__constant_find_form(const mia__storage *storage, const mia__plan_buffer *wanted);
/* Bytes that reserving would take; 0 when it is there. */
size_t mia__constant_missing(const mia__storage *storage);
/* Its own bytes where the host can read them now, else NULL. */
const void *mia__constant_bytes(const mia__storage *storage);
/* Reads (form NULL) or repacks what was reserved and is not filled; raw: what mia__constant_bytes said.
 * Called by the driving thread, without the lock; the caller sets `filled`. CANCELLED if the watch says so. */
mia_status mia__constant_fill(mia_device *device, mia__storage *storage, mia__prepared *form, const void *raw,
                              mia__watch *watch, mia_error *error);
/* Checks `bytes` more against the device's limit; `what` begins the message. */
mia_status mia__device_room(const mia_device *device, uint64_t bytes, const char *what, mia_error *error);

/* --- handles ---------------------------------------------------------------------------------- */

/* A handle that could not be made, for want of memory or of a device: its generation holds the mia_status, and
 * the line of the call above it. */
#define MIA__LOST_SLOT        UINT32_MAX
#define MIA__LOST_STATUS_BITS 6
#define MIA__NO_SLOT          (UINT32_MAX - 1)

typedef struct mia__slot {
    mia__node *node; /* NULL: free, or owned on a closed device */
    uint32_t generation;
    uint32_t next_free;
    const char *what, *file; /* by which operation the handle was made, and where */
    int line;
    bool owned;
    bool constant;
} mia__slot;

/* The last consumptions, so that a stale handle can be told who took it. */
#define MIA__CONSUMED_RING 4096
typedef struct mia__consumed {
    uint32_t slot, generation;
    const char *by; /* static text: "matmul", "read", "unref" */
    const char *file;
    int line;
} mia__consumed;

/* Who asks for an operand, for messages. */
typedef struct mia__site {
    const char *what; /* static text */
    const char *file;
    int line;
} mia__site;

/* All under the lock. A new handle owns the node's reference that is passed in; on failure it is released and
 * the handle is lost. take gives the handle's reference to the caller (constants: a further one); borrow
 * gives none. operand: its number, or -1 when there is only one. */
mia_tensor mia__handle_new(mia_device *device, mia__node *node, bool constant, const mia__site *site);
mia__node *mia__handle_take(mia_device *device, mia_tensor t, int operand, const mia__site *site,
                            mia_error *error);
mia__node *mia__handle_borrow(mia_device *device, mia_tensor t, int operand, const mia__site *site,
                              mia_error *error);
mia_tensor mia__handle_lost(mia_status status, int line);

static inline mia_status mia__lost_status(mia_tensor t) {
    return (mia_status)(t.generation & ((UINT32_C(1) << MIA__LOST_STATUS_BITS) - 1));
}

/* 0 when the caller gave none. */
static inline int mia__lost_line(mia_tensor t) {
    return (int)(t.generation >> MIA__LOST_STATUS_BITS);
}

/* Adds " at model.c:42" to the message of an error. */
void mia__error_add_site(mia_error *error, const mia__site *site);
void mia__handle_end(mia_device *device, uint32_t slot,
                     const mia__site *site); /* its reference stays the caller's */
void mia__handle_retire(mia_device *device, mia_tensor t,
                        const mia__site *site); /* a constant's, by its owner */

/* --- nodes ------------------------------------------------------------------------------------ */

/* A blank node with one reference, NULL without memory. */
mia__node *mia__node_new(mia_device *device, const mia__site *site);
void mia__node_release(mia_device *device, mia__node *node);
void mia__nodes_free(mia_device *device); /* all slabs, at the end */
/* A poisoned node with that cause; its own handle-ready reference. Without memory for it: NULL. */
mia__node *mia__node_poisoned(mia_device *device, const mia_error *error, const mia__site *site);
mia__node *mia__node_spread(mia_device *device, mia__cause *cause, const mia__site *site);
void mia__cause_release(mia_device *device, mia__cause *cause);
mia__cause *mia__cause_new(mia_device *device, mia_status status, const char *message);
/* A READY node for memory that holds a compact value. */
mia__node *mia__node_ready(mia_device *device, mia_dtype dtype, const mia__view *view, mia__storage *storage,
                           const mia__site *site);
/* A pending node; takes the operands' references over, also on failure (NULL). */
mia__node *mia__node_pending(mia_device *device, mia_op op, mia_dtype dtype, const mia__view *view,
                             mia__node *const *operands, uint32_t count, const mia__attributes *attributes,
                             const mia__site *site);
/* x as it is when it lies compact, else a pending copy of it; takes x's reference. */
mia__node *mia__node_compact(mia_device *device, mia__node *x, const mia__site *site);

/* --- plans ------------------------------------------------------------------------------------ */

#define MIA__CACHED_PLANS 64

typedef struct mia__cached {
    struct mia__cached *next; /* most recently used first */
    uint32_t refs;            /* the cache and queued runs */
    uint64_t hash;
    uint64_t *key;
    size_t key_words;
    mia__plan *plan;
    void *program;
} mia__cached;

/* The plan for the device's last linearisation, from the cache or made; owned by the cache, retained for the
 * caller. */
mia__cached *mia__cache_get(mia_device *device, mia_error *error);
void mia__cached_release(mia_device *device, mia__cached *cached);
void mia__cache_clear(mia_device *device);
/* MIA_DEBUG=plan,memory: the steps of a new plan, and where its buffers are. */
void mia__plan_log(const mia_device *device, const mia__plan *plan);
/* MIA_DEBUG=tape: what a new plan is made from. */
void mia__tape_log(const mia_device *device, const mia__tape *tape);
/* "add", or "fused: mul(0, 1), add(#0, 2)" with what each instruction reads; may be cut. */
const char *mia__step_text(const mia__plan *plan, const mia__step *step, char *text, size_t capacity);
/* MIA_DEBUG=plan: what each pass did. */
void mia__plan_log_passes(const mia_device *device, const mia__plan *plan);

/* --- queue ------------------------------------------------------------------------------------ */

typedef enum mia__phase { /* what a ticket still has to do, in this order */
                          MIA__PHASE_OPEN,
                          MIA__PHASE_LOAD,
                          MIA__PHASE_RUN,
                          MIA__PHASE_DOWNLOAD,
                          MIA__PHASE_END
} mia__phase;

struct mia_ticket {
    mia_device *device; /* NULL: failed before there was one */
    mia_allocator allocator;
    mia_ticket *next;
    bool done, started, completed; /* of the present phase: begun, completed */
    mia__phase phase;
    mia_status status;
    char message[sizeof(((mia_error *)NULL)->message)];
    void (*then)(void *user, mia_status status);
    void *then_user;
    mia_device **opened; /* OPEN */

    mia__cached *plan;       /* LOAD, RUN */
    uint32_t buffer_count;   /* of the plan */
    mia__storage **storages; /* one a plan buffer, retained; of the arena's buffers all the same one */
    mia__place *places;
    bool run_it;  /* RUN follows LOAD */
    bool nobodys; /* begun by the runtime for what comes after it: frees itself when done */
    mia__run run;
    mia__check check;
    mia__watch watch; /* cancelled by anybody, without the lock */
    bool (*progress)(void *user, double fraction);
    void *progress_user;

    mia__storage *source; /* DOWNLOAD, retained */
    size_t source_offset, bytes, downloaded;
    void *into;
};

/* All under the lock. */
mia_ticket *mia__ticket_new(mia_device *device, uint32_t buffers);
/* Frees a ticket that nobody has seen. */
void mia__ticket_drop(mia_ticket *ticket);
/* Fails a ticket that was not queued. */
void mia__ticket_fail(mia_ticket *ticket, const mia_error *error);
/* A failed ticket without a device, that work which could not be begun is answered with. */
mia_ticket *mia__ticket_failed(const mia_allocator *allocator, const mia_error *error);
/* Queues; begun by whoever drives first. */
void mia__ticket_queue(mia_ticket *ticket);
/* Drives or waits until the ticket is done. */
void mia__ticket_drive(mia_ticket *ticket, bool block);
/* Lets go of a ticket's plan and memory. */
void mia__ticket_let_go(mia_ticket *ticket);
void mia__queue_drain(mia_device *device);

/* --- what is told of runs (trace.c), by the driving thread, without the lock ------------------- */

typedef struct mia__times mia__times;
/* MIA_DEBUG=time: where times are added up; NULL without memory. */
mia__times *mia__times_new(const mia_allocator *allocator);
void mia__times_free(const mia_allocator *allocator, mia__times *times);
/* MIA_DEBUG=check: fills in what the backend asks and tells; run: of the ticket. */
void mia__check_begin(mia_ticket *ticket);
/* Around a run; the second when it has completed. */
void mia__trace_begin(mia_ticket *ticket);
void mia__trace_end(mia_ticket *ticket);

/* --- submitting (without the lock) ------------------------------------------------------------ */

mia_ticket *mia__open_begin(const mia_device_options *options, mia_device **out, mia_error *error);
mia_ticket *mia__eval_begin(const mia_tensor *list, size_t count);
mia_ticket *mia__read_begin(mia_tensor t, void *out, size_t bytes, const mia__site *site);

/* --- tapes (recorded.c) ------------------------------------------------------------------------ */

/* Tapes outlive the device as shells: lets go of what they hold of it. */
void mia__tapes_orphan(mia_device *device);

/* --- operations that programs register (custom.c) --------------------------------------------- */

struct mia__custom;
/* The operation of that number, NULL for none; it stays until the device is freed. Takes the lock. */
const struct mia__custom *mia__custom_find(mia_device *device, mia_op op);
const struct mia__custom *mia__custom_find_name(mia_device *device, const char *name);
void mia__custom_free(mia_device *device);

/* --- the device ------------------------------------------------------------------------------- */

enum {
    MIA__DEBUG_PLAN = 1,
    MIA__DEBUG_MEMORY = 2,
    MIA__DEBUG_TAPE = 4,
    MIA__DEBUG_TIME = 8,
    MIA__DEBUG_CHECK = 16,
    MIA__DEBUG_UNKNOWN = 32 /* a word that is none of these */
};
unsigned mia__debug_flags(void); /* of the environment */

struct mia_device {
    mia_allocator allocator;
    mia_device_options options;        /* strings owned */
    mia_webgpu_options webgpu_options; /* that of `options`, where it has one */
    const mia__backend_type *type;
    mia__backend *backend;
    unsigned debug;
    bool told_unchecked; /* that MIA_DEBUG=check is without effect */
    bool closed;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* a ticket moved on, or the queue has work */

    mia__slot *slots;
    uint32_t slot_count, slot_capacity, free_first, free_last;
    mia__consumed *consumed; /* ring of MIA__CONSUMED_RING */
    uint64_t consumed_count;
    uint32_t tickets; /* not finished */

    mia__node *free_nodes; /* linked through operands[0] */
    struct mia__node_slab *slabs;

    mia__linear linear;
    mia__cached *cache;

    mia__cause no_memory; /* stands in for causes that there is no memory for */
    mia_ticket *queue_first, *queue_last;
    bool driving;        /* a thread is in the backend */
    atomic_uint cancels; /* how often everything was cancelled; by anybody, without the lock */
    bool driver_runs, driver_stops;
    pthread_t driver;

    mia__storage *arena;
    mia__storage *constants;
    mia__borrowed *ended;       /* to be told once the lock is free */
    mia_tape *tapes;            /* open ones */
    struct mia__custom *custom; /* operations that were registered, the newest first */
    uint32_t custom_count;
    mia_device_counters counters;
    mia__times *times; /* NULL: nobody asks */
};

void mia__device_log(const mia_device *device, const char *format, ...) MIA_PRINTF(2, 3);
/* Frees what is left when nobody refers to a closed device any more; under the lock, which goes with it
 * (true). */
bool mia__device_shell_free(mia_device *device);

static inline void mia__lock(mia_device *device) {
    (void)pthread_mutex_lock(&device->lock);
}
/* Tells everybody of the list, and frees it (create.c). */
void mia__borrowed_tell(mia__borrowed *ended, mia_allocator allocator);

/* Whoever lends memory may use Mia when told that it is free, so that is done without the lock. */
static inline void mia__unlock(mia_device *device) {
    mia__borrowed *ended = device->ended;
    mia_allocator allocator = device->allocator;
    device->ended = NULL;
    (void)pthread_mutex_unlock(&device->lock);
    if (ended != NULL) mia__borrowed_tell(ended, allocator);
}

#endif
