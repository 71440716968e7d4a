/* MIA_DEBUG=check: a run in parts, with the operands of each read back before it and its result after it, and compared with
 * what reference kernels make of them (backend/check.h). A part is what one step's dispatches do: the step, or several that
 * run as one dispatch.
 *
 *     read inputs .. -> run the dispatches of a step -> read results .. -> compare -> the next
 *
 * Each is work like any other (run.c), begun when the one before it completes, so that nothing here waits and polling moves a
 * checked run on as it does others. Completions come without the backend's lock, and so the comparing, asking for constants' own
 * bytes and reporting is done without it. Host memory is that of one part's operands at a time. */
#include "backend/check.h"
#include "backend/host.h"
#include "backend/webgpu/webgpu.h"

#include <stdio.h>

typedef enum phase {
    BETWEEN,
    BEFORE,
    RUNNING,
    AFTER,
    REST
} phase; /* of a part; REST: the others, unchecked */

typedef struct checked {
    mia__webgpu *webgpu;
    mia__run *run;
    const mia__webgpu_program *program;
    mia__check_kernels kernels;
    mia__step_check *checks; /* of a part's steps; room for the largest part */
    uint32_t capacity;

    phase phase;
    uint32_t dispatch, end; /* the part's dispatches */
    uint32_t count;         /* its steps */
    uint32_t next, operand; /* what is read next: of which step, and which input */
    void *result;           /* the last that was read */
    bool wrong;             /* a step differs */

    bool inside; /* go_on is at work, and sees for itself what has ended */
    bool ended;  /* what was begun last has completed, with this status: */
    mia_status status;
    char message[600];
} checked;

/* --- begun work ------------------------------------------------------------------------------- */

static void go_on(checked *c);

static void ended(void *user, mia_status status, const char *message) {
    checked *c = user;
    c->ended = true;
    c->status = status;
    (void)snprintf(c->message, sizeof c->message, "%s", message != NULL ? message : "");
    if (!c->inside) go_on(c);
}

/* Begins to read a buffer of the plan; false where there is no memory to read it into. */
static bool begin_read(checked *c, mia__step_check *check, uint32_t buffer, void **into) {
    const mia__place *place = &c->run->places[buffer];
    size_t bytes = c->run->plan->buffers[buffer].bytes;
    *into = check->no_memory ? NULL : mia__step_check_memory(check, bytes);
    if (*into == NULL) return false;
    mia__webgpu_download(&c->webgpu->base, place->buffer, place->offset, *into, bytes,
                         (mia__completion){ended, c});
    return true;
}

static void begin_run(checked *c, uint32_t first, uint32_t end) {
    mia__webgpu_run_part(c->webgpu, c->run, first, end, (mia__completion){ended, c});
}

/* --- a part ----------------------------------------------------------------------------------- */

static void begin_part(checked *c) {
    uint32_t first = c->program->dispatches[c->dispatch].step;
    c->phase = BEFORE;
    c->count = 1;
    c->next = c->operand = 0;
    for (c->end = c->dispatch; c->end < c->program->count; c->end++) {
        const mia__webgpu_dispatch *dispatch = &c->program->dispatches[c->end];
        if (dispatch->step != first) break;
        c->count = dispatch->joined + 1;
    }
    for (uint32_t i = 0; i < c->count; i++)
        mia__step_check_begin(&c->checks[i], &c->kernels, c->run, first + i);
}

/* An input that is read already, as another operand of the step. */
static const void *there_already(const mia__step_check *check, uint32_t input) {
    for (uint32_t i = 0; i < input; i++)
        if (check->step->inputs[i].buffer == check->step->inputs[input].buffer) return check->args.inputs[i];
    return NULL;
}

/* Begins to read what the part's checks lack; false when they have all. A step of a table that was cut leaves some of
 * what its result holds. */
static bool begin_before(checked *c) {
    for (; c->next < c->count; c->next++, c->operand = 0) {
        mia__step_check *check = &c->checks[c->next];
        const mia__step *step = check->step;
        void *memory = NULL;
        while (c->operand < step->input_count) {
            uint32_t i = c->operand++;
            if (mia__step_check_is_prepared(check, i)) continue;
            check->args.inputs[i] = there_already(check, i);
            if (check->args.inputs[i] != NULL) continue;
            bool begun = begin_read(c, check, step->inputs[i].buffer, &memory);
            check->args.inputs[i] = memory;
            if (begun) return true;
        }
        if (check->args.output != NULL) continue;
        size_t bytes = c->run->plan->buffers[step->output.buffer].bytes;
        bool begun = step->keeps && begin_read(c, check, step->output.buffer, &memory);
        check->args.output = begun ? memory : check->no_memory ? NULL : mia__step_check_memory(check, bytes);
        if (begun) return true;
    }
    return false;
}

