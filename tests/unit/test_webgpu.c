/* The webgpu backend on a GPU that computes nothing and writes down what it is asked (support/recording_gpu.h): the order
 * of calls, what is under way at once, failures, a lost device, threads. WebGPU's rules are checked by the recording GPU
 * at every call. */
#include "backend/webgpu/webgpu.h"
#include "gguf_builder.h"
#include "runtime/device.h"
#include "support.h"
#include "support/recording_gpu.h"
#include "support/tiny_llama.h"

#include <mia/mia.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/watched_gpu.h"

/* --- order ------------------------------------------------------------------------------------ */

/* A short plan is one submission, which nothing waits for; pipelines are all asked for before, at once; steps alike share
 * them, and so do those of other lengths. */
static void test_short_plan(void **state) {
    (void)state;
    const recording_settings late = {.late = 3};
    mia_device *device = open_device(&late, NULL);
    mia__gpu *gpu = recording_last();
    mia_error error;
    mia_tensor_f32 x = chain(device, 100, 3);
    recording_clear(gpu);
    OK(eval(x, &error));
    const char *text = recording_text(gpu);
    assert_int_equal(count_of(text, "submit\n"), 1);
    assert_int_equal(count_of(text, "\nmap "), 0);
    uint32_t pipelines = count_of(text, "pipeline ") - count_of(text, "to pipeline ");
    assert_true(pipelines > 0 && pipelines < 6 && count_of(text, "dispatch ") >= 3);
    const char *first = strstr(text, "dispatch ");
    assert_null(strstr(first, "\npipeline "));
    mia_unref(x);
    x = chain(device, 333, 3);
    recording_clear(gpu);
    OK(eval(x, &error));
    assert_int_equal(count_of(recording_text(gpu), "\npipeline "), 0);
    OK(read_one(x, &error));
    assert_int_equal(count_of(recording_text(gpu), "\nmap "), 1);
    close_device(device);
}

/* While a value comes back, the run behind it begins; it ends in its turn. */
static void test_run_behind_value(void **state) {
    (void)state;
    const recording_settings late = {.late = 5};
    mia_device *device = open_device(&late, NULL);
    mia__gpu *gpu = recording_last();
    mia_error error;
    float numbers[8];
    mia_tensor_f32 x = chain(device, 8, 1);
    OK(eval(x, &error));
    mia_tensor_f32 y = mia_mul(mia_ref(x), vector(device, 8));
    OK(eval(y, &error)); /* the pipeline is there */
    mia_tensor_f32 z = mia_mul(mia_ref(y), mia_ref(x));
    recording_clear(gpu);
    mia_ticket *read = mia_tensor_read_begin(MIA_UNTYPED(x), numbers, sizeof numbers, NULL, 0);
    const mia_tensor list[1] = {MIA_UNTYPED(z)};
    mia_ticket *run = mia_tensor_eval_begin(list, 1);
    mia_ticket_wait(run);
    OK(mia_ticket_finish(run, &error));
    assert_true(mia_ticket_poll(read));
    OK(mia_ticket_finish(read, &error));
    const char *text = recording_text(gpu), *map = strstr(text, "map "),
               *dispatch = strstr(text, "dispatch "), *unmap = strstr(text, "unmap ");
    assert_true(map != NULL && dispatch != NULL && unmap != NULL);
    assert_true(map < dispatch && dispatch < unmap);
    mia_unref(y);
    mia_unref(z);
    close_device(device);
}

/* --- models ----------------------------------------------------------------------------------- */

/* Dispatches of the second of two steps of a token, which finds its caches there. */
static uint32_t dispatches_of_step(uint32_t layers, uint32_t storage_buffers) {
    const tiny_options tiny = {.layers = layers, .seed = 3, .context = 64};
    mia__gpu_info info = recording_info();
    info.limits.storage_buffers = storage_buffers;
    const recording_settings settings = {.info = &info};
    mia_device *device = open_device(&settings, NULL);
    mia_weights *weights = tiny_open(&tiny);
    mia_lm *lm;
    mia_lm_state *state;
    mia_error error;
    static float logits[TINY_VOCABULARY];
    const int32_t id = 1;
    assert_non_null(weights);
    OK(mia_lm_open(device, weights, NULL, &lm, &error));
    OK(mia_lm_state_open(lm, &state, &error));
    OK(mia_lm_step(state, &id, 1, 0, logits, &error));
    recording_clear(recording_last());
    OK(mia_lm_step(state, &id, 1, 0, logits, &error));
    uint32_t dispatches = count_of(recording_text(recording_last()), "dispatch ");
    mia_lm_state_close(state);
    mia_lm_close(lm);
    mia_weights_close(weights);
    close_device(device);
    return dispatches;
}

