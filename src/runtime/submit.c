/* From nodes to a queued run: linearise, plan, find memory for every buffer of the plan, and only then let
 * the nodes have their results. Until that point nothing has changed, so a failure (no memory, over the
 * limit) loses nothing. */
#include "runtime/submit.h"

#include "base/error.h"
#include "base/size.h"

#include <stdio.h>

static mia__storage *leaf_storage(const mia_device *device, const mia__plan_buffer *buffer) {
    return (mia__storage *)device->linear.nodes[buffer->index]->memory;
}

/* A prepared form that is there or reserved. */
static bool has_form(const mia__storage *storage, const mia__plan_buffer *buffer) {
    return mia__constant_find_form(storage, buffer) != NULL;
}

void mia__plan_measure(const mia_device *device, const mia__plan *plan, mia_plan_info *info,
                       uint64_t *missing) {
    *info = (mia_plan_info){
        .steps = plan->step_count, .arena_bytes = plan->arena_bytes, .output_bytes = plan->output_bytes};
    uint64_t more = plan->output_bytes, *kind;
    for (uint32_t b = 0; b < plan->buffer_count; b++) {
        const mia__plan_buffer *buffer = &plan->buffers[b];
        if (buffer->kind == MIA__BUFFER_FORM) {
            info->prepared_bytes = mia__u64_sum(info->prepared_bytes, buffer->bytes);
            if (!has_form(leaf_storage(device, buffer), buffer)) more = mia__u64_sum(more, buffer->bytes);
        } else if (buffer->kind == MIA__BUFFER_LEAF) {
            const mia__storage *storage = leaf_storage(device, buffer);
            kind = storage->constant != NULL ? &info->constant_bytes : &info->input_bytes;
            *kind = mia__u64_sum(*kind, buffer->bytes);
            if (storage->constant != NULL) more = mia__u64_sum(more, mia__constant_missing(storage));
        }
    }
    size_t arena = device->arena != NULL ? device->arena->memory.bytes : 0;
    if (plan->arena_bytes > arena) {
        /* an arena that is too small goes before the new one comes, unless a run still uses it */
        bool goes = device->arena != NULL && device->arena->runs == 0;
        more = mia__u64_sum(more, plan->arena_bytes - (goes ? arena : 0));
    }
    mia__plan_total(info);
    info->peak_bytes = mia__u64_sum(device->counters.bytes, more);
    *missing = more;
}

void mia__plan_total(mia_plan_info *info) {
    info->needed_bytes = mia__u64_sum(info->arena_bytes, info->output_bytes);
    info->needed_bytes = mia__u64_sum(info->needed_bytes, info->input_bytes);
    info->needed_bytes = mia__u64_sum(info->needed_bytes, info->constant_bytes);
    info->needed_bytes = mia__u64_sum(info->needed_bytes, info->prepared_bytes);
    info->peak_bytes = info->needed_bytes;
}

/* The arena, grown if the plan needs more than it has. NULL with the error set. */
static mia__storage *arena_for(mia_device *device, size_t bytes, mia_error *error) {
    if (device->arena != NULL && device->arena->memory.bytes >= bytes) return device->arena;
    mia__storage *old = device->arena;
    device->arena = NULL;
    if (old != NULL) {
        old->memory.nodes = 0; /* runs that still use it keep it */
        mia__storage_drop(device, old);
    }
    mia__storage *arena = mia__storage_new(device, bytes, error);
    if (arena == NULL) return NULL;
    arena->memory.nodes = 1; /* the device's own reference */
    device->arena = arena;
    return arena;
}

/* Memory for one buffer of the plan. */
static mia_status find_place(mia_device *device, mia_ticket *ticket, uint32_t index, mia_error *error) {
    const mia__plan *plan = ticket->plan->plan;
    const mia__plan_buffer *buffer = &plan->buffers[index];
    mia__storage *storage = NULL;
    mia__prepared *form = NULL;
    switch (buffer->kind) {
    case MIA__BUFFER_LEAF:
        storage = leaf_storage(device, buffer);
        if (storage->formal)
            return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                                 "an input that a tape is recorded with has no numbers to compute with");
        if (storage->constant != NULL && mia__constant_reserve(device, storage, error) != MIA_OK)
            return MIA_ERROR_NO_MEMORY;
        if (!storage->filled) ticket->phase = MIA__PHASE_LOAD;
        break;
    case MIA__BUFFER_FORM:
        storage = leaf_storage(device, buffer);
        form = mia__constant_reserve_form(device, storage, buffer, error);
        if (form == NULL) return MIA_ERROR_NO_MEMORY;
        if (!form->filled) ticket->phase = MIA__PHASE_LOAD;
        break;
    case MIA__BUFFER_ARENA: storage = arena_for(device, plan->arena_bytes, error); break;
    case MIA__BUFFER_OUTPUT: storage = mia__storage_new(device, buffer->bytes, error); break;
    case MIA__BUFFER_PART:
        ticket->places[index] = ticket->places[buffer->index];
        ticket->places[index].offset += buffer->offset;
        return MIA_OK;
    }
    if (storage == NULL) return MIA_ERROR_NO_MEMORY;
    storage->runs++;
    ticket->storages[index] = storage;
    ticket->places[index] = (mia__place){form != NULL ? &form->buffer : &storage->buffer,
                                         buffer->kind == MIA__BUFFER_ARENA ? buffer->offset : 0};
    return MIA_OK;
}

