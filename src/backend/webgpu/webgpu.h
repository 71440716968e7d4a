/* The webgpu backend for its own files: an open device, its memory, pipelines, programs and work. Shaders are described
 * by kernel.h and made by the families in kernels_*.c; the GPU itself is behind gpu.h.
 *
 *     webgpu.c     opening, closing, polling, what is under way
 *     memory.c     buffers and their pool, uploads through bounded staging, reading back
 *     pipelines.c  one pipeline for each text, made while the rest goes on
 *     compile.c    a plan's steps as dispatches
 *     run.c        a run, submitted whole or in pieces
 *     pace.c       how long it takes against its estimate
 *     checked.c    a run of which each step is compared with reference kernels (MIA_DEBUG=check)
 *
 * One lock guards all of it, since memory is asked for by other threads than work; it is never held while somebody
 * outside is told of a completion or of progress (who may hold, or want, the device's lock). */
#ifndef MIA_BACKEND_WEBGPU_WEBGPU_H
#define MIA_BACKEND_WEBGPU_WEBGPU_H

#include "backend/backend.h"
#include "backend/webgpu/gpu.h"
#include "base/hash.h"

#include <pthread.h>

/* Places of plan buffers: any binding may begin there, and shaders may read 16 bytes at a time. */
#define MIA__WEBGPU_ALIGNMENT 256

/* --- memory ----------------------------------------------------------------------------------- */

/* What mia__buffer.handle points at. */
typedef struct mia__webgpu_buffer {
    mia__gpu_buffer *gpu;
    uint64_t bytes; /* a multiple of 16 */
    uint64_t id;    /* never used twice */
    struct mia__webgpu_buffer *next;
} mia__webgpu_buffer;

/* --- pipelines -------------------------------------------------------------------------------- */

typedef struct mia__webgpu_pipeline {
    struct mia__webgpu *owner;
    char *key; /* access of each binding, a letter each, then the text */
    size_t key_bytes;
    uint32_t binding_count;
    const char *label;
    mia__gpu_pipeline *gpu;
    bool pending; /* it is being made, or will be */
    bool begun;   /* being made */
    mia_status status;
    char message[600];
} mia__webgpu_pipeline;

/* --- programs --------------------------------------------------------------------------------- */

#define MIA__WEBGPU_KEPT_BINDINGS 4

/* Bindings that a dispatch was run with before: those of the same buffers at the same places are used again. */
typedef struct mia__webgpu_bound {
    mia__gpu_bindings *gpu;
    uint64_t id[MIA__GPU_MOST_BINDINGS], offset[MIA__GPU_MOST_BINDINGS];
} mia__webgpu_bound;

/* What a run is submitted in where it is long, so that it can be cancelled and others get at the GPU: of about so many
 * nanoseconds each. */
#define MIA__WEBGPU_PIECE_NANOSECONDS 5e6

typedef struct mia__webgpu_dispatch {
    mia__webgpu_pipeline *pipeline;
    uint32_t step;   /* of the plan */
    uint32_t joined; /* steps behind it that it does, too */
    uint32_t groups[3];
    uint32_t binding_count;                     /* without the parameters, which are binding 0 */
    uint32_t buffers[MIA__GPU_MOST_BINDINGS];   /* plan buffers */
    uint32_t parameter_offset, parameter_bytes; /* in the program's uniform buffer */
    double nanoseconds;                         /* estimate */
    mia__webgpu_bound bound[MIA__WEBGPU_KEPT_BINDINGS];
    uint32_t next_bound;
} mia__webgpu_dispatch;

typedef struct mia__webgpu_program {
    mia__webgpu_dispatch *dispatches;
    uint32_t count, capacity;
    uint32_t *parameters; /* words of all dispatches, until they are written to the GPU */
    uint32_t parameter_words, parameter_capacity;
    mia__gpu_buffer *uniforms;
    uint32_t joined; /* steps that run as part of others */
    double nanoseconds;
} mia__webgpu_program;

/* --- work ------------------------------------------------------------------------------------- */

typedef struct mia__webgpu_work mia__webgpu_work;

/* --- submissions ------------------------------------------------------------------------------ */

/* What is on its way with a submission. */
typedef struct mia__webgpu_sent {
    struct mia__webgpu *owner;
    uint64_t bytes;         /* written from the host */
    double nanoseconds;     /* estimate of its work; 0: none */
    uint64_t before, after; /* it was sent between these, by the seam's clock */
    bool busy;
} mia__webgpu_sent;

#define MIA__WEBGPU_MOST_SENT 32

/* What is known of when work ended (pace.c), by the seam's clock. */
typedef struct mia__webgpu_pace {
    uint64_t looked;                  /* when the last look began */
    uint64_t ended_least, ended_most; /* the last submission ended between these */
} mia__webgpu_pace;

/* --- the device ------------------------------------------------------------------------------- */

