/* Tapes: recording what leads from inputs to outputs, and the facts of a tape (include/mia/tape.h). Running
 * one is in replay.c. */
#include "runtime/tapes.h"

#include <string.h>

/* --- a tape's memory -------------------------------------------------------------------------- */

/* Arrays of no elements are arrays too. */
static void *array_of(mia_device *device, uint32_t count, size_t size) {
    return mia_allocate_zeroed(&device->allocator, count > 0 ? count : 1, size);
}

static void free_array(const mia_allocator *allocator, void *array, uint32_t count, size_t size) {
    mia_release(allocator, array, (count > 0 ? count : 1) * size);
}

static void free_values(const mia_allocator *allocator, mia__tape_value *values, uint32_t count) {
    for (uint32_t i = 0; values != NULL && i < count; i++)
        if (values[i].name != NULL) mia_release(allocator, values[i].name, strlen(values[i].name) + 1);
    free_array(allocator, values, count, sizeof *values);
}

/* What a tape has of its device: plans and values. With the lock. */
static void let_go(mia_tape *tape) {
    mia_device *device = tape->device;
    for (uint32_t i = 0; tape->leaves != NULL && i < tape->leaf_count; i++)
        mia__node_release(device, tape->leaves[i].node);
    while (tape->plans != NULL) {
        mia__tape_plan *plan = tape->plans;
        tape->plans = plan->next;
        mia__cached_release(device, plan->plan);
        mia_release(&tape->allocator, plan, sizeof *plan + tape->input_count * sizeof(bool));
    }
    free_array(&tape->allocator, tape->leaves, tape->leaf_count, sizeof *tape->leaves);
    tape->leaves = NULL;
}

static void free_tape(mia_tape *tape) {
    mia_allocator allocator = tape->allocator;
    mia__tape_free(&tape->tape, &allocator);
    free_values(&allocator, tape->inputs, tape->input_count);
    free_values(&allocator, tape->outputs, tape->output_count);
    mia_release(&allocator, tape, sizeof *tape);
}

void mia__tape_drop(mia_tape *tape) {
    if (tape == NULL) return;
    let_go(tape);
    free_tape(tape);
}

mia_tape *mia__tape_new(mia_device *device, uint32_t inputs, uint32_t outputs, uint32_t leaves) {
    mia_tape *tape = mia_allocate_zeroed(&device->allocator, 1, sizeof *tape);
    if (tape == NULL) return NULL;
    tape->allocator = device->allocator;
    tape->device = device;
    tape->input_count = inputs;
    tape->output_count = outputs;
    tape->leaf_count = leaves;
    tape->inputs = array_of(device, inputs, sizeof *tape->inputs);
    tape->outputs = array_of(device, outputs, sizeof *tape->outputs);
    tape->leaves = array_of(device, leaves, sizeof *tape->leaves);
    if (tape->inputs != NULL && tape->outputs != NULL && tape->leaves != NULL) return tape;
    mia__tape_drop(tape);
    return NULL;
}

void mia__tape_list(mia_tape *tape) {
    tape->next = tape->device->tapes;
    tape->device->tapes = tape;
}

void mia__tapes_orphan(mia_device *device) {
    while (device->tapes != NULL) {
        mia_tape *tape = device->tapes;
        device->tapes = tape->next;
        let_go(tape);
        tape->device = NULL;
    }
}

void mia_tape_close(mia_tape *tape) {
    if (tape == NULL) return;
    mia_device *device = tape->device;
    if (device != NULL) {
        mia__lock(device);
        mia_tape **link = &device->tapes;
        while (*link != NULL && *link != tape) link = &(*link)->next;
        if (*link != NULL) *link = tape->next;
        let_go(tape);
        mia__unlock(device);
    }
    free_tape(tape);
}

bool mia__tape_name(mia_tape *tape, mia__tape_value *values, uint32_t index, const char *name,
                    mia_error *error) {
    bool good = name != NULL && name[0] != '\0';
    for (uint32_t i = 0; good && i < index; i++) good = strcmp(values[i].name, name) != 0;
    if (!good) {
        (void)mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                            "record: \"%s\" is no name that is not taken, for a value of a tape",
                            name != NULL ? name : "");
        return false;
    }
    size_t bytes = strlen(name) + 1;
    values[index].name = mia_allocate(&tape->allocator, bytes, 1);
    if (values[index].name == NULL) {
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "record: no memory for a tape");
        return false;
    }
    memcpy(values[index].name, name, bytes);
    return true;
}

void mia__tape_describe(mia_tape *tape, mia__tape_value *value, uint32_t entry) {
    value->entry = entry;
    value->dtype = tape->tape.entries[entry].dtype;
    value->shape = mia__view_shape(&tape->tape.entries[entry].view);
}

/* --- recording -------------------------------------------------------------------------------- */

/* What a linearisation becomes: its leaves sorted into inputs, views of inputs, and values to keep. */
typedef struct recording {
    mia_device *device;
    mia__node **inputs;
    uint32_t input_count;
    uint32_t *places; /* of each node of the linearisation: its entry in the tape */
} recording;