/* q, k and v; what turns and keeps them, which binds 9 buffers, or is two; attention; o; gate and up; down. */
static void test_layer(void **state) {
    (void)state;
    assert_int_equal(dispatches_of_step(3, 10) - dispatches_of_step(1, 10), 2 * 6);
    assert_int_equal(dispatches_of_step(3, 8) - dispatches_of_step(1, 8), 2 * 7);
}

/* Products of no depth: sums of nothing, of operands that have no memory to bind; few columns and many, with an epilogue and
 * without. */
static void test_products_of_nothing(void **state) {
    (void)state;
    mia_device *device = open_device(NULL, NULL);
    mia_error error;
    for (int64_t columns = 1; columns < 100; columns *= 5) {
        mia_tensor_f32 w = mia_zeros(f32, device, MIA_SHAPE(0, 24)),
                       x = mia_zeros(f32, device, MIA_SHAPE(0, columns));
        mia_tensor_f32 computed = mia_matmul(mia_ref(w), mia_square(mia_ref(x)));
        mia_tensor_f32 more =
            mia_silu(mia_add(mia_matmul(w, x), mia_zeros(f32, device, MIA_SHAPE(24, columns))));
        OK(eval(computed, &error));
        OK(eval(more, &error));
        mia_unref(computed);
        mia_unref(more);
    }
    close_device(device);
}

/* --- memory ----------------------------------------------------------------------------------- */

/* However much is written, and however late the GPU is, no more than 64 MiB are under way; runs in between change nothing. */
static void test_uploads_bounded(void **state) {
    (void)state;
    const recording_settings late = {.late = 1000000};
    const int64_t count = (int64_t)(20 << 20) / 4;
    mia_device *device = open_device(&late, NULL);
    mia_error error;
    for (int i = 0; i < 8; i++) {
        mia_tensor_f32 x = vector(device, count);
        mia_tensor_f32 y = mia_add(mia_slice(mia_ref(x), 0, 0, 5, 1), mia_slice(mia_ref(x), 0, 5, 5, 1));
        const mia_tensor list[1] = {MIA_UNTYPED(y)};
        mia_ticket *ticket = mia_tensor_eval_begin(list, 1);
        for (int n = 0; n < 3; n++) (void)mia_ticket_poll(ticket);
        mia_ticket_cancel(ticket);
        mia_ticket_wait(ticket);
        mia_status status = mia_ticket_finish(ticket, &error);
        assert_true(status == MIA_OK || status == MIA_ERROR_CANCELLED);
        mia_unref(x);
        mia_unref(y);
    }
    assert_true(watched.most_bytes > (uint64_t)(32 << 20) && watched.most_bytes <= (uint64_t)(64 << 20));
    close_device(device);
}

/* A value that is computed again and again, and given back in between, makes no buffers after the first times: those of
 * its results and of what is computed on the way are used again. */
static void test_buffers_used_again(void **state) {
    (void)state;
    static const int64_t result_bytes[] = {4, 1000, 64 << 10, 256 << 10, 4 << 20};
    for (size_t i = 0; i < sizeof result_bytes / sizeof result_bytes[0]; i++) {
        mia_device *device = open_device(NULL, NULL);
        mia__gpu *gpu = recording_last();
        mia_error error;
        uint32_t live = 0;
        mia_tensor_f32 x = vector(device, result_bytes[i] / 4);
        for (int run = 0; run < 20; run++) {
            if (run == 3) {
                recording_clear(gpu);
                live = recording_count(gpu).buffers;
            }
            mia_tensor_f32 y = mia_softmax(mia_cumsum(mia_neg(mia_ref(x)), 0, false, false)),
                           z = mia_square(mia_ref(y));
            OK(eval(y, &error));
            OK(eval(z, &error));
            mia_unref(y);
            mia_unref(z);
        }
        const char *text = recording_text(gpu);
        assert_true(count_of(text, "dispatch ") >= 17 * 2);
        if (strstr(text, "buffer ") != NULL)
            fail_msg("results of %lld bytes: %s", (long long)result_bytes[i], strstr(text, "buffer "));
        assert_int_equal(recording_count(gpu).buffers, live);
        mia_unref(x);
        close_device(device);
    }
}

