/* Tapes in files (docs/tape-format.md): a GGUF file whose metadata hold the operations as words
 * (graph/tape_words.h) and the names, and whose tensors are the constants. */
#include "runtime/tapes.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define KEY_VERSION   "mia.tape.version"
#define KEY_INPUTS    "mia.tape.inputs"
#define KEY_OUTPUTS   "mia.tape.outputs"
#define KEY_CONSTANTS "mia.tape.constants"
#define KEY_CUSTOM    "mia.tape.operations"
#define KEY_WORDS     "mia.tape.words"

#define NAME_BYTES 200
#define CUSTOMS    64 /* registered operations that a file can name */
#define PIECE      ((size_t)1 << 22)

/* --- saving ----------------------------------------------------------------------------------- */

/* A constant of the tape as a file holds it. */
typedef struct saved {
    mia__storage *storage;
    const mia__entry *entry;
    char name[NAME_BYTES];
    bool written; /* of these, its bytes are in the file */
} saved;

typedef struct saving {
    mia_tape *tape;
    const mia_allocator *allocator;
    mia_gguf_writer *writer;
    saved *constants; /* one a leaf; of those that share memory the first alone has a name */
    const mia__custom *customs[CUSTOMS];
    uint32_t custom_count;
} saving;

static bool name_is_taken(const saving *s, uint32_t before, const char *name) {
    for (uint32_t i = 0; i < before; i++)
        if (strcmp(s->constants[i].name, name) == 0) return true;
    return false;
}

/* The name that a constant has in its weights file, or one of its number. */
static void find_name(saving *s, uint32_t index) {
    saved *one = &s->constants[index];
    const mia__constant *constant = one->storage->constant;
    if (constant != NULL && constant->info != NULL && constant->info->name.length < NAME_BYTES)
        (void)snprintf(one->name, sizeof one->name, "%.*s", (int)constant->info->name.length,
                       constant->info->name.bytes);
    if (one->name[0] == '\0' || name_is_taken(s, index, one->name))
        (void)snprintf(one->name, sizeof one->name, "mia.constant.%u", (unsigned)index);
}

/* What the file declares a constant as: its own type where GGUF has it, bytes otherwise. */
static void declare(const saving *s, const saved *one) {
    const mia__constant *constant = one->storage->constant;
    mia_dtype dtype = constant != NULL ? constant->dtype : one->entry->dtype;
    mia_shape shape = constant != NULL ? constant->shape : mia__view_shape(&one->entry->view);
    mia__view compact = mia__view_compact(dtype, &shape);
    bool whole = mia__view_bytes(dtype, &compact) == one->storage->memory.bytes;
    if (!whole || mia__ggml_type_number(dtype) < 0 || shape.ndim == 0) {
        dtype = MIA_i8;
        shape = (mia_shape){1, {(int64_t)one->storage->memory.bytes}};
    }
    mia_gguf_writer_tensor(s->writer, one->name, dtype, shape);
}

static bool find_customs(saving *s, mia_error *error) {
    for (uint32_t i = s->tape->tape.leaf_count; i < s->tape->tape.count; i++) {
        const mia__custom *custom = s->tape->tape.entries[i].custom;
        uint32_t k = 0;
        while (k < s->custom_count && s->customs[k] != custom) k++;
        if (custom == NULL || k < s->custom_count) continue;
        if (k == CUSTOMS) {
            (void)mia_error_set(error, MIA_ERROR_UNSUPPORTED, "save: more than %d registered operations",
                                CUSTOMS);
            return false;
        }
        s->customs[s->custom_count++] = custom;
    }
    return true;
}

static void find_constants(saving *s, bool without_weights) {
    for (uint32_t i = 0; i < s->tape->leaf_count; i++) {
        const mia__tape_leaf *leaf = &s->tape->leaves[i];
        uint32_t entry = s->tape->input_count + i;
        saved *one = &s->constants[i];
        one->entry = &s->tape->tape.entries[entry];
        if (leaf->node == NULL || one->entry->alias != entry) continue;
        one->storage = (mia__storage *)leaf->node->memory;
        find_name(s, i);
        bool of_weights = one->storage->constant != NULL && one->storage->constant->weights != NULL;
        one->written = one->storage->memory.bytes > 0 && !(without_weights && of_weights);
    }
}