typedef struct mia__webgpu {
    mia__backend base;
    const mia_allocator *allocator;
    mia_webgpu_options options;
    mia_precision precision;
    bool no_fusion;
    mia__gpu *gpu;
    pthread_mutex_t lock;

    mia__backend **opened; /* while opening */
    mia__completion opening;
    bool open_ended;

    /* The first thing that went wrong for good; OK while nothing has. */
    mia_status failure;
    char failure_message[600];

    mia__webgpu_buffer *unused; /* small buffers to use again */
    uint64_t unused_bytes, next_id;
    mia__gpu_buffer *readback;
    uint64_t readback_bytes;
    uint64_t unsent_bytes;     /* written since the last submission */
    double unsent_nanoseconds; /* estimate of what was gathered */
    uint64_t sent_bytes;       /* with submissions that are not done */
    mia__webgpu_sent sent[MIA__WEBGPU_MOST_SENT];
    mia__webgpu_sent uncounted; /* of submissions that found no other */

    mia__webgpu_pipeline **pipelines;
    size_t pipeline_count, pipeline_capacity;
    size_t pipelines_asked;   /* from the first on, whose making has begun */
    uint32_t pipelines_begun; /* of all, and not ended */
    bool asking;
    mia__hash_map pipeline_index;

    mia__webgpu_work *oldest, *newest;
    mia__webgpu_work *ended; /* to be told of once the lock is given back */
    uint32_t in_flight;      /* submissions that the GPU has not done */
    uint64_t heard;          /* callbacks of the GPU so far */
    mia__watch *telling;     /* progress to be told of once the lock is given back */
    double telling_share;
    double speed;       /* nanoseconds that an estimated one takes, as far as is known */
    double speed_first; /* before anything is known: programs are compiled for this, since they are kept */
    mia__webgpu_pace pace;
} mia__webgpu;

extern const mia__backend_type mia__backend_webgpu;

/* --- webgpu.c --------------------------------------------------------------------------------- */

/* Tests put another GPU in the place of the native one; NULL puts it back. Before devices are opened. */
void mia__webgpu_set_seam(const mia__gpu_type *seam);

void mia__webgpu_lock(mia__webgpu *webgpu);
/* Gives the lock back, then tells of progress and of what has ended. */
void mia__webgpu_unlock(mia__webgpu *webgpu);
/* Whether nothing is wrong; sets the error otherwise. */
mia_status mia__webgpu_check(const mia__webgpu *webgpu, mia_error *error);
/* Sends the commands gathered so far, and counts the submission until it is done. */
void mia__webgpu_submit(mia__webgpu *webgpu);
/* Waits until the GPU has something to say; false where nothing can come. */
bool mia__webgpu_wait(mia__webgpu *webgpu);

/* --- pace.c: with the lock -------------------------------------------------------------------- */

/* Has the GPU call back what is due: mia__gpu_type.poll. */
void mia__webgpu_look(mia__webgpu *webgpu, bool block);
/* A submission ended, as was heard in a look. */
void mia__webgpu_pace_learn(mia__webgpu *webgpu, const mia__webgpu_sent *sent);

/* --- memory.c: with the lock, unless they are of mia__backend_type ---------------------------- */

mia_status mia__webgpu_allocate(mia__backend *backend, size_t bytes, mia__buffer *out, mia_error *error);
void mia__webgpu_release(mia__backend *backend, mia__buffer *buffer);
mia_status mia__webgpu_adopt(mia__backend *backend, const void *memory, size_t bytes, mia__buffer *out,
                             mia_error *error);
mia_status mia__webgpu_upload(mia__backend *backend, mia__buffer *buffer, size_t offset, const void *from,
                              size_t bytes, mia_error *error);
/* Writes host bytes, a bounded amount of which is on its way at a time. */
void mia__webgpu_write(mia__webgpu *webgpu, mia__gpu_buffer *buffer, uint64_t offset, const void *from,
                       size_t bytes);
/* The buffer that values are read back through, of at least that size; NULL with the error set. */
mia__gpu_buffer *mia__webgpu_readback(mia__webgpu *webgpu, uint64_t bytes, mia_error *error);
void mia__webgpu_memory_free(mia__webgpu *webgpu);

/* --- pipelines.c: with the lock --------------------------------------------------------------- */

/* The pipeline of a shader, made or begun to be made. NULL without memory. */
mia__webgpu_pipeline *mia__webgpu_pipeline_get(mia__webgpu *webgpu, const mia__gpu_shader *shader);
/* Gives back those that are made; then, when the GPU is closed and calls back no more, their memory. */
void mia__webgpu_pipelines_release(mia__webgpu *webgpu);
void mia__webgpu_pipelines_free(mia__webgpu *webgpu);

/* --- compile.c -------------------------------------------------------------------------------- */

mia_status mia__webgpu_compile(mia__backend *backend, const mia__plan *plan, void **program,
                               mia_error *error);
void mia__webgpu_discard(mia__backend *backend, void *program);

/* --- run.c ------------------------------------------------------------------------------------ */

void mia__webgpu_run(mia__backend *backend, mia__run *run);
/* Begins a part of a run, dispatches [first, end), which completes by itself. */
void mia__webgpu_run_part(mia__webgpu *webgpu, mia__run *run, uint32_t first, uint32_t end,
                          mia__completion completion);
void mia__webgpu_download(mia__backend *backend, const mia__buffer *buffer, size_t offset, void *into,
                          size_t bytes, mia__completion completion);
/* The next pipeline that the next run waits for and that nobody makes yet; NULL: none. */
mia__webgpu_pipeline *mia__webgpu_run_wants(const mia__webgpu *webgpu);
/* Moves the oldest work on as far as it goes; true when something changed. With the lock. */
bool mia__webgpu_advance(mia__webgpu *webgpu);
/* Tells of what is in the list, without the lock, and frees it. */
void mia__webgpu_tell(mia__webgpu *webgpu, mia__webgpu_work *ended);

/* --- checked.c ---------------------------------------------------------------------------------- */

/* Begins a run whose steps are checked; false, which is reported, where there is no memory for that. */
bool mia__webgpu_run_checked(mia__webgpu *webgpu, mia__run *run);

#endif