/* What is written to buffers that much is written to, the weights of the test below: one after the other, a place each. */
#define MOST_WRITTEN 4
static unsigned char *written;
static mia__gpu_buffer *written_to[MOST_WRITTEN];
static size_t written_room; /* of each */

static void keep_write(mia__gpu *gpu, mia__gpu_buffer *buffer, uint64_t offset, const void *from,
                       size_t bytes) {
    size_t i = 0;
    while (i < MOST_WRITTEN && written_to[i] != NULL && written_to[i] != buffer) i++;
    if (i < MOST_WRITTEN && (written_to[i] == buffer || bytes > 65536)) {
        assert_true(offset + bytes <= written_room);
        written_to[i] = buffer;
        memcpy(written + i * written_room + offset, from, bytes);
    }
    recording_gpu_type.write(gpu, buffer, offset, from, bytes);
}

/* Has a product read its weights, of a GGUF type and so many rows of 4096, from a file, mapped and read piece by piece: the buffers
 * that they are in, as many as are wanted, are the same, and no more than so many bytes of the host are taken. */
static void weigh(uint32_t type, uint64_t rows, uint64_t row_bytes, const recording_settings *settings,
                  size_t wanted, size_t most) {
    const uint64_t extents[2] = {4096, rows};
    const size_t bytes = (size_t)(rows * row_bytes);
    unsigned char *outcomes[2], *data = malloc(bytes);
    gguf_builder file = {NULL, 0};
    assert_non_null(data);
    for (size_t i = 0; i < bytes; i++) data[i] = (unsigned char)(i * 37 + (i >> 8) * 101);
    gguf_head(&file, 3, 1, 0);
    gguf_tensor(&file, "w", 2, extents, type, 0);
    gguf_pad(&file, 32);
    gguf_bytes(&file, data, bytes);
    gguf_pad(&file, 32);
    free(data);
    written_room = bytes + 65536;
    for (int mapped = 0; mapped < 2; mapped++) {
        test_allocator allocator;
        test_allocator_init(&allocator);
        mia_device *device = open_device(settings, &allocator.hook);
        read_only_file reads;
        mia_source source =
            mapped ? mapped_source(file.bytes, file.count) : read_only_source(&reads, file.bytes, file.count);
        mia_weights *weights;
        mia_error error;
        OK(mia_weights_open(source, NULL, &weights, &error));
        written = outcomes[mapped] = calloc(MOST_WRITTEN, written_room);
        assert_non_null(written);
        memset(written_to, 0, sizeof written_to);
        mia_tensor w = mia_weights_tensor(device, weights, "w");
        mia_tensor y = mia_op_matmul(w, MIA_UNTYPED(vector(device, 4096)), NULL, 0);
        size_t before = allocator.live_bytes;
        allocator.peak_bytes = before;
        const mia_tensor list[1] = {y};
        OK(mia_tensor_eval(list, 1, &error));
        assert_in_range(allocator.peak_bytes - before, mapped ? 0 : 1 << 20, most);
        mia_op_unref(y, NULL, 0);
        mia_weights_close(weights);
        close_device(device);
        assert_int_equal(allocator.live_bytes, 0);
    }
    size_t buffers = 0;
    while (buffers < MOST_WRITTEN && written_to[buffers] != NULL) buffers++;
    assert_int_equal(buffers, wanted);
    assert_memory_equal(outcomes[0], outcomes[1], MOST_WRITTEN * written_room);
    free(outcomes[0]);
    free(outcomes[1]);
    gguf_free(&file);
}

/* Block-quantised weights are read and prepared some rows at a time, and come out as they do from memory. Likewise the parts of
 * weights that a GPU does not bind at once. */