static mia_text text_of(const char *bytes) {
    return (mia_text){bytes, strlen(bytes)};
}

static bool write_names(const saving *s, const char *key, const mia__tape_value *values, uint32_t count) {
    mia_text *texts = mia_allocate_zeroed(s->allocator, count + 1u, sizeof *texts);
    if (texts == NULL) return false;
    for (uint32_t i = 0; i < count; i++) texts[i] = text_of(values[i].name);
    mia_gguf_writer_texts(s->writer, key, texts, count);
    mia_release(s->allocator, texts, (count + 1u) * sizeof *texts);
    return true;
}

static bool write_other_names(const saving *s) {
    uint32_t leaves = s->tape->leaf_count, most = leaves > CUSTOMS ? leaves : CUSTOMS;
    mia_text *texts = mia_allocate_zeroed(s->allocator, most, sizeof *texts);
    if (texts == NULL) return false;
    for (uint32_t i = 0; i < leaves; i++) texts[i] = text_of(s->constants[i].name);
    mia_gguf_writer_texts(s->writer, KEY_CONSTANTS, texts, leaves);
    for (uint32_t i = 0; i < s->custom_count; i++) texts[i] = text_of(s->customs[i]->row.info.name);
    mia_gguf_writer_texts(s->writer, KEY_CUSTOM, texts, s->custom_count);
    mia_release(s->allocator, texts, most * sizeof *texts);
    return true;
}

static bool write_words(const saving *s) {
    const mia_tape *tape = s->tape;
    mia__tape_parts parts = {
        .tape = tape->tape, .input_count = tape->input_count, .output_count = tape->output_count};
    mia__words words = {0};
    parts.sources = mia_allocate_zeroed(s->allocator, tape->leaf_count + 1u, sizeof *parts.sources);
    parts.outputs = mia_allocate_zeroed(s->allocator, tape->output_count, sizeof *parts.outputs);
    bool room = parts.sources != NULL && parts.outputs != NULL;
    if (room) {
        for (uint32_t i = 0; i < tape->leaf_count; i++) parts.sources[i] = tape->leaves[i].input;
        for (uint32_t i = 0; i < tape->output_count; i++) parts.outputs[i] = tape->outputs[i].entry;
        room = mia__tape_encode(&parts, s->customs, s->custom_count, s->allocator, &words);
    }
    if (room)
        mia_gguf_writer_i32s(s->writer, KEY_WORDS, (const int32_t *)(const void *)words.words, words.count);
    mia_release(s->allocator, words.words, words.capacity * sizeof *words.words);
    mia_release(s->allocator, parts.sources, (tape->leaf_count + 1u) * sizeof *parts.sources);
    mia_release(s->allocator, parts.outputs, tape->output_count * sizeof *parts.outputs);
    return room;
}

/* A value of the device into host memory. */
static mia_status download(mia_device *device, uint32_t leaf, mia_tape *tape, void *into, size_t bytes,
                           mia_error *error) {
    mia__site site = {"save", NULL, 0};
    mia__view all = {.ndim = 1, .extent = {(int64_t)bytes}, .stride = {1}};
    mia__lock(device);
    mia__storage *storage = (mia__storage *)tape->leaves[leaf].node->memory;
    mia__node *node = mia__node_ready(device, MIA_i8, &all, storage, &site);
    mia_tensor handle = mia__handle_new(device, node, false, &site);
    mia__unlock(device);
    return mia_tensor_read(handle, into, bytes, error, NULL, 0);
}

/* The bytes of one constant: piece by piece from its weights file, or as a whole from the device. */
static mia_status write_bytes(const saving *s, uint32_t leaf, mia_error *error) {
    const saved *one = &s->constants[leaf];
    const mia__constant *constant = one->storage->constant;
    size_t bytes = one->storage->memory.bytes;
    bool streamed = constant != NULL && constant->weights != NULL;
    size_t piece = streamed && bytes > PIECE ? PIECE : bytes;
    void *room = mia_allocate(s->allocator, piece, 64);
    mia_status status = MIA_OK;
    if (room == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "save: no memory to copy %zu bytes of %s", piece,
                             one->name);
    for (size_t done = 0; status == MIA_OK && done < bytes; done += piece) {
        size_t count = bytes - done < piece ? bytes - done : piece;
        status = streamed ? mia_weights_read(constant->weights, constant->info, done, room, count, error)
                          : download(s->tape->device, leaf, s->tape, room, count, error);
        if (status == MIA_OK) status = mia_gguf_writer_data(s->writer, room, count, error);
    }
    mia_release(s->allocator, room, piece);
    return status;
}

