/* A model's step as a tape: the same recording that state.c runs, between named inputs and outputs. */
#include "model.h"

#include <inttypes.h>
#include <stdio.h>

#define NAME_BYTES 32

/* Names and handles of a step under way; arrays of caches plus four. */
typedef struct step {
    const mia_lm *lm;
    size_t caches, count; /* count: of the arrays */
    mia_named *inputs, *outputs;
    char (*names)[NAME_BYTES];
    mia_tensor_f32 *cache;
} step;

static void free_step(step *s) {
    const mia_allocator *allocator = mia__lm_allocator(s->lm);
    mia_release(allocator, s->inputs, s->count * sizeof *s->inputs);
    mia_release(allocator, s->outputs, s->count * sizeof *s->outputs);
    mia_release(allocator, s->names, s->count * sizeof *s->names);
    mia_release(allocator, s->cache, s->count * sizeof *s->cache);
}

static bool new_step(step *s, const mia_lm *lm) {
    const mia_allocator *allocator = mia__lm_allocator(lm);
    *s = (step){.lm = lm, .caches = 2 * (size_t)lm->parameters.layers};
    s->count = s->caches + 4;
    s->inputs = mia_allocate_zeroed(allocator, s->count, sizeof *s->inputs);
    s->outputs = mia_allocate_zeroed(allocator, s->count, sizeof *s->outputs);
    s->names = mia_allocate_zeroed(allocator, s->count, sizeof *s->names);
    s->cache = mia_allocate_zeroed(allocator, s->count, sizeof *s->cache);
    if (s->inputs != NULL && s->outputs != NULL && s->names != NULL && s->cache != NULL) return true;
    free_step(s);
    return false;
}

static void make_inputs(step *s, mia__chunk_inputs *in, int64_t rows, int64_t capacity) {
    const mia__parameters *p = &s->lm->parameters;
    mia_device *device = s->lm->device;
    *in = (mia__chunk_inputs){.rows = rows,
                              .ids = mia_input(i32, device, MIA_SHAPE(rows)),
                              .positions = mia_input(i32, device, MIA_SHAPE(rows)),
                              .start = mia_input(i32, device, MIA_SHAPE(1)),
                              .length = mia_input(i32, device, MIA_SHAPE(1))};
    s->inputs[0] = (mia_named){"ids", in->ids.untyped};
    s->inputs[1] = (mia_named){"positions", in->positions.untyped};
    s->inputs[2] = (mia_named){"start", in->start.untyped};
    s->inputs[3] = (mia_named){"length", in->length.untyped};
    for (size_t i = 0; i < s->caches; i++) {
        int64_t dim = i % 2 == 0 ? p->key_dim : p->value_dim;
        (void)snprintf(s->names[i], NAME_BYTES, "cache.%zu", i);
        s->cache[i] = mia_input(f32, device, MIA_SHAPE(dim, capacity, p->kv_heads));
        s->inputs[4 + i] = (mia_named){s->names[i], s->cache[i].untyped};
        s->cache[i] = mia_ref(s->cache[i]);
    }
}

mia_status mia_lm_record_step(mia_lm *lm, int64_t rows, int64_t capacity, mia_tape **out, mia_error *error) {
    *out = NULL;
    if (rows < 1 || rows > capacity || capacity > lm->context)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "a step of %" PRId64 " tokens with room for %" PRId64
                             " cannot be: the context holds %" PRId64,
                             rows, capacity, lm->context);
    step s;
    if (!new_step(&s, lm)) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory to record a step");
    mia__chunk_inputs in;
    make_inputs(&s, &in, rows, capacity);
    mia_tensor_f32 hidden = lm->architecture->record(lm, &in, s.cache);
    s.outputs[0] = (mia_named){"logits", lm->architecture->output(lm, hidden).untyped};
    for (size_t i = 0; i < s.caches; i++) s.outputs[1 + i] = (mia_named){s.names[i], s.cache[i].untyped};
    mia_status status = mia_tape_record(s.inputs, s.caches + 4, s.outputs, s.caches + 1, out, error);
    for (size_t i = 0; i < s.caches + 4; i++) mia_unref(s.inputs[i].tensor);
    for (size_t i = 0; i < s.caches + 1; i++) mia_unref(s.outputs[i].tensor);
    free_step(&s);
    return status;
}
