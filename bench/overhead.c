/* What recording, planning and running cost beside the numbers: 100 chained additions of 16 floats, one
 * thread. A line a way of doing it; microseconds for all 100, medians.
 *
 *   recorded   100 calls, then one evaluation, its plan taken from the cache
 *   tape       a tape of the 100, recorded once, run again */
#include "timing.h"

#include <mia/mia.h>
#include <stdio.h>
#include <stdlib.h>

#define ADDITIONS 100
#define ROUNDS    2001

static double now_us(void) {
    return now() * 1e6;
}

static void check(mia_status status, const mia_error *error) {
    if (status == MIA_OK) return;
    fprintf(stderr, "%s\n", error->message);
    exit(1);
}

int main(void) {
    mia_device *device = NULL;
    mia_error error = {0};
    check(mia_device_open(&(mia_device_options){.threads = 1, .no_fusion = true}, &device, &error), &error);
    const float ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    mia_tensor_f32 one = mia_constant(f32, device, MIA_SHAPE(16), ones);
    static double record[ROUNDS], run[ROUNDS], total[ROUNDS];
    mia_tensor_f32 x = mia_upload(f32, device, MIA_SHAPE(16), ones);
    for (int r = 0; r < ROUNDS; r++) {
        double begin = now_us();
        for (int i = 0; i < ADDITIONS; i++) x = mia_add(x, one);
        double recorded = now_us();
        const mia_tensor list[1] = {x.untyped};
        check(mia_tensor_eval(list, 1, &error), &error);
        double end = now_us();
        record[r] = recorded - begin;
        run[r] = end - recorded;
        total[r] = end - begin;
    }
    printf("100 chained additions of 16 floats, 1 thread, fusion off, us\n");
    printf("%-10s %8s %8s %8s\n", "", "record", "run", "total");
    printf("%-10s %8.2f %8.2f %8.2f\n", "recorded", median(record, ROUNDS), median(run, ROUNDS),
           median(total, ROUNDS));
    mia_tensor_f32 from = mia_input(f32, device, MIA_SHAPE(16)), to = mia_ref(from);
    for (int i = 0; i < ADDITIONS; i++) to = mia_add(to, one);
    mia_tape *tape = NULL;
    check(
        mia_tape_record(&(mia_named){"x", from.untyped}, 1, &(mia_named){"y", to.untyped}, 1, &tape, &error),
        &error);
    mia_unref(from);
    mia_unref(to);
    for (int r = 0; r < ROUNDS; r++) {
        double begin = now_us();
        const mia_tensor input = x.untyped;
        check(mia_tape_run(tape, &input, &x.untyped, &error), &error);
        run[r] = now_us() - begin;
    }
    printf("%-10s %8s %8.2f %8.2f\n", "tape", "", median(run, ROUNDS), median(run, ROUNDS));
    mia_tape_close(tape);
    mia_unref(x);
    check(mia_device_close(device, &error), &error);
    return 0;
}