static mia_status check_input(const mia__node *node, const char *name, mia_error *error) {
    const mia__cause *cause = mia__node_cause(node);
    if (cause != NULL) return mia_error_set(error, cause->status, "%s", cause->message);
    if (node->state == MIA__READY && mia__view_is_compact(node->dtype, &node->view) &&
        mia__view_bytes(node->dtype, &node->view) == node->memory->bytes && !node->memory->constant)
        return MIA_OK;
    return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                         "record: input %s is %s; an input is a whole value that exists", name,
                         node->state != MIA__READY ? "not evaluated"
                         : node->memory->constant  ? "a constant"
                                                   : "a view");
}

/* The input that a leaf is or looks at. */
static uint32_t input_of(const recording *r, const mia__node *leaf) {
    uint32_t i = 0;
    while (i < r->input_count && r->inputs[i]->memory != leaf->memory) i++;
    return i < r->input_count ? i : MIA__NO_INPUT;
}

static bool is_input(const recording *r, const mia__node *leaf) {
    uint32_t input = input_of(r, leaf);
    return input != MIA__NO_INPUT && r->inputs[input] == leaf;
}

/* Numbers the entries of the tape to be; returns how many leaves are no inputs. */
static uint32_t find_places(recording *r) {
    const mia__linear *linear = &r->device->linear;
    uint32_t others = 0;
    for (uint32_t i = 0; i < linear->leaf_count; i++) {
        bool input = is_input(r, linear->nodes[i]);
        r->places[i] = input ? input_of(r, linear->nodes[i]) : r->input_count + others;
        others += !input;
    }
    for (uint32_t i = linear->leaf_count; i < linear->count; i++)
        r->places[i] = r->input_count + others + (i - linear->leaf_count);
    return others;
}

static void set_inputs(const recording *r, mia_tape *tape) {
    for (uint32_t i = 0; i < r->input_count; i++) {
        const mia__node *node = r->inputs[i];
        tape->tape.entries[i] =
            (mia__entry){.dtype = node->dtype, .alias = i, .bytes = node->memory->bytes, .view = node->view};
        mia__tape_describe(tape, &tape->inputs[i], i);
    }
}

/* Leaves that are no inputs: the first of those that share memory stands for the others. */
static void set_leaf(const recording *r, mia_tape *tape, uint32_t place, mia__node *node) {
    mia__entry *entry = &tape->tape.entries[place];
    mia__tape_leaf *leaf = &tape->leaves[place - r->input_count];
    *leaf = (mia__tape_leaf){.input = input_of(r, node)};
    *entry =
        (mia__entry){.dtype = node->dtype, .alias = place, .bytes = node->memory->bytes, .view = node->view};
    if (leaf->input != MIA__NO_INPUT) {
        entry->alias = leaf->input;
        return;
    }
    if (node->memory->constant) entry->flags |= MIA__LEAF_CONSTANT;
    for (uint32_t i = r->input_count; i < place; i++) {
        const mia__node *other = tape->leaves[i - r->input_count].node;
        if (other == NULL || other->memory != node->memory) continue;
        entry->alias = i;
        break;
    }
    leaf->node = node;
    node->refs++;
}

/* The linearisation's entries in the tape's order. */
static void set_entries(const recording *r, mia_tape *tape) {
    const mia__linear *linear = &r->device->linear;
    set_inputs(r, tape);
    for (uint32_t i = 0; i < linear->count; i++) {
        mia__node *node = linear->nodes[i];
        uint32_t place = r->places[i];
        if (i < linear->leaf_count) {
            if (place >= r->input_count) set_leaf(r, tape, place, node);
            continue;
        }
        mia__entry *entry = &tape->tape.entries[place];
        *entry = (mia__entry){.op = node->op,
                              .dtype = node->dtype,
                              .operand_count = node->operand_count,
                              .alias = place,
                              .view = node->view,
                              .attributes = mia__node_attributes(node),
                              .custom = node->custom};
        for (uint32_t k = 0; k < node->operand_count; k++)
            entry->operands[k] = r->places[node->operands[k]->index];
    }
}

/* The tape of what was linearised; NULL with the error set. */
static mia_tape *make(const recording *r, mia__node *const *outputs, uint32_t output_count, uint32_t others,
                      mia_error *error) {
    const mia__linear *linear = &r->device->linear;
    mia_tape *tape = mia__tape_new(r->device, r->input_count, output_count, others);
    uint32_t count = r->input_count + others + (linear->count - linear->leaf_count);
    if (tape != NULL) tape->tape.entries = mia_allocate_zeroed(&tape->allocator, count, sizeof(mia__entry));
    if (tape == NULL || tape->tape.entries == NULL) {
        mia__tape_drop(tape);
        (void)mia_error_set(error, MIA_ERROR_NO_MEMORY, "record: no memory for a tape of %u operations",
                            (unsigned)count);
        return NULL;
    }
    tape->tape.count = count;
    tape->tape.leaf_count = r->input_count + others;
    set_entries(r, tape);
    for (uint32_t i = 0; i < output_count; i++) {
        uint32_t entry = r->places[outputs[i]->index];
        mia__tape_describe(tape, &tape->outputs[i], entry);
        tape->tape.entries[entry].flags |= MIA__ENTRY_OUTLIVES;
    }
    return tape;
}

