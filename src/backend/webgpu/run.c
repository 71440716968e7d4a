/* Work on the GPU: runs of programs, and values read back. Work is moved on by polls, oldest first.
 *
 * A run waits for its pipelines, and is then submitted: whole when it is short, else in pieces of some milliseconds of
 * which two are on their way at a time, so that it can be cancelled and others get at the GPU between them. It is over
 * when all of it is submitted: what is submitted later comes after it, and a value read back waits for the numbers. */
#include "backend/webgpu/webgpu.h"

#include "backend/host.h"

#include <stdio.h>
#include <string.h>

#define PIECE_DISPATCHES 48 /* the GPU works on these while those behind them are gathered */
#define FIRST_DISPATCHES 16 /* the same of a run's first piece, so that it begins soon */
#define MOST_IN_FLIGHT   2  /* pieces of one run */
#define MOST_SUBMISSIONS 24 /* of all */
#define DOWNLOAD_PIECE   ((size_t)32 << 20)

typedef enum work_kind { WORK_RUN, WORK_DOWNLOAD } work_kind;

struct mia__webgpu_work {
    mia__webgpu_work *next;
    mia__webgpu *webgpu;
    work_kind kind;
    mia__completion completion;
    bool begun;
    bool waits;  /* for something to be mapped, which will come */
    bool waited; /* for pipelines, which then count as work */
    bool over;   /* with this status: */
    mia_status status;
    char message[600];

    mia__run *run;
    uint32_t ready; /* dispatches, from the first on, whose pipelines are made */
    uint32_t next_dispatch, end;
    uint32_t first_timed; /* of the piece that is being timed */
    uint64_t submitted;   /* when that was */
    uint64_t step_began;  /* when the step did whose dispatches go on in the next piece, */
    uint64_t step_took;   /* and how long those that were timed took */
    bool goes_on;
    const void *stamps; /* its times, until they are told */

    const mia__webgpu_buffer *from; /* of a download */
    uint64_t offset;
    void *into;
    size_t bytes, piece; /* left to come, and on their way of these */
};

/* --- the list --------------------------------------------------------------------------------- */

static void finish(mia__webgpu_work *work, mia_status status, const char *message) {
    work->over = true;
    work->status = status;
    (void)snprintf(work->message, sizeof work->message, "%s", message != NULL ? message : "");
}

static void add(mia__webgpu *webgpu, const mia__webgpu_work *what) {
    mia__webgpu_work *work = mia_allocate(webgpu->allocator, sizeof *work, _Alignof(mia__webgpu_work));
    if (work == NULL) {
        mia__complete(what->completion, MIA_ERROR_NO_MEMORY, "webgpu: no memory to begin work");
        return;
    }
    *work = *what;
    work->webgpu = webgpu;
    mia__webgpu_lock(webgpu);
    if (webgpu->newest != NULL)
        webgpu->newest->next = work;
    else
        webgpu->oldest = work;
    webgpu->newest = work;
    while (mia__webgpu_advance(webgpu)) {
    }
    mia__webgpu_unlock(webgpu);
}

void mia__webgpu_tell(mia__webgpu *webgpu, mia__webgpu_work *ended) {
    while (ended != NULL) {
        mia__webgpu_work *next = ended->next;
        mia__complete(ended->completion, ended->status, ended->message[0] != 0 ? ended->message : NULL);
        mia_release(webgpu->allocator, ended, sizeof *ended);
        ended = next;
    }
}

/* Takes the oldest out of the queue, to be told of. */
static void end_oldest(mia__webgpu *webgpu) {
    mia__webgpu_work *work = webgpu->oldest, **link = &webgpu->ended;
    webgpu->oldest = work->next;
    if (webgpu->oldest == NULL) webgpu->newest = NULL;
    work->next = NULL;
    while (*link != NULL) link = &(*link)->next;
    *link = work;
}

/* --- bindings --------------------------------------------------------------------------------- */

static uint64_t binding_bytes(const mia__run *run, uint32_t buffer) {
    return (run->plan->buffers[buffer].bytes + 15) & ~(uint64_t)15;
}

static bool is_bound(const mia__webgpu_dispatch *dispatch, const mia__webgpu_bound *bound,
                     const mia__run *run) {
    if (bound->gpu == NULL) return false;
    for (uint32_t b = 0; b < dispatch->binding_count; b++) {
        const mia__place *place = &run->places[dispatch->buffers[b]];
        const mia__webgpu_buffer *buffer = place->buffer->handle;
        if (buffer->id != bound->id[b] || place->offset != bound->offset[b]) return false;
    }
    return true;
}

