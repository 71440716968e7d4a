/* Recording an operation: operands are taken over, types and shapes checked, and a node made. Views of values
 * that exist are made at once; a view that the strides do not allow looks at a copy. */
#include "runtime/record.h"

#include "graph/ops.h"

#include <stdio.h>

typedef struct request {
    mia_op op;
    const mia__op_row *row;
    uint32_t count;
    const mia__attributes *attributes;
    const mia_shape *shape;
    mia__site site;
    mia__node *operands[MIA__MAX_OPERANDS]; /* references that are ours until the node has them */
} request;

static void release_operands(mia_device *device, request *r) {
    for (uint32_t i = 0; i < r->count; i++) {
        mia__node_release(device, r->operands[i]);
        r->operands[i] = NULL;
    }
}

/* Is operand i the very handle of an operand before it? The first of them took the tensor away. */
static bool is_repeated(const mia_tensor *operands, uint32_t i, uint32_t *first) {
    for (*first = 0; *first < i; ++*first) {
        const mia_tensor *a = &operands[*first], *b = &operands[i];
        if (a->device == b->device && a->slot == b->slot && a->generation == b->generation) return true;
    }
    return false;
}

/* What is wrong with operand i, whose handle was turned down with an error: clearer where it is a forgotten
 * mia_ref in this very call. */
static void explain(const request *r, const mia_tensor *operands, uint32_t i, mia_error *error) {
    uint32_t first;
    if (error->status != MIA_ERROR_CONSUMED || !is_repeated(operands, i, &first)) return;
    if (r->operands[first] == NULL) return; /* that one was no good either, and comes first */
    (void)mia_error_set(
        error, MIA_ERROR_CONSUMED,
        "%s: operands %u and %u are the same handle, which can be given away only once: mia_ref "
        "makes another,",
        r->site.what, (unsigned)first, (unsigned)i);
    mia__error_add_site(error, &r->site);
}

/* Takes every operand over, also behind a bad one. Returns the first poisoned operand's cause (in *spread),
 * or false with the error set for a bad handle. */
static bool take_operands(mia_device *device, request *r, const mia_tensor *operands, mia__cause **spread,
                          mia_error *error) {
    bool good = true;
    for (uint32_t i = 0; i < r->count; i++) {
        int number = r->count > 1 ? (int)i : -1;
        r->operands[i] = mia__handle_take(device, operands[i], number, &r->site, good ? error : NULL);
        if (r->operands[i] == NULL) {
            if (good) explain(r, operands, i, error);
            good = false;
        } else if (*spread == NULL) {
            *spread = mia__node_cause(r->operands[i]);
        }
    }
    return good && r->operands[0] != NULL;
}

/* The view of a view operation. */
static mia_status make_view(const request *r, const mia__node *x, mia_dtype *dtype, mia__view *view,
                            bool *needs_copy, mia_error *error) {
    const int64_t *i = r->attributes->i;
    *dtype = x->dtype;
    *needs_copy = false;
    switch ((int)r->op) {
    case MIA_OP_reshape: return mia__view_reshape(x->dtype, &x->view, r->shape, view, needs_copy, error);
    case MIA_OP_permute: return mia__view_permute(x->dtype, &x->view, r->shape, view, error);
    case MIA_OP_broadcast: return mia__view_broadcast(x->dtype, &x->view, r->shape, view, error);
    case MIA_OP_slice:
        return mia__view_slice(x->dtype, &x->view, (uint32_t)i[0], i[1], i[2], i[3], view, error);
    case MIA_OP_transpose: return mia__view_transpose(x->dtype, &x->view, i[0], i[1], view, error);
    case MIA_OP_unsqueeze: return mia__view_unsqueeze(x->dtype, &x->view, i[0], view, error);
    case MIA_OP_squeeze: mia__view_squeeze(x->dtype, &x->view, (uint32_t)i[0], view); return MIA_OK;
    case MIA_OP_cast:
        *dtype = (mia_dtype)i[0];
        return mia__view_cast(x->dtype, &x->view, *dtype, view, needs_copy, error);
    default: return mia_error_set(error, MIA_ERROR_INTERNAL, "operation %d is no view", (int)r->op);
    }
}

/* Node of a view operation; NULL with the error set. Takes the operand's reference over. */
static mia__node *record_view(mia_device *device, request *r, mia_error *error) {
    mia_dtype dtype;
    mia__view view;
    bool needs_copy;
    mia__node *x = r->operands[0];
    if (make_view(r, x, &dtype, &view, &needs_copy, error) != MIA_OK) return NULL;
    if (needs_copy) {
        mia_shape shape = mia__view_shape(&x->view);
        mia__view compact = mia__view_compact(x->dtype, &shape);
        x = mia__node_pending(device, MIA_OP_copy, x->dtype, &compact, &x, 1, NULL, &r->site);
        r->operands[0] = x;
        if (x == NULL || make_view(r, x, &dtype, &view, &needs_copy, error) != MIA_OK) return NULL;
    }
    r->operands[0] = NULL;
    if (x->state == MIA__PENDING)
        return mia__node_pending(device, r->op, dtype, &view, &x, 1, r->attributes, &r->site);
    mia__node *node = mia__node_ready(device, dtype, &view, (mia__storage *)x->memory, &r->site);
    mia__node_release(device, x);
    return node;
}

