/* Running a tape: its inputs take the places of the leaves that it was recorded with, a plan for them is made
 * once for each choice of inputs that may be overwritten, and no operation is recorded again. */
#include "base/size.h"
#include "graph/ops.h"
#include "runtime/tapes.h"

#include <stdio.h>
#include <string.h>

/* --- plans ------------------------------------------------------------------------------------ */

static void set_overwritable(mia_tape *tape, const bool *overwritable) {
    for (uint32_t i = 0; i < tape->input_count + tape->leaf_count; i++) {
        uint32_t input = i < tape->input_count ? i : tape->leaves[i - tape->input_count].input;
        mia__entry *entry = &tape->tape.entries[i];
        entry->flags &= ~(uint32_t)MIA__LEAF_OVERWRITABLE;
        if (input != MIA__NO_INPUT && overwritable[input]) entry->flags |= MIA__LEAF_OVERWRITABLE;
    }
}

static mia__cached *new_plan(mia_tape *tape, const bool *overwritable, mia_error *error) {
    mia_device *device = tape->device;
    mia__cached *cached = mia_allocate_zeroed(&device->allocator, 1, sizeof *cached);
    if (cached == NULL) {
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "tape: no memory for a plan");
        return NULL;
    }
    cached->refs = 1;
    set_overwritable(tape, overwritable);
    mia__tape_log(device, &tape->tape);
    mia_status status =
        mia__plan_make(&tape->tape, &device->backend->rules, &device->allocator, &cached->plan, error);
    if (status == MIA_OK)
        status = device->type->compile(device->backend, cached->plan, &cached->program, error);
    if (status == MIA_OK) {
        device->counters.plans++;
        mia__plan_log_passes(device, cached->plan);
        mia__plan_log(device, cached->plan);
        return cached;
    }
    mia__cached_release(device, cached);
    return NULL;
}

mia__cached *mia__tape_plan_for(mia_tape *tape, const bool *overwritable, mia_error *error) {
    size_t bytes = tape->input_count * sizeof(bool);
    for (mia__tape_plan *known = tape->plans; known != NULL; known = known->next) {
        if (bytes > 0 && memcmp(known->overwritable, overwritable, bytes) != 0) continue;
        known->plan->refs++;
        return known->plan;
    }
    mia__tape_plan *made = mia_allocate_zeroed(&tape->allocator, 1, sizeof *made + bytes);
    mia__cached *plan = made != NULL ? new_plan(tape, overwritable, error) : NULL;
    if (plan == NULL) {
        if (made == NULL) (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "tape: no memory for a plan");
        mia_release(&tape->allocator, made, sizeof *made + bytes);
        return NULL;
    }
    memcpy(made->overwritable, overwritable, bytes);
    made->plan = plan;
    made->next = tape->plans;
    tape->plans = made;
    plan->refs++;
    return plan;
}

/* The leaves' nodes where the plan's leaf buffers are looked up (submit.c). */
static bool set_leaves(mia_tape *tape, mia__node *const *inputs, mia_error *error) {
    mia__linear *linear = &tape->device->linear;
    if (!mia__linear_reserve(linear, tape->tape.leaf_count)) {
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "tape: no memory to run it");
        return false;
    }
    for (uint32_t i = 0; i < tape->input_count; i++) linear->nodes[i] = inputs[i];
    for (uint32_t i = 0; i < tape->leaf_count; i++) {
        const mia__tape_leaf *leaf = &tape->leaves[i];
        linear->nodes[tape->input_count + i] =
            leaf->input != MIA__NO_INPUT ? inputs[leaf->input] : leaf->node;
    }
    linear->count = linear->leaf_count = tape->tape.leaf_count;
    return true;
}

/* --- a run ------------------------------------------------------------------------------------ */

/* One run's arrays, in one piece of memory: inputs' nodes, results' nodes, and which inputs may be
 * overwritten. */
typedef struct replay {
    mia_tape *tape;
    mia_device *device;
    mia__site site;
    mia__node **inputs; /* references */
    mia__node **outputs;
    bool *overwritable;
    size_t bytes;
} replay;

static bool replay_new(replay *r, mia_tape *tape) {
    size_t pointers = (size_t)tape->input_count + tape->output_count;
    r->bytes = pointers * (sizeof(mia__node *) + sizeof(bool)) + 1;
    r->inputs = mia_allocate_zeroed(&tape->device->allocator, 1, r->bytes);
    if (r->inputs == NULL) return false;
    r->outputs = r->inputs + tape->input_count;
    r->overwritable = (bool *)(void *)(r->outputs + tape->output_count);
    return true;
}

