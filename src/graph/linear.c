/* Linearisation: from the nodes that a read needs to a tape in linear order, and to the words that plans are
 * cached by.
 *
 * The order is a depth-first post-order from the roots, operands left to right, so it depends on structure
 * alone. */
#include "graph/node.h"
#include "graph/ops.h"

#include <string.h>

void mia__linear_init(mia__linear *linear, const mia_allocator *allocator) {
    *linear = (mia__linear){.allocator = *allocator};
}

void mia__linear_free(mia__linear *linear) {
    mia_release(&linear->allocator, linear->nodes, linear->node_capacity * sizeof(mia__node *));
    mia_release(&linear->allocator, linear->stack, linear->stack_capacity * sizeof(mia__node *));
    mia_release(&linear->allocator, linear->key, linear->key_capacity * sizeof(uint64_t));
    *linear = (mia__linear){.allocator = linear->allocator, .mark = linear->mark};
}

static bool grow_nodes(const mia_allocator *allocator, mia__node ***array, uint32_t *capacity) {
    uint32_t wanted = *capacity == 0 ? 64 : *capacity * 2;
    void *grown = mia_reallocate_array(allocator, *array, *capacity, wanted, sizeof(mia__node *));
    if (grown == NULL) return false;
    *array = grown;
    *capacity = wanted;
    return true;
}

bool mia__linear_reserve(mia__linear *linear, uint32_t count) {
    while (linear->node_capacity < count)
        if (!grow_nodes(&linear->allocator, &linear->nodes, &linear->node_capacity)) return false;
    return true;
}

static bool push(mia__linear *linear, uint32_t *depth, mia__node *node) {
    if (*depth == linear->stack_capacity &&
        !grow_nodes(&linear->allocator, &linear->stack, &linear->stack_capacity))
        return false;
    linear->stack[(*depth)++] = node;
    return true;
}

static bool append(mia__linear *linear, mia__node *node) {
    if (linear->count == linear->node_capacity &&
        !grow_nodes(&linear->allocator, &linear->nodes, &linear->node_capacity))
        return false;
    linear->nodes[linear->count++] = node;
    return true;
}

/* Sees a node for the first time in this linearisation. */
static void enter(mia__linear *linear, mia__node *node) {
    node->mark = linear->mark;
    node->uses = 0;
    node->index = 0; /* of a pending node under way: the operand to visit next */
}

/* Visits everything below one root; operations are appended after what they use, leaves as they are met. */
static bool visit(mia__linear *linear, mia__node *root) {
    uint32_t depth = 0;
    if (root->mark == linear->mark) return true;
    enter(linear, root);
    if (!push(linear, &depth, root)) return false;
    while (depth > 0) {
        mia__node *node = linear->stack[depth - 1];
        if (node->state != MIA__PENDING || node->index == node->operand_count) {
            if (!append(linear, node)) return false;
            depth--;
            continue;
        }
        mia__node *operand = node->operands[node->index++];
        if (operand->mark != linear->mark) {
            enter(linear, operand);
            if (!push(linear, &depth, operand)) return false;
        }
        operand->uses++;
    }
    return true;
}