/* Bindings for this run; kept, since a model's step comes back with the same buffers. NULL without memory. */
static mia__gpu_bindings *bindings_of(mia__webgpu *webgpu, mia__webgpu_program *program,
                                      mia__webgpu_dispatch *dispatch, const mia__run *run) {
    for (uint32_t i = 0; i < MIA__WEBGPU_KEPT_BINDINGS; i++)
        if (is_bound(dispatch, &dispatch->bound[i], run)) return dispatch->bound[i].gpu;
    mia__webgpu_bound *bound = &dispatch->bound[dispatch->next_bound++ % MIA__WEBGPU_KEPT_BINDINGS];
    if (bound->gpu != NULL) webgpu->gpu->type->free_bindings(webgpu->gpu, bound->gpu);
    mia__gpu_binding bindings[MIA__GPU_MOST_BINDINGS] = {
        {program->uniforms, dispatch->parameter_offset, dispatch->parameter_bytes}};
    for (uint32_t b = 0; b < dispatch->binding_count; b++) {
        const mia__place *place = &run->places[dispatch->buffers[b]];
        const mia__webgpu_buffer *buffer = place->buffer->handle;
        bound->id[b] = buffer->id;
        bound->offset[b] = place->offset;
        bindings[b + 1] =
            (mia__gpu_binding){buffer->gpu, place->offset, binding_bytes(run, dispatch->buffers[b])};
    }
    bound->gpu =
        webgpu->gpu->type->bind(webgpu->gpu, dispatch->pipeline->gpu, bindings, dispatch->binding_count + 1);
    return bound->gpu;
}

/* --- runs ------------------------------------------------------------------------------------- */

/* Dispatches of a run whose pipelines are made. */
static uint32_t count_made(const mia__webgpu_work *work, const mia__webgpu_program *program) {
    uint32_t made = work->ready;
    for (uint32_t i = work->ready; i < work->end; i++) made += !program->dispatches[i].pipeline->pending;
    return made;
}

/* To be told once the lock is given back: how much is done of a run, making its pipelines included. */
static void tell_share(mia__webgpu *webgpu, const mia__webgpu_work *work,
                       const mia__webgpu_program *program) {
    double all = program->count > 0 ? program->count : 1, done = work->next_dispatch;
    webgpu->telling = work->run->watch;
    webgpu->telling_share = work->waited ? (done + count_made(work, program)) / (2 * all) : done / all;
}

mia__webgpu_pipeline *mia__webgpu_run_wants(const mia__webgpu *webgpu) {
    const mia__webgpu_work *work = webgpu->oldest;
    while (work != NULL && (work->kind != WORK_RUN || work->begun)) work = work->next;
    if (work == NULL) return NULL;
    const mia__webgpu_program *program = work->run->program;
    for (uint32_t i = work->ready; i < work->end; i++) {
        mia__webgpu_pipeline *pipeline = program->dispatches[i].pipeline;
        if (pipeline->pending && !pipeline->begun) return pipeline;
    }
    return NULL;
}

/* Whether all pipelines that it needs are there; a refused one ends the run. */
static bool pipelines_ready(mia__webgpu *webgpu, mia__webgpu_work *work, const mia__webgpu_program *program) {
    for (; work->ready < work->end; work->ready++) {
        const mia__webgpu_pipeline *pipeline = program->dispatches[work->ready].pipeline;
        if (pipeline->pending) {
            work->waited = true;
            tell_share(webgpu, work, program);
            return false;
        }
        if (pipeline->status == MIA_OK) continue;
        finish(work, pipeline->status, pipeline->message);
        return true;
    }
    return true;
}

/* Gathers dispatches until they make a piece; false without memory. */
static bool gather(mia__webgpu *webgpu, mia__webgpu_work *work, mia__webgpu_program *program, bool timed) {
    double nanoseconds = 0;
    uint32_t first = work->next_dispatch;
    while (work->next_dispatch < work->end) {
        mia__webgpu_dispatch *dispatch = &program->dispatches[work->next_dispatch];
        nanoseconds += dispatch->nanoseconds * webgpu->speed;
        if (work->next_dispatch > first && nanoseconds > MIA__WEBGPU_PIECE_NANOSECONDS) break;
        if (work->next_dispatch - first == (first == 0 ? FIRST_DISPATCHES : PIECE_DISPATCHES)) break;
        mia__gpu_bindings *bindings = bindings_of(webgpu, program, dispatch, work->run);
        if (bindings == NULL) return false;
        webgpu->gpu->type->dispatch(webgpu->gpu, dispatch->pipeline->gpu, bindings, dispatch->groups,
                                    timed ? (int32_t)(work->next_dispatch - first) : -1);
        webgpu->unsent_nanoseconds += dispatch->nanoseconds;
        work->next_dispatch++;
    }
    return true;
}

/* Times of a piece, as the GPU's clock has them, told as if the piece had begun when it was submitted. A step that goes on in the next
 * piece is told of with that: what lies between the two is not in its time. */