static void replay_free(replay *r) {
    for (uint32_t i = 0; i < r->tape->input_count; i++) mia__node_release(r->device, r->inputs[i]);
    mia_release(&r->device->allocator, r->inputs, r->bytes);
}

static mia_status check_value(const mia__tape_value *value, const mia__node *node, mia_error *error) {
    char is[200], takes[200];
    mia_shape shape = mia__view_shape(&node->view);
    if (node->dtype == value->dtype && mia__shape_equal(&shape, &value->shape)) return MIA_OK;
    return mia_error_set(
        error, node->dtype == value->dtype ? MIA_ERROR_SHAPE_MISMATCH : MIA_ERROR_TYPE_MISMATCH,
        "tape: input %s is %s %s, it takes %s %s", value->name, mia_dtype_describe(node->dtype)->name,
        mia__shape_text(&shape, is, sizeof is), mia_dtype_describe(value->dtype)->name,
        mia__shape_text(&value->shape, takes, sizeof takes));
}

/* Takes every input over, also behind a bad one. */
static mia_status take_inputs(replay *r, const mia_tensor *inputs, mia_error *error) {
    mia_status status = MIA_OK;
    for (uint32_t i = 0; i < r->tape->input_count; i++) {
        mia_error *where = status == MIA_OK ? error : NULL;
        mia__node *node = mia__handle_take(r->device, inputs[i], (int)i, &r->site, where);
        r->inputs[i] = node;
        if (status != MIA_OK) continue;
        const mia__cause *cause = node != NULL ? mia__node_cause(node) : NULL;
        if (node == NULL)
            status = error->status;
        else if (cause != NULL)
            status = mia_error_set(error, cause->status, "%s", cause->message);
        else
            status = check_value(&r->tape->inputs[i], node, error);
    }
    return status;
}

/* A value that exists, whole and compact: what a leaf has to be. */
static bool is_whole(const mia__node *node) {
    return node->state == MIA__READY && mia__view_is_compact(node->dtype, &node->view) &&
           mia__view_bytes(node->dtype, &node->view) == node->memory->bytes;
}

/* Inputs that have not run, or are views, are evaluated by a run of their own before. */
static mia_status evaluate_inputs(replay *r, mia_error *error) {
    bool whole = true;
    for (uint32_t i = 0; i < r->tape->input_count; i++) {
        mia__node *node = r->inputs[i];
        if (is_whole(node)) continue;
        whole = false;
        if (node->state != MIA__READY) continue;
        mia_shape shape = mia__view_shape(&node->view);
        mia__view compact = mia__view_compact(node->dtype, &shape);
        r->inputs[i] =
            mia__node_pending(r->device, MIA_OP_copy, node->dtype, &compact, &node, 1, NULL, &r->site);
        if (r->inputs[i] == NULL)
            return mia_error_set(error, MIA_ERROR_NO_MEMORY, "tape: no memory to run it");
    }
    if (whole) return MIA_OK;
    mia_ticket *ticket = mia__submit(r->device, r->inputs, r->tape->input_count, error);
    if (ticket == NULL) return error->status != MIA_OK ? error->status : MIA_ERROR_NO_MEMORY;
    if (ticket->done) {
        mia_status status = mia_error_set(error, ticket->status, "%s", ticket->message);
        mia__ticket_drop(ticket);
        return status;
    }
    ticket->nobodys = true;
    mia__ticket_queue(ticket);
    for (uint32_t i = 0; i < r->tape->input_count; i++) {
        if (is_whole(r->inputs[i])) continue;
        /* what ran is a view of something: once more, as a copy */
        return evaluate_inputs(r, error);
    }
    return MIA_OK;
}

static void find_overwritable(replay *r) {
    for (uint32_t i = 0; i < r->tape->input_count; i++) {
        const mia__node *node = r->inputs[i];
        const mia__memory *memory = node->memory;
        r->overwritable[i] = node->refs == 1 && memory->nodes == 1 && !memory->constant && !memory->borrowed;
    }
}

