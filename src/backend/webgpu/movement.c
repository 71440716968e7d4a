/* Movement of elements as they are, and conversions: what an element of the result is, is said of each alone. */
#include "backend/webgpu/expression.h"
#include "backend/webgpu/families.h"

bool mia__kernel_copy(mia__kernel *k) {
    if (!mia__kernel_output(k) || !mia__kernel_input(k, "x", &k->step->inputs[0])) return false;
    mia__kernel_add(k, "fn value(i: u32) -> %s { return x_get(x_at(i)); }\n",
                    mia__kernel_type(k->step->output.dtype));
    return mia__kernel_map(k);
}

bool mia__kernel_convert(mia__kernel *k) {
    char convert[64];
    const mia__step *step = k->step;
    if (!mia__kernel_output(k) || !mia__kernel_input(k, "x", &step->inputs[0]) ||
        !mia__expression_convert(k, step->inputs[0].dtype, step->output.dtype, convert, sizeof convert))
        return false;
    mia__kernel_add(k, "fn value(i: u32) -> %s { return %s(x_get(x_at(i))); }\n",
                    mia__kernel_type(step->output.dtype), convert);
    return mia__kernel_map(k);
}