static void test_weights_in_rows(void **state) {
    (void)state;
    mia__gpu_info narrow = recording_info();
    narrow.limits.binding_bytes = 10 << 20;
    const recording_settings parts = {.info = &narrow};
    test_seam.type.write = keep_write;
    weigh(8, 2561, 4096 / 32 * 34, NULL, 1, 9 << 20); /* q8_0 */
    weigh(8, 2561, 4096 / 32 * 34, &parts, 2, 9 << 20);
    weigh(0, 703, 4096 * 4, &parts, 1, 5 << 20); /* f32, which is bound as it is in the file */
}

/* What a GPU does not give at once is refused with both numbers; what it binds in parts is cut. */
static void test_limits(void **state) {
    (void)state;
    mia__gpu_info info = recording_info();
    info.limits.buffer_bytes = 1 << 20;
    info.limits.binding_bytes = 4096;
    const recording_settings small = {.info = &info};
    mia_device *device = open_device(&small, NULL);
    mia_error error;
    mia_tensor_f32 x = mia_full(f32, device, MIA_SHAPE(1), 1);
    mia_tensor_f32 y = mia_copy(mia_broadcast(x, MIA_SHAPE(1 << 20)));
    assert_int_equal(eval(y, &error), MIA_ERROR_NO_MEMORY);
    assert_non_null(strstr(error.message, "4194304 bytes is more than the 1048576"));
    mia_unref(y);
    y = mia_neg(vector(device, 10000));
    recording_clear(recording_last());
    OK(eval(y, &error));
    assert_in_range(count_of(recording_text(recording_last()), "dispatch "), 10, 32);
    mia_unref(y);
    y = mia_sum(vector(device, 10000), MIA_ALL_MODES);
    assert_int_equal(eval(y, &error), MIA_ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "40000 bytes that it needs at once are more than the 4096"));
    mia_unref(y);
    close_device(device);
}

/* Each buffer of a program fails in turn: NO_MEMORY before anything of that run is dispatched. */
static void test_no_gpu_memory(void **state) {
    (void)state;
    for (uint32_t n = 1;; n++) {
        const recording_settings fails = {.fail_buffer = n};
        mia_device *device = open_device(&fails, NULL);
        mia__gpu *gpu = recording_last();
        mia_error error;
        mia_tensor_f32 x = chain(device, 50000, 2);
        mia_status status = eval(x, &error);
        if (status != MIA_OK) {
            assert_int_equal(status, MIA_ERROR_NO_MEMORY);
            assert_int_equal(count_of(recording_text(gpu), "dispatch "), 0);
        }
        mia_unref(x);
        close_device(device);
        if (status == MIA_OK) break;
        assert_true(n < 20);
    }
}

/* --- failures --------------------------------------------------------------------------------- */

static void test_refused_shader(void **state) {
    (void)state;
    const recording_settings refuses = {.late = 2, .refuse = "sqrt"};
    mia_device *device = open_device(&refuses, NULL);
    mia_error error;
    mia_tensor_f32 x = vector(device, 10), y = mia_sqrt(mia_ref(x));
    for (int again = 0; again < 2; again++) {
        assert_int_equal(again == 0 ? eval(y, &error) : read_one(mia_ref(y), &error), MIA_ERROR_UNSUPPORTED);
        assert_non_null(strstr(error.message, "told to refuse this shader"));
    }
    OK(read_one(mia_neg(x), &error)); /* the device goes on */
    mia_unref(y);
    close_device(device);
}

/* The caller's options may go when the opening has begun. */
static void test_options_that_go(void **state) {
    (void)state;
    mia_device *device = NULL;
    mia_webgpu_options *webgpu = malloc(sizeof *webgpu);
    mia_error error;
    assert_non_null(webgpu);
    *webgpu = (mia_webgpu_options){.without = MIA_WEBGPU_SUBGROUPS};
    const mia_device_options options = {.backend = "webgpu", .webgpu = webgpu};
    mia_ticket *ticket = mia_device_open_begin(&options, &device);
    memset(webgpu, 0, sizeof *webgpu);
    free(webgpu);
    mia_ticket_wait(ticket);
    OK(mia_ticket_finish(ticket, &error));
    assert_int_equal(backend_of(device)->options.without, MIA_WEBGPU_SUBGROUPS);
    close_device(device);
}

/* The device is lost with each submission in turn: what is read says so, so does all later work, and closing works, as
 * does opening again. */