/* Moves leaves to the front, keeping the order of each kind, and numbers all. */
static bool leaves_first(mia__linear *linear) {
    uint32_t depth = 0;
    linear->leaf_count = 0;
    for (uint32_t i = 0; i < linear->count; i++) {
        mia__node *node = linear->nodes[i];
        if (node->state == MIA__READY) {
            linear->nodes[linear->leaf_count++] = node;
        } else if (!push(linear, &depth, node)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < depth; i++) linear->nodes[linear->leaf_count + i] = linear->stack[i];
    for (uint32_t i = 0; i < linear->count; i++) linear->nodes[i]->index = i;
    return true;
}

/* Which leaves share memory, and how many of each memory's nodes end with this tape. */
static void relate_leaves(mia__linear *linear) {
    for (uint32_t i = 0; i < linear->leaf_count; i++) {
        mia__memory *memory = linear->nodes[i]->memory;
        if (memory->mark != linear->mark) {
            memory->mark = linear->mark;
            memory->leaf = i;
            memory->dying = 0;
        }
        if (!mia__node_outlives(linear->nodes[i])) memory->dying++;
    }
}

static uint32_t flags_of(const mia__node *node) {
    uint32_t flags = mia__node_outlives(node) ? MIA__ENTRY_OUTLIVES : 0;
    if (node->state != MIA__READY) return flags;
    if (node->memory->constant) return flags | MIA__LEAF_CONSTANT;
    bool alone = node->memory->dying == node->memory->nodes && !node->memory->borrowed;
    return alone ? flags | MIA__LEAF_OVERWRITABLE : flags;
}

/* At most this many words describe a node. */
#define NODE_WORDS (8 + MIA__MAX_OPERANDS + MIA_MAX_INTEGERS + MIA_MAX_REALS + 2 * MIA__VIEW_MODES)

static size_t encode(const mia__node *node, uint64_t *key) {
    size_t n = 0;
    mia_op op = node->state == MIA__READY ? MIA_OP_NONE : node->op;
    key[n++] = (uint64_t)op | (uint64_t)node->dtype << 16 | (uint64_t)flags_of(node) << 32 |
               (uint64_t)node->view.ndim << 40 | (uint64_t)node->operand_count << 48;
    if (node->state == MIA__READY) {
        key[n++] = node->memory->leaf;
        key[n++] = node->memory->bytes;
    } else {
        for (uint32_t i = 0; i < node->operand_count; i++) key[n++] = node->operands[i]->index;
        const mia__op_row *row = mia__op_row_of(op, node->custom);
        memcpy(&key[n], node->attributes.i, row->integers * sizeof(uint64_t));
        n += row->integers;
        memcpy(&key[n], node->attributes.f, row->reals * sizeof(uint64_t));
        n += row->reals;
    }
    key[n++] = (uint64_t)node->view.offset;
    for (uint32_t m = 0; m < node->view.ndim; m++) {
        key[n++] = (uint64_t)node->view.extent[m];
        key[n++] = (uint64_t)node->view.stride[m];
    }
    return n;
}

static bool make_key(mia__linear *linear) {
    linear->key_words = 0;
    for (uint32_t i = 0; i < linear->count; i++) {
        if (linear->key_words + NODE_WORDS > linear->key_capacity) {
            size_t wanted = linear->key_capacity * 2 + 16 * (size_t)NODE_WORDS;
            void *grown = mia_reallocate_array(&linear->allocator, linear->key, linear->key_capacity, wanted,
                                               sizeof(uint64_t));
            if (grown == NULL) return false;
            linear->key = grown;
            linear->key_capacity = wanted;
        }
        linear->key_words += encode(linear->nodes[i], linear->key + linear->key_words);
    }
    return true;
}

mia_status mia__linearise(mia__linear *linear, mia__node *const *roots, size_t root_count, mia_error *error) {
    linear->mark++;
    linear->count = linear->leaf_count = 0;
    bool room = true;
    for (size_t i = 0; room && i < root_count; i++) room = visit(linear, roots[i]);
    for (uint32_t i = 0; room && i < linear->count; i++) {
        const mia__cause *cause = mia__node_cause(linear->nodes[i]);
        if (cause != NULL) return mia_error_set(error, cause->status, "%s", cause->message);
    }
    room = room && leaves_first(linear);
    if (room) {
        relate_leaves(linear);
        room = make_key(linear);
    }
    if (!room)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory to put %u operations in order",
                             (unsigned)linear->count);
    return MIA_OK;
}

mia__attributes mia__node_attributes(const mia__node *node) {
    const mia__op_row *row = mia__op_row_of(node->op, node->custom);
    mia__attributes attributes = {{0}, {0}};
    memcpy(attributes.i, node->attributes.i, row->integers * sizeof attributes.i[0]);
    memcpy(attributes.f, node->attributes.f, row->reals * sizeof attributes.f[0]);
    return attributes;
}

mia_status mia__linear_tape(const mia__linear *linear, mia__tape *out, mia_error *error) {
    mia__entry *entries = mia_allocate_zeroed(&linear->allocator, linear->count, sizeof *entries);
    if (entries == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "no memory for a tape of %u operations",
                             (unsigned)linear->count);
    for (uint32_t i = 0; i < linear->count; i++) {
        const mia__node *node = linear->nodes[i];
        mia__entry *entry = &entries[i];
        entry->dtype = node->dtype;
        entry->flags = flags_of(node);
        entry->view = node->view;
        entry->alias = i;
        if (node->state == MIA__READY) {
            entry->alias = node->memory->leaf;
            entry->bytes = node->memory->bytes;
            continue;
        }
        entry->op = node->op;
        entry->custom = node->custom;
        entry->operand_count = node->operand_count;
        entry->attributes = mia__node_attributes(node);
        for (uint32_t k = 0; k < node->operand_count; k++) entry->operands[k] = node->operands[k]->index;
    }
    *out = (mia__tape){entries, linear->count, linear->leaf_count};
    return MIA_OK;
}

void mia__tape_free(mia__tape *tape, const mia_allocator *allocator) {
    mia_release(allocator, tape->entries, tape->count * sizeof *tape->entries);
    *tape = (mia__tape){0};
}