/* The nodes behind named handles; an array from the device's allocator. */
static mia_status borrow(mia_device *device, const mia_named *list, size_t count, mia__node ***out,
                         mia_error *error) {
    mia_tensor *handles = array_of(device, (uint32_t)count, sizeof *handles);
    if (handles == NULL) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "record: no memory for a tape");
    for (size_t i = 0; i < count; i++) handles[i] = list[i].tensor;
    mia_status status = mia__borrow_list(device, handles, count > 0 ? count : 1, "record", out, error);
    free_array(&device->allocator, handles, (uint32_t)count, sizeof *handles);
    return status;
}

/* With the lock. */
static mia_status record(mia_device *device, const mia_named *inputs, size_t input_count,
                         const mia_named *outputs, size_t output_count, mia_tape **out, mia_error *error) {
    recording r = {.device = device, .input_count = (uint32_t)input_count};
    mia__node **roots = NULL;
    mia_status status = borrow(device, outputs, output_count, &roots, error);
    if (status == MIA_OK && input_count > 0) status = borrow(device, inputs, input_count, &r.inputs, error);
    for (size_t i = 0; status == MIA_OK && r.inputs != NULL && i < input_count; i++) {
        status = check_input(r.inputs[i], inputs[i].name, error);
        for (size_t k = 0; status == MIA_OK && k < i; k++)
            if (r.inputs[k]->memory == r.inputs[i]->memory)
                status = mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                                       "record: inputs %s and %s are the same value", inputs[k].name,
                                       inputs[i].name);
    }
    if (status == MIA_OK) status = mia__linearise(&device->linear, roots, output_count, error);
    uint32_t count = device->linear.count;
    if (status == MIA_OK) {
        r.places = array_of(device, count, sizeof *r.places);
        if (r.places == NULL)
            status = mia_error_set(error, MIA_ERROR_NO_MEMORY, "record: no memory for a tape");
    }
    mia_tape *tape = NULL;
    if (status == MIA_OK && roots != NULL)
        tape = make(&r, roots, (uint32_t)output_count, find_places(&r), error);
    if (r.places != NULL) free_array(&device->allocator, r.places, count, sizeof *r.places);
    if (roots != NULL) mia_release(&device->allocator, roots, output_count * sizeof(mia__node *));
    if (r.inputs != NULL) mia_release(&device->allocator, r.inputs, input_count * sizeof(mia__node *));
    if (tape == NULL) return status != MIA_OK ? status : MIA_ERROR_NO_MEMORY;
    mia__tape_list(tape);
    *out = tape;
    return MIA_OK;
}

mia_status mia_tape_record(const mia_named *inputs, size_t input_count, const mia_named *outputs,
                           size_t output_count, mia_tape **out, mia_error *error) {
    *out = NULL;
    if (output_count == 0 || output_count > UINT16_MAX || input_count > UINT16_MAX)
        return mia_error_set(error, MIA_ERROR_INVALID_ARGUMENT,
                             "record: a tape of %zu inputs and %zu outputs", input_count, output_count);
    mia_device *device = outputs[0].tensor.device;
    if (device == NULL) return mia_tensor_status(outputs[0].tensor, error);
    mia_error local = {0};
    mia_tape *tape = NULL;
    mia__lock(device);
    mia_status status = record(device, inputs, input_count, outputs, output_count, &tape, &local);
    mia__unlock(device);
    for (uint32_t i = 0; status == MIA_OK && i < input_count; i++)
        if (!mia__tape_name(tape, tape->inputs, i, inputs[i].name, &local)) status = local.status;
    for (uint32_t i = 0; status == MIA_OK && i < output_count; i++)
        if (!mia__tape_name(tape, tape->outputs, i, outputs[i].name, &local)) status = local.status;
    if (status != MIA_OK) {
        mia_tape_close(tape);
        return mia_error_set(error, status, "%s", local.message);
    }
    *out = tape;
    return MIA_OK;
}

/* --- facts ------------------------------------------------------------------------------------ */

size_t mia_tape_input_count(const mia_tape *tape) {
    return tape->input_count;
}

size_t mia_tape_output_count(const mia_tape *tape) {
    return tape->output_count;
}

static mia_tape_value fact(const mia__tape_value *values, size_t count, size_t index) {
    if (index >= count) return (mia_tape_value){0};
    return (mia_tape_value){values[index].name, values[index].dtype, values[index].shape};
}

mia_tape_value mia_tape_input(const mia_tape *tape, size_t index) {
    return fact(tape->inputs, tape->input_count, index);
}

mia_tape_value mia_tape_output(const mia_tape *tape, size_t index) {
    return fact(tape->outputs, tape->output_count, index);
}
