/* Nodes of a device: from a slab, by reference count; and the causes of poisoned ones. All under the device's
 * lock. */
#include "graph/ops.h"
#include "runtime/device.h"

#include <stdio.h>
#include <string.h>

#define SLAB_NODES 64

typedef struct mia__node_slab {
    struct mia__node_slab *next;
    mia__node nodes[SLAB_NODES];
} node_slab;

static bool add_slab(mia_device *device) {
    node_slab *slab = mia_allocate_zeroed(&device->allocator, 1, sizeof *slab);
    if (slab == NULL) return false;
    slab->next = device->slabs;
    device->slabs = slab;
    for (size_t i = SLAB_NODES; i > 0; i--) {
        slab->nodes[i - 1].operands[0] = device->free_nodes;
        device->free_nodes = &slab->nodes[i - 1];
    }
    return true;
}

mia__node *mia__node_new(mia_device *device, const mia__site *site) {
    if (device->free_nodes == NULL && !add_slab(device)) return NULL;
    mia__node *node = device->free_nodes;
    device->free_nodes = node->operands[0];
    node->refs = 1;
    node->state = MIA__PENDING;
    node->op = MIA_OP_NONE;
    node->custom = NULL;
    node->operand_count = 0;
    node->memory = NULL;
    node->cause = NULL;
    node->file = site->file;
    node->line = site->line; /* its mark is below any to come, so it was not seen */
    return node;
}

void mia__nodes_free(mia_device *device) {
    while (device->slabs != NULL) {
        node_slab *slab = device->slabs;
        device->slabs = slab->next;
        mia_release(&device->allocator, slab, sizeof *slab);
    }
    device->free_nodes = NULL;
}

/* Returns a node without references to the free list, and lets go of what it held besides operands. */
static void retire(mia_device *device, mia__node *node) {
    if (node->state == MIA__READY) {
        mia__storage *storage = (mia__storage *)node->memory;
        storage->memory.nodes--;
        mia__storage_drop(device, storage);
    }
    if (node->state == MIA__POISONED) mia__cause_release(device, node->cause);
    node->operand_count = 0;
    node->operands[0] = device->free_nodes;
    device->free_nodes = node;
}

/* A long chain of nodes may end at once, so this does not recurse: the dead wait in a list through
 * `next_dead`. */
void mia__node_release(mia_device *device, mia__node *node) {
    if (node == NULL || --node->refs > 0) return;
    node->next_dead = NULL;
    for (mia__node *dead = node; dead != NULL;) {
        mia__node *waiting = dead->next_dead;
        for (uint32_t i = 0; i < dead->operand_count; i++) {
            mia__node *operand = dead->operands[i];
            if (--operand->refs > 0) continue;
            operand->next_dead = waiting;
            waiting = operand;
        }
        retire(device, dead);
        dead = waiting;
    }
}

mia__cause *mia__cause_new(mia_device *device, mia_status status, const char *message) {
    mia__cause *cause = mia_allocate_zeroed(&device->allocator, 1, sizeof *cause);
    if (cause == NULL) return NULL;
    cause->refs = 1;
    cause->status = status;
    (void)snprintf(cause->message, sizeof cause->message, "%s", message);
    return cause;
}

void mia__cause_release(mia_device *device, mia__cause *cause) {
    if (cause != NULL && --cause->refs == 0) mia_release(&device->allocator, cause, sizeof *cause);
}

mia__node *mia__node_spread(mia_device *device, mia__cause *cause, const mia__site *site) {
    mia__node *node = mia__node_new(device, site);
    if (node == NULL) return NULL;
    node->state = MIA__POISONED;
    node->cause = cause;
    cause->refs++;
    return node;
}

mia__node *mia__node_poisoned(mia_device *device, const mia_error *error, const mia__site *site) {
    mia__cause *cause = mia__cause_new(device, error->status, error->message);
    if (cause == NULL) return NULL;
    mia__node *node = mia__node_spread(device, cause, site);
    mia__cause_release(device, cause);
    return node;
}

mia__node *mia__node_ready(mia_device *device, mia_dtype dtype, const mia__view *view, mia__storage *storage,
                           const mia__site *site) {
    mia__node *node = mia__node_new(device, site);
    if (node == NULL) return NULL;
    node->state = MIA__READY;
    node->dtype = dtype;
    node->view = *view;
    node->memory = &storage->memory;
    storage->memory.nodes++;
    return node;
}

mia__node *mia__node_pending(mia_device *device, mia_op op, mia_dtype dtype, const mia__view *view,
                             mia__node *const *operands, uint32_t count, const mia__attributes *attributes,
                             const mia__site *site) {
    mia__node *node = mia__node_new(device, site);
    if (node == NULL) {
        for (uint32_t i = 0; i < count; i++) mia__node_release(device, operands[i]);
        return NULL;
    }
    node->state = MIA__PENDING;
    node->op = op;
    node->dtype = dtype;
    node->view = *view;
    node->operand_count = count;
    for (uint32_t i = 0; i < count; i++) node->operands[i] = operands[i];
    const mia__op_row *row = mia__op_find(op); /* NULL: registered, with attributes of all kinds */
    if (attributes != NULL && (row == NULL || row->integers + row->reals > 0)) node->attributes = *attributes;
    return node;
}

mia__node *mia__node_compact(mia_device *device, mia__node *x, const mia__site *site) {
    mia__view view = x->view;
    view.offset = 0;
    if (mia__view_is_compact(x->dtype, &view)) return x;
    mia_shape shape = mia__view_shape(&x->view);
    view = mia__view_compact(x->dtype, &shape);
    return mia__node_pending(device, MIA_OP_copy, x->dtype, &view, &x, 1, NULL, site);
}