static mia__node *record_operation(mia_device *device, request *r, mia_error *error) {
    mia__type types[MIA__MAX_OPERANDS], result;
    for (uint32_t i = 0; i < r->count; i++)
        types[i] = (mia__type){r->operands[i]->dtype, mia__view_shape(&r->operands[i]->view)};
    if (mia__op_result(r->row, types, r->count, r->attributes, &result, error) != MIA_OK) return NULL;
    mia__view view = mia__view_compact(result.dtype, &result.shape);
    mia__node *node =
        mia__node_pending(device, r->op, result.dtype, &view, r->operands, r->count, r->attributes, &r->site);
    for (uint32_t i = 0; i < r->count; i++) r->operands[i] = NULL;
    if (node != NULL) node->custom = r->row->custom;
    return node;
}

/* The node that the request makes; NULL with no memory even for a poisoned one. */
static mia__node *record(mia_device *device, request *r, const mia_tensor *operands) {
    mia_error error = {0};
    mia__cause *spread = NULL;
    mia__node *node = NULL;
    if (!take_operands(device, r, operands, &spread, &error)) {
        node = mia__node_poisoned(device, &error, &r->site);
    } else if (spread != NULL) {
        node = mia__node_spread(device, spread, &r->site);
    } else if (r->op == MIA_OP_convert && (mia_dtype)r->attributes->i[0] == r->operands[0]->dtype) {
        node = r->operands[0]; /* nothing to do: the same value under a new handle */
        r->operands[0] = NULL;
    } else {
        bool is_view = r->row->info.op_class == MIA_CLASS_VIEW;
        node = is_view ? record_view(device, r, &error) : record_operation(device, r, &error);
        if (node == NULL && error.status != MIA_OK) {
            mia__error_add_site(&error, &r->site);
            node = mia__node_poisoned(device, &error, &r->site);
        }
    }
    release_operands(device, r);
    return node;
}

/* Every operand belongs to a device that is closed, or to none: gives what can be given back, and a lost
 * handle. */
static mia_tensor record_nowhere(const mia_tensor *operands, uint32_t count, int line) {
    for (uint32_t i = 0; i < count; i++)
        if (operands[i].slot == MIA__LOST_SLOT) return operands[i]; /* the first cause */
    return mia__handle_lost(MIA_ERROR_INVALID_ARGUMENT, line);
}

static mia_device *device_of(const mia_tensor *operands, uint32_t count) {
    mia_device *device = NULL;
    for (uint32_t i = 0; i < count && device == NULL; i++) device = operands[i].device;
    return device;
}

/* Records under the lock. Operands of another device (an error by now) are given back there, those of a
 * closed one here. */
static mia_tensor record_on(mia_device *device, request *r, const mia_tensor *operands) {
    mia__lock(device);
    bool closed = device->closed;
    mia_tensor result = mia__handle_lost(MIA_ERROR_DEVICE_CLOSED, r->site.line);
    if (!closed) result = mia__handle_new(device, record(device, r, operands), false, &r->site);
    mia__unlock(device);
    for (uint32_t i = 0; i < r->count; i++)
        if (closed || operands[i].device != device) mia_op_unref(operands[i], r->site.file, r->site.line);
    return result;
}

mia_tensor mia__record(mia_op op, const mia_tensor *operands, uint32_t count,
                       const mia__attributes *attributes, const mia_shape *shape, const char *file,
                       int line) {
    mia_device *device = device_of(operands, count);
    if (device == NULL) return record_nowhere(operands, count, line);
    const mia__op_row *row = mia__op_find(op);
    request r = {.op = op,
                 .row = row,
                 .count = count,
                 .attributes = attributes,
                 .shape = shape,
                 .site = {row->info.name, file, line}};
    return record_on(device, &r, operands);
}

/* A call that names no operation, or has not its operands: takes them over all the same. */
static mia_tensor refuse_call(mia_device *device, mia_op op, const mia__op_row *row,
                              const mia_tensor *operands, uint32_t count, const mia__site *site) {
    mia_error error = {0};
    for (uint32_t i = 0; i < count; i++) mia_op_unref(operands[i], site->file, site->line);
    if (row == NULL)
        (void)mia_error_set(&error, MIA_ERROR_INVALID_ARGUMENT,
                            "operation %d is not registered on this device", (int)op);
    else
        (void)mia_error_set(&error, MIA_ERROR_INVALID_ARGUMENT, "%s takes %u operands, not %u",
                            row->info.name, (unsigned)row->info.operands, (unsigned)count);
    mia__error_add_site(&error, site);
    mia__lock(device);
    mia_tensor t = mia__handle_lost(MIA_ERROR_DEVICE_CLOSED, site->line);
    if (!device->closed) t = mia__handle_new(device, mia__node_poisoned(device, &error, site), false, site);
    mia__unlock(device);
    return t;
}

mia_tensor mia_op_call(mia_op op, const mia_tensor *operands, uint32_t count,
                       const mia_attributes *attributes, const char *file, int line) {
    static const mia__attributes none = {{0}, {0}};
    mia_device *device = device_of(operands, count);
    if (device == NULL) return record_nowhere(operands, count, line);
    mia__site site = {"call", file, line};
    const mia__custom *custom = mia__custom_find(device, op);
    if (custom == NULL || count != custom->row.info.operands)
        return refuse_call(device, op, custom != NULL ? &custom->row : NULL, operands, count, &site);
    request r = {.op = op,
                 .row = &custom->row,
                 .count = count,
                 .attributes = attributes != NULL ? attributes : &none,
                 .site = {custom->row.info.name, file, line}};
    return record_on(device, &r, operands);
}
