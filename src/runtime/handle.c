/* Handles: slots with generations, reused oldest first, and a ring of the last consumptions, so that a
 * handle that was given away is caught and told by whom. All but the exported functions run under the
 * device's lock. */
#include "runtime/device.h"

#include <stdio.h>

/* "operand 0" or, for a single operand, "the tensor". */
static const char *operand_name(int operand, char *text, size_t capacity) {
    if (operand < 0) return "the tensor";
    (void)snprintf(text, capacity, "operand %d", operand);
    return text;
}

/* " at model.c:41", or nothing when the caller gave no site. */
static const char *at(const char *file, int line, char *text, size_t capacity) {
    text[0] = '\0';
    if (file != NULL) (void)snprintf(text, capacity, " at %s:%d", file, line);
    return text;
}

/* " (add at model.c:41)": the call that a message is about, where the message has another place in it, too. */
static const char *in_call(const mia__site *site, char *text, size_t capacity) {
    text[0] = '\0';
    if (site->file != NULL)
        (void)snprintf(text, capacity, " (%s at %s:%d)", site->what, site->file, site->line);
    return text;
}

void mia__error_add_site(mia_error *error, const mia__site *site) {
    if (site->file == NULL) return;
    const mia_error plain = *error;
    (void)mia_error_set(error, plain.status, "%.440s at %s:%d", plain.message, site->file, site->line);
}

static const mia__consumed *find_consumption(const mia_device *device, uint32_t slot, uint32_t generation) {
    uint64_t oldest =
        device->consumed_count > MIA__CONSUMED_RING ? device->consumed_count - MIA__CONSUMED_RING : 0;
    for (uint64_t i = device->consumed_count; i > oldest; i--) {
        const mia__consumed *entry = &device->consumed[(i - 1) % MIA__CONSUMED_RING];
        if (entry->slot == slot && entry->generation == generation) return entry;
    }
    return NULL;
}

static bool is_owned(const mia_device *device, mia_tensor t) {
    return t.device == device && t.slot < device->slot_count && device->slots[t.slot].owned &&
           device->slots[t.slot].generation == t.generation;
}

static mia_status stale(const mia_device *device, mia_tensor t, const char *what, const mia__site *site,
                        mia_error *error) {
    char there[200], here[220];
    const mia__consumed *by = find_consumption(device, t.slot, t.generation);
    in_call(site, here, sizeof here);
    if (by == NULL)
        return mia_error_set(error, MIA_ERROR_CONSUMED,
                             "%s: %s was already consumed, too long ago to tell where%s", site->what, what,
                             here);
    return mia_error_set(error, MIA_ERROR_CONSUMED, "%s: %s was already consumed by %s%s%s", site->what, what,
                         by->by, at(by->file, by->line, there, sizeof there), here);
}

static mia_status lost(mia_tensor t, const char *operation, const char *what, mia_error *error) {
    mia_status status = mia__lost_status(t);
    char there[32] = "";
    if (mia__lost_line(t) > 0) (void)snprintf(there, sizeof there, " in line %d", mia__lost_line(t));
    return mia_error_set(error, status, "%s%s%s could not be made%s: %s", operation,
                         operation[0] == '\0' ? "" : ": ", what, there, mia_status_sentence(status));
}

/* What is wrong with a handle that find_slot turned down. */
static mia_status refuse(const mia_device *device, mia_tensor t, int operand, const mia__site *site,
                         mia_error *error) {
    char name[24], here[220];
    const char *what = operand_name(operand, name, sizeof name);
    if (t.slot == MIA__LOST_SLOT) return lost(t, site->what, what, error);
    in_call(site, here, sizeof here);
    if (t.device != device)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             t.device == NULL
                                 ? "%s: %s is no tensor (all zero)%s"
                                 : "%s: %s lives on another device than the operands before it%s",
                             site->what, what, here);
    if (!is_owned(device, t)) return stale(device, t, what, site, error);
    return mia_error_set(error, MIA_ERROR_DEVICE_CLOSED, "%s: the device of %s was closed%s", site->what,
                         what, here);
}