static void tell_spans(mia__webgpu_work *work, const uint64_t *stamps, const mia__webgpu_program *program) {
    mia__watch *watch = work->run->watch;
    for (uint32_t i = work->first_timed; i < work->next_dispatch;) {
        mia__span span = {.step = program->dispatches[i].step, .begin = stamps[2 * (i - work->first_timed)]};
        for (; i < work->next_dispatch && program->dispatches[i].step == span.step; i++) {
            span.end = stamps[2 * (i - work->first_timed) + 1];
            span.joined = program->dispatches[i].joined;
        }
        uint64_t took = span.end > span.begin ? span.end - span.begin : 0;
        span.begin = work->goes_on ? work->step_began : span.begin - stamps[0] + work->submitted;
        work->step_took = work->goes_on ? work->step_took + took : took;
        span.end = span.begin + work->step_took;
        work->step_began = span.begin;
        work->goes_on = i < work->end && program->dispatches[i].step == span.step;
        if (!work->goes_on) watch->trace(watch->trace_user, &span);
    }
}

/* May come while another thread uploads; the one that drives tells of it. */
static void stamps_mapped(void *user, const void *memory, mia_status status, const char *message) {
    mia__webgpu_work *work = user;
    work->webgpu->heard++;
    work->waits = false;
    work->stamps = memory;
    if (status != MIA_OK) finish(work, status, message);
}

static void take_stamps(mia__webgpu *webgpu, mia__webgpu_work *work, const mia__webgpu_program *program) {
    tell_spans(work, work->stamps, program);
    work->stamps = NULL;
    webgpu->gpu->type->unmap(webgpu->gpu, webgpu->readback);
    if (work->next_dispatch == work->end) finish(work, MIA_OK, NULL);
}

/* Submits a piece with the times of its dispatches, and has them read back. */
static void submit_timed(mia__webgpu *webgpu, mia__webgpu_work *work, uint32_t first) {
    uint32_t count = work->next_dispatch - first;
    mia_error error = {0};
    mia__gpu_buffer *readback = mia__webgpu_readback(webgpu, (uint64_t)count * 16, &error);
    if (readback == NULL) {
        finish(work, error.status, error.message);
        mia__webgpu_submit(webgpu); /* what was gathered must not wait until its buffers are gone */
        return;
    }
    work->first_timed = first;
    work->submitted = mia__nanoseconds();
    work->waits = true;
    webgpu->gpu->type->stamps(webgpu->gpu, count, readback);
    mia__webgpu_submit(webgpu);
    webgpu->gpu->type->map(webgpu->gpu, readback, (size_t)count * 16, stamps_mapped, work);
}

static bool write_parameters(mia__webgpu *webgpu, mia__webgpu_program *program, mia_error *error) {
    if (program->uniforms != NULL || program->parameter_words == 0) return true;
    size_t bytes = program->parameter_words * sizeof(uint32_t);
    program->uniforms = webgpu->gpu->type->buffer(webgpu->gpu, bytes, MIA__GPU_UNIFORM, error);
    if (program->uniforms == NULL) return false;
    webgpu->gpu->type->write(webgpu->gpu, program->uniforms, 0, program->parameters, bytes);
    webgpu->unsent_bytes += bytes;
    return true;
}

/* Bindings could not be made: for want of memory, or because the GPU is gone, which it then says. */
static void fail_unbound(mia__webgpu *webgpu, mia__webgpu_work *work) {
    mia__webgpu_look(webgpu, false);
    if (webgpu->failure != MIA_OK)
        finish(work, webgpu->failure, webgpu->failure_message);
    else
        finish(work, MIA_ERROR_NO_MEMORY, "webgpu: no memory to begin a run");
}

/* Moves a run on; false when it has to wait. */
static bool advance_run(mia__webgpu *webgpu, mia__webgpu_work *work) {
    mia__webgpu_program *program = work->run->program;
    mia_error error = {0};
    if (work->waits) return false;
    if (work->stamps != NULL) take_stamps(webgpu, work, program);
    if (work->over) return true;
    if (mia__watch_cancelled(work->run->watch)) {
        finish(work, MIA_ERROR_CANCELLED, NULL);
        return true;
    }
    if (!work->begun) {
        if (!pipelines_ready(webgpu, work, program)) return false;
        if (work->over) return true;
        if (!write_parameters(webgpu, program, &error)) {
            finish(work, error.status, error.message);
            return true;
        }
        work->begun = true;
    }
    bool whole = program->nanoseconds * webgpu->speed <= MIA__WEBGPU_PIECE_NANOSECONDS;
    if (webgpu->in_flight >= (whole ? MOST_SUBMISSIONS : MOST_IN_FLIGHT)) return false;
    uint32_t first = work->next_dispatch;
    bool timed = mia__watch_traces(work->run->watch);
    if (!gather(webgpu, work, program, timed)) {
        fail_unbound(webgpu, work);
    } else if (timed && work->next_dispatch > first) {
        submit_timed(webgpu, work, first);
        return true;
    } else {
        tell_share(webgpu, work, program);
        if (work->next_dispatch == work->end) finish(work, MIA_OK, NULL);
    }
    mia__webgpu_submit(webgpu);
    return true;
}