/* A node for every output: of the plan's results, or of an input that comes out as it is. */
static bool make_outputs(replay *r, const mia_ticket *ticket, mia__storage *empty) {
    const mia__plan *plan = ticket->plan->plan;
    for (uint32_t i = 0; i < r->tape->output_count; i++) {
        const mia__tape_value *value = &r->tape->outputs[i];
        if (value->entry < r->tape->tape.leaf_count) {
            const mia__entry *entry = &r->tape->tape.entries[value->entry];
            mia__node *leaf = r->device->linear.nodes[value->entry];
            r->outputs[i] = mia__node_ready(r->device, entry->dtype, &entry->view,
                                            (mia__storage *)leaf->memory, &r->site);
        } else {
            uint32_t k = 0;
            while (plan->results[k].entry != value->entry) k++;
            const mia__plan_result *result = &plan->results[k];
            mia__storage *storage =
                result->buffer != MIA__NO_BUFFER ? ticket->storages[result->buffer] : empty;
            r->outputs[i] = mia__node_ready(r->device, value->dtype, &result->view, storage, &r->site);
        }
        if (r->outputs[i] == NULL) return false;
    }
    return true;
}

/* An output that is an input, or looks at one, keeps that one from being overwritten. */
static void keep_outputs(const mia_tape *tape, bool *overwritable) {
    for (uint32_t i = 0; i < tape->output_count; i++) {
        uint32_t entry = tape->outputs[i].entry;
        while (
            entry >= tape->tape.leaf_count &&
            mia__op_row_of(tape->tape.entries[entry].op, tape->tape.entries[entry].custom)->info.op_class ==
                MIA_CLASS_VIEW)
            entry = tape->tape.entries[entry].operands[0];
        if (entry >= tape->tape.leaf_count) continue;
        uint32_t input = tape->tape.entries[entry].alias;
        if (input < tape->input_count) overwritable[input] = false;
    }
}

void mia__tape_overwrite_all(const mia_tape *tape, bool *overwritable) {
    for (uint32_t i = 0; i < tape->input_count; i++) overwritable[i] = true;
    keep_outputs(tape, overwritable);
}

/* A ticket that is ready to be queued, failed, or NULL; with the outputs' nodes made when it is ready. */
static mia_ticket *reserve(replay *r, mia_error *error) {
    find_overwritable(r);
    keep_outputs(r->tape, r->overwritable);
    if (!set_leaves(r->tape, r->inputs, error)) return NULL;
    mia__cached *plan = mia__tape_plan_for(r->tape, r->overwritable, error);
    mia_ticket *ticket = plan != NULL ? mia__reserve(r->device, plan, false, error) : NULL;
    if (ticket == NULL || ticket->done) return ticket;
    mia__storage *empty;
    bool made = mia__make_empty(r->device, ticket, &empty, error) && make_outputs(r, ticket, empty);
    if (made) {
        ticket->run_it = true;
        return ticket;
    }
    for (uint32_t i = 0; i < r->tape->output_count; i++) {
        mia__node_release(r->device, r->outputs[i]);
        r->outputs[i] = NULL;
    }
    if (error->status == MIA_OK) (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "tape: no memory to run it");
    mia__ticket_let_go(ticket);
    mia__ticket_fail(ticket, error);
    return ticket;
}

/* Handles of the outputs: of their nodes, or poisoned with what went wrong. */
static void hand_out(replay *r, mia_tensor *outputs, const mia_error *error) {
    for (uint32_t i = 0; i < r->tape->output_count; i++) {
        mia__node *node = r->outputs != NULL ? r->outputs[i] : NULL;
        if (node == NULL) node = mia__node_poisoned(r->device, error, &r->site);
        outputs[i] = mia__handle_new(r->device, node, false, &r->site);
    }
}

/* Whoever cancels the run cancels what was queued behind `last` for it: it cannot outlast the run's ticket. */
static void watch_inputs(const mia_device *device, const mia_ticket *last, mia_ticket *ticket) {
    mia_ticket *queued = last != NULL ? last->next : device->queue_first;
    for (; queued != NULL && queued != ticket; queued = queued->next) queued->run.watch = &ticket->watch;
}

