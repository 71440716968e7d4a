/* The GGUF reader, second half: tensor descriptions, and where their data lie.
 *
 *   description:  text name  u32 dimensions  u64 extent[dimensions]  u32 type  u64 offset
 *
 * Offsets count from the data section, the first multiple of the alignment after the last description. Data
 * may come in any order and with gaps, but inside the file and without overlap. */
#include "base/size.h"
#include "weights/gguf_parser.h"

static mia_status get_shape(mia__gguf_parser *parser, mia_shape *shape) {
    uint32_t dimensions = 0;
    mia_status status = mia__gguf_u32(parser, "number of dimensions", &dimensions);
    if (status != MIA_OK) return status;
    if (dimensions > MIA_MAX_MODES)
        return mia__gguf_fail(parser, "%lu dimensions, at most %d are supported", (unsigned long)dimensions,
                              MIA_MAX_MODES);
    shape->ndim = dimensions;
    for (uint32_t i = 0; i < dimensions; i++) {
        uint64_t extent;
        status = mia__gguf_u64(parser, "dimension", &extent);
        if (status != MIA_OK) return status;
        if (extent == 0 || extent > INT64_MAX)
            return mia__gguf_fail(parser, "dimension %lu is %llu, out of range", (unsigned long)i,
                                  (unsigned long long)extent);
        shape->extent[i] = (int64_t)extent;
    }
    return MIA_OK;
}

static mia_status set_type(const mia__gguf_parser *parser, uint32_t number, mia_tensor_info *info) {
    mia__ggml_type type = mia__ggml_type_describe(number);
    const char *fault = NULL;
    if (type.name == NULL) return mia__gguf_fail(parser, "type %lu is not known", (unsigned long)number);
    if (type.removed)
        return mia__gguf_fail(parser, "type %lu (%s) was removed from GGUF", (unsigned long)number,
                              type.name);
    if (!mia__ggml_type_tensor_bytes(&type, &info->shape, &info->bytes, &fault))
        return mia__gguf_fail(parser, "%s (%s, blocks of %lu)", fault, type.name,
                              (unsigned long)type.elements);
    info->type_name = type.name;
    info->dtype = mia__ggml_type_dtype(number);
    return MIA_OK;
}

static mia_status get_tensor(mia__gguf_parser *parser, uint64_t alignment, mia_tensor_info *info) {
    uint32_t type = 0;
    parser->has_name = false;
    mia_status status = mia__gguf_text(parser, "name length", &info->name);
    if (status != MIA_OK) return status;
    parser->has_name = true;
    parser->name = info->name;
    status = get_shape(parser, &info->shape);
    if (status == MIA_OK) status = mia__gguf_u32(parser, "type", &type);
    if (status == MIA_OK) status = set_type(parser, type, info);
    if (status == MIA_OK) status = mia__gguf_u64(parser, "offset", &info->offset);
    if (status != MIA_OK) return status;
    if (info->offset % alignment != 0)
        return mia__gguf_fail(parser, "offset %llu is not a multiple of the alignment %llu",
                              (unsigned long long)info->offset, (unsigned long long)alignment);
    return MIA_OK;
}

static mia_status get_descriptions(mia__gguf_parser *parser, uint64_t count, uint64_t alignment) {
    mia_weights *weights = parser->weights;
    for (uint64_t i = 0; i < count; i++) {
        void *array = weights->tensors;
        mia_status status = mia__gguf_reserve(parser, &array, weights->tensor_count,
                                              &weights->tensor_capacity, sizeof *weights->tensors);
        weights->tensors = array;
        if (status != MIA_OK) return status;
        mia_tensor_info *info = &weights->tensors[weights->tensor_count];
        parser->entry = weights->tensor_count;
        status = get_tensor(parser, alignment, info);
        if (status != MIA_OK) return status;
        switch (mia__hash_add(&weights->names, &weights->allocator, info->name.bytes, info->name.length,
                              weights->tensor_count)) {
        case MIA__HASH_ADDED: break;
        case MIA__HASH_DUPLICATE: return mia__gguf_fail(parser, "the name is used twice");
        case MIA__HASH_NO_MEMORY: return mia__gguf_no_memory(parser);
        }
        weights->tensor_count++;
    }
    return MIA_OK;
}

