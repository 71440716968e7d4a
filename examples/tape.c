/* A tape: a function recorded once, from named inputs to named outputs, run with other numbers, saved into a file and
 * run from there; `mia exec` runs and `mia graph` draws the same file. */
#include <mia/mia.h>
#include <stdio.h>

/* y = softmax(w x + b) */
static mia_status record(mia_device *device, mia_tape **tape, mia_error *error) {
    const float weights[6] = {1, 0, 0, 1, 1, 1}, bias[3] = {0.5, 0, -0.5};
    mia_tensor_f32 w = mia_constant(f32, device, MIA_SHAPE(2, 3), weights);
    mia_tensor_f32 x = mia_input(f32, device, MIA_SHAPE(2, 1)); /* a shape without numbers */
    mia_tensor_f32 y = mia_add(mia_matmul(w, mia_ref(x)), mia_upload(f32, device, MIA_SHAPE(3), bias));
    y = mia_softmax(y);
    const mia_named inputs[1] = {{"x", MIA_UNTYPED(x)}}, outputs[1] = {{"y", MIA_UNTYPED(y)}};
    mia_status status = mia_tape_record(inputs, 1, outputs, 1, tape, error);
    mia_unref(x);
    mia_unref(y);
    return status;
}

static mia_status run(mia_device *device, mia_tape *tape, float out[3], mia_error *error) {
    const float numbers[2] = {1, 2};
    const mia_tensor x[1] = {MIA_UNTYPED(mia_upload(f32, device, MIA_SHAPE(2, 1), numbers))};
    mia_tensor y[1];
    mia_status status = mia_tape_run(tape, x, y, error); /* x is given away, y is ours */
    if (status == MIA_OK) return mia_read(mia_as(f32, y[0]), out, 3, error);
    mia_op_unref(y[0], __FILE__, __LINE__);
    return status;
}

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : "example-tape.mia";
    mia_error error = {0};
    mia_device *device;
    mia_tape *tape = NULL, *loaded = NULL;
    mia_weights *file = NULL;
    float first[3] = {0}, second[3] = {0};
    if (mia_device_open(NULL, &device, &error) != MIA_OK) return 1;
    mia_status status = record(device, &tape, &error);
    if (status == MIA_OK) status = run(device, tape, first, &error);
    if (status == MIA_OK) status = mia_tape_save(tape, path, NULL, &error);
    if (status == MIA_OK) status = mia_weights_open_file(path, NULL, &file, &error);
    if (status == MIA_OK) status = mia_tape_load(device, file, NULL, &loaded, &error);
    if (status == MIA_OK) status = run(device, loaded, second, &error);
    if (status != MIA_OK) fprintf(stderr, "%s\n", error.message);
    bool same = true;
    for (int i = 0; i < 3; i++) same = same && first[i] == second[i];
    printf("%g %g %g, %s from the file\n", (double)first[0], (double)first[1], (double)first[2],
           same ? "the same" : "others");
    mia_tape_close(tape);
    mia_tape_close(loaded);
    mia_weights_close(file);
    if (argc == 1) (void)remove(path);
    return mia_device_close(device, &error) == MIA_OK && status == MIA_OK && same ? 0 : 1;
}
