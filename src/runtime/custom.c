/* Operations that programs register on a device: checked, copied, and listed until the device goes. */
#include "graph/ops.h"
#include "runtime/device.h"

#include <ctype.h>
#include <string.h>

static bool is_identifier(const char *name) {
    if (name == NULL || name[0] == '\0' || isdigit((unsigned char)name[0]) != 0) return false;
    for (const char *c = name; *c != '\0'; c++)
        if (isalnum((unsigned char)*c) == 0 && *c != '_') return false;
    return true;
}

static bool name_is_taken(const mia_device *device, const char *name) {
    for (int op = 1; op < MIA_OP_LIMIT; op++) {
        const mia_op_info *info = mia_op_describe((mia_op)op);
        if (info != NULL && strcmp(info->name, name) == 0) return true;
    }
    for (const mia__custom *custom = device->custom; custom != NULL; custom = custom->next)
        if (strcmp(custom->row.info.name, name) == 0) return true;
    return false;
}

static mia_status check(const mia_op_description *d, mia_error *error) {
    if (!is_identifier(d->name))
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "register: \"%s\" is no name of an operation",
                             d->name != NULL ? d->name : "");
    if (d->operands < 1 || d->operands > MIA_CUSTOM_OPERANDS)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "register: %s has %u operands; 1 to %d can be", d->name, (unsigned)d->operands,
                             MIA_CUSTOM_OPERANDS);
    bool elementwise = d->number != NULL, other = d->shape != NULL && d->reference != NULL;
    bool mixed = (d->shape != NULL || d->reference != NULL || d->cpu != NULL) && elementwise;
    if (elementwise == other || mixed || (d->floats != NULL && !elementwise))
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "register: %s needs either number, or shape and reference", d->name);
    return MIA_OK;
}

static bool copy_text(const mia_allocator *allocator, const char **text) {
    if (*text == NULL) return true;
    size_t bytes = strlen(*text) + 1;
    char *copy = mia_allocate(allocator, bytes, 1);
    if (copy != NULL) memcpy(copy, *text, bytes);
    *text = copy;
    return copy != NULL;
}

static void free_text(const mia_allocator *allocator, const char *text) {
    if (text != NULL) mia_release(allocator, (void *)(uintptr_t)text, strlen(text) + 1);
}

static void free_one(const mia_allocator *allocator, mia__custom *custom) {
    free_text(allocator, custom->description.name);
    free_text(allocator, custom->description.doc);
    free_text(allocator, custom->description.wgsl);
    mia_release(allocator, custom, sizeof *custom);
}

#define TYPE_BIT(type, unused) | (UINT64_C(1) << MIA_##type)

/* A copy with its row; NULL without memory. */
static mia__custom *new_custom(const mia_allocator *allocator, const mia_op_description *d) {
    mia__custom *custom = mia_allocate_zeroed(allocator, 1, sizeof *custom);
    if (custom == NULL) return NULL;
    mia_op_description *own = &custom->description;
    *own = *d;
    bool copied = copy_text(allocator, &own->name);
    copied = copy_text(allocator, &own->doc) && copied;
    copied = copy_text(allocator, &own->wgsl) && copied;
    if (!copied) {
        free_one(allocator, custom);
        return NULL;
    }
    custom->row.custom = custom;
    custom->row.info =
        (mia_op_info){.name = own->name,
                      .op_class = own->number != NULL ? MIA_CLASS_ELEMENTWISE : MIA_CLASS_COMPOSITE,
                      .operands = own->operands,
                      .types = own->types != 0 ? own->types : 0 MIA_TYPES_REAL(TYPE_BIT, 0),
                      .bound = own->bound,
                      .doc = own->doc != NULL ? own->doc : ""};
    custom->row.integers = MIA_MAX_INTEGERS;
    custom->row.reals = MIA_MAX_REALS;
    return custom;
}

/* Under the lock. */
static mia_status add(mia_device *device, const mia_op_description *d, mia_op *out, mia_error *error) {
    if (device->closed)
        return mia_error_set(error, MIA_ERROR_DEVICE_CLOSED, "register: the device of %s was closed",
                             d->name);
    if (name_is_taken(device, d->name))
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "register: there is an operation %s already",
                             d->name);
    mia__custom *custom = NULL;
    if (device->custom_count < MIA_OP_LAST - MIA_OP_CUSTOM) custom = new_custom(&device->allocator, d);
    if (custom == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "register: no memory for operation %s", d->name);
    custom->row.op = (mia_op)(MIA_OP_CUSTOM + device->custom_count++);
    custom->next = device->custom;
    device->custom = custom;
    *out = custom->row.op;
    return MIA_OK;
}

mia_status mia_op_register(mia_device *device, const mia_op_description *description, mia_op *out,
                           mia_error *error) {
    if (device == NULL || description == NULL || out == NULL)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT, "register: no device, description or place");
    mia_status status = check(description, error);
    if (status != MIA_OK) return status;
    mia__lock(device);
    status = add(device, description, out, error);
    mia__unlock(device);
    return status;
}

const mia__custom *mia__custom_find(mia_device *device, mia_op op) {
    mia__lock(device);
    const mia__custom *custom = device->custom;
    while (custom != NULL && custom->row.op != op) custom = custom->next;
    mia__unlock(device);
    return custom;
}

const mia_op_info *mia_op_describe_on(mia_device *device, mia_op op) {
    const mia_op_info *info = mia_op_describe(op);
    if (info != NULL || device == NULL) return info;
    const mia__custom *custom = mia__custom_find(device, op);
    return custom != NULL ? &custom->row.info : NULL;
}

void mia__custom_free(mia_device *device) {
    while (device->custom != NULL) {
        mia__custom *custom = device->custom;
        device->custom = custom->next;
        free_one(&device->allocator, custom);
    }
}