static void test_lost(void **state) {
    (void)state;
    for (uint32_t n = 1; n <= 4; n++) {
        const recording_settings loses = {.late = 2, .lose_submit = n};
        mia_device *device = open_device(&loses, NULL);
        mia_error error;
        backend_of(device)->speed = 1e6;
        mia_tensor_f32 x = chain(device, 30, 3);
        mia_status status = read_one(mia_ref(x), &error);
        assert_int_equal(status, MIA_ERROR_DEVICE_LOST);
        assert_non_null(strstr(error.message, "lost"));
        assert_int_equal(read_one(mia_neg(mia_ref(x)), &error), MIA_ERROR_DEVICE_LOST);
        mia_tensor_f32 later = vector(device, 3);
        assert_int_equal(read_one(mia_exp(later), &error), MIA_ERROR_DEVICE_LOST);
        mia_unref(x);
        OK(mia_device_close(device, &error));
        assert_string_equal(watched.faults, "");
        device = open_device(NULL, NULL);
        OK(read_one(chain(device, 30, 1), &error));
        close_device(device);
    }
}

/* Lost while pipelines are being made, and while nothing is. */
static void test_lost_between(void **state) {
    (void)state;
    for (int pending = 0; pending < 2; pending++) {
        const recording_settings late = {.late = 50};
        mia_device *device = open_device(&late, NULL);
        mia_error error;
        mia_tensor_f32 x = chain(device, 30, 3);
        const mia_tensor list[1] = {MIA_UNTYPED(x)};
        mia_ticket *ticket = NULL;
        if (pending != 0) {
            ticket = mia_tensor_eval_begin(list, 1);
            (void)mia_ticket_poll(ticket);
        }
        recording_lose(recording_last());
        if (pending == 0) ticket = mia_tensor_eval_begin(list, 1);
        mia_ticket_wait(ticket);
        assert_int_equal(mia_ticket_finish(ticket, &error), MIA_ERROR_DEVICE_LOST);
        assert_int_equal(read_one(x, &error), MIA_ERROR_DEVICE_LOST);
        OK(mia_device_close(device, &error));
        assert_string_equal(watched.faults, "");
    }
}

static void test_no_adapter(void **state) {
    (void)state;
    const recording_settings none = {.no_adapter = true};
    mia_device_options options = {.backend = "webgpu"};
    mia_device *device = NULL;
    mia_error error = {0};
    recording_set(&none);
    assert_int_equal(mia_device_open(&options, &device, &error), MIA_ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "told to find no adapter"));
    assert_null(device);
}

/* Closed with pipelines still being made and work not waited for. */
static void test_closed_early(void **state) {
    (void)state;
    const recording_settings late = {.late = 30};
    mia_device *device = open_device(&late, NULL);
    begin_and_cancel(chain(device, 30, 3));
    close_device(device);
}

/* Every allocation fails in turn: a clean error, nothing lost. */
static void test_without_memory(void **state) {
    (void)state;
    for (long n = 0;; n++) {
        test_allocator allocator;
        test_allocator_init(&allocator);
        allocator.fail_at = n;
        mia_device_options options = {.backend = "webgpu", .allocator = &allocator.hook};
        mia_device *device = NULL;
        mia_error error = {0};
        mia_status status = mia_device_open(&options, &device, &error);
        if (status == MIA_OK) {
            status = read_one(chain(device, 40, 2), &error);
            assert_int_equal(mia_device_close(device, NULL), MIA_OK);
            assert_string_equal(watched.faults, "");
            assert_int_equal(watched.left.buffers + watched.left.pipelines + watched.left.bindings, 0);
        }
        assert_int_equal(allocator.live_bytes, 0);
        if (allocator.allocations <= n) {
            assert_int_equal(status, MIA_OK);
            break;
        }
        assert_true(status == MIA_OK || status == MIA_ERROR_NO_MEMORY);
    }
}

/* --- checked runs ------------------------------------------------------------------------------ */

static struct {
    int count;
    char first[400];
} told;

static void keep_line(void *user, const char *line) {
    (void)user;
    if (told.count++ == 0) (void)snprintf(told.first, sizeof told.first, "%s", line);
}