static void point_at(mia__gguf_parser *parser, const mia_tensor_info *info) {
    parser->has_name = true;
    parser->name = info->name;
}

/* Makes offsets absolute and checks that the data are inside the file. */
static mia_status place(mia__gguf_parser *parser, uint64_t alignment) {
    mia_weights *weights = parser->weights;
    uint64_t size = weights->source.size, data, ignored;
    if (!mia__u64_add(parser->reader.offset, alignment - 1, &data)) data = UINT64_MAX;
    data -= data % alignment;
    for (size_t i = 0; i < weights->tensor_count; i++) {
        mia_tensor_info *info = &weights->tensors[i];
        if (!mia__u64_add(data, info->offset, &ignored) || data + info->offset > size ||
            info->bytes > size - (data + info->offset)) {
            point_at(parser, info);
            return mia__gguf_fail(
                parser,
                "its %llu bytes at offset %llu run past the end of the file (%llu bytes; data start "
                "at %llu)",
                (unsigned long long)info->bytes, (unsigned long long)info->offset, (unsigned long long)size,
                (unsigned long long)data);
        }
        info->offset += data;
    }
    return MIA_OK;
}

/* Moves tensors[order[root]] down to its place in a heap of the largest offset first. */
static void sift_down(const mia_tensor_info *tensors, size_t *order, size_t root, size_t count) {
    while (root < count / 2) {
        size_t child = 2 * root + 1;
        if (child + 1 < count && tensors[order[child + 1]].offset > tensors[order[child]].offset) child++;
        if (tensors[order[root]].offset >= tensors[order[child]].offset) return;
        size_t swap = order[root];
        order[root] = order[child];
        order[child] = swap;
        root = child;
    }
}

/* Heap sort: qsort may allocate behind the allocator's back, and may be quadratic. */
static void sort_by_offset(const mia_tensor_info *tensors, size_t *order, size_t count) {
    for (size_t i = 0; i < count; i++) order[i] = i;
    for (size_t i = count / 2; i-- > 0;) sift_down(tensors, order, i, count);
    for (size_t end = count; end-- > 1;) {
        size_t swap = order[0];
        order[0] = order[end];
        order[end] = swap;
        sift_down(tensors, order, 0, end);
    }
}

static bool in_file_order(const mia_weights *weights) {
    for (size_t i = 1; i < weights->tensor_count; i++) {
        const mia_tensor_info *before = &weights->tensors[i - 1];
        if (weights->tensors[i].offset < before->offset + before->bytes) return false;
    }
    return true;
}

static mia_status check_overlap(mia__gguf_parser *parser) {
    const mia_weights *weights = parser->weights;
    const mia_tensor_info *tensors = weights->tensors;
    size_t count = weights->tensor_count;
    if (in_file_order(weights)) return MIA_OK;
    size_t *order = mia_allocate_zeroed(&weights->allocator, count, sizeof *order);
    if (order == NULL) return mia__gguf_no_memory(parser);
    sort_by_offset(tensors, order, count);
    mia_status status = MIA_OK;
    for (size_t i = 1; i < count && status == MIA_OK; i++) {
        const mia_tensor_info *before = &tensors[order[i - 1]], *after = &tensors[order[i]];
        if (after->offset >= before->offset + before->bytes) continue;
        char name[96];
        (void)mia_text_escape(before->name, name, sizeof name);
        point_at(parser, after);
        status = mia__gguf_fail(parser, "its data overlap those of tensor \"%s\"", name);
    }
    mia_release(&weights->allocator, order, count * sizeof *order);
    return status;
}

mia_status mia__gguf_tensors(mia__gguf_parser *parser, uint64_t count, uint64_t alignment) {
    parser->section = "tensor";
    mia_status status = get_descriptions(parser, count, alignment);
    if (status == MIA_OK) status = place(parser, alignment);
    if (status == MIA_OK) status = check_overlap(parser);
    return status;
}