void mia__webgpu_run_part(mia__webgpu *webgpu, mia__run *run, uint32_t first, uint32_t end,
                          mia__completion completion) {
    const mia__webgpu_work work = {.kind = WORK_RUN,
                                   .completion = completion,
                                   .run = run,
                                   .ready = first,
                                   .next_dispatch = first,
                                   .end = end};
    add(webgpu, &work);
}

void mia__webgpu_run(mia__backend *backend, mia__run *run) {
    mia__webgpu *webgpu = (mia__webgpu *)backend;
    const mia__webgpu_program *program = run->program;
    run->joined = program->joined;
    if (run->check != NULL && mia__webgpu_run_checked(webgpu, run)) return;
    mia__webgpu_run_part(webgpu, run, 0, program->count, run->completion);
}

/* --- reading back ----------------------------------------------------------------------------- */

static void mapped(void *user, const void *memory, mia_status status, const char *message) {
    mia__webgpu_work *work = user;
    work->webgpu->heard++;
    work->waits = false;
    if (status != MIA_OK) {
        finish(work, status, message);
        return;
    }
    memcpy(work->into, (const char *)memory + work->offset % 4, work->piece);
    work->webgpu->gpu->type->unmap(work->webgpu->gpu, work->webgpu->readback);
    work->into = (char *)work->into + work->piece;
    work->offset += work->piece;
    work->bytes -= work->piece;
    if (work->bytes == 0) finish(work, MIA_OK, NULL);
}

static bool advance_download(mia__webgpu *webgpu, mia__webgpu_work *work) {
    if (work->waits) return false;
    if (work->bytes == 0) {
        finish(work, MIA_OK, NULL);
        return true;
    }
    work->piece = work->bytes < DOWNLOAD_PIECE ? work->bytes : DOWNLOAD_PIECE;
    uint64_t first = work->offset & ~(uint64_t)3, end = (work->offset + work->piece + 3) & ~(uint64_t)3;
    mia_error error = {0};
    mia__gpu_buffer *readback = mia__webgpu_readback(webgpu, end - first, &error);
    if (readback == NULL) {
        finish(work, error.status, error.message);
        return true;
    }
    webgpu->gpu->type->copy(webgpu->gpu, work->from->gpu, first, readback, 0, end - first);
    mia__webgpu_submit(webgpu);
    work->waits = true;
    webgpu->gpu->type->map(webgpu->gpu, readback, (size_t)(end - first), mapped, work);
    return true;
}

void mia__webgpu_download(mia__backend *backend, const mia__buffer *buffer, size_t offset, void *into,
                          size_t bytes, mia__completion completion) {
    const mia__webgpu_work work = {.kind = WORK_DOWNLOAD,
                                   .completion = completion,
                                   .from = buffer->handle,
                                   .offset = offset,
                                   .into = into,
                                   .bytes = bytes};
    add((mia__webgpu *)backend, &work);
}

/* --- moving on -------------------------------------------------------------------------------- */

/* A run behind a value whose copy is submitted: it may begin while that comes back, and ends in its turn. */
static mia__webgpu_work *run_behind(const mia__webgpu *webgpu) {
    const mia__webgpu_work *first = webgpu->oldest;
    mia__webgpu_work *next = first->next;
    if (first->kind != WORK_DOWNLOAD || !first->waits || first->piece < first->bytes) return NULL;
    if (next == NULL || next->kind != WORK_RUN || next->over || webgpu->failure != MIA_OK) return NULL;
    return mia__watch_traces(next->run->watch) ? NULL : next; /* times come back the same way */
}

bool mia__webgpu_advance(mia__webgpu *webgpu) {
    mia__webgpu_work *work = webgpu->oldest;
    if (work == NULL) return false;
    mia__webgpu_work *behind = run_behind(webgpu);
    if (behind != NULL && advance_run(webgpu, behind)) return true;
    if (!work->over && !work->waits && webgpu->failure != MIA_OK)
        finish(work, webgpu->failure, webgpu->failure_message);
    bool moved = work->over;
    if (!moved) moved = work->kind == WORK_RUN ? advance_run(webgpu, work) : advance_download(webgpu, work);
    if (work->over) end_oldest(webgpu);
    return moved;
}