/* Compares what has been read, and begins to read the next result; false when there is none. */
static bool begin_after(checked *c) {
    while (c->next < c->count) {
        mia__step_check *check = &c->checks[c->next];
        if (c->result == NULL && begin_read(c, check, check->step->output.buffer, &c->result)) return true;
        c->wrong = !mia__step_check_end(check, c->wrong ? NULL : c->result) || c->wrong;
        c->result = NULL;
        c->next++;
    }
    return false;
}

/* --- the run ---------------------------------------------------------------------------------- */

static void end_run(checked *c) {
    const mia_allocator *allocator = c->webgpu->allocator;
    const mia__completion completion = c->run->completion;
    mia_status status = c->status;
    char message[sizeof c->message];
    (void)snprintf(message, sizeof message, "%s", c->message);
    for (uint32_t i = 0; i < c->capacity; i++) mia__step_check_free(&c->checks[i], 0);
    mia_release(allocator, c->checks, c->capacity * sizeof *c->checks);
    mia_release(allocator, c, sizeof *c);
    mia__complete(completion, status, message[0] != 0 ? message : NULL);
}

/* Begins what comes next; false when all is done. After the first step that is wrong the rest runs unchecked. */
static bool begin_next(checked *c) {
    switch (c->phase) {
    case BETWEEN:
        if (c->dispatch == c->program->count) return false;
        begin_part(c);
        /* fall through */
    case BEFORE:
        if (begin_before(c)) return true;
        c->phase = RUNNING;
        begin_run(c, c->dispatch, c->end);
        return true;
    case RUNNING:
        c->phase = AFTER;
        c->next = 0;
        /* fall through */
    case AFTER:
        if (begin_after(c)) return true;
        c->dispatch = c->end;
        c->phase = c->wrong ? REST : BETWEEN;
        if (c->phase == BETWEEN) return begin_next(c);
        begin_run(c, c->dispatch, c->program->count);
        return true;
    case REST: break;
    }
    return false;
}

static void go_on(checked *c) {
    bool more = true;
    c->inside = true;
    while (c->ended && more) {
        c->ended = false;
        if (c->status == MIA_OK && mia__watch_cancelled(c->run->watch)) c->status = MIA_ERROR_CANCELLED;
        more = c->status == MIA_OK && begin_next(c);
    }
    c->inside = false;
    if (!more) end_run(c);
}

/* Subgroup matrices multiply f16 (matrices.c, attention_matrices.c). */
static mia__check_promise promise_of(const mia__webgpu *webgpu) {
    bool rounds = webgpu->precision != MIA_PRECISION_EXACT;
    bool halves = rounds && (webgpu->gpu->info.features & MIA__GPU_SUBGROUP_MATRIX) != 0;
    return (mia__check_promise){.eight_bits = rounds, .halves = halves, .normal = true};
}

bool mia__webgpu_run_checked(mia__webgpu *webgpu, mia__run *run) {
    const mia__webgpu_program *program = run->program;
    checked *c = mia_allocate_zeroed(webgpu->allocator, 1, sizeof *c);
    uint32_t steps = 1;
    for (uint32_t i = 0; i < program->count; i++)
        if (program->dispatches[i].joined >= steps) steps = program->dispatches[i].joined + 1;
    mia__step_check *checks =
        c != NULL ? mia_allocate_zeroed(webgpu->allocator, steps, sizeof *checks) : NULL;
    if (checks == NULL) {
        mia_release(webgpu->allocator, c, sizeof *c);
        run->check->report(run->check->user, "no step was checked: no memory");
        return false;
    }
    *c = (checked){.webgpu = webgpu,
                   .run = run,
                   .program = program,
                   .kernels = {.allocator = webgpu->allocator, .promise = promise_of(webgpu)},
                   .checks = checks,
                   .capacity = steps,
                   .ended = true};
    go_on(c);
    return true;
}