/* The slot of a good handle, NULL with the error set otherwise. */
static mia__slot *find_slot(mia_device *device, mia_tensor t, int operand, const mia__site *site,
                            mia_error *error) {
    if (is_owned(device, t) && !device->closed) return &device->slots[t.slot];
    (void)refuse(device, t, operand, site, error);
    return NULL;
}

static uint32_t new_slot(mia_device *device) {
    if (device->free_first != MIA__NO_SLOT) {
        uint32_t slot = device->free_first;
        device->free_first = device->slots[slot].next_free;
        if (device->free_first == MIA__NO_SLOT) device->free_last = MIA__NO_SLOT;
        return slot;
    }
    if (device->slot_count == device->slot_capacity) {
        uint32_t wanted = device->slot_capacity == 0 ? 256 : device->slot_capacity * 2;
        void *grown = mia_reallocate_array(&device->allocator, device->slots, device->slot_capacity, wanted,
                                           sizeof *device->slots);
        if (grown == NULL) return MIA__NO_SLOT;
        device->slots = grown;
        device->slot_capacity = wanted;
    }
    return device->slot_count++;
}

/* Ends a handle: its slot goes to the back of the free ones, and the ring remembers by whom. */
void mia__handle_end(mia_device *device, uint32_t index, const mia__site *site) {
    mia__slot *slot = &device->slots[index];
    device->consumed[device->consumed_count++ % MIA__CONSUMED_RING] =
        (mia__consumed){index, slot->generation, site->what, site->file, site->line};
    slot->node = NULL;
    slot->owned = false;
    slot->generation++;
    slot->next_free = MIA__NO_SLOT;
    if (device->free_last == MIA__NO_SLOT)
        device->free_first = index;
    else
        device->slots[device->free_last].next_free = index;
    device->free_last = index;
    if (!slot->constant) device->counters.handles--;
}

mia_tensor mia__handle_lost(mia_status status, int line) {
    uint32_t kept = line > 0 && (uint32_t)line <= UINT32_MAX >> MIA__LOST_STATUS_BITS ? (uint32_t)line : 0;
    return (mia_tensor){NULL, MIA__LOST_SLOT, (uint32_t)status | kept << MIA__LOST_STATUS_BITS};
}

mia_tensor mia__handle_new(mia_device *device, mia__node *node, bool constant, const mia__site *site) {
    if (node == NULL) return mia__handle_lost(MIA_ERROR_NO_MEMORY, site->line);
    uint32_t index = new_slot(device);
    if (index == MIA__NO_SLOT) {
        mia__node_release(device, node);
        return mia__handle_lost(MIA_ERROR_NO_MEMORY, site->line);
    }
    mia__slot *slot = &device->slots[index];
    slot->node = node;
    slot->what = site->what;
    slot->file = site->file;
    slot->line = site->line;
    slot->owned = true;
    slot->constant = constant;
    if (!constant) device->counters.handles++;
    return (mia_tensor){device, index, slot->generation};
}

mia__node *mia__handle_borrow(mia_device *device, mia_tensor t, int operand, const mia__site *site,
                              mia_error *error) {
    mia__slot *slot = find_slot(device, t, operand, site, error);
    return slot != NULL ? slot->node : NULL;
}

mia__node *mia__handle_take(mia_device *device, mia_tensor t, int operand, const mia__site *site,
                            mia_error *error) {
    mia__slot *slot = find_slot(device, t, operand, site, error);
    if (slot == NULL) {
        if (device->closed && is_owned(device, t))
            mia__handle_end(device, t.slot, site); /* taken all the same */
        return NULL;
    }
    mia__node *node = slot->node;
    if (slot->constant)
        node->refs++;
    else
        mia__handle_end(device, t.slot, site);
    return node;
}

void mia__handle_retire(mia_device *device, mia_tensor t, const mia__site *site) {
    mia__slot *slot = &device->slots[t.slot];
    if (!slot->owned || slot->generation != t.generation) return;
    mia__node *node = slot->node;
    mia__handle_end(device, t.slot, site);
    mia__node_release(device, node);
}

/* --- exported --------------------------------------------------------------------------------- */