static mia_status write_tape(saving *s, bool without_weights, mia_error *error) {
    const mia_tape *tape = s->tape;
    if (!find_customs(s, error)) return error->status;
    find_constants(s, without_weights);
    mia_gguf_writer_u32(s->writer, KEY_VERSION, MIA__TAPE_VERSION);
    bool room = write_names(s, KEY_INPUTS, tape->inputs, tape->input_count) &&
                write_names(s, KEY_OUTPUTS, tape->outputs, tape->output_count) && write_other_names(s) &&
                write_words(s);
    if (!room) return mia_error_set(error, MIA_ERROR_NO_MEMORY, "save: no memory to write a tape");
    for (uint32_t i = 0; i < tape->leaf_count; i++)
        if (s->constants[i].written) declare(s, &s->constants[i]);
    mia_status status = MIA_OK;
    for (uint32_t i = 0; status == MIA_OK && i < tape->leaf_count; i++)
        if (s->constants[i].written) status = write_bytes(s, i, error);
    return status;
}

mia_status mia_tape_save(mia_tape *tape, const char *path, const mia_tape_save_options *options,
                         mia_error *error) {
    mia_tape_save_options given = options != NULL ? *options : (mia_tape_save_options){0};
    if (tape->device == NULL)
        return mia_error_set(error, MIA_ERROR_DEVICE_CLOSED, "save: the tape's device was closed");
    saving s = {.tape = tape, .allocator = given.allocator};
    mia_error local = {0};
    mia_status status = mia_gguf_writer_open(path, given.allocator, &s.writer, &local);
    if (status != MIA_OK) return mia_error_set(error, status, "%s", local.message);
    s.constants = mia_allocate_zeroed(given.allocator, tape->leaf_count + 1u, sizeof *s.constants);
    if (s.constants != NULL)
        status = write_tape(&s, given.without_weights, &local);
    else
        status = mia_error_set(&local, MIA_ERROR_NO_MEMORY, "save: no memory to write a tape");
    mia_error closing = {0};
    mia_status closed = mia_gguf_writer_close(s.writer, &closing);
    mia_release(given.allocator, s.constants, (tape->leaf_count + 1u) * sizeof *s.constants);
    if (status == MIA_OK && closed != MIA_OK) {
        status = closed;
        local = closing;
    }
    return status != MIA_OK ? mia_error_set(error, status, "%s", local.message) : MIA_OK;
}

/* --- loading ---------------------------------------------------------------------------------- */

typedef struct loading {
    mia_device *device;
    mia_weights *file, *more;
    const mia_allocator *allocator;
    const mia__custom *customs[CUSTOMS];
    uint32_t custom_count;
    mia_tape *tape;
} loading;

static mia_status fault(const loading *l, const char *what, mia_error *error) {
    return mia_error_set(error, MIA_ERROR_FORMAT, "%s: the tape is not valid: %s", mia_weights_name(l->file),
                         what);
}

/* An array of the metadata; false when it is none of that type. */
static bool find_array(const loading *l, const char *key, mia_value_type type, mia_value *out) {
    return mia_weights_find(l->file, key, out) && out->type == MIA_VALUE_ARRAY &&
           (out->element_type == type || out->count == 0) && out->count <= UINT32_MAX;
}

/* Element `index` of an array of texts, ended by a zero; false when it does not fit. */
static bool copy_text(const mia_value *texts, uint32_t index, char *out, size_t capacity) {
    mia_value value = mia_value_element(texts, index);
    if (value.type != MIA_VALUE_STRING || value.as.text.length >= capacity ||
        memchr(value.as.text.bytes, '\0', value.as.text.length) != NULL)
        return false;
    if (value.as.text.length > 0) memcpy(out, value.as.text.bytes, value.as.text.length);
    out[value.as.text.length] = '\0';
    return true;
}