static bool is_of_constant(const mia_device *device, const mia__plan_buffer *buffer) {
    bool leaf = buffer->kind == MIA__BUFFER_LEAF || buffer->kind == MIA__BUFFER_FORM;
    return leaf && leaf_storage(device, buffer)->constant != NULL;
}

mia_ticket *mia__reserve(mia_device *device, mia__cached *plan, bool constants, mia_error *error) {
    mia_plan_info info;
    uint64_t missing;
    mia__plan_measure(device, plan->plan, &info, &missing);
    char what[64];
    (void)snprintf(what, sizeof what, "a run of %u step%s", (unsigned)info.steps, info.steps == 1 ? "" : "s");
    mia_ticket *ticket = NULL;
    if (mia__device_room(device, missing, what, error) == MIA_OK) {
        ticket = mia__ticket_new(device, plan->plan->buffer_count);
        if (ticket == NULL) (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory to begin a run");
    }
    if (ticket == NULL) {
        mia__cached_release(device, plan);
        return NULL;
    }
    ticket->plan = plan;
    ticket->run.plan = plan->plan;
    ticket->run.program = plan->program;
    ticket->phase = MIA__PHASE_RUN;
    /* First, so that an arena that is too small is gone before anything else is allocated. */
    bool room =
        constants || info.arena_bytes == 0 || arena_for(device, plan->plan->arena_bytes, error) != NULL;
    for (uint32_t b = 0; b < plan->plan->buffer_count; b++) {
        if (constants && !is_of_constant(device, &plan->plan->buffers[b])) continue;
        if (room && find_place(device, ticket, b, error) == MIA_OK) continue;
        mia__ticket_let_go(ticket);
        mia__error_within(error, what);
        mia__ticket_fail(ticket, error);
        break;
    }
    return ticket;
}

/* Memory for values with no elements, which have no buffer: made before anything changes. */
bool mia__make_empty(mia_device *device, const mia_ticket *ticket, mia__storage **out, mia_error *error) {
    const mia__plan *plan = ticket->plan->plan;
    *out = NULL;
    for (uint32_t r = 0; r < plan->result_count; r++) {
        if (plan->results[r].buffer != MIA__NO_BUFFER) continue;
        *out = mia__storage_new(device, 0, error);
        return *out != NULL;
    }
    return true;
}

/* The nodes of the last linearisation get their results' memory and let go of their operands. */
static void commit(mia_device *device, const mia_ticket *ticket, mia__storage *empty) {
    const mia__plan *plan = ticket->plan->plan;
    const mia__linear *linear = &device->linear;
    for (uint32_t r = 0; r < plan->result_count; r++) {
        const mia__plan_result *result = &plan->results[r];
        mia__node *node = linear->nodes[result->entry];
        mia__storage *storage = result->buffer != MIA__NO_BUFFER ? ticket->storages[result->buffer] : empty;
        node->memory = &storage->memory;
        node->view = result->view;
        storage->memory.nodes++;
    }
    /* In order, so that whatever is freed here has let go of its own operands already. */
    for (uint32_t i = linear->leaf_count; i < linear->count; i++) {
        mia__node *node = linear->nodes[i];
        uint32_t operands = node->operand_count;
        node->operand_count = 0;
        if (node->memory != NULL) node->state = MIA__READY;
        for (uint32_t k = 0; k < operands; k++) mia__node_release(device, node->operands[k]);
    }
}

/* A failed ticket, so that begin functions have one way to return. */
mia_ticket *mia__submit_failed(mia_device *device, const mia_error *error) {
    mia_ticket *ticket = mia__ticket_new(device, 0);
    if (ticket != NULL) mia__ticket_fail(ticket, error);
    return ticket;
}

/* Plans and reserves what the roots need and commits: a ticket that is ready to be queued, failed,
 * or NULL. */
mia_ticket *mia__submit(mia_device *device, mia__node *const *roots, size_t count, mia_error *error) {
    if (mia__linearise(&device->linear, roots, count, error) != MIA_OK)
        return mia__submit_failed(device, error);
    mia_ticket *ticket;
    if (device->linear.leaf_count == device->linear.count) { /* all there, or on the way */
        ticket = mia__ticket_new(device, 0);
        if (ticket == NULL) (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory to begin the work");
        return ticket;
    }
    mia__cached *plan = mia__cache_get(device, error);
    ticket = plan != NULL ? mia__reserve(device, plan, false, error) : NULL;
    if (ticket == NULL) return mia__submit_failed(device, error);
    if (ticket->done) return ticket;
    mia__storage *empty;
    if (!mia__make_empty(device, ticket, &empty, error)) {
        mia__ticket_let_go(ticket);
        mia__ticket_fail(ticket, error);
        return ticket;
    }
    ticket->run_it = true;
    commit(device, ticket, empty);
    return ticket;
}

/* --- eval ------------------------------------------------------------------------------------- */

mia_status mia__borrow_list(mia_device *device, const mia_tensor *list, size_t count, const char *what,
                            mia__node ***out, mia_error *error) {
    mia__site site = {what, NULL, 0};
    mia__node **nodes = mia_allocate_zeroed(&device->allocator, count, sizeof(mia__node *));
    if (nodes == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "%s: no memory for %zu tensors", what, count);
    for (size_t i = 0; i < count; i++) {
        nodes[i] = mia__handle_borrow(device, list[i], count > 1 ? (int)i : -1, &site, error);
        if (nodes[i] != NULL) continue;
        mia_release(&device->allocator, nodes, count * sizeof(mia__node *));
        return error->status;
    }
    *out = nodes;
    return MIA_OK;
}

mia_ticket *mia__eval_begin(const mia_tensor *list, size_t count) {
    mia_device *device = list[0].device;
    mia_error error = {0};
    mia__node **roots = NULL;
    mia_ticket *ticket;
    mia__lock(device);
    if (mia__borrow_list(device, list, count, "eval", &roots, &error) != MIA_OK) {
        ticket = mia__submit_failed(device, &error);
    } else {
        ticket = mia__submit(device, roots, count, &error);
        mia_release(&device->allocator, roots, count * sizeof(mia__node *));
    }
    if (ticket != NULL && !ticket->done) mia__ticket_queue(ticket);
    mia__unlock(device);
    return ticket;
}

/* --- read ------------------------------------------------------------------------------------- */

/* A node whose memory can be downloaded as it is: a strided value, or a constant that is not loaded, is
 * copied. */
static mia__node *readable(mia_device *device, mia__node *node, const mia__site *site) {
    if (node->state == MIA__READY && node->memory->constant) {
        const mia__storage *storage = (const mia__storage *)node->memory;
        mia_shape shape = mia__view_shape(&node->view);
        mia__view compact = mia__view_compact(node->dtype, &shape);
        if (!storage->allocated || !storage->filled)
            return mia__node_pending(device, MIA_OP_copy, node->dtype, &compact, &node, 1, NULL, site);
    }
    return mia__node_compact(device, node, site);
}

/* Takes the node's reference over; the ticket downloads its value after what is needed has run. */
static mia_ticket *read_node(mia_device *device, mia__node *node, void *out, size_t bytes,
                             const mia__site *site, mia_error *error) {
    const mia__cause *cause = mia__node_cause(node);
    size_t has = cause == NULL ? mia__view_bytes(node->dtype, &node->view) : 0;
    mia_ticket *ticket = NULL;
    if (cause != NULL) {
        (void)mia_error_set(error, cause->status, "%s", cause->message);
    } else if (node->state == MIA__READY && ((const mia__storage *)node->memory)->formal) {
        (void)mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                            "read: an input that a tape is recorded with has no numbers");
    } else if (has != bytes) {
        mia_shape shape = mia__view_shape(&node->view);
        char text[200];
        (void)mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                            "read: the tensor, %s %s, has %zu bytes, but the buffer has %zu,",
                            mia_dtype_describe(node->dtype)->name, mia__shape_text(&shape, text, sizeof text),
                            has, bytes);
        mia__error_add_site(error, site);
    } else {
        node = readable(device, node, site);
        if (node == NULL) (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "read: no memory to record a copy");
    }
    if (error->status == MIA_OK) ticket = mia__submit(device, &node, 1, error);
    if (ticket != NULL && !ticket->done && bytes > 0) {
        mia__storage *source = (mia__storage *)node->memory;
        source->runs++;
        ticket->source = source;
        ticket->source_offset = (size_t)node->view.offset * mia_dtype_describe(node->dtype)->bytes;
        ticket->into = out;
        ticket->bytes = bytes;
        if (!ticket->run_it) ticket->phase = MIA__PHASE_DOWNLOAD;
    }
    mia__node_release(device, node);
    return ticket != NULL ? ticket : mia__submit_failed(device, error);
}

mia_ticket *mia__read_begin(mia_tensor t, void *out, size_t bytes, const mia__site *site) {
    mia_device *device = t.device;
    mia_error error = {0};
    mia__lock(device);
    mia__node *node = mia__handle_take(device, t, -1, site, &error);
    mia_ticket *ticket =
        node == NULL ? mia__submit_failed(device, &error) : read_node(device, node, out, bytes, site, &error);
    if (ticket != NULL && !ticket->done) mia__ticket_queue(ticket);
    if (ticket != NULL || !mia__device_shell_free(device)) mia__unlock(device);
    return ticket;
}