/* With the lock. */
static mia_ticket *run(replay *r, const mia_tensor *inputs, mia_tensor *outputs) {
    mia_error error = {0};
    mia_ticket *ticket = NULL;
    const mia_ticket *last = r->device->queue_last;
    if (replay_new(r, r->tape)) {
        mia_status status = take_inputs(r, inputs, &error);
        if (status == MIA_OK) status = evaluate_inputs(r, &error);
        if (status == MIA_OK) ticket = reserve(r, &error);
        if (ticket != NULL && ticket->done)
            (void)mia_error_set(&error, ticket->status, "%s", ticket->message);
    } else {
        (void)mia_error_set(&error, MIA_ERROR_NO_MEMORY, "tape: no memory to run it");
        for (uint32_t i = 0; i < r->tape->input_count; i++)
            mia__node_release(r->device, mia__handle_take(r->device, inputs[i], (int)i, &r->site, NULL));
    }
    if (ticket == NULL) ticket = mia__submit_failed(r->device, &error);
    hand_out(r, outputs, &error);
    if (r->inputs != NULL) replay_free(r);
    if (ticket != NULL && !ticket->done) {
        mia__ticket_queue(ticket);
        watch_inputs(r->device, last, ticket);
    }
    return ticket;
}

mia_ticket *mia_tape_run_begin(mia_tape *tape, const mia_tensor *inputs, mia_tensor *outputs,
                               const char *file, int line) {
    replay r = {.tape = tape, .device = tape->device, .site = {"tape", file, line}};
    if (r.device == NULL) {
        mia_error error = {0};
        (void)mia_error_set(&error, MIA_ERROR_DEVICE_CLOSED, "tape: its device was closed");
        for (uint32_t i = 0; i < tape->input_count; i++) mia_op_unref(inputs[i], file, line);
        for (uint32_t i = 0; i < tape->output_count; i++) outputs[i] = mia__handle_lost(error.status, line);
        return mia__ticket_failed(&tape->allocator, &error);
    }
    mia__lock(r.device);
    mia_ticket *ticket = run(&r, inputs, outputs);
    mia__unlock(r.device);
    for (uint32_t i = 0; i < tape->input_count; i++) /* another device's are given back there */
        if (inputs[i].device != tape->device) mia_op_unref(inputs[i], file, line);
    return ticket;
}

mia_status mia_tape_run(mia_tape *tape, const mia_tensor *inputs, mia_tensor *outputs, mia_error *error) {
    mia_ticket *ticket = mia_tape_run_begin(tape, inputs, outputs, NULL, 0);
    mia_ticket_wait(ticket);
    return mia_ticket_finish(ticket, error);
}

/* The bytes of a plan whose inputs need not be there. */
static void sum_up(const mia__plan *plan, const mia__tape *tape, mia_plan_info *info) {
    *info = (mia_plan_info){
        .steps = plan->step_count, .arena_bytes = plan->arena_bytes, .output_bytes = plan->output_bytes};
    for (uint32_t b = 0; b < plan->buffer_count; b++) {
        const mia__plan_buffer *buffer = &plan->buffers[b];
        bool constant = buffer->kind == MIA__BUFFER_LEAF &&
                        (tape->entries[buffer->index].flags & MIA__LEAF_CONSTANT) != 0;
        uint64_t *kind = buffer->kind == MIA__BUFFER_FORM   ? &info->prepared_bytes
                         : constant                         ? &info->constant_bytes
                         : buffer->kind == MIA__BUFFER_LEAF ? &info->input_bytes
                                                            : NULL;
        if (kind != NULL) *kind = mia__u64_sum(*kind, buffer->bytes);
    }
    mia__plan_total(info);
}

mia_status mia_tape_plan(mia_tape *tape, mia_plan_info *out, mia_error *error) {
    *out = (mia_plan_info){0};
    mia_device *device = tape->device;
    if (device == NULL) return mia_error_set(error, MIA_ERROR_DEVICE_CLOSED, "tape: its device was closed");
    mia_error local = {0};
    mia__lock(device);
    bool *overwritable = mia_allocate_zeroed(&device->allocator, tape->input_count + 1u, sizeof(bool));
    mia__cached *plan = NULL;
    if (overwritable == NULL) {
        (void)mia_error_set(&local, MIA_ERROR_NO_MEMORY, "tape: no memory for a plan");
    } else {
        mia__tape_overwrite_all(tape, overwritable);
        plan = mia__tape_plan_for(tape, overwritable, &local);
        mia_release(&device->allocator, overwritable, tape->input_count + 1u);
    }
    if (plan != NULL) {
        sum_up(plan->plan, &tape->tape, out);
        mia__cached_release(device, plan);
    }
    mia__unlock(device);
    return plan != NULL ? MIA_OK : mia_error_set(error, local.status, "%s", local.message);
}