static mia_status find_operations(loading *l, mia_error *error) {
    mia_value names;
    if (!find_array(l, KEY_CUSTOM, MIA_VALUE_STRING, &names) || names.count > CUSTOMS)
        return fault(l, "its list of registered operations", error);
    for (uint32_t i = 0; i < names.count; i++) {
        char name[NAME_BYTES];
        if (!copy_text(&names, i, name, sizeof name))
            return fault(l, "its list of registered operations", error);
        const mia__custom *custom = mia__custom_find_name(l->device, name);
        if (custom == NULL)
            return mia_error_set(error, MIA_ERROR_NOT_FOUND,
                                 "%s: the tape uses operation %s, which is not registered on this device",
                                 mia_weights_name(l->file), name);
        l->customs[l->custom_count++] = custom;
    }
    return MIA_OK;
}

static mia_status read_words(const loading *l, mia__tape_parts *parts, mia_error *error) {
    mia_value array;
    if (!find_array(l, KEY_WORDS, MIA_VALUE_I32, &array)) return fault(l, "its words are missing", error);
    uint32_t *words = mia_allocate_zeroed(l->allocator, array.count + 1, sizeof *words);
    if (words == NULL)
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "%s: no memory to load the tape",
                             mia_weights_name(l->file));
    for (uint64_t i = 0; i < array.count; i++) words[i] = (uint32_t)mia_value_element(&array, i).as.i;
    const char *what = NULL;
    bool good =
        mia__tape_decode(words, (size_t)array.count, l->customs, l->custom_count, l->allocator, parts, &what);
    mia_release(l->allocator, words, (array.count + 1) * sizeof *words);
    if (good) return MIA_OK;
    if (what != NULL) return fault(l, what, error);
    return mia_error_set(error, MIA_ERROR_NO_MEMORY, "%s: no memory to load the tape",
                         mia_weights_name(l->file));
}

static mia_status name_values(loading *l, const char *key, mia__tape_value *values, uint32_t count,
                              mia_error *error) {
    mia_value names;
    if (!find_array(l, key, MIA_VALUE_STRING, &names) || names.count != count)
        return fault(l, "its names do not fit its values", error);
    for (uint32_t i = 0; i < count; i++) {
        char name[NAME_BYTES];
        if (!copy_text(&names, i, name, sizeof name)) return fault(l, "a name is too long", error);
        if (!mia__tape_name(l->tape, values, i, name, error)) return error->status;
    }
    return MIA_OK;
}

/* A constant of the file or of the other weights, as the leaf wants it. With the lock. */
static mia_status bind(loading *l, uint32_t index, const char *name, mia_error *error) {
    mia__tape_leaf *leaf = &l->tape->leaves[index];
    mia__entry *entry = &l->tape->tape.entries[l->tape->input_count + index];
    mia__site site = {"load", NULL, 0};
    mia_weights *weights = l->file;
    const mia_tensor_info *info = mia_weights_find_tensor(weights, name);
    if (info == NULL && l->more != NULL) info = mia_weights_find_tensor(weights = l->more, name);
    if (info == NULL && entry->bytes > 0)
        return mia_error_set(error, MIA_ERROR_NOT_FOUND, "%s: the tape needs tensor \"%s\"%s",
                             mia_weights_name(l->file), name,
                             l->more == NULL ? ", and no other weights were given" : "");
    if (info != NULL && info->bytes != entry->bytes)
        return mia_error_set(error, MIA_ERROR_FORMAT,
                             "%s: tensor \"%s\" has %" PRIu64 " bytes, the tape wants %zu",
                             mia_weights_name(weights), name, info->bytes, entry->bytes);
    mia__storage *storage = entry->bytes > 0 ? mia__constant_new(l->device, weights, info, entry, error)
                                             : mia__storage_new(l->device, 0, error);
    if (storage == NULL) return error->status;
    leaf->node = mia__node_ready(l->device, entry->dtype, &entry->view, storage, &site);
    if (leaf->node != NULL) return MIA_OK;
    mia__storage_drop(l->device, storage);
    return mia_error_set(error, MIA_ERROR_NO_MEMORY, "%s: no memory to load the tape",
                         mia_weights_name(l->file));
}