mia_tensor mia_op_ref(mia_tensor t, const char *file, int line) {
    mia__site site = {"ref", file, line};
    mia_device *device = t.device;
    if (device == NULL) return t;
    mia__lock(device);
    mia_error error = {0};
    mia__slot *slot = find_slot(device, t, -1, &site, &error);
    mia_tensor result = t;
    if (slot == NULL) {
        result = device->closed
                     ? mia__handle_lost(MIA_ERROR_DEVICE_CLOSED, line)
                     : mia__handle_new(device, mia__node_poisoned(device, &error, &site), false, &site);
    } else if (!slot->constant) {
        slot->node->refs++;
        result = mia__handle_new(device, slot->node, false, &site);
    }
    mia__unlock(device);
    return result;
}

void mia_op_unref(mia_tensor t, const char *file, int line) {
    mia__site site = {"unref", file, line};
    mia_device *device = t.device;
    if (device == NULL || t.slot == MIA__LOST_SLOT) return;
    mia__lock(device);
    if (is_owned(device, t) && !device->slots[t.slot].constant) {
        mia__node *node = device->slots[t.slot].node;
        mia__handle_end(device, t.slot, &site);
        mia__node_release(device, node);
        if (mia__device_shell_free(device)) return;
    }
    mia__unlock(device);
}

mia_tensor mia_op_expect(mia_tensor t, mia_dtype dtype, const char *file, int line) {
    mia__site site = {"as", file, line};
    mia_device *device = t.device;
    if (device == NULL) return t;
    mia__lock(device);
    mia_error error = {0};
    mia__slot *slot = find_slot(device, t, -1, &site, &error);
    mia_tensor result = t;
    if (slot == NULL && device->closed) {
        result = mia__handle_lost(MIA_ERROR_DEVICE_CLOSED, line);
        (void)mia__handle_take(device, t, -1, &site, NULL);
        if (mia__device_shell_free(device)) return result;
    } else if (slot == NULL) {
        result = mia__handle_new(device, mia__node_poisoned(device, &error, &site), false, &site);
    } else if (mia__node_cause(slot->node) == NULL && slot->node->dtype != dtype) {
        (void)mia_error_set(&error, MIA_ERROR_TYPE_MISMATCH, "as: the tensor is %s, not %s",
                            mia_dtype_describe(slot->node->dtype)->name, mia_dtype_describe(dtype)->name);
        mia__error_add_site(&error, &site);
        mia__node_release(device, mia__handle_take(device, t, -1, &site, NULL));
        result = mia__handle_new(device, mia__node_poisoned(device, &error, &site), false, &site);
    }
    mia__unlock(device);
    return result;
}

/* What a query is about: status, and of a good handle dtype and shape. */
static mia_status query(mia_tensor t, mia_dtype *dtype, mia_shape *shape, mia_error *error) {
    mia__site site = {"status", NULL, 0};
    mia_device *device = t.device;
    *dtype = MIA_NONE;
    *shape = (mia_shape){0};
    if (t.slot == MIA__LOST_SLOT) return lost(t, "", "the tensor", error);
    if (device == NULL)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "the tensor is none (all zero)");
    mia__lock(device);
    mia_error local = {0};
    const mia__node *node = mia__handle_borrow(device, t, -1, &site, &local);
    const mia__cause *cause = node != NULL ? mia__node_cause(node) : NULL;
    mia_status status = MIA_OK;
    if (node == NULL) {
        status = mia_error_set(error, local.status, "%s", local.message);
    } else if (cause != NULL) {
        status = mia_error_set(error, cause->status, "%s", cause->message);
    } else {
        *dtype = node->dtype;
        *shape = mia__view_shape(&node->view);
    }
    mia__unlock(device);
    return status;
}

mia_dtype mia_tensor_dtype(mia_tensor t) {
    mia_dtype dtype;
    mia_shape shape;
    (void)query(t, &dtype, &shape, NULL);
    return dtype;
}

mia_shape mia_tensor_shape(mia_tensor t) {
    mia_dtype dtype;
    mia_shape shape;
    (void)query(t, &dtype, &shape, NULL);
    return shape;
}

mia_status mia_tensor_status(mia_tensor t, mia_error *error) {
    mia_dtype dtype;
    mia_shape shape;
    return query(t, &dtype, &shape, error);
}