static mia_device *open_checked(const recording_settings *settings, const mia_allocator *allocator) {
    const mia_device_options options = {.backend = "webgpu", .allocator = allocator, .log = keep_line};
    mia_device *device = NULL;
    mia_error error;
    told.count = 0;
    (void)setenv("MIA_DEBUG", "check", 1);
    recording_set(settings);
    mia_status status = mia_device_open(&options, &device, &error);
    recording_set(NULL);
    (void)unsetenv("MIA_DEBUG");
    if (status != MIA_OK && allocator == NULL) fail_msg("%s", error.message);
    return device;
}

/* A GPU that computes nothing is wrong: the first step is told of. Operands come back before a step is submitted and its
 * result after it, and the rest of the run is submitted as always; however late things end, by polls alone. */
static void test_checked(void **state) {
    (void)state;
    for (uint32_t late = 0; late < 4; late += 3) {
        const recording_settings settings = {.late = late};
        mia_device *device = open_checked(&settings, NULL);
        mia_error error = {0};
        mia_tensor_f32 x = chain(device, 100, 3);
        const mia_tensor list[1] = {MIA_UNTYPED(x)};
        recording_clear(recording_last());
        mia_ticket *ticket = mia_tensor_eval_begin(list, 1);
        while (!mia_ticket_poll(ticket)) continue;
        OK(mia_ticket_finish(ticket, &error));
        const char *text = recording_text(recording_last());
        assert_int_equal(count_of(text, "\nmap "), 2);
        assert_true(strstr(text, "\nmap ") < strstr(text, "\ndispatch "));
        assert_int_equal(told.count, 1);
        assert_non_null(strstr(told.first, "check: run 0, step 0, softmax (entry"));
        OK(read_one(x, &error));
        close_device(device);
    }
}

/* Lost with each submission in turn, and without memory at each allocation: what is under way ends, and nothing stays. */
static void test_checked_ends(void **state) {
    (void)state;
    mia_error error;
    for (uint32_t n = 1; n <= 5; n++) {
        const recording_settings loses = {.late = 2, .lose_submit = n};
        mia_device *device = open_checked(&loses, NULL);
        assert_int_equal(read_one(chain(device, 30, 3), &error), MIA_ERROR_DEVICE_LOST);
        OK(mia_device_close(device, &error));
        assert_string_equal(watched.faults, "");
    }
    for (long n = 0;; n++) {
        test_allocator allocator;
        test_allocator_init(&allocator);
        allocator.fail_at = n;
        mia_device *device = open_checked(NULL, &allocator.hook);
        mia_status status = MIA_ERROR_NO_MEMORY;
        if (device != NULL) {
            status = read_one(chain(device, 40, 2), &error);
            close_device(device);
        }
        assert_int_equal(allocator.live_bytes, 0);
        assert_true(status == MIA_OK || status == MIA_ERROR_NO_MEMORY);
        if (allocator.allocations <= n) break;
    }
}

/* --- threads ---------------------------------------------------------------------------------- */

static void *work_along(void *user) {
    static char failed[] = "failed";
    mia_device *device = user;
    mia_error error;
    for (int i = 0; i < 30; i++) {
        mia_tensor_f32 x = chain(device, 20 + i % 7, 1 + i % 3);
        if (i % 3 == 0) {
            mia_unref(x);
            continue;
        }
        if (read_one(x, &error) != MIA_OK) return failed;
        mia_tensor_f32 large = mia_neg(vector(device, 300000));
        if (i % 2 == 0 && eval(large, &error) != MIA_OK) return failed;
        mia_unref(large);
    }
    return NULL;
}

static void test_threads(void **state) {
    (void)state;
    enum { THREADS = 4 };
    const recording_settings late = {.late = 2};
    mia_device *device = open_device(&late, NULL);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work_along, device), 0);
    for (int i = 0; i < THREADS; i++) {
        void *fault = NULL;
        (void)pthread_join(threads[i], &fault);
        assert_null(fault);
    }
    close_device(device);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_short_plan),          TEST(test_run_behind_value), TEST(test_layer),
        TEST(test_products_of_nothing), TEST(test_uploads_bounded),  TEST(test_buffers_used_again),
        TEST(test_weights_in_rows),     TEST(test_limits),           TEST(test_no_gpu_memory),
        TEST(test_refused_shader),      TEST(test_options_that_go),  TEST(test_lost),
        TEST(test_lost_between),        TEST(test_no_adapter),       TEST(test_closed_early),
        TEST(test_without_memory),      TEST(test_threads),          TEST(test_checked),
        TEST(test_checked_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