static mia_status bind_all(loading *l, mia_error *error) {
    mia_value names;
    if (!find_array(l, KEY_CONSTANTS, MIA_VALUE_STRING, &names) || names.count != l->tape->leaf_count)
        return fault(l, "the names of its constants", error);
    for (uint32_t i = 0; i < l->tape->leaf_count; i++) {
        mia__tape_leaf *leaf = &l->tape->leaves[i];
        uint32_t place = l->tape->input_count + i;
        mia__entry *entry = &l->tape->tape.entries[place];
        char name[NAME_BYTES];
        if (leaf->input != MIA__NO_INPUT) continue;
        mia_status status = MIA_OK;
        if (entry->alias != place) { /* another look at a constant that is there */
            leaf->node = l->tape->leaves[entry->alias - l->tape->input_count].node;
            leaf->node->refs++;
        } else if (!copy_text(&names, i, name, sizeof name)) {
            status = fault(l, "the name of a constant is too long", error);
        } else {
            status = bind(l, i, name, error);
        }
        if (status != MIA_OK) return status;
        if (leaf->node->memory->constant) entry->flags |= MIA__LEAF_CONSTANT;
    }
    return MIA_OK;
}

/* The tape of its parts, which it takes over. With the lock. */
static mia_status build(loading *l, mia__tape_parts *parts, mia_error *error) {
    l->tape = mia__tape_new(l->device, parts->input_count, parts->output_count,
                            parts->tape.leaf_count - parts->input_count);
    if (l->tape == NULL || parts->sources == NULL || parts->outputs == NULL) {
        mia__tape_parts_free(parts, l->allocator);
        return mia_error_set(error, MIA_ERROR_NO_MEMORY, "%s: no memory to load the tape",
                             mia_weights_name(l->file));
    }
    l->tape->tape = parts->tape;
    parts->tape.entries = NULL;
    for (uint32_t i = 0; i < l->tape->input_count; i++) mia__tape_describe(l->tape, &l->tape->inputs[i], i);
    for (uint32_t i = 0; i < l->tape->output_count; i++)
        mia__tape_describe(l->tape, &l->tape->outputs[i], parts->outputs[i]);
    for (uint32_t i = 0; i < l->tape->leaf_count; i++) l->tape->leaves[i].input = parts->sources[i];
    mia__tape_parts_free(parts, l->allocator);
    mia_status status = name_values(l, KEY_INPUTS, l->tape->inputs, l->tape->input_count, error);
    if (status == MIA_OK)
        status = name_values(l, KEY_OUTPUTS, l->tape->outputs, l->tape->output_count, error);
    return status == MIA_OK ? bind_all(l, error) : status;
}

mia_status mia_tape_load(mia_device *device, mia_weights *file, mia_weights *more, mia_tape **out,
                         mia_error *error) {
    *out = NULL;
    loading l = {.device = device, .file = file, .more = more, .allocator = &device->allocator};
    mia_error local = {0};
    uint32_t version = 0;
    if (mia_weights_get_u32(file, KEY_VERSION, &version, NULL) != MIA_OK)
        return mia_error_set(error, MIA_ERROR_FORMAT, "%s holds no tape", mia_weights_name(file));
    if (version != MIA__TAPE_VERSION)
        return mia_error_set(error, MIA_ERROR_FORMAT,
                             "%s: the tape is of version %" PRIu32 "; version %d is known",
                             mia_weights_name(file), version, MIA__TAPE_VERSION);
    mia__tape_parts parts = {.tape = {0}};
    mia_status status = find_operations(&l, &local);
    if (status == MIA_OK) status = read_words(&l, &parts, &local);
    if (status != MIA_OK) return mia_error_set(error, status, "%s", local.message);
    mia__lock(device);
    status = build(&l, &parts, &local);
    if (status == MIA_OK)
        mia__tape_list(l.tape);
    else
        mia__tape_drop(l.tape);
    mia__unlock(device);
    if (status != MIA_OK) return mia_error_set(error, status, "%s", local.message);
    *out = l.tape;
    return MIA_OK;
}
